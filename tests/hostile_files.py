"""Files that a download has to survive: too large, endless, in disguise, or somewhere else.

Each is what ``LocalImageService.answer_downloads`` takes: it answers a download instead of the local image service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

Answer = Callable[[web.Request, bytes], Awaitable[web.StreamResponse | None]]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
HTML = b"<!DOCTYPE html><html><body><h1>This page comes from something in between</h1></body></html>"
SVG = (
    b"<svg xmlns='http://www.w3.org/2000/svg' width='64' height='64'><script>document.title = 'it runs'</script></svg>"
)
LITTLE = 64 * 1024


def always(make: Callable[[bytes], web.Response]) -> Answer:
    """What ``make`` makes of the picture, for every download."""

    async def answer(_request: web.Request, picture: bytes) -> web.StreamResponse:
        return make(picture)

    return answer


def file(content: bytes, media_type: str = "image/png") -> Answer:
    """Another file instead of the picture."""
    return always(lambda _picture: web.Response(body=content, content_type=media_type))


def announced_as(media_type: str) -> Answer:
    """The picture itself, as another type."""
    return always(lambda picture: web.Response(body=picture, content_type=media_type))


def redirect(target: str) -> Answer:
    """302 to another address."""
    return always(lambda _picture: web.Response(status=302, headers={"Location": target}))


def once(hostile: Answer) -> Answer:
    """A hostile file for the first download, then the picture."""
    answered: list[str] = []

    async def answer(request: web.Request, picture: bytes) -> web.StreamResponse | None:
        if answered:
            return None
        answered.append(request.path)
        return await hostile(request, picture)

    return answer


async def redirect_to_itself(request: web.Request, _picture: bytes) -> web.StreamResponse:
    """302 to itself, for ever: another address each time, so that only counting helps."""
    hop = int(request.query.get("hop", "0")) + 1
    return web.Response(status=302, headers={"Location": f"{request.path}?hop={hop}"})


async def redirect_to_the_picture(request: web.Request, _picture: bytes) -> web.StreamResponse | None:
    """302 to another address of the same picture."""
    if "redirected" in request.query:
        return None
    return web.Response(status=302, headers={"Location": f"{request.path}?redirected=1"})


async def huge(request: web.Request, picture: bytes) -> web.StreamResponse:
    """50 GB are announced, a little comes."""
    response = web.StreamResponse(headers={"Content-Type": "image/png", "Content-Length": str(50_000_000_000)})
    await response.prepare(request)
    await response.write(picture[:LITTLE])
    assert request.transport is not None
    request.transport.close()
    return response


async def endless(request: web.Request, picture: bytes) -> web.StreamResponse:
    """No length is announced, and it never ends."""
    response = web.StreamResponse(headers={"Content-Type": "image/png"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        await response.write(picture)
        while True:
            await response.write(bytes(LITTLE))
            # Other requests want to be answered too.
            await asyncio.sleep(0.001)
    except ConnectionError:
        return response
