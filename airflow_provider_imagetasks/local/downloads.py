"""Downloads of the pictures, as a content network serves them: to anyone, without a key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from airflow_provider_imagetasks.local.drawing import MEDIA_TYPES
from airflow_provider_imagetasks.local.faults import PROXY_PAGE
from airflow_provider_imagetasks.local.service_state import ServiceState
from airflow_provider_imagetasks.local.task_table import TaskRecord

DownloadAnswer = Callable[[web.Request, bytes], Awaitable[web.StreamResponse | None]]
"""Answers a download instead of the service, which has drawn the file; None leaves the answer to the service."""

_THUMBNAIL_WIDTH = 240
_SLOW_SECONDS = 3


class Downloads:
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
        statistics.files_with_authorization += "Authorization" in request.headers
        record, index = self._picture(request)
        if record is None or request.match_info["extension"] != record.media_format:
            statistics.files_refused += 1
            return _missing()
        refusal = _refusal(record, str(index))
        if refusal is not None:
            statistics.files_refused += 1
            return refusal
        picture = await self._state.picture(record, index)
        answer = self._state.download_answer
        response = None if answer is None else await answer(request, picture)
        if response is not None:
            return response
        media_type = MEDIA_TYPES[record.media_format]
        if record.applies("file-truncated", key=str(index)):
            statistics.files_refused += 1
            return await _send(request, picture, media_type, pieces=5, seconds=0)
        statistics.files_served += 1
        if record.behaviours.asks("file-slow"):
            seconds = record.behaviours.number("file-slow", _SLOW_SECONDS)
            return await _send(request, picture, media_type, pieces=10, seconds=seconds)
        return web.Response(body=picture, headers={"Content-Type": media_type})

    async def serve_thumbnail(self, request: web.Request) -> web.StreamResponse:
        """Serve a small version of a picture."""
        record, index = self._picture(request)
        if record is None:
            return _missing()
        picture = await self._state.picture(record, index, width=_THUMBNAIL_WIDTH)
        return web.Response(body=picture, content_type="image/png")

    def _picture(self, request: web.Request) -> tuple[TaskRecord | None, int]:
        index = int(request.match_info["index"])
        record = self._state.tasks.get(request.match_info["task_id"])
        return (record if record is not None and record.has_picture(index) else None), index


def _refusal(record: TaskRecord, key: str) -> web.Response | None:
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


async def _send(
    request: web.Request, picture: bytes, media_type: str, *, pieces: int, seconds: float
) -> web.StreamResponse:
    """Send so many tenths of a picture, and take so many seconds; what then is missing never comes."""
    response = web.StreamResponse(headers={"Content-Type": media_type, "Content-Length": str(len(picture))})
    await response.prepare(request)
    step = len(picture) // 10 + 1
    for start in range(0, step * pieces, step):
        await asyncio.sleep(seconds / pieces)
        await response.write(picture[start : start + step])
    # What was sent has to leave before the connection is cut; aborting would throw away what has not left yet.
    if pieces < 10 and request.transport is not None:
        request.transport.close()
    return response
