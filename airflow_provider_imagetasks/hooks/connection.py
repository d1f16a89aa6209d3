"""Reads Airflow connections: on a worker, and on a triggerer's event loop once per account."""

from __future__ import annotations

import asyncio
import json
import time
import weakref
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Address
from typing import Any

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, Connection, conf

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services import get_service, known_services, tiers_for
from airflow_provider_imagetasks.services.account import Account, read_account, service_name

CONNECTION_TYPE = "imagetasks"
CACHE_SECONDS = 300.0


def account_from(connection: Connection, conn_id: str) -> Account:
    """Check a connection and return what it says.

    :raises InvalidRequestError: names the field that is wrong.
    :raises AuthenticationError: there is no key.
    """
    extra = _extra(connection, conn_id)
    service = get_service(service_name(conn_id, extra, known_services()))
    account = read_account(
        conn_id=conn_id,
        service=service.name,
        default_base_url=service.default_base_url,
        requires_key=service.requires_key,
        host=_host(connection, conn_id),
        key=connection.password,
        extra=extra,
        is_tool_server=service.is_tool_server,
        allow_commands=conf.getboolean("imagetasks", "allow_stdio_commands", fallback=False),
        tiers=tiers_for(service, extra.get("submit_rate"), extra.get("query_rate")),
        further_fields=service.connection_fields,
    )
    return replace(account, key_header=service.key_header, key_scheme=service.key_scheme, key_hosts=service.key_hosts)


def read_connection(conn_id: str) -> Account:
    """Read a connection where blocking is allowed.

    :raises InvalidRequestError: there is none of that id, or a field is wrong.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        # Airflow says "not found" also where its API or a secrets backend could not be asked, so a retry is worth it.
        raise InvalidRequestError(
            f"Airflow has no connection {conn_id!r}, or cannot look it up. Create it in the Airflow UI (type 'Image "
            f"tasks'), or set the environment variable AIRFLOW_CONN_{conn_id.upper()} where tasks and triggers run",
            retryable=True,
            retry_advice="A retry looks again.",
        ) from error
    return account_from(connection, conn_id)


_Cache = dict[str, tuple[float, "asyncio.Task[Account]"]]
_accounts: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Cache] = weakref.WeakKeyDictionary()


async def aread_connection(conn_id: str, *, fresh: bool = False) -> Account:
    """Read a connection on an event loop: one look-up serves everybody who asks there within five minutes.

    :param fresh: look it up anew, because what is remembered was refused.
    :raises InvalidRequestError: there is none of that id, or a field is wrong; not remembered.
    """
    cache = _accounts.setdefault(asyncio.get_running_loop(), {})
    known = cache.get(conn_id)
    if known is None or fresh or time.monotonic() - known[0] > CACHE_SECONDS:
        # A task of its own, so that a trigger that is cancelled does not take the look-up from the others.
        known = (time.monotonic(), asyncio.create_task(_look_up(conn_id)))
        cache[conn_id] = known
    try:
        return await asyncio.shield(known[1])
    except Exception:
        if cache.get(conn_id) is known:
            del cache[conn_id]
        raise


async def _look_up(conn_id: str) -> Account:
    try:
        connection = await get_async_connection(conn_id)
    except AirflowNotFoundException:
        # `dag.test()` cannot read a connection of the metadata database asynchronously: it says "not found".
        return await asyncio.to_thread(read_connection, conn_id)
    return account_from(connection, conn_id)


def _extra(connection: Connection, conn_id: str) -> Mapping[str, Any]:
    """Return the extra fields, without ``extra_dejson``, which would block an event loop to mask them."""
    if connection.conn_type and connection.conn_type != CONNECTION_TYPE:
        raise InvalidRequestError(
            f"Connection {conn_id!r} is of the type {connection.conn_type!r}; the type must be {CONNECTION_TYPE!r}"
        )
    try:
        extra: Any = connection.extra or {}
        if not isinstance(extra, Mapping):
            extra = json.loads(extra)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"Extra of connection {conn_id!r} is not JSON: {error}") from error
    if not isinstance(extra, Mapping):
        raise InvalidRequestError(f"Extra of connection {conn_id!r} must be a JSON object")
    return extra


def _host(connection: Connection, conn_id: str) -> str | None:
    """Return the base URL that a connection names.

    Airflow keeps its parts apart or in one, as the connection was written: a URI's path is the schema, and its host has
    lost the brackets of IPv6. Schema may also be the scheme, as for Airflow's own HTTP connections.

    :raises InvalidRequestError: it names two ports.
    """
    host, schema = (connection.host or "").strip(), (connection.schema or "").strip().strip("/")
    if not host:
        return None
    first, _, others = schema.partition("/")
    is_scheme = first.lower() in ("http", "https")
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = first.lower() if is_scheme else "https", host
    authority, slash, path = rest.partition("/")
    if _is_ipv6(authority):
        authority = f"[{authority}]"
    if connection.port:
        # What stands before an at sign may be a key.
        _, _, port = authority.rpartition("@")[2].rpartition("]")[2].partition(":")
        if port and port != str(connection.port):
            told = port if port.isdecimal() and len(port) < 6 else "which is no number"
            raise InvalidRequestError(
                f"Connection {conn_id!r} names one port in Host ({told}) and another in Port ({connection.port}); "
                "leave one of them out"
            )
        authority = authority if port else f"{authority.removesuffix(':')}:{connection.port}"
    more = others if is_scheme else schema
    if more:
        slash, path = "/", f"{path.rstrip('/')}/{more}".lstrip("/")
    return f"{scheme}://{authority}{slash}{path}"


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
