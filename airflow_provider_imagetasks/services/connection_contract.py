"""What a service says of the connections to it: the key and where it goes, fields, limits, callbacks."""

from __future__ import annotations

import hmac
import json
from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from airflow_provider_imagetasks.exceptions import AuthenticationError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.account_fields import ConnectionField
from airflow_provider_imagetasks.services.fields import mapping
from airflow_provider_imagetasks.services.rates import NO_TIERS, Rate, Tier, Window
from airflow_provider_imagetasks.services.wire import Flow

OLDEST_CALLBACK = 300.0
"""Seconds by which the time that a callback is signed with may be off; an older one may be sent again by anybody."""

COMMAND_FIELDS: Mapping[str, ConnectionField] = {
    "command": ConnectionField(
        label="MCP: command",
        description="starts the server over stdio for one batch; only where [imagetasks] allow_stdio_commands is true.",
    ),
    "args": ConnectionField(
        label="MCP: arguments", description='arguments of the command, as JSON: ["dist/index.js"].'
    ),
    "env": ConnectionField(label="MCP: environment", description="environment of the command, as JSON."),
}
"""The fields of a connection that starts its own MCP server."""


@dataclass(frozen=True, kw_only=True)
class Callback:
    """A call by which a service says that an image task is done, as it came.

    :param headers: names in lower case.
    :param at: Unix seconds when it came.
    """

    headers: Mapping[str, str]
    body: bytes
    at: float

    def header(self, name: str) -> str:
        """Return a header, empty where it is absent."""
        return self.headers.get(name, "")

    def json(self) -> Mapping[str, Any]:
        """Return the object that the body is; an empty one for anything else."""
        try:
            return mapping(json.loads(self.body))
        except (ValueError, RecursionError):
            return {}

    def is_of(self, timestamp: str) -> bool:
        """Whether it comes near a time in Unix seconds, as a header names it."""
        is_time = timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12
        return is_time and abs(self.at - int(timestamp)) <= OLDEST_CALLBACK


def is_same(wanted: str, given: str) -> bool:
    """Whether a signature is the expected one, compared in constant time."""
    return hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace"))


class ConnectionContract(ABC):
    """The side of a service that a connection has to do with."""

    name: ClassVar[str]
    """The value of the connection's field ``service``."""
    title: ClassVar[str]
    """The name that people know it by."""
    default_base_url: ClassVar[str]
    console_url: ClassVar[str | None] = None
    """The page where a person sees the account's image tasks and charges."""
    requires_key: ClassVar[bool] = True
    key_header: ClassVar[str] = "Authorization"
    """The header that the key goes out in."""
    key_scheme: ClassVar[str | None] = "Bearer"
    """The word before the key in that header; None where the key stands alone."""
    key_hosts: ClassVar[tuple[str, ...]] = ()
    """Further hosts that the key may go to (``Request.host``); one that begins with a dot stands for all below it."""
    is_tool_server: ClassVar[bool] = False
    """Whether it is an MCP server: its flows call tools, and a connection's Host is the address of its endpoint."""
    connection_fields: ClassVar[Mapping[str, ConnectionField]] = {}
    """Fields that it adds to the connection, by name; the account has them as ``further_field(name)``."""
    tiers: ClassVar[Mapping[str, Tier]] = NO_TIERS
    """Limits that it publishes under names; a connection names one as ``service:tier``."""
    default_query_rate: ClassVar[Rate] = Rate((Window(2, 1),))
    """Ceiling for status requests of an account whose connection names none."""
    takes_callback_url: ClassVar[bool] = False
    has_account_webhook: ClassVar[bool] = False
    """Whether it calls one URL for all image tasks of an account, which a person tells it once, and signs each call."""
    fallback_callback_url: ClassVar[str | None] = None
    """Sent where nobody names a callback URL, for a service that keeps no record without one."""

    def named_tiers(self) -> dict[str, Tier]:
        """Return its tiers, by the names that a connection has for them."""
        return {f"{self.name}:{name}": tier for name, tier in self.tiers.items()}

    def server_environment(self, account: Account) -> Mapping[str, str | None]:
        """Return the variables by which a server that a connection starts is told of the account.

        What the connection's own ``env`` says goes before it; None and empty ones are left out.
        """
        return {}

    def check_callback(self, callback: Callback, account: Account) -> Flow[str | None]:
        """Return the image task that a callback is signed for, by the id that its API knows it by.

        Runs before anything is looked up in Airflow's database. Where the service publishes the keys that it signs
        with, the flow may ask for them.

        :returns: None where callbacks of this account are not signed: the task that submitted says which it is.
        :raises AuthenticationError: the signature is missing, wrong or too old; likewise where the connection has a
            ``webhook_secret`` and the service signs nothing.
        """
        yield from ()
        if account.webhook_secret is not None:
            raise AuthenticationError(f"{self.title} does not sign callbacks: remove webhook_secret", service=self.name)
        return None
