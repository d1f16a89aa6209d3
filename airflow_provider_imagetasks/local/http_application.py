"""Puts the local service together: which request goes where."""

from __future__ import annotations

import html
from collections.abc import AsyncIterator

from aiohttp import web

from airflow_provider_imagetasks.local.dialects import make_dialects
from airflow_provider_imagetasks.local.dialects.mcp_server import ToolServer
from airflow_provider_imagetasks.local.downloads import Downloads
from airflow_provider_imagetasks.local.options import ServiceOptions
from airflow_provider_imagetasks.local.service_state import ServiceState
from airflow_provider_imagetasks.local.task_table import TaskRecord

_LARGEST_BODY = 16 * 1024 * 1024
_LONGEST_SHUTDOWN = 0.1
_SHOWN_PICTURES = 24

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
        self.state = ServiceState(options)
        self._dialects = make_dialects(self.state)

    def runner(self) -> web.AppRunner:
        """Return what serves the routes.

        A request whose client has left is given up, so that requests that are held for ever do not pile up.
        """
        application = web.Application(client_max_size=_LARGEST_BODY)
        for dialect in self._dialects:
            application.add_routes(dialect.routes())
        application.add_routes(Downloads(self.state).routes())
        application.add_routes(
            [
                web.get("/", self._front_page),
                web.get("/health", self._health),
                web.get("/stats", self._stats),
                web.post("/stats/reset", self._reset_stats),
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
