"""Runs flows: with requests in workers, with aiohttp in triggerers. Nothing here knows a service's protocol.

Both treat the environment alike: proxies come from the environment's variables and the CA bundle from
``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE`` or ``SSL_CERT_FILE``, unless the connection's ``trust_env`` is false;
``.netrc`` is never read; redirects are never followed.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from airflow_provider_imagetasks import __version__
from airflow_provider_imagetasks.account import Account
from airflow_provider_imagetasks.services.wire import Answer, Flow, NoResponse, Request, Response, Result, Sleep

if TYPE_CHECKING:
    import aiohttp

USER_AGENT = f"airflow-provider-imagetasks/{__version__}"
CONNECT_TIMEOUT = 10.0
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def proxy_for(account: Account, url: str) -> str | None:
    """Return the proxy that the environment names for ``url``, None for a direct connection."""
    parts = urlsplit(url)
    if not account.trust_env or not parts.hostname or proxy_bypass(parts.hostname):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def ca_bundle(account: Account) -> str | bool:
    """Return the path of the CA bundle to verify with, True for the default one, False for no verification."""
    if account.verify is not True or not account.trust_env:
        return account.verify
    return next((path for name in _CA_VARIABLES if (path := os.environ.get(name))), True)


def _headers(account: Account, request: Request) -> dict[str, str]:
    headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **request.headers}
    if account.key:
        headers["Authorization"] = f"Bearer {account.key}"
    return headers


class RequestsTransport:
    """Runs flows on the calling thread, over one session. Use it as a context manager."""

    def __init__(self, account: Account) -> None:
        import requests

        self._account = account
        self._session = requests.Session()
        # The environment is read by proxy_for and ca_bundle; requests itself would also let .netrc replace our key.
        self._session.trust_env = False
        self._session.verify = ca_bundle(account)

    def __enter__(self) -> RequestsTransport:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._session.close()

    def run(self, flow: Flow[Result]) -> Result:
        """Drive ``flow`` to its end and return its result, or raise its error."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Sleep):
                    time.sleep(max(0.0, step.seconds))
                    step = flow.send(time.time())
                else:
                    step = flow.send(self._answer(step))
        except StopIteration as end:
            result: Result = end.value
            return result

    def _answer(self, request: Request) -> Answer:
        import requests

        url = self._account.base_url + request.path
        proxy = proxy_for(self._account, url)
        try:
            response = self._session.request(
                request.method,
                url,
                json=request.body,
                params=request.parameters,
                headers=_headers(self._account, request),
                proxies={"http": proxy, "https": proxy} if proxy else None,
                timeout=(CONNECT_TIMEOUT, self._account.request_timeout),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            return NoResponse(reason=_reason(error), may_have_left=_may_have_left(error), at=time.time())
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Response(status=response.status_code, headers=headers, content=response.content, at=time.time())


class AiohttpTransport:
    """Runs flows in the running event loop, over one session. Use it as an asynchronous context manager."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> AiohttpTransport:
        import aiohttp

        # Building a TLS context reads the CA bundle from disk, some 20 ms that the loop should not wait for.
        context = await asyncio.to_thread(_tls_context, self._account)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            timeout=aiohttp.ClientTimeout(total=self._account.request_timeout, sock_connect=CONNECT_TIMEOUT),
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_exception: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def run(self, flow: Flow[Result]) -> Result:
        """Drive ``flow`` to its end and return its result, or raise its error."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Sleep):
                    await asyncio.sleep(max(0.0, step.seconds))
                    step = flow.send(time.time())
                else:
                    step = flow.send(await self._answer(step))
        except StopIteration as end:
            result: Result = end.value
            return result

    async def _answer(self, request: Request) -> Answer:
        import aiohttp

        if self._session is None:
            raise RuntimeError("the transport is not open; use it in 'async with'")
        url = self._account.base_url + request.path
        try:
            async with self._session.request(
                request.method,
                url,
                json=request.body,
                params=request.parameters,
                headers=_headers(self._account, request),
                proxy=proxy_for(self._account, url),
                allow_redirects=False,
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            return NoResponse(reason=_reason(error), may_have_left=_may_have_left(error), at=time.time())
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Response(status=response.status, headers=headers, content=content, at=time.time())


def _tls_context(account: Account) -> ssl.SSLContext | bool:
    bundle = ca_bundle(account)
    if bundle is False:
        return False
    if bundle is True:
        import certifi

        bundle = certifi.where()
    is_folder = Path(str(bundle)).is_dir()
    return ssl.create_default_context(
        cafile=None if is_folder else str(bundle), capath=str(bundle) if is_folder else None
    )


def _causes(error: BaseException) -> list[Any]:
    """Return an error and everything that it wraps, in whichever way the libraries wrap."""
    found: list[Any] = []
    waiting: list[Any] = [error]
    while waiting:
        current = waiting.pop()
        if isinstance(current, BaseException) and not any(current is known for known in found):
            found.append(current)
            waiting += [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
            waiting.append(getattr(current, "os_error", None))
    return found


def _may_have_left(error: BaseException) -> bool:
    """Return False only where the connection was never made, so that the service cannot have seen the request."""
    import aiohttp
    import requests
    import urllib3

    never_made = (
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.ConnectTimeoutError,
        urllib3.exceptions.ProxyError,
        requests.ConnectTimeout,
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidHeader,
        aiohttp.ClientConnectorError,
        aiohttp.ConnectionTimeoutError,
        aiohttp.InvalidURL,
        ssl.SSLCertVerificationError,
    )
    return not any(isinstance(cause, never_made) for cause in _causes(error))


def _reason(error: BaseException) -> str:
    """Return what happened in words, without the request's URL or headers."""
    import aiohttp
    import requests

    if isinstance(error, (requests.Timeout, TimeoutError)):
        connecting = isinstance(error, (requests.ConnectTimeout, aiohttp.ConnectionTimeoutError))
        return "it took too long to connect" if connecting else "the answer took too long"
    root = next(
        (cause for cause in reversed(_causes(error)) if isinstance(cause, OSError) and str(cause.strerror or "")), None
    )
    detail = getattr(root, "strerror", None) or type(error).__name__
    return f"{'the connection was cut' if _may_have_left(error) else 'no connection'} ({detail})"
