"""The account that a connection stands for: service, address, key, and how to behave there. Pure data."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_imagetasks.exceptions import AuthenticationError, InvalidRequestError
from airflow_provider_imagetasks.services.account_fields import ConnectionField, ConnectionFields, is_host_name
from airflow_provider_imagetasks.services.money import Money, PriceList, require_one_currency
from airflow_provider_imagetasks.services.rates import NO_TIERS, Rate, Tier, active_limit, parse_rate
from airflow_provider_imagetasks.tasks import require_sendable

DEFAULT_CONN_ID = "imagetasks_default"
DEFAULT_REQUEST_TIMEOUT = 60.0
LONGEST_INTERVAL = 86_400.0
"""Seconds that a request, or the time between two, may take: a day. Sockets know no limit of more than 24 of them."""
NO_FIELDS: Mapping[str, ConnectionField] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class ServerCommand:
    """The command that starts an MCP server over stdio.

    :param command: the program.
    :param env: further environment variables, by name; they may hold keys.
    """

    command: str
    args: tuple[str, ...] = field(default=(), repr=False)
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Account:
    """A connection, read and checked.

    :param conn_id: the connection's id, for messages and XCom.
    :param service: name of the service.
    :param base_url: where its API is, without a trailing slash.
    :param key: the API key; None where the service needs none.
    :param callback_url: the connection's callback URL.
    :param webhook_secret: what the service signs callbacks with.
    :param default_model: the connection's model for requests that name none.
    :param poll_interval: seconds between two status requests; None takes the service's.
    :param request_timeout: seconds that one API request may take.
    :param submit_rate: ceiling for submissions; likewise ``query_rate`` for status requests.
    :param max_active_tasks: image tasks that may run at the same time; where not given, that of a tier that is
        named as ``submit_rate``.
    :param budget_per_day: what may be spent in a day, over all processes; likewise ``budget_per_month``.
    :param prices: what a picture costs, by model; they win over what the service publishes.
    :param download_hosts: hosts that results may come from; empty means any public one.
    :param allow_private_hosts: whether results may come from private addresses, and the API may be plain http.
    :param verify: True, False, or the path of a CA bundle.
    :param trust_env: whether proxies and CA bundle are taken from the environment.
    :param server_command: starts the MCP server as a child process; None where it runs somewhere else.
    :param output_dir: the folder in which an MCP server writes its pictures, as the server names it.
    :param path_map: folders of an MCP server, and where the workers find each of them.
    :param key_header: the header that the key goes out in, behind ``key_scheme`` where there is one.
    :param key_hosts: further hosts that the key may go to; one that begins with a dot stands for all below it.
    :param further: the fields that the service adds, as far as they are given: name and value.
    """

    conn_id: str
    service: str
    base_url: str
    key: str | None = field(default=None, repr=False)
    callback_url: str | None = field(default=None, repr=False)
    webhook_secret: str | None = field(default=None, repr=False)
    default_model: str | None = None
    poll_interval: float | None = None
    request_timeout: float = DEFAULT_REQUEST_TIMEOUT
    submit_rate: Rate | None = None
    query_rate: Rate | None = None
    max_active_tasks: int | None = None
    budget_per_day: Money | None = None
    budget_per_month: Money | None = None
    prices: PriceList = ()
    download_hosts: tuple[str, ...] = ()
    allow_private_hosts: bool = False
    verify: bool | str = True
    trust_env: bool = True
    server_command: ServerCommand | None = None
    output_dir: str | None = None
    path_map: tuple[tuple[str, str], ...] = ()
    key_header: str = "Authorization"
    key_scheme: str | None = "Bearer"
    key_hosts: tuple[str, ...] = ()
    further: tuple[tuple[str, Any], ...] = field(default=(), repr=False)

    def further_field(self, name: str) -> Any:
        """Return a field that the service adds; None where the connection does not give it."""
        return dict(self.further).get(name)


OWN_FIELDS = frozenset({"command", "args", "env", *(each.name for each in dataclass_fields(Account))})
"""What a service cannot add, since it is there for all of them."""


def read_account(
    *,
    conn_id: str,
    service: str,
    default_base_url: str,
    requires_key: bool,
    host: str | None,
    key: str | None,
    extra: Mapping[str, Any],
    is_tool_server: bool = False,
    allow_commands: bool = False,
    tiers: Mapping[str, Tier] = NO_TIERS,
    further_fields: Mapping[str, ConnectionField] = NO_FIELDS,
) -> Account:
    """Check the fields of a connection.

    :param service: name of a known service.
    :param default_base_url: used where ``host`` is empty.
    :param requires_key: whether the service refuses to work without a key.
    :param host: the connection's Host.
    :param key: the connection's password.
    :param extra: the connection's extra fields, as an object.
    :param is_tool_server: whether Host is the address of an MCP server's endpoint, which may end with a slash.
    :param allow_commands: whether a connection may say what to start on a worker.
    :param tiers: what may be named as a rate.
    :param further_fields: those that the service adds, by name.
    :raises InvalidRequestError: names the field that is wrong.
    :raises AuthenticationError: no key, or one that cannot be sent.
    """
    fields = ConnectionFields(conn_id, extra)
    allow_private_hosts = fields.flag("allow_private_hosts", default=False)

    def rate(kind: str) -> Rate | None:
        given = fields.text(f"{kind}_rate")
        return parse_rate(given, field=fields.name(f"{kind}_rate"), kind=kind, tiers=tiers) if given else None

    per_day, per_month = fields.budget("budget_per_day"), fields.budget("budget_per_month")
    prices = fields.prices("prices")
    require_one_currency(conn_id, per_day, per_month, prices=prices)
    return Account(
        conn_id=conn_id,
        service=service,
        base_url=_base_url(conn_id, host, default_base_url, allow_private_hosts, keep_slash=is_tool_server),
        key=_key(conn_id, key, requires_key),
        callback_url=fields.web_address("callback_url"),
        webhook_secret=fields.text("webhook_secret"),
        default_model=fields.model("default_model", key, fields.text("webhook_secret")),
        poll_interval=fields.number("poll_interval", minimum=1, maximum=LONGEST_INTERVAL),
        request_timeout=fields.number("request_timeout", minimum=1, maximum=LONGEST_INTERVAL)
        or DEFAULT_REQUEST_TIMEOUT,
        submit_rate=rate("submit"),
        query_rate=rate("query"),
        max_active_tasks=fields.whole_number("max_active_tasks", minimum=1)
        or active_limit(fields.text("submit_rate"), tiers),
        budget_per_day=per_day,
        budget_per_month=per_month,
        prices=prices,
        download_hosts=fields.host_names("download_hosts"),
        allow_private_hosts=allow_private_hosts,
        verify=fields.flag_or_path("verify"),
        trust_env=fields.flag("trust_env", default=True),
        server_command=_server_command(fields, conn_id, is_tool_server, allow_commands),
        output_dir=fields.folder("output_dir"),
        path_map=fields.folders("path_map"),
        further=fields.further({name: each for name, each in further_fields.items() if name not in OWN_FIELDS}),
    )


def service_name(conn_id: str, extra: Mapping[str, Any], known: tuple[str, ...]) -> str:
    """Return the service that a connection names.

    :param known: the services that are installed.
    :raises InvalidRequestError: when it names none, or one that is not installed.
    """
    value = extra.get("service")
    name = value.strip() if isinstance(value, str) else ""
    if name not in known:
        # Not what it names, which may be a key in the wrong field.
        near = next(iter(get_close_matches(name.lower(), known, 1)), None)
        meant = f" (is {near} meant?)" if near else ""
        unknown = f"names a service in its extra field 'service' that is not known here{meant}; choose"
        problem = unknown if name else "has no service; set the extra field 'service' to"
        raise InvalidRequestError(f"Connection {conn_id!r} {problem} one of {', '.join(known)}")
    return name


def _key(conn_id: str, key: str | None, required: bool) -> str | None:
    stripped = (key or "").strip()
    if not stripped:
        if not required:
            return None
        raise AuthenticationError(f"Connection {conn_id!r} has no API key; enter it in the field Password (API key)")
    if not (stripped.isascii() and stripped.isprintable()) or " " in stripped:
        raise AuthenticationError(
            f"The API key of connection {conn_id!r} (field Password) has characters that cannot be sent "
            "in a header; copy it again, without line breaks, quotes and spaces"
        )
    return stripped


def _server_command(
    fields: ConnectionFields, conn_id: str, is_tool_server: bool, allow_commands: bool
) -> ServerCommand | None:
    command = fields.text("command")
    if command is None or not is_tool_server:
        return None
    if not allow_commands:
        raise InvalidRequestError(
            f"Connection {conn_id!r} names a program to start on this machine (extra field 'command'), which is not "
            "allowed here, because anyone who may edit connections could then run any program. To allow it, set "
            "[imagetasks] allow_stdio_commands = True on the workers; it is better to run the server separately and "
            "set Host"
        )
    return ServerCommand(command=command, args=fields.texts("args"), env=fields.pairs("env"))


def _base_url(conn_id: str, host: str | None, default: str, allow_plain: bool, *, keep_slash: bool = False) -> str:
    given = (host or "").strip()
    if not given:
        return default.rstrip("/")
    require_sendable(f"Host (Base URL) of connection {conn_id!r}", given)
    problem = None
    try:
        parts = urlsplit(given if "://" in given else f"https://{given}")
        hostname, _port = parts.hostname, parts.port
    except ValueError:
        # Not the error itself, which shows what it could not read: it may be a key in the wrong field.
        raise InvalidRequestError(
            f"Host (Base URL) of connection {conn_id!r} is not a base URL (its host or its port cannot be read); write "
            f"it like {default}"
        ) from None
    if parts.scheme not in ("http", "https"):
        problem = "it must start with https://"
    elif not hostname or any(character.isspace() for character in given):
        problem = "it has no host name"
    elif not _can_be_looked_up(hostname):
        problem = "its host name is not valid"
    elif parts.username or parts.password:
        problem = "it must not hold a user name or password; the key belongs in the field Password"
    elif parts.query or parts.fragment:
        problem = "it must not have a query or a fragment"
    elif parts.scheme == "http" and not is_loopback(hostname) and not allow_plain:
        problem = (
            "http:// would send the key in clear; use https://, or set the extra field "
            "'allow_private_hosts' to true for a host inside your own network"
        )
    if problem:
        raise InvalidRequestError(
            f"Host (Base URL) of connection {conn_id!r} cannot be used: {problem}. Write it like {default}"
        )
    return parts.geturl() if keep_slash else parts.geturl().rstrip("/")


def _can_be_looked_up(hostname: str) -> bool:
    """Whether a name has only parts that the domain name system allows; the HTTP libraries fail on others late."""
    try:
        return ":" in hostname or is_host_name(hostname.encode("idna").decode())
    except UnicodeError:
        return False


def is_loopback(hostname: str) -> bool:
    """Return whether a host name or address means this machine."""
    if hostname == "localhost" or hostname.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False
