"""The HTTP below an MCP session: the package's own rules, and failures that do not take the whole session along.

The SDK would end a session when one of its requests fails, and keep of an HTTP error only that there was one. Here
every failure becomes a JSON-RPC error for the request that it belongs to, with the facts as its data.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

import httpx2

from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.wire import excerpt, has_too_many_values, read_json
from airflow_provider_imagetasks.transports.account_key import headers_of, without_secrets
from airflow_provider_imagetasks.transports.answers import AnswerTooLargeError, ReceivedAnswer, apart
from airflow_provider_imagetasks.transports.environment import Proxies, tls_context
from airflow_provider_imagetasks.transports.failures import (
    TOO_SLOW,
    TOO_SLOW_TO_CONNECT,
    refusal_of_proxy,
    refused_by_proxy,
    to_proxy,
    words_of,
)
from airflow_provider_imagetasks.transports.http import CONNECT_TIMEOUT

FAILURE = "imagetasks"
"""Under this name the data of an error holds what this module knows of it."""
ERROR_CODE = -32000
SHORT_TIMEOUT = 5.0
"""Seconds for messages whose answer nobody waits for: notifications, the end of a session."""
_EXCERPT = 4096
_TELLING = ("retry-after", "location")
_KEPT = ("content-type", "mcp-session-id", "mcp-protocol-version")
"""The headers that an MCP client has a use for; the body is decoded already, and cookies are not kept."""
_FAILURES = (httpx2.HTTPError, httpx2.StreamError, OSError)
_NEVER_LEFT = (
    *(httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError),
    *(httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL),
)


def make_client(account: Account, keeps_pictures: bool) -> httpx2.AsyncClient:
    """Return the HTTP client of one MCP session; reads the CA bundle from a file.

    :param keeps_pictures: whether somebody looks at pictures that an answer holds.
    :raises InvalidRequestError: the environment's proxy or the CA bundle cannot be used.
    """
    proxy = Proxies(account).of(account.base_url)
    inner = httpx2.AsyncHTTPTransport(verify=tls_context(account), proxy=proxy, trust_env=False)
    return httpx2.AsyncClient(
        headers=headers_of(account),
        transport=GuardedHttp(account, inner, keeps_pictures=keeps_pictures, proxy=proxy),
        timeout=httpx2.Timeout(account.request_timeout, connect=CONNECT_TIMEOUT),
        trust_env=False,
        follow_redirects=False,
    )


class GuardedHttp(httpx2.AsyncBaseTransport):
    """Makes the requests of one MCP session.

    :param inner: what really makes them.
    :param keeps_pictures: whether somebody looks at pictures that an answer holds.
    :param proxy: that it makes them through, for messages.
    """

    def __init__(
        self,
        account: Account,
        inner: httpx2.AsyncBaseTransport,
        *,
        keeps_pictures: bool = True,
        proxy: str | None = None,
    ) -> None:
        self._account = account
        self._inner = inner
        self._proxy = proxy
        self._received = partial(ReceivedAnswer, account, keeps_pictures=keeps_pictures)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Make a request, and answer in the server's place where it does not answer as it should."""
        message_id = _message_id(request)
        if request.method == "GET" and "last-event-id" not in request.headers:
            # A stream for what the server wants of us, which is nothing.
            return httpx2.Response(405, request=request)
        if message_id is None:
            return await self._without_answer(request)
        try:
            # The client's own limits bound only the pauses in an answer.
            async with asyncio.timeout(self._account.request_timeout):
                response = await self._inner.handle_async_request(request)
                kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                if 200 <= response.status_code < 300 and kind == "text/event-stream":
                    return self._streamed(request, response)
                content = await self._content(response)
        except (*_FAILURES, httpx2.InvalidURL, AnswerTooLargeError) as error:
            left = not isinstance(error, _NEVER_LEFT)
            reason = _reason(error, left, self._proxy)
            return _failure(request, message_id, {"reason": reason, "may_have_left": left})
        if refusal := refusal_of_proxy(self._proxy, response.status_code):
            return _failure(request, message_id, {"reason": refusal, "may_have_left": False})
        is_json = 200 <= response.status_code < 300 and kind == "application/json"
        if not is_json or not await apart(len(content), _is_message, content):
            said = content[:_EXCERPT].decode("utf-8", "replace")
            facts = {"status": response.status_code, "headers": _some(response, _TELLING), "content": said}
            return _failure(request, message_id, facts)
        return httpx2.Response(response.status_code, headers=_some(response, _KEPT), content=content, request=request)

    async def _without_answer(self, request: httpx2.Request) -> httpx2.Response:
        try:
            async with asyncio.timeout(SHORT_TIMEOUT):
                response = await self._inner.handle_async_request(request)
                if request.method == "GET":
                    return self._streamed(request, response)
                await self._content(response)
        except (*_FAILURES, AnswerTooLargeError):
            pass
        # Whoever ends a session does not mind that it is gone already.
        return httpx2.Response(204 if request.method == "DELETE" else 202, request=request)

    async def _content(self, response: httpx2.Response) -> bytes:
        try:
            with self._received() as received:
                async for piece in response.aiter_bytes():
                    received.add(piece)
                content = received.take()
        finally:
            await response.aclose()
        return await apart(len(content), without_secrets, content, [self._account.key])

    def _streamed(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        return httpx2.Response(
            response.status_code,
            headers=_some(response, _KEPT),
            stream=_WholeLines(response, self._received(), self._account),
            request=request,
        )


class _WholeLines(httpx2.AsyncByteStream):
    """Passes on a stream of events line by line, without the key, and no more than an answer may have."""

    def __init__(self, response: httpx2.Response, received: ReceivedAnswer, account: Account) -> None:
        self._response = response
        self._received = received
        self._key = account.key
        self._ends_at = time.monotonic() + account.request_timeout

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._response.aiter_bytes():
                if time.monotonic() > self._ends_at:
                    raise httpx2.ReadTimeout("the answer took too long")
                lines, newline, rest = piece.rpartition(b"\n")
                self._received.add(lines + newline)
                if newline:
                    taken = self._received.take()
                    if has_too_many_values(taken):
                        raise AnswerTooLargeError
                    yield without_secrets(taken, [self._key])
                self._received.add(rest)
        except AnswerTooLargeError as error:
            raise httpx2.ReadError("the answer was too large") from error
        if rest := self._received.take():
            yield without_secrets(rest, [self._key])

    async def aclose(self) -> None:
        self._received.close()
        await self._response.aclose()


def _message_id(request: httpx2.Request) -> Any:
    """Return the id of the JSON-RPC request that an HTTP request carries, None where it carries none."""
    if request.method != "POST":
        return None
    message = json.loads(request.content)
    return message.get("id") if isinstance(message, dict) and "method" in message else None


def _is_message(content: bytes) -> bool:
    try:
        message = read_json(content)
    except ValueError:
        return False
    return isinstance(message, dict) and message.get("jsonrpc") == "2.0"


def _some(response: httpx2.Response, names: tuple[str, ...]) -> dict[str, str]:
    return {name: response.headers[name] for name in names if name in response.headers}


def _failure(request: httpx2.Request, message_id: Any, facts: Mapping[str, Any]) -> httpx2.Response:
    error = {"code": ERROR_CODE, "message": "no answer", "data": {FAILURE: facts}}
    return httpx2.Response(503, json={"jsonrpc": "2.0", "id": message_id, "error": error}, request=request)


def _reason(error: Exception, left: bool, proxy: str | None) -> str:
    if isinstance(error, AnswerTooLargeError):
        return "the answer was too large"
    if proxy and isinstance(error, httpx2.ProxyError):
        return refused_by_proxy(proxy, excerpt(str(error), 100))
    if isinstance(error, (httpx2.TimeoutException, TimeoutError)):
        return TOO_SLOW if left else TOO_SLOW_TO_CONNECT
    root: BaseException = error
    while (cause := root.__cause__ or root.__context__) is not None:
        root = cause
    detail = words_of(root) or type(error).__name__
    return f"the connection was cut ({detail})" if left else f"no connection{to_proxy(proxy, root)} ({detail})"
