"""One session with an MCP server, for any number of flows in one event loop: opened when needed, again when lost."""

from __future__ import annotations

import asyncio
import contextvars
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import mcp_types as types
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from airflow_provider_imagetasks import __version__
from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.refusals import unexplained
from airflow_provider_imagetasks.services.wire import (
    Answer,
    NoResponse,
    Response,
    ToolAnswer,
    ToolCall,
    ToolListing,
    excerpt,
)
from airflow_provider_imagetasks.transports.account_key import without_secrets
from airflow_provider_imagetasks.transports.answers import LARGEST_ANSWER, apart
from airflow_provider_imagetasks.transports.mcp.guarded_http import FAILURE, SHORT_TIMEOUT, make_client
from airflow_provider_imagetasks.transports.mcp.server_process import ServerProcess

_MOST_TOOL_PAGES = 20
_GONE_SESSION_STATUSES = (400, 404)
"""The refusals of servers and bridges for a session id that they no longer know; the call was not made."""


class SessionLostError(Exception):
    """The server does not know the session any more, and did not make the call."""


@dataclass
class _Open:
    """A session that is open.

    :param tools: the names of the server's tools.
    :param owner: the task that opened it and that closes it: the SDK's scopes must be left where they were entered.
    :param closing: set to have it closed.
    """

    session: ClientSession
    tools: frozenset[str]
    owner: asyncio.Task[None]
    closing: asyncio.Event


class ToolServerSession:
    """Makes the calls of any number of flows; use it from one event loop, and close it there.

    :param account: says where the server is, or how it is started. One that was started is not started again: what it
        had begun died with it.
    :param keeps_pictures: whether somebody looks at pictures that an answer holds.
    """

    def __init__(self, account: Account, *, keeps_pictures: bool = True) -> None:
        self._account = account
        self._keeps_pictures = keeps_pictures
        self._process = ServerProcess(account) if account.server_command else None
        self._opening = asyncio.Lock()
        self._open: _Open | None = None
        self._not_opened_at: tuple[float, Exception] | None = None
        self._secrets = self._process.secrets if self._process else (account.key,)

    @property
    def server(self) -> str:
        """The server's address, for messages."""
        started_by = f"the MCP server of connection {self._account.conn_id!r}"
        return started_by if self._account.server_command else f"the MCP server {self._account.base_url}"

    async def perform(self, call: ToolCall | ToolListing) -> Answer:
        """Make one call and say what came of it; never raises for what the server does.

        :raises InvalidRequestError: it cannot be sent; the session goes on for the others.
        """
        if isinstance(call, ToolCall):
            await asyncio.to_thread(_require_encodable, call)
        for attempt in (1, 2):
            try:
                opened = await self._opened()
            except _NotOpenedError as error:
                return error.answer
            try:
                return await self._perform(call, opened)
            except SessionLostError as error:
                await self._close(opened)
                if attempt == 2:
                    return self._no_response(f"it refuses every session ({error})", call)
        raise AssertionError("the second attempt returns")

    async def close(self) -> None:
        """End the session, and a server that was started for it."""
        async with self._opening:
            if self._open is not None:
                await self._close(self._open)

    async def _perform(self, call: ToolCall | ToolListing, opened: _Open) -> Answer:
        if isinstance(call, ToolListing):
            return self._answer(call, json.dumps(sorted(opened.tools)))
        if call.tool not in opened.tools:
            has = ", ".join(sorted(opened.tools)[:20]) or "none"
            return self._answer(call, f"it has no such tool (it has {has})", code=types.METHOD_NOT_FOUND)
        request = types.CallToolRequest(
            params=types.CallToolRequestParams(name=call.tool, arguments=dict(call.arguments))
        )
        try:
            # Not by call_tool, which checks the answer against the tool's schema, when the money is spent already.
            result = await opened.session.send_request(
                request, types.CallToolResult, request_read_timeout_seconds=self._account.request_timeout
            )
        except MCPError as error:
            return await self._error_answer(error, call, opened)
        except ValidationError:
            return self._http_answer({"status": 200, "headers": {}, "content": "no result of a tool"}, call)
        except (RuntimeError, OSError) as error:
            await self._close(opened)
            return self._no_response(f"the session broke ({type(error).__name__})", call, may_have_left=True)
        text = _text_of(result)
        return await apart(len(text), self._answer_read, call, text, bool(result.is_error))

    async def _error_answer(self, error: MCPError, call: ToolCall, opened: _Open) -> Answer:
        failure = _failure_of(error)
        if failure is not None and "status" in failure:
            if failure["status"] in _GONE_SESSION_STATUSES and "session" in failure["content"].lower():
                raise SessionLostError(f"HTTP {failure['status']}")
            return self._http_answer(failure, call)
        if failure is not None:
            return self._no_response(failure["reason"], call, may_have_left=failure["may_have_left"])
        if error.code == types.CONNECTION_CLOSED:
            await self._close(opened)
            words = self._process.last_words() if self._process else ""
            return self._no_response(f"the connection was cut{words}", call, may_have_left=True)
        if error.code == types.REQUEST_TIMEOUT:
            return self._no_response("the answer took too long", call, may_have_left=True)
        return self._answer(call, error.message, code=error.code)

    def _answer(
        self, call: ToolCall | ToolListing | None, text: str, *, is_error: bool = False, code: int | None = None
    ) -> ToolAnswer:
        """Return what the server said to a call, or to the opening of a session where there is none."""
        return ToolAnswer(
            content=without_secrets(text.encode("utf-8", "replace"), self._secrets),
            at=time.time(),
            server=self.server,
            tool=call.tool if isinstance(call, ToolCall) else "tools/list" if call else "initialize",
            is_error=is_error or code is not None,
            code=code,
        )

    def _answer_read(self, call: ToolCall, text: str, is_error: bool) -> Response:
        return self._answer(call, text, is_error=is_error).read_ahead()

    def _http_answer(self, failure: Mapping[str, Any], call: ToolCall | None) -> ToolAnswer:
        answer = self._answer(call, failure["content"])
        return replace(answer, status=failure["status"], headers=failure["headers"], from_tool=False)

    def _no_response(
        self, reason: str, call: ToolCall | ToolListing | None = None, *, may_have_left: bool = False
    ) -> NoResponse:
        what = f"{call.tool} at {self.server}" if isinstance(call, ToolCall) else self.server
        shown = without_secrets(f"{what}: {reason}".encode("utf-8", "replace"), self._secrets).decode()
        return NoResponse(reason=shown, may_have_left=may_have_left, at=time.time())

    async def _opened(self) -> _Open:
        """Return the open session; open one where there is none."""
        asked_at = time.monotonic()
        async with self._opening:
            if self._open is not None and not self._open.owner.done():
                return self._open
            if self._not_opened_at is not None and self._not_opened_at[0] >= asked_at:
                # Whoever queued behind a vain attempt shares what came of it.
                raise self._not_opened_at[1]
            if self._process is not None and self._process.was_started:
                raise _NotOpenedError(self._ended())
            opened: asyncio.Future[_Open] = asyncio.get_running_loop().create_future()
            # In a context of its own: it outlives whoever calls first, and logs for all of them.
            owner = asyncio.create_task(self._own(opened), context=contextvars.Context())
            try:
                self._open = await asyncio.shield(opened)
            except asyncio.CancelledError:
                owner.cancel()
                raise
            except Exception as error:
                self._not_opened_at = (time.monotonic(), error)
                raise
            return self._open

    async def _own(self, opened: asyncio.Future[_Open]) -> None:
        """Open the session, keep it until it is to be closed, and close it."""
        closing = asyncio.Event()
        limit: asyncio.Timeout | None = None
        try:
            async with self._connected() as session:
                owner = asyncio.current_task()
                if owner is None:
                    raise RuntimeError("a session is opened by a task")
                async with asyncio.timeout(self._account.request_timeout) as limit:
                    await session.initialize()
                    tools = await _tools_of(session)
                if not opened.done():
                    opened.set_result(_Open(session, tools, owner, closing))
                await closing.wait()
        except asyncio.CancelledError:
            opened.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - handed to whoever waits; the SDK raises groups of anything
            if not opened.done():
                # What the SDK raises as it is interrupted hides that its time was over.
                is_late = limit is not None and limit.expired()
                opened.set_exception(self._not_opened(TimeoutError() if is_late else _innermost(error)))

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[ClientSession]:
        info = types.Implementation(name="airflow-provider-imagetasks", version=__version__)
        async with AsyncExitStack() as stack:
            if self._process is not None:
                streams: AbstractAsyncContextManager[Any] = self._process.started()
            else:
                client = await asyncio.to_thread(make_client, self._account, self._keeps_pictures)
                stack.push_async_callback(client.aclose)
                streams = streamable_http_client(
                    self._account.base_url, http_client=client, max_sse_event_size=LARGEST_ANSWER
                )
            receiving, sending = await stack.enter_async_context(streams)
            yield await stack.enter_async_context(ClientSession(receiving, sending, client_info=info))

    def _not_opened(self, error: BaseException) -> Exception:
        """Return what tells a caller why there is no session."""
        if isinstance(error, ImageTaskError):
            return error
        failure = _failure_of(error) if isinstance(error, MCPError) else None
        if failure is not None:
            return _NotOpenedError(self._refused(failure))
        if isinstance(error, TimeoutError):
            reason = f"no session within {self._account.request_timeout:g} s"
            return _NotOpenedError(self._none(reason) if self._process else self._no_response(reason))
        if self._process is not None:
            return _NotOpenedError(self._none(f"it opened no session ({_said(error)})"))
        code = error.code if isinstance(error, MCPError) else types.INVALID_REQUEST
        return _NotOpenedError(self._none(f"no session: {_said(error)}", code))

    def _none(self, reason: str, code: int = types.INVALID_REQUEST) -> Answer:
        """Return the answer where there is no session, and where asking again does not help."""
        words = self._process.last_words() if self._process else ""
        return self._answer(None, f"{reason}{words}", code=code)

    def _ended(self) -> NoResponse:
        """Return the answer to a call after a server that was started for one session has ended."""
        words = self._process.last_words() if self._process else ""
        lost = "it was started for one session, and has ended; what it had begun is lost, and may be billed"
        return replace(self._no_response(f"{lost}{words}"), ended=True)

    def _refused(self, failure: Mapping[str, Any]) -> Answer:
        """Return the answer to the opening of a session: whatever it was, no call has been made."""
        if "status" not in failure:
            return self._no_response(failure["reason"])
        if 200 <= failure["status"] < 300:
            return self._none(f"it is no MCP server: {excerpt(failure['content'], 160)}")
        answer = self._http_answer(failure, None)
        told = unexplained(answer, service=self._account.service)
        if told.billed == "no":
            return answer
        reason = f"no session: {told.message}"
        return self._no_response(reason) if told.retryable else self._none(reason)

    async def _close(self, opened: _Open) -> None:
        if self._open is opened:
            self._open = None
        opened.closing.set()
        # Bounded below by the SDK's and our own time limits; a caller that is cancelled does not stop it.
        await asyncio.wait({opened.owner}, timeout=3 * SHORT_TIMEOUT)
        if not opened.owner.done():
            opened.owner.cancel()


class _NotOpenedError(Exception):
    """There is no session now; ``answer`` tells the flow why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


def _require_encodable(call: ToolCall) -> None:
    """Refuse what the SDK would only fail to encode when it is on its way, and end the session with it."""
    try:
        json.dumps(dict(call.arguments), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        # Not the error itself, which holds the text.
        raise InvalidRequestError(
            f"The arguments of {call.tool} cannot be sent as JSON ({type(error).__name__})"
        ) from None


async def _tools_of(session: ClientSession) -> frozenset[str]:
    names: set[str] = set()
    params: types.PaginatedRequestParams | None = None
    for _page in range(_MOST_TOOL_PAGES):
        listed = await session.list_tools(params=params)
        names.update(tool.name for tool in listed.tools)
        if not listed.next_cursor:
            break
        params = types.PaginatedRequestParams(cursor=listed.next_cursor)
    return frozenset(names)


def _text_of(result: types.CallToolResult) -> str:
    """Return what a tool said: its texts, or what it holds as a structure."""
    texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
    if texts:
        return "\n".join(texts)
    structured = result.structured_content
    if isinstance(structured, dict) and isinstance(structured.get("result"), str):
        return str(structured["result"])
    return json.dumps(structured) if structured is not None else ""


def _failure_of(error: MCPError) -> Mapping[str, Any] | None:
    """Return the facts that our own HTTP layer put into an error."""
    data = error.error.data
    return data[FAILURE] if isinstance(data, dict) and FAILURE in data else None


def _innermost(error: BaseException) -> BaseException:
    """Return the one error of a group of groups, or its first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _said(error: BaseException) -> str:
    return excerpt(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, 160)
