"""Serves the pictures themselves, as a content network would: to anyone, without a key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_imagetasks.local.dialects.dialect import PROXY_PAGE
from airflow_provider_imagetasks.local.pictures import MEDIA_TYPES

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.records import TaskRecord
    from airflow_provider_imagetasks.local.state import ServiceState

_THUMBNAIL_WIDTH = 240
_SLOW_SECONDS = 3
_SLOW_PIECES = 10


class Files:
    """The routes ``/files`` (counted) and ``/thumbnails`` (not counted, for the service's own page)."""

    def __init__(self, state: ServiceState) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/files/{task_id}/{index:[0-9]{1,3}}.{extension}", self.serve),
            web.get("/thumbnails/{task_id}/{index:[0-9]{1,3}}.png", self.serve_thumbnail),
        ]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve a picture, or misbehave as its prompt asks."""
        statistics = self._state.statistics
        if "Authorization" in request.headers:
            statistics.files_with_authorization += 1
        record, index = self._picture(request)
        if record is None or request.match_info["extension"] != record.media_format:
            statistics.files_refused += 1
            return _missing()
        refusal = self._mishap(record, str(index))
        if refusal is not None:
            statistics.files_refused += 1
            return refusal
        picture = await self._state.picture(record, index)
        media_type = MEDIA_TYPES[record.media_format]
        if record.applies("file-truncated", key=str(index)):
            statistics.files_refused += 1
            return await _send_half(request, picture, media_type)
        statistics.files_served += 1
        if record.behaviours.asks("file-slow"):
            seconds = record.behaviours.number("file-slow", _SLOW_SECONDS)
            return await _send_slowly(request, picture, media_type, seconds)
        return web.Response(body=picture, content_type=media_type)

    async def serve_thumbnail(self, request: web.Request) -> web.StreamResponse:
        """Serve a small version of a picture."""
        record, index = self._picture(request)
        if record is None:
            return _missing()
        picture = await self._state.picture(record, index, width=_THUMBNAIL_WIDTH)
        return web.Response(body=picture, content_type="image/png")

    def _picture(self, request: web.Request) -> tuple[TaskRecord | None, int]:
        record = self._state.tasks.get(request.match_info["task_id"])
        index = int(request.match_info["index"])
        if record is None or not record.finished or index >= record.image_count:
            return None, index
        return record, index

    def _mishap(self, record: TaskRecord, key: str) -> web.Response | None:
        if record.applies("file-404", key=key):
            return _missing()
        if record.applies("file-500", key=key):
            status = int(record.behaviours.option("file-500", "status", 500))
            return web.Response(status=status, text="The prompt asked for a server error.\n")
        if record.applies("file-html", key=key):
            return web.Response(text=PROXY_PAGE, content_type="text/html")
        return None


def _missing() -> web.Response:
    return web.Response(status=404, text="There is no such picture.\n")


async def _send_half(request: web.Request, picture: bytes, media_type: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": media_type, "Content-Length": str(len(picture))})
    await response.prepare(request)
    await response.write(picture[: len(picture) // 2])
    # The half has to leave before the connection is cut; aborting would throw away what is not sent yet.
    if request.transport is not None:
        request.transport.close()
    return response


async def _send_slowly(request: web.Request, picture: bytes, media_type: str, seconds: float) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": media_type, "Content-Length": str(len(picture))})
    await response.prepare(request)
    step = len(picture) // _SLOW_PIECES + 1
    for start in range(0, len(picture), step):
        await asyncio.sleep(seconds / _SLOW_PIECES)
        await response.write(picture[start : start + step])
    await response.write_eof()
    return response
