"""Puts the local service together: which request goes where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_imagetasks.local.dialects import DIALECT_NAMES, make_dialects
from airflow_provider_imagetasks.local.files import Files
from airflow_provider_imagetasks.local.pages import front_page
from airflow_provider_imagetasks.local.state import ServiceState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_imagetasks.local.options import ServiceOptions

_LARGEST_BODY = 16 * 1024 * 1024
_LONGEST_SHUTDOWN = 0.1


class LocalApplication:
    """One local service: its state and its routes."""

    def __init__(self, options: ServiceOptions) -> None:
        self.state = ServiceState(options, dialects=DIALECT_NAMES)
        self._dialects = make_dialects(self.state)

    def runner(self) -> web.AppRunner:
        """Return what serves the routes.

        A request whose client has left is given up, so that requests that are held for ever do not pile up.
        """
        application = web.Application(client_max_size=_LARGEST_BODY)
        for dialect in self._dialects:
            application.add_routes(dialect.routes())
        application.add_routes(Files(self.state).routes())
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
            await dialect.close()
        await self.state.callbacks.close()
        self.state.painter.close()

    async def _front_page(self, request: web.Request) -> web.Response:
        prefixes = {dialect.name: dialect.prefix for dialect in self._dialects}
        page = front_page(str(request.url.origin()), prefixes, self.state.tasks.newest(60))
        return web.Response(text=page, content_type="text/html")

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "local": True})

    async def _stats(self, _request: web.Request) -> web.Response:
        return web.json_response(self.state.stats())

    async def _reset_stats(self, _request: web.Request) -> web.Response:
        self.state.reset_counts()
        return web.json_response(self.state.stats())
