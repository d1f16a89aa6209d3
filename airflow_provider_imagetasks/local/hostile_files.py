"""Results that a download has to survive: too large, endless, in disguise, or cut off."""

from __future__ import annotations

import asyncio
import struct
import zlib
from functools import cache, partial
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_imagetasks.local.dialects.mishaps import PROXY_PAGE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_imagetasks.local.records import TaskRecord

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HUGE_LENGTH = 50_000_000_000
_LITTLE = 64 * 1024
_BOMB_SIDE = 30_000
_SLOW_PIECES = 10
_BREATH = 0.001
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64">'
    "<script>document.title = 'a picture that runs'</script><rect width='64' height='64' fill='red'/></svg>"
)


def hostile_file(record: TaskRecord, key: str) -> Callable[[web.Request, bytes], Awaitable[web.StreamResponse]] | None:
    """Return what answers a download instead of the picture, as the prompt asks; None for the picture itself.

    :param key: which picture of the image task.
    """
    for name, send in _SENDERS.items():
        if record.applies(name, key=key):
            return send
    return None


async def send_beginning(
    request: web.Request, picture: bytes, length: int, *, media_type: str = "image/png", announced: int | None = None
) -> web.StreamResponse:
    """Send only the beginning of a picture, then close the connection.

    :param length: how many bytes to send.
    :param announced: the length to announce, that of the picture when None.
    """
    headers = {"Content-Type": media_type, "Content-Length": str(announced or len(picture))}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await response.write(picture[:length])
    # The beginning has to leave before the connection is cut; aborting would throw away what is not sent yet.
    if request.transport is not None:
        request.transport.close()
    return response


async def send_slowly(request: web.Request, picture: bytes, media_type: str, seconds: float) -> web.StreamResponse:
    """Send a picture in pieces, so that it takes so many seconds."""
    response = web.StreamResponse(headers={"Content-Type": media_type, "Content-Length": str(len(picture))})
    await response.prepare(request)
    step = len(picture) // _SLOW_PIECES + 1
    for start in range(0, len(picture), step):
        await asyncio.sleep(seconds / _SLOW_PIECES)
        await response.write(picture[start : start + step])
    await response.write_eof()
    return response


async def _send_endlessly(request: web.Request, picture: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "image/png"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    filling = bytes(_LITTLE)
    try:
        await response.write(picture)
        while True:
            await response.write(filling)
            # Other requests want to be answered too.
            await asyncio.sleep(_BREATH)
    except ConnectionError:
        return response


async def _send_bomb(_request: web.Request, _picture: bytes) -> web.StreamResponse:
    return web.Response(body=await asyncio.to_thread(_bomb), content_type="image/png")


async def _send_content(
    _request: web.Request, _picture: bytes, *, content: bytes, media_type: str
) -> web.StreamResponse:
    return web.Response(body=content, content_type=media_type)


@cache
def _bomb() -> bytes:
    """Return a PNG of black pixels, one bit each; it is built row by row and never whole in memory."""
    squeezed = zlib.compressobj(9)
    row = bytes(1 + (_BOMB_SIDE + 7) // 8)
    data = b"".join(squeezed.compress(row) for _ in range(_BOMB_SIDE)) + squeezed.flush()
    header = struct.pack(">IIBBBBB", _BOMB_SIDE, _BOMB_SIDE, 1, 0, 0, 0, 0)
    return _PNG_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_SENDERS: dict[str, Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]] = {
    "file-huge": partial(send_beginning, length=_LITTLE, announced=_HUGE_LENGTH),
    "file-endless": _send_endlessly,
    "file-bomb": _send_bomb,
    "file-svg": partial(_send_content, content=_SVG.encode(), media_type="image/svg+xml"),
    "file-fake-png": partial(_send_content, content=_PNG_SIGNATURE + PROXY_PAGE.encode(), media_type="image/png"),
}
