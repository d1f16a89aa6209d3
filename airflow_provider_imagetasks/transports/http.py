"""Runs flows: with requests in workers, with aiohttp in triggerers. Nothing here knows a service's protocol.

Both treat the environment alike: proxies come from the environment's variables and the CA bundle from
``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE`` or ``SSL_CERT_FILE``, unless the connection's ``trust_env`` is false;
``.netrc`` is never read; redirects are never followed.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from http.cookiejar import DefaultCookiePolicy
from importlib import import_module
from typing import TYPE_CHECKING, Self

from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.wire import (
    Answer,
    AnswerFile,
    Blocking,
    Call,
    Flow,
    NoResponse,
    Request,
    Response,
    Result,
    Sleep,
    Step,
    run_flow,
    run_flow_at_once,
)
from airflow_provider_imagetasks.transports.account_key import headers_of, hidden_forms, url_of, without_secrets
from airflow_provider_imagetasks.transports.answer_framing import LONGEST_HEADER, require_framing
from airflow_provider_imagetasks.transports.answers import (
    MOST_HEADER_LINES,
    TOO_MANY_HEADER_LINES,
    FiledAnswer,
    UnreadableHeadError,
    apart,
    received,
)
from airflow_provider_imagetasks.transports.environment import Proxies, ca_bundle, tls_context
from airflow_provider_imagetasks.transports.failures import (
    TOO_SLOW,
    TOO_SLOW_TO_CONNECT,
    UNREAD,
    may_have_left,
    reason_of,
    refusal_of_proxy,
)
from airflow_provider_imagetasks.transports.streamed_answer import StreamedAnswer, opened_answer
from airflow_provider_imagetasks.transports.unpacking import LARGEST_PART, Unpacking

if TYPE_CHECKING:
    import aiohttp

CONNECT_TIMEOUT = 10.0
_CHUNK = 64 * 1024


class Transport(AbstractContextManager["Transport"]):
    """Runs flows on the calling thread. Use it as a context manager."""

    requests_made = 0
    """The number of requests that it has made so far."""

    def run(self, flow: Flow[Result]) -> Result:
        """Drive ``flow`` to its end and return its result, or raise its error."""
        return run_flow_at_once(flow, self._performed)

    def _performed(self, step: Step) -> Answer | float:
        if isinstance(step, Sleep):
            time.sleep(max(0.0, step.seconds))
        elif isinstance(step, Blocking):
            step.function()
        else:
            return self._answer(step)
        return time.time()

    @abstractmethod
    def _answer(self, call: Call) -> Answer:
        """Make one call and say what came of it; never raise for what a service or the way to it does.

        :raises ImageTaskError: it cannot be made: the environment's proxy, or the server's program, cannot be used.
        """


class AsyncTransport(AbstractAsyncContextManager["AsyncTransport"]):
    """Runs flows in the running event loop. Use it as an asynchronous context manager."""

    requests_made = 0
    """The number of requests that it has made so far."""

    @abstractmethod
    async def __aexit__(self, *exception: object) -> None: ...

    async def run(self, flow: Flow[Result]) -> Result:
        """Drive ``flow`` to its end and return its result, or raise its error."""
        return await run_flow(flow, self._performed)

    async def _performed(self, step: Step) -> Answer | float:
        if isinstance(step, Sleep):
            if step.seconds > 0:
                await asyncio.sleep(step.seconds)
        elif isinstance(step, Blocking):
            await asyncio.to_thread(step.function)
        else:
            return await self._answer(step)
        return time.time()

    @abstractmethod
    async def _answer(self, call: Call) -> Answer:
        """Do what :meth:`Transport._answer` does."""

    def stream(self, request: Request) -> AbstractAsyncContextManager[StreamedAnswer]:
        """Open an answer that is read piece by piece, however large it is.

        :raises ServiceUnavailableError: on entering, where no answer comes.
        :raises TypeError: this is no HTTP transport.
        """
        raise TypeError(f"{type(self).__name__} has no answers that are read piece by piece: {request.path}")


class RequestsTransport(Transport):
    """Runs flows on the calling thread, over one session of requests.

    :param keeps_pictures: whether somebody looks at pictures that an answer holds.
    """

    def __init__(self, account: Account, *, keeps_pictures: bool = True) -> None:
        from airflow_provider_imagetasks.transports.deadlines import AnswerDeadline, SessionWithoutRedirects

        self._account = account
        self._keeps_pictures = keeps_pictures
        self._proxies = Proxies(account)
        self._session = SessionWithoutRedirects()
        self._deadline = AnswerDeadline(account.request_timeout)
        self._deadline.watch(self._session)
        # The environment is read by Proxies and ca_bundle; requests itself would also let .netrc replace our key.
        self._session.trust_env = False
        # What is wrong with the environment is no failure of a request, which would be made again.
        self._proxies.of(account.base_url)
        self._session.verify = bundle = ca_bundle(account)
        if isinstance(bundle, str):
            # Which says by name what is wrong with it; requests would say so of each request, as of the network.
            tls_context(account)
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))

    def __exit__(self, *_exception: object) -> None:
        self._session.close()

    def _answer(self, call: Call) -> Answer:
        import requests
        import urllib3

        request = _http_request(call)
        self.requests_made += 1
        url = url_of(self._account, request)
        proxy = self._proxies.of(url)
        try:
            response = self._session.request(
                request.method,
                url,
                json=request.body if not request.parts else None,
                data=request.form if request.parts else None,
                files=[
                    (part.name, (part.file.name, part.file.content, part.file.media_type)) for part in request.parts
                ],
                params=request.parameters,
                headers=headers_of(self._account, request),
                proxies={"http": proxy, "https": proxy} if proxy else None,
                timeout=(CONNECT_TIMEOUT, self._account.request_timeout),
                allow_redirects=False,
                stream=True,
            )
            with (
                response,
                received(
                    self._account, request.streams_to, response.status_code, keeps_pictures=self._keeps_pictures
                ) as receiver,
            ):
                if isinstance(receiver, FiledAnswer):
                    # It has a time of its own.
                    self._deadline.end()
                unpacking = Unpacking(response.headers.get("Content-Encoding", ""))
                while piece := response.raw.read1(_CHUNK, decode_content=False):
                    for part in unpacking.parts(piece):
                        receiver.add(part)
                unpacking.end()
                content = receiver.take()
            self._deadline.end()
            if self._deadline.struck:
                raise requests.ReadTimeout
        except (requests.RequestException, urllib3.exceptions.HTTPError, TimeoutError, *UNREAD) as error:
            self._deadline.end()
            left = may_have_left(error)
            late = TOO_SLOW if left else TOO_SLOW_TO_CONNECT
            reason = late if self._deadline.struck else reason_of(error, proxy)
            return NoResponse(reason=reason, may_have_left=left, at=time.time())
        if refusal := refusal_of_proxy(proxy, response.status_code):
            return NoResponse(reason=refusal, may_have_left=False, at=time.time())
        return _response(self._account, response.status_code, response.headers, content)


class AiohttpTransport(AsyncTransport):
    """Runs flows in the running event loop, over one session of aiohttp.

    :param keeps_pictures: whether somebody looks at pictures that an answer holds.
    """

    def __init__(self, account: Account, *, keeps_pictures: bool = True) -> None:
        self._account = account
        self._keeps_pictures = keeps_pictures
        self._proxies = Proxies(account)
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        # The first import of aiohttp takes some 300 ms, the CA bundle 20 ms more: too long for a shared loop.
        aiohttp = await asyncio.to_thread(import_module, "aiohttp")
        context = await asyncio.to_thread(tls_context, self._account)
        self._proxies.of(self._account.base_url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            timeout=self._time_limits(),
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=LONGEST_HEADER,
            max_field_size=LONGEST_HEADER,
        )
        # It would make a PUT or DELETE again whose answer did not come, as one that costs money must not be.
        self._session._retry_connection = False
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._session.close()

    async def _answer(self, call: Call) -> Answer:
        import aiohttp

        request = _http_request(call)
        self.requests_made += 1
        url = url_of(self._account, request)
        proxy = self._proxies.of(url)
        try:
            async with self._session.request(
                request.method,
                url,
                json=request.body if not request.parts else None,
                data=_aiohttp_form(request) if request.parts else None,
                params=request.parameters,
                headers=headers_of(self._account, request),
                proxy=proxy,
                allow_redirects=False,
                timeout=self._time_limits(request.streams_to),
            ) as response:
                if len(response.raw_headers) > MOST_HEADER_LINES:
                    raise UnreadableHeadError(TOO_MANY_HEADER_LINES)
                framing = (response.headers.getall(name, []) for name in ("Content-Length", "Transfer-Encoding"))
                require_framing(response.version or (0, 9), response.status, *framing)
                unpacking = Unpacking(",".join(response.headers.getall("Content-Encoding", [])))
                to, keeps_pictures = request.streams_to, self._keeps_pictures
                with received(self._account, to, response.status, keeps_pictures=keeps_pictures) as receiver:
                    async for piece in response.content.iter_any():
                        for part in unpacking.parts(piece):
                            if isinstance(receiver, FiledAnswer):
                                await asyncio.to_thread(receiver.add, part)
                            else:
                                receiver.add(part)
                                if len(part) == LARGEST_PART:
                                    # One piece may hold a thousand times as much: others on the loop have their turn.
                                    await asyncio.sleep(0)
                    unpacking.end()
                    content = receiver.take()
        except (aiohttp.ClientError, TimeoutError, *UNREAD) as error:
            return NoResponse(reason=reason_of(error, proxy), may_have_left=may_have_left(error), at=time.time())
        if refusal := refusal_of_proxy(proxy, response.status):
            return NoResponse(reason=refusal, may_have_left=False, at=time.time())
        return await apart(len(content), _response_read, self._account, response.status, response.headers, content)

    def _time_limits(self, streams_to: AnswerFile | None = None) -> aiohttp.ClientTimeout:
        """Return those of a request: a large answer may take its time, but not be silent for long."""
        import aiohttp

        usual = self._account.request_timeout
        if streams_to is None:
            return aiohttp.ClientTimeout(total=usual, sock_connect=CONNECT_TIMEOUT)
        return aiohttp.ClientTimeout(total=streams_to.seconds, sock_connect=CONNECT_TIMEOUT, sock_read=usual)

    def stream(self, request: Request) -> AbstractAsyncContextManager[StreamedAnswer]:
        """Open an answer that is read piece by piece, however large it is."""
        self.requests_made += 1
        url, headers = url_of(self._account, request), headers_of(self._account, request)
        proxy = self._proxies.of(url)
        return opened_answer(
            self._session, self._account, request, url, headers, proxy=proxy, connect_seconds=CONNECT_TIMEOUT
        )


def _http_request(call: Call) -> Request:
    if not isinstance(call, Request):
        raise TypeError(f"{type(call).__name__} is not an HTTP request: its service has to say is_tool_server")
    return call


def _response(account: Account, status: int, headers: Mapping[str, str], content: bytes) -> Response:
    """Return an answer without the key, which some services repeat in their error messages."""
    fields = {name.lower(): value for name, value in headers.items()}
    for form in hidden_forms(account.key):
        fields = {name: value.replace(form, "***") for name, value in fields.items()}
    return Response(status=status, headers=fields, content=without_secrets(content, [account.key]), at=time.time())


def _response_read(account: Account, status: int, headers: Mapping[str, str], content: bytes) -> Response:
    return _response(account, status, headers, content).read_ahead()


def _aiohttp_form(request: Request) -> aiohttp.FormData:
    import aiohttp

    form = aiohttp.FormData(request.form, default_to_multipart=True)
    for part in request.parts:
        form.add_field(part.name, part.file.content, filename=part.file.name, content_type=part.file.media_type)
    return form
