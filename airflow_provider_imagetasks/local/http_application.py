"""The HTTP application of the local service: its dialects, downloads as a content network serves them, its own page."""

from __future__ import annotations

import asyncio
import html
from collections.abc import AsyncIterator

from aiohttp import web

from airflow_provider_imagetasks.local.admission import PROXY_PAGE
from airflow_provider_imagetasks.local.dialects.known_dialects import DIALECT_NAMES, KNOWN_DIALECTS
from airflow_provider_imagetasks.local.dialects.mcp_server import ToolServer
from airflow_provider_imagetasks.local.drawing import MEDIA_TYPES
from airflow_provider_imagetasks.local.options import ServiceOptions
from airflow_provider_imagetasks.local.service_state import ServiceState
from airflow_provider_imagetasks.local.task_table import TaskRecord

_LARGEST_BODY = 16 * 1024 * 1024
_LONGEST_SHUTDOWN = 0.1
_SHOWN_PICTURES = 24
_THUMBNAIL_WIDTH = 240
_SLOW_SECONDS = 3
_MISSING = "There is no such picture.\n"

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Local image service</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; }}
td {{ padding: .2rem 1.5rem .2rem 0; }}
.pictures {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); gap: 1rem; }}
figure {{ margin: 0; }}
figure img {{ width: 100%; border-radius: .5rem; display: block; }}
figcaption {{ font-size: .8rem; color: #666; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>Local image service</h1>
<p>This is a double of image-generation services, for trying and testing. It draws its own pictures from a hash of
the prompt; no image model is asked, and nothing is billed.</p>
<table>{dialects}</table>
<p><a href="/stats">What it has received</a></p>
<h2>Latest pictures</h2>
{pictures}
</body>
</html>
"""


class LocalApplication:
    """One local service: its state and its routes."""

    def __init__(self, options: ServiceOptions) -> None:
        self.state = ServiceState(options, DIALECT_NAMES)
        self._dialects = [kind(self.state) for kind in KNOWN_DIALECTS]

    def runner(self) -> web.AppRunner:
        """Return what serves the routes.

        A request whose client has left is given up, so that requests that are held for ever do not pile up.
        """
        application = web.Application(client_max_size=_LARGEST_BODY)
        for dialect in self._dialects:
            application.add_routes(dialect.routes())
        application.add_routes(
            [
                # Pictures go to anyone, without a key; those of the service's own page are not counted.
                web.get("/files/{task_id}/{index:[0-9]{1,3}}.{extension}", self._file),
                web.get("/thumbnails/{task_id}/{index:[0-9]{1,3}}.png", self._thumbnail),
                web.get("/", self._front_page),
                web.get("/health", self._health),
                web.get("/stats", self._stats),
                web.post("/stats/reset", self._reset_stats),
                web.post("/clock/skip/{seconds:[0-9]{1,9}}", self._skip),
            ]
        )
        application.cleanup_ctx.append(self._closing)
        return web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=_LONGEST_SHUTDOWN
        )

    async def _closing(self, _application: web.Application) -> AsyncIterator[None]:
        yield
        for dialect in self._dialects:
            if isinstance(dialect, ToolServer):
                await dialect.close()
        await self.state.callbacks.close()
        self.state.close()

    async def _file(self, request: web.Request) -> web.StreamResponse:
        """Serve a picture, or misbehave as its prompt asks."""
        counts = self.state.statistics.files
        counts["files_with_authorization"] += "Authorization" in request.headers
        record, index = self._picture(request)
        if record is None or request.match_info["extension"] != record.media_format:
            counts["files_refused"] += 1
            return web.Response(status=404, text=_MISSING)
        refusal = _refusal(record, str(index))
        if refusal is not None:
            counts["files_refused"] += 1
            return refusal
        picture = await self.state.picture(record, index)
        answer = self.state.download_answer
        response = None if answer is None else await answer(request, picture)
        if response is not None:
            return response
        media_type = MEDIA_TYPES[record.media_format]
        if record.applies("file-truncated", key=str(index)):
            counts["files_refused"] += 1
            return await _send(request, picture, media_type, pieces=5, seconds=0)
        counts["files_served"] += 1
        if record.behaviours.asks("file-slow"):
            seconds = record.behaviours.number("file-slow", _SLOW_SECONDS)
            return await _send(request, picture, media_type, pieces=10, seconds=seconds)
        return web.Response(body=picture, headers={"Content-Type": media_type})

    async def _thumbnail(self, request: web.Request) -> web.StreamResponse:
        record, index = self._picture(request)
        if record is None:
            return web.Response(status=404, text=_MISSING)
        picture = await self.state.picture(record, index, width=_THUMBNAIL_WIDTH)
        return web.Response(body=picture, content_type="image/png")

    def _picture(self, request: web.Request) -> tuple[TaskRecord | None, int]:
        index = int(request.match_info["index"])
        record = self.state.tasks.get(request.match_info["task_id"])
        return (record if record is not None and record.has_picture(index) else None), index

    async def _front_page(self, request: web.Request) -> web.Response:
        origin = str(request.url.origin())
        dialects = "".join(
            f"<tr><td>{html.escape(dialect.name)}</td><td><code>{html.escape(origin + dialect.prefix)}</code></td></tr>"
            for dialect in self._dialects
        )
        finished = [record for record in self.state.tasks.newest(60) if record.finished]
        figures = [_figure(record, index) for record in finished for index in range(record.image_count)]
        shown = "".join(figures[:_SHOWN_PICTURES])
        pictures = f'<div class="pictures">{shown}</div>' if shown else "<p>None yet.</p>"
        return web.Response(text=_PAGE.format(dialects=dialects, pictures=pictures), content_type="text/html")

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "local": True})

    async def _stats(self, _request: web.Request) -> web.Response:
        return web.json_response(self.state.stats())

    async def _skip(self, request: web.Request) -> web.Response:
        self.state.skipped += int(request.match_info["seconds"])
        await self.state.callbacks.look_again()
        return web.json_response({"now": self.state.now()})

    async def _reset_stats(self, _request: web.Request) -> web.Response:
        self.state.reset_counts()
        return web.json_response(self.state.stats())


def _figure(record: TaskRecord, index: int) -> str:
    # A lone surrogate is legal in JSON, but not in the UTF-8 of a page.
    prompt = record.prompt.encode("utf-8", "replace").decode("utf-8")
    path = f"{record.id}/{index}"
    return (
        f'<figure><a href="/files/{path}.{record.media_format}">'
        f'<img src="/thumbnails/{path}.png" alt="" loading="lazy"></a>'
        f"<figcaption>{html.escape(prompt[:200])}</figcaption></figure>"
    )


def _refusal(record: TaskRecord, key: str) -> web.Response | None:
    if record.applies("file-404", key=key):
        return web.Response(status=404, text=_MISSING)
    if record.applies("file-500", key=key):
        status = int(record.behaviours.option("file-500", "status", 500))
        return web.Response(status=status, text="The prompt asked for a server error.\n")
    if record.applies("file-html", key=key):
        return web.Response(text=PROXY_PAGE, content_type="text/html")
    return None


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
