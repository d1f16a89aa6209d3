"""An answer of any size that is read line by line as it comes: memory holds one line, and a piece of the next."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_imagetasks.exceptions import ServiceUnavailableError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.wire import Request
from airflow_provider_imagetasks.transports.account_key import without_secrets
from airflow_provider_imagetasks.transports.failures import reason_of, refusal_of_proxy
from airflow_provider_imagetasks.transports.unpacking import NotUnpackedError, Unpacking

if TYPE_CHECKING:
    import aiohttp

PIECE = 1024 * 1024
"""Bytes that wait for whoever reads; twice as many, and the service is not read from for a while."""
LONGEST_REFUSAL = 64 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an answer.

    :param content: without its end; where it ``is_cut``, only the first bytes of it.
    :param ends_at: bytes of the answer up to its end.
    :param is_cut: whether it is longer than a line may be.
    :param is_last: whether nothing came after it, not even its end.
    """

    content: bytes
    ends_at: int
    is_cut: bool = False
    is_last: bool = False


class StreamedAnswer:
    """An answer whose head is there.

    :param secrets: that a refusal is not to repeat.
    :raises NotUnpackedError: it is packed in a way that nobody asked for; on entering, and while it is read.
    """

    def __init__(self, response: aiohttp.ClientResponse, secrets: Sequence[str | None]) -> None:
        self._response = response
        self._secrets = secrets
        self._unpacking = Unpacking(",".join(response.headers.getall("Content-Encoding", [])))
        self.status = response.status

    @property
    def is_packed(self) -> bool:
        """Whether it was packed for the way, so that its bytes are not those of its content."""
        return self._unpacking.is_needed

    @property
    def begins_at(self) -> int:
        """Which byte of the whole it begins with, as it says; 0 where it is the whole."""
        told = self._response.headers.get("Content-Range", "") if self.status == 206 else ""
        first = told.removeprefix("bytes ").partition("-")[0]
        return int(first) if first.isascii() and first.isdecimal() else 0

    async def refusal(self) -> bytes:
        """Return the first bytes of an answer that is no success."""
        content = b"".join(self._unpacking.parts(await self._response.content.read(LONGEST_REFUSAL)))
        return without_secrets(content[:LONGEST_REFUSAL], self._secrets)

    async def lines(self, most: int, kept: int = 4096) -> AsyncGenerator[Line, None]:
        """Yield its lines.

        :param most: bytes that one may have.
        :param kept: bytes that are kept of a longer one.
        """
        parts: list[bytes] = []
        size, position, is_cut = 0, self.begins_at, False
        async for piece in self._pieces():
            start = 0
            while (end := piece.find(b"\n", start)) >= 0:
                parts.append(piece[start:end])
                size += end - start
                position += end + 1 - start
                is_cut = is_cut or size > most
                content = b"".join(parts)
                yield Line(content[:kept] if is_cut else content, position, is_cut)
                del content
                parts, size, is_cut, start = [], 0, False, end + 1
            rest = piece[start:] if start else piece
            if rest:
                parts.append(rest)
                size += len(rest)
                position += len(rest)
                if size > most:
                    # The rest of it is only passed over.
                    parts, is_cut = [b"".join(parts)[:kept]], True
        if size:
            yield Line(b"".join(parts)[: kept if is_cut else None], position, is_cut, is_last=True)

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        async for piece in self._response.content.iter_any():
            for part in self._unpacking.parts(piece):
                yield part
        self._unpacking.end()


@asynccontextmanager
async def opened_answer(
    session: aiohttp.ClientSession,
    account: Account,
    request: Request,
    url: str,
    headers: Mapping[str, str],
    *,
    proxy: str | None,
    connect_seconds: float,
) -> AsyncIterator[StreamedAnswer]:
    """Open an answer over a session of aiohttp. It may take its time, but not be silent for long.

    :raises ServiceUnavailableError: on entering, where no answer comes; while it is read, where that breaks off.
    """
    import aiohttp

    limits = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=account.request_timeout)
    # Bytes of what is packed for the way are no bytes of the content, by which it could be read on.
    headers = {**headers, "Accept-Encoding": "identity"}
    try:
        async with session.request(
            request.method,
            url,
            params=request.parameters,
            headers=headers,
            proxy=proxy,
            allow_redirects=False,
            read_bufsize=PIECE,
            timeout=limits,
        ) as response:
            yield StreamedAnswer(response, [account.key])
    except (aiohttp.ClientError, TimeoutError, NotUnpackedError) as error:
        reason = refusal_of_proxy(proxy, getattr(error, "status", 0)) or reason_of(error, proxy)
        what = f"A file could not be read to its end: {reason}"
        raise ServiceUnavailableError(what, service=account.service, billed="unknown") from error
