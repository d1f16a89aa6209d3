"""Serves a tool server with the official SDK: over streamable HTTP inside an aiohttp application, or over stdio."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import mcp_types as types
from aiohttp import web
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError

from airflow_provider_imagetasks.local.dialects.mcp_server import ToolRequest, ToolServer, UnknownToolError
from airflow_provider_imagetasks.local.faults import RefusedError

_REQUEST = "imagetasks.request"


def make_server(tool_server: ToolServer) -> Server[Any]:
    """Return an SDK server that lists and calls the tools."""

    async def list_tools(_context: Any, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=tool.name,
                    description=tool.description,
                    input_schema=tool.schema,
                    output_schema=tool.output_schema,
                )
                for tool in tool_server.tools
            ]
        )

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        asked: ToolRequest | None = context.request.scope[_REQUEST] if context.request is not None else None
        try:
            result = await tool_server.call(params.name, params.arguments or {}, asked.request if asked else None)
        except UnknownToolError as error:
            raise MCPError(types.METHOD_NOT_FOUND, f"Unknown tool: {params.name}") from error
        except RefusedError as refused:
            if asked is None:
                raise MCPError(types.INTERNAL_ERROR, refused.message) from refused
            asked.answer, _ = await tool_server.answer_refusal(asked.request, refused)
            return types.CallToolResult(content=[])
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=result.text)],
            structured_content=result.structured,
            is_error=result.is_error,
        )

    return Server(tool_server.server_name, on_list_tools=list_tools, on_call_tool=call_tool)


async def serve_stdio(tool_server: ToolServer) -> None:
    """Serve one client over stdin and stdout, until it leaves."""
    server = make_server(tool_server)
    async with stdio_server() as (receiving, sending):
        await server.run(receiving, sending, server.create_initialization_options())


class HttpSessions:
    """The SDK's sessions behind one path."""

    def __init__(self, tool_server: ToolServer) -> None:
        self._manager = StreamableHTTPSessionManager(
            make_server(tool_server), stateless=tool_server.stateless, json_response=tool_server.answers_json
        )
        self._ready = asyncio.Event()
        self._closing = asyncio.Event()
        self._owner = asyncio.create_task(self._run())
        self._served: set[asyncio.Task[None]] = set()

    async def _run(self) -> None:
        async with self._manager.run():
            self._ready.set()
            await self._closing.wait()

    async def close(self) -> None:
        """End all sessions."""
        for serving in self._served:
            serving.cancel()
        self._closing.set()
        await asyncio.wait({self._owner}, timeout=5)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one HTTP request."""
        await self._ready.wait()
        asked = ToolRequest(request)
        body, answer = _Body(await request.read()), _Answer(asked)
        serving = asyncio.create_task(self._manager.handle_request(_scope(asked), body, answer))
        self._served.add(serving)
        serving.add_done_callback(self._served.discard)
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            # A client that has its answer leaves before the SDK is through, and that must not end its session.
            body.left.set()
            raise
        return await answer.finished()


def _scope(asked: ToolRequest) -> dict[str, Any]:
    request = asked.request
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": request.query_string.encode(),
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.raw_headers],
        "client": None,
        "server": None,
        _REQUEST: asked,
    }


class _Body:
    """Hands the whole body to the SDK, and then waits for the client to leave."""

    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content
        self.left = asyncio.Event()

    async def __call__(self) -> dict[str, Any]:
        if self._content is None:
            await self.left.wait()
            return {"type": "http.disconnect"}
        content, self._content = self._content, None
        return {"type": "http.request", "body": content, "more_body": False}


class _Answer:
    """Takes the SDK's answer and sends it, unless the request has got another."""

    def __init__(self, asked: ToolRequest) -> None:
        self._asked = asked
        self._head: MutableMapping[str, Any] = {"status": 500, "headers": []}
        self._sent: web.StreamResponse | None = None

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._head = message
            return
        body = message.get("body", b"")
        if self._asked.answer is not None or not body:
            return
        if self._sent is None:
            self._sent = web.StreamResponse(status=self._head["status"])
            for name, value in self._head["headers"]:
                if name.lower() not in (b"content-length", b"transfer-encoding", b"connection"):
                    self._sent.headers[name.decode()] = value.decode()
            await self._sent.prepare(self._asked.request)
        with suppress(ConnectionError):
            await self._sent.write(body)

    async def finished(self) -> web.StreamResponse:
        """Return the response, whole."""
        if self._asked.answer is not None:
            return self._asked.answer
        if self._sent is None:
            headers = {name.decode(): value.decode() for name, value in self._head["headers"]}
            headers.pop("content-length", None)
            return web.Response(status=self._head["status"], headers=headers)
        with suppress(ConnectionError):
            await self._sent.write_eof()
        return self._sent
