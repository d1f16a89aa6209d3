"""Fetches results over HTTP: bounded in size and time, guarded, and never with the API key."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urljoin

import aiohttp

from airflow_provider_imagetasks.exceptions import DownloadError, UnsafeResultError
from airflow_provider_imagetasks.files.addresses import ForbiddenAddressError, GuardedResolver, ResultAddresses
from airflow_provider_imagetasks.files.pictures import LARGEST_BYTES
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.transports.environment import Proxies, tls_context
from airflow_provider_imagetasks.transports.http import CONNECT_TIMEOUT, USER_AGENT

LONGEST_SECONDS = 600.0
MOST_REDIRECTS = 5
ATTEMPTS = 4
FIRST_PAUSE = 1.0
"""Seconds before the second attempt; doubled before each further one."""
HELD_BYTES = 4 * 1024 * 1024
"""Results up to this many bytes are held in memory; larger ones go to the worker's disk in pieces of this size."""
_READ_AHEAD = 512 * 1024


class Fetcher:
    """One session for results. It knows no key, so none can leak to the host that a result is on.

    :param account: for proxies, certificates and what it allows of hosts.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._proxies = Proxies(account)
        self._addresses = ResultAddresses(account, self._proxies)
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Fetcher:
        context = await asyncio.to_thread(tls_context, self._account)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, resolver=GuardedResolver(self._addresses), limit=0),
            headers={"User-Agent": USER_AGENT, "Accept": "image/*", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(
                total=LONGEST_SECONDS, sock_connect=CONNECT_TIMEOUT, sock_read=self._account.request_timeout
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=_READ_AHEAD,
        )
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._session.close()

    async def fetch(self, url: str, scratch: Path) -> bytes | Path:
        """Return what ``url`` holds, after up to four attempts where the way to it fails.

        :param scratch: a file for a result that is too large to hold; then it is what is returned.
        :raises DownloadError: it could not be fetched whole; a retry may.
        :raises UnsafeResultError: it may not be fetched: address, size or redirects.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._fetch_once(url, scratch)
            except DownloadError as error:
                if not error.retryable or attempt == ATTEMPTS:
                    raise
            await asyncio.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    async def _fetch_once(self, url: str, scratch: Path) -> bytes | Path:
        for _ in range(MOST_REDIRECTS + 1):
            self._addresses.check(url)
            try:
                async with self._session.get(url, allow_redirects=False, proxy=self._proxies.of(url)) as response:
                    location = response.headers.get("location")
                    if response.status not in (301, 302, 303, 307, 308) or not location:
                        return await _receive(response, scratch, shown(url))
                    url = urljoin(url, location)
            except (aiohttp.ClientError, TimeoutError) as error:
                os_error = getattr(error, "os_error", None)
                if isinstance(os_error, ForbiddenAddressError):
                    raise UnsafeResultError(str(os_error)) from None
                if isinstance(error, aiohttp.InvalidURL):
                    raise UnsafeResultError(f"The result's address cannot be used: {shown(url)}") from error
                raise DownloadError(f"{shown(url)} could not be fetched whole ({type(error).__name__})") from error
        raise UnsafeResultError(f"The result redirects more than {MOST_REDIRECTS} times, last to {shown(url)}")


async def _receive(response: aiohttp.ClientResponse, scratch: Path, shown_url: str) -> bytes | Path:
    if response.status != 200:
        gone = response.status in (401, 403, 404, 410)
        reason = "; result addresses expire, so it may be gone" if gone else ""
        raise DownloadError(f"{shown_url} answered HTTP {response.status}{reason}", code=str(response.status))
    expected = response.content_length
    if expected is not None and expected > LARGEST_BYTES:
        raise UnsafeResultError(f"{shown_url} announces {expected:,} bytes, more than {LARGEST_BYTES:,}")
    received = written = 0
    held: list[bytes] = []
    async for chunk in response.content.iter_any():
        received += len(chunk)
        if received > LARGEST_BYTES:
            raise UnsafeResultError(f"{shown_url} sends more than {LARGEST_BYTES:,} bytes")
        held.append(chunk)
        if received - written > HELD_BYTES:
            await asyncio.to_thread(_write, scratch, held, written)
            held, written = [], received
    if expected is not None and received != expected:
        raise DownloadError(f"{shown_url} was cut off after {received:,} of {expected:,} bytes")
    if not written:
        return b"".join(held)
    await asyncio.to_thread(_write, scratch, held, written)
    return scratch


def _write(target: Path, chunks: list[bytes], written: int) -> None:
    """Write the next chunks of a file, of which so many bytes are written; none means that it begins anew."""
    with target.open("ab" if written else "wb") as file:
        file.writelines(chunks)


def shown(url: str) -> str:
    """Return a URL without its query, which may be a signature, and without a user name or password."""
    address = url.partition("?")[0]
    scheme, separator, rest = address.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"[:200]
