"""Serves the pictures themselves, as a content network would: to anyone, without a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_imagetasks.local.dialects.mishaps import PROXY_PAGE
from airflow_provider_imagetasks.local.hostile_files import hostile_file, send_beginning, send_slowly
from airflow_provider_imagetasks.local.pictures import MEDIA_TYPES

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.records import TaskRecord
    from airflow_provider_imagetasks.local.state import ServiceState

_THUMBNAIL_WIDTH = 240
_SLOW_SECONDS = 3


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
        target = _redirection(request, record, str(index))
        if target is not None:
            statistics.files_redirected += 1
            return web.Response(status=302, headers={"Location": target})
        picture = await self._state.picture(record, index)
        send = hostile_file(record, str(index))
        if send is not None:
            statistics.files_hostile += 1
            return await send(request, picture)
        media_type = MEDIA_TYPES[record.media_format]
        if record.applies("file-truncated", key=str(index)):
            statistics.files_refused += 1
            return await send_beginning(request, picture, len(picture) // 2, media_type=media_type)
        statistics.files_served += 1
        if record.applies("file-type", key=str(index)):
            media_type = record.behaviours.word("file-type", media_type)
        if record.behaviours.asks("file-slow"):
            seconds = record.behaviours.number("file-slow", _SLOW_SECONDS)
            return await send_slowly(request, picture, media_type, seconds)
        return web.Response(body=picture, headers={"Content-Type": media_type})

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


def _redirection(request: web.Request, record: TaskRecord, key: str) -> str | None:
    """Return where a download is sent on to; None when it is not."""
    if record.applies("file-redirect-loop", key=key):
        # Another address each time, so that only counting helps.
        hop = request.query.get("hop", "")
        return f"{request.path}?hop={int(hop) + 1 if hop.isascii() and hop.isdecimal() and len(hop) < 9 else 1}"
    if "redirected" not in request.query and record.applies("file-redirect", key=key):
        return record.behaviours.word("file-redirect", f"{request.path}?redirected=1")
    return None


def _missing() -> web.Response:
    return web.Response(status=404, text="There is no such picture.\n")
