"""Transports for services that are MCP servers, for workers and for event loops: both use the same session.

The official ``mcp`` SDK below it is optional, slow to import and talkative, so it is loaded when first needed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Self

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.wire import Answer, Call, Request
from airflow_provider_imagetasks.transports.environment import Proxies
from airflow_provider_imagetasks.transports.http import AsyncTransport, Transport

if TYPE_CHECKING:
    from airflow_provider_imagetasks.transports.mcp.session import ToolServerSession

EXTRA = "airflow-provider-imagetasks[mcp]"
_TALKATIVE = ("mcp", "client", "httpx2", "httpcore2")
"""Loggers that write a line for every request or session: task logs are for the image tasks."""


def load_sessions() -> ModuleType:
    """Import what speaks to MCP servers; takes a second the first time, so not on an event loop.

    :raises InvalidRequestError: the SDK is not installed, or too old.
    """
    try:
        module = import_module("airflow_provider_imagetasks.transports.mcp.session")
    except ImportError as error:
        raise InvalidRequestError(
            f"MCP servers need the package 'mcp', version 2 or newer ({error}). Install it where tasks and triggers "
            f"run: pip install '{EXTRA}'"
        ) from error
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
    return module


class AsyncToolTransport(AsyncTransport):
    """Runs flows in the running event loop, over one MCP session that opens with the first call.

    :param keeps_pictures: whether somebody looks at pictures that an answer holds; where not, larger ones are refused.
    """

    def __init__(self, account: Account, *, keeps_pictures: bool = True) -> None:
        self._account = account
        self._keeps_pictures = keeps_pictures
        self._session: ToolServerSession

    async def __aenter__(self) -> Self:
        if self._account.server_command is None:
            # What is wrong with the environment is no failure of a call, which would be made again.
            Proxies(self._account).of(self._account.base_url)
        sessions = await asyncio.to_thread(load_sessions)
        self._session = sessions.ToolServerSession(self._account, keeps_pictures=self._keeps_pictures)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._session.close()

    async def _answer(self, call: Call) -> Answer:
        if isinstance(call, Request):
            raise TypeError("an HTTP request is no tool call: its service must not say is_tool_server")
        self.requests_made += 1
        return await self._session.perform(call)


class ToolTransport(Transport):
    """Runs flows on the calling thread; the session lives on an event loop in a thread of its own.

    :param keeps_pictures: as of :class:`AsyncToolTransport`.
    """

    def __init__(self, account: Account, *, keeps_pictures: bool = True) -> None:
        self._account = account
        self._keeps_pictures = keeps_pictures
        self._open = ExitStack()
        self._answer_there: Callable[[Call], Answer] | None = None

    def __enter__(self) -> Self:
        load_sessions()
        from anyio.from_thread import start_blocking_portal

        with ExitStack() as opening:
            portal = opening.enter_context(start_blocking_portal())
            session = AsyncToolTransport(self._account, keeps_pictures=self._keeps_pictures)
            transport = opening.enter_context(portal.wrap_async_context_manager(session))
            self._answer_there = partial(portal.call, transport._answer)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.__exit__(*exception)  # type: ignore[arg-type]

    def _answer(self, call: Call) -> Answer:
        if self._answer_there is None:
            raise RuntimeError("the transport is not open; use it in 'with'")
        self.requests_made += 1
        return self._answer_there(call)
