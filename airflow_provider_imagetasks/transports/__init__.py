"""Runs a flow: requests on a worker, aiohttp on an event loop, a session with an MCP server for its tools."""

from __future__ import annotations

from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.transports.http import AiohttpTransport, AsyncTransport, RequestsTransport, Transport
from airflow_provider_imagetasks.transports.mcp.transports import AsyncToolTransport, ToolTransport


def open_transport(account: Account, *, keeps_pictures: bool = True) -> Transport:
    """Return what runs the flows of the account's service on the calling thread; use it in ``with``.

    :param keeps_pictures: as for :func:`open_async_transport`.
    """
    kind = ToolTransport if get_service(account.service).is_tool_server else RequestsTransport
    return kind(account, keeps_pictures=keeps_pictures)


def open_async_transport(account: Account, *, keeps_pictures: bool = True) -> AsyncTransport:
    """Return what runs them in the running event loop; use it in ``async with``.

    An account that starts its own MCP server has it started by the first call and ended with the transport: what is to
    be submitted, waited for and collected there belongs in one.

    :param keeps_pictures: False where nobody looks at pictures that answers hold: they are left out as they come in.
    """
    kind = AsyncToolTransport if get_service(account.service).is_tool_server else AiohttpTransport
    return kind(account, keeps_pictures=keeps_pictures)
