"""Fetches results over HTTP: bounded in size and time, guarded, and never with the API key."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from airflow_provider_imagetasks.exceptions import (
    DownloadError,
    InvalidRequestError,
    ResultExpiredError,
    UnsafeResultError,
)
from airflow_provider_imagetasks.files.addresses import ForbiddenAddressError, GuardedConnector, ResultAddresses
from airflow_provider_imagetasks.files.picture_structure import kind_of
from airflow_provider_imagetasks.files.pictures import LARGEST_BYTES
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.exchange import LONGEST_PAUSE, retry_after
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.transports.account_key import USER_AGENT
from airflow_provider_imagetasks.transports.answer_framing import LONGEST_HEADER
from airflow_provider_imagetasks.transports.environment import Proxies, tls_context
from airflow_provider_imagetasks.transports.failures import reason_of, refusal_of_proxy
from airflow_provider_imagetasks.transports.http import CONNECT_TIMEOUT

LONGEST_SECONDS = 600.0
"""Seconds for one picture, with all attempts, redirects and pauses."""
MOST_REDIRECTS = 5
ATTEMPTS = 4
FIRST_PAUSE = 1.0
"""Seconds before the second attempt; doubled before each further one."""
HELD_BYTES = 4 * 1024 * 1024
"""Results up to this many bytes are held in memory; larger ones go to the worker's disk in pieces of this size."""
_READ_AHEAD = 512 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
# By 203 a proxy says that it has changed the answer; it is whole, and is checked as any other.
_WHOLE = (200, 203)
_GONE = (400, 401, 403, 404, 410)
"""What stores answer for an address that is not valid any more; Google's says 400."""
_NOT_YET = 202
_PACKED = ("gzip", "x-gzip", "deflate")
_NOT_PACKED = ("", "identity", "aws-chunked")
_PACKED_OTHERWISE = ("br", "zstd", "compress", *_PACKED)
_GZIP = 0x1F
_TELLING = 12
"""First bytes that tell whether it is a picture; nothing that is packed and holds one is as short."""
_MOST_SHORT_MEMBERS = 100
_SHORT_MEMBER = 1024
"""Bytes that a member of a packed body has at least, on average, where there are many: each one costs a copy of what
is at hand of those behind it."""
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"\0\0\0")


class Fetcher:
    """Two sessions for results, one of them through proxies. They know no key, so none can leak to a result's host.

    :param account: for proxies, certificates and what it allows of hosts.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._proxies = Proxies(account)
        self._addresses = ResultAddresses(account, self._proxies)
        self._direct: aiohttp.ClientSession
        self._proxied: aiohttp.ClientSession

    async def __aenter__(self) -> Fetcher:
        context = await asyncio.to_thread(tls_context, self._account)
        self._direct = self._session(GuardedConnector(self._addresses, ssl=context, limit=0))
        # Proxies are where no result may be, so that whoever connects to them must not ask.
        self._proxied = self._session(aiohttp.TCPConnector(ssl=context, limit=0))
        return self

    def _session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": USER_AGENT, "Accept": "image/*", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_TIMEOUT, sock_read=self._account.request_timeout
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=_READ_AHEAD,
            max_line_size=LONGEST_HEADER,
            max_field_size=LONGEST_HEADER,
        )

    async def __aexit__(self, *_exception: object) -> None:
        await self._direct.close()
        await self._proxied.close()

    async def fetch(self, url: str, scratch: Path) -> bytes | Path:
        """Return what ``url`` holds, after up to four attempts where the way to it fails.

        :param scratch: a file for a result that is too large to hold; then it is what is returned.
        :raises DownloadError: it could not be fetched whole; a retry may.
        :raises ResultExpiredError: it is not there, or not any more; the image task's record may name another address.
        :raises UnsafeResultError: it may not be fetched: address, size or redirects.
        """
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                for attempt in range(1, ATTEMPTS + 1):
                    try:
                        return await self._fetch_once(url, scratch)
                    except DownloadError as error:
                        # A store may need a moment until it shows a picture; what it refuses it refuses again.
                        is_final = isinstance(error, ResultExpiredError) and error.code != "404"
                        if not error.retryable or is_final or attempt == ATTEMPTS:
                            raise
                        wanted = error.retry_after or 0.0
                    await asyncio.sleep(max(FIRST_PAUSE * 2 ** (attempt - 1), min(wanted, LONGEST_PAUSE)))
        except TimeoutError:
            raise DownloadError(f"{shown(url)} was not fetched within {LONGEST_SECONDS:.0f} seconds") from None
        raise AssertionError("the last attempt returns or raises")

    async def _fetch_once(self, reference: str, scratch: Path) -> bytes | Path:
        address = proxy = None
        for _ in range(MOST_REDIRECTS + 1):
            try:
                address = self._addresses.checked(reference, address)
                proxy = self._proxies.of_host(address.scheme, address.raw_host or "", address.port)
                session = self._proxied if proxy else self._direct
                async with session.get(address, allow_redirects=False, proxy=proxy) as response:
                    location = response.headers.get("location")
                    if response.status not in _REDIRECTS or not location:
                        if refusal := refusal_of_proxy(proxy, response.status):
                            raise DownloadError(f"{shown(str(address))} could not be fetched: {refusal}")
                        return await _receive(response, scratch, shown(str(address)))
                    reference = location
            except ForbiddenAddressError as error:
                raise UnsafeResultError(str(error)) from None
            except InvalidRequestError as error:
                advice = "Correct it, then Clear the task; nothing is paid again."
                raise DownloadError(error.message, retryable=False, retry_advice=advice) from None
            except (aiohttp.ClientError, TimeoutError) as error:
                # Not as its cause: it may show the whole address.
                why = reason_of(error, proxy) if proxy else type(error).__name__
                raise DownloadError(f"{shown(str(address))} could not be fetched whole ({why})") from None
        raise UnsafeResultError(f"The result redirects more than {MOST_REDIRECTS} times, last to {shown(str(address))}")


async def _receive(response: aiohttp.ClientResponse, scratch: Path, shown_url: str) -> bytes | Path:
    if response.status not in _WHOLE:
        raise _refusal(response, shown_url)
    expected = response.content_length
    if expected is not None and expected > LARGEST_BYTES:
        raise UnsafeResultError(f"{shown_url} announces {expected:,} bytes, more than {LARGEST_BYTES:,}")
    received = size = written = 0
    held: list[bytes] = []
    body, beginning = _Body(",".join(response.headers.getall("content-encoding", []))), b""
    try:
        async for chunk in response.content.iter_any():
            received += len(chunk)
            beginning = (beginning + chunk[:4])[:4]
            for part in body.parts(chunk):
                size += len(part)
                if max(size, received) > LARGEST_BYTES:
                    raise UnsafeResultError(f"{shown_url} sends more than {LARGEST_BYTES:,} bytes")
                held.append(part)
                if size - written > HELD_BYTES:
                    await asyncio.to_thread(_write, scratch, held, written)
                    held, written = [], size
    except zlib.error as error:
        raise DownloadError(f"{shown_url} is compressed, but cannot be unpacked: {error}") from None
    if (expected is not None and received != expected) or not body.is_whole:
        of = f" of {expected:,}" if expected is not None else ""
        raise DownloadError(f"{shown_url} was cut off after {received:,}{of} bytes")
    if body.is_packed_otherwise and beginning and not beginning.startswith(_PICTURES):
        raise UnsafeResultError(
            f"{shown_url} has a content encoding that was not requested and cannot be unpacked ({body.told})"
        )
    if not written:
        return b"".join(held)
    await asyncio.to_thread(_write, scratch, held, written)
    return scratch


def _refusal(response: aiohttp.ClientResponse, shown_url: str) -> DownloadError:
    gone = response.status in _GONE
    headers = {name.lower(): value for name, value in response.headers.items()}
    answer = Response(status=response.status, headers=headers, content=b"", at=time.time())
    reason = "; result addresses expire, so it may be gone" if gone else ""
    if response.status < 400 and response.status != _NOT_YET:
        advice = "A retry would be answered alike. Look at the address, then Clear the task; nothing is paid again."
        told = f"{shown_url} answered HTTP {response.status}, which is no picture"
        return DownloadError(told, code=str(response.status), retryable=False, retry_advice=advice)
    return (ResultExpiredError if gone else DownloadError)(
        f"{shown_url} answered HTTP {response.status}{reason}",
        code=str(response.status),
        retry_after=retry_after(answer),
    )


class _Body:
    """The body of an answer as it was before it was packed for the way.

    :param coding: what the answer says that it is packed with.
    """

    def __init__(self, coding: str) -> None:
        codings = [name for name in map(str.strip, coding.lower().split(",")) if name not in _NOT_PACKED]
        self._coding = codings[0] if len(codings) == 1 and codings[0] in _PACKED else None
        self.is_packed_otherwise = bool(codings) and self._coding is None
        """Whether it says that it is packed in another way than those that are unpacked."""
        # What else stands there may be anything, and is not for the log.
        self.told = ", ".join(name if name in _PACKED_OTHERWISE else "unknown" for name in codings)[:60]
        """How it says that it is packed, for a message."""
        self._beginning = b""
        self._received = self._members = 0
        self._has_begun = self._has_ended = False
        self._unpacking: zlib._Decompress | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing at its end, as far as packing tells."""
        return not self._beginning and (self._has_ended or self._unpacking is None or self._unpacking.eof)

    def parts(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what a chunk holds, in pieces that fit into memory; what lies behind the end is left out.

        :raises zlib.error: it cannot be unpacked.
        """
        self._received += len(chunk)
        if not self._has_begun:
            chunk = self._beginning = self._beginning + chunk
            if self._coding is not None and len(chunk) < _TELLING:
                return
            self._has_begun, self._beginning = True, b""
            self._unpacking = self._unpacker(chunk)
        if self._unpacking is None:
            yield chunk
            return
        while chunk and not self._has_ended:
            if self._unpacking.eof:
                # A packed body may have several members, one behind the other.
                self._has_ended = chunk[0] != _GZIP
                self._members += 1
                if self._members > _MOST_SHORT_MEMBERS and self._members * _SHORT_MEMBER > self._received:
                    raise zlib.error("it has too many short members")
                self._unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)
                continue
            part = self._unpacking.decompress(chunk, HELD_BYTES)
            chunk = self._unpacking.unused_data if self._unpacking.eof else self._unpacking.unconsumed_tail
            yield part

    def _unpacker(self, beginning: bytes) -> zlib._Decompress | None:
        # Some stores say so of what is not packed.
        if self._coding is None or kind_of(beginning) or beginning[4:8] == b"ftyp":
            return None
        has_head = beginning[0] == _GZIP or beginning[0] & 0x0F == 0x08
        return zlib.decompressobj(zlib.MAX_WBITS | 32 if has_head else -zlib.MAX_WBITS)


def _write(target: Path, chunks: list[bytes], written: int) -> None:
    """Write the next chunks of a file, of which so many bytes are written; none means that it begins anew."""
    with target.open("ab" if written else "wb") as file:
        file.writelines(chunks)


def shown(url: str) -> str:
    """Return a URL without its query, which may be a signature, and without a user name or password."""
    address = url.partition("?")[0].partition("#")[0]
    scheme, separator, rest = address.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"[:200]
