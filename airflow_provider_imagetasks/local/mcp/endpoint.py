"""The path of the local service at which an MCP server is found."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.mcp.serving import HttpSessions
    from airflow_provider_imagetasks.local.mcp.tools import ToolServer

_MISSING = "MCP needs the package 'mcp': pip install 'airflow-provider-imagetasks[mcp]'"


class McpEndpoint:
    """Streamable HTTP at one path; the SDK is imported with the first request, which takes a second."""

    def __init__(self, tool_server: ToolServer, path: str) -> None:
        self._tool_server = tool_server
        self._path = path
        self._sessions: HttpSessions | None = None
        self._starting = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.route("*", self._path, self._handle)]

    async def close(self) -> None:
        """End all sessions."""
        if self._sessions is not None:
            await self._sessions.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        refusal = self._tool_server.refusal(request)
        if refusal is not None:
            return refusal
        async with self._starting:
            if self._sessions is None:
                try:
                    serving = await asyncio.to_thread(import_module, "airflow_provider_imagetasks.local.mcp.serving")
                except ImportError:
                    return web.Response(status=501, text=_MISSING)
                self._sessions = serving.HttpSessions(self._tool_server)
        return await self._sessions.handle(request)
