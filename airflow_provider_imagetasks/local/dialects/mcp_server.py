"""MCP servers as the local service plays them: their tools, and how the official SDK serves those."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import RefusedError, broken_answer

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.server.lowlevel import Server

_REQUEST = "imagetasks.request"
_MISSING = "MCP needs the package 'mcp': pip install 'airflow-provider-imagetasks[mcp]'"
TEXT: dict[str, Any] = {"type": "string"}
"""The schema of a text."""


def choice(*values: str, default: str | None = None) -> dict[str, Any]:
    """Return the schema of a text that is one of some."""
    schema: dict[str, Any] = {"type": "string", "enum": list(values)}
    return {**schema, "default": default} if default else schema


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as the server lists it.

    :param properties: the schemas of its arguments (JSON Schema).
    :param required: those without which it cannot be called.
    :param output_schema: of its result, where the server names one.
    """

    name: str
    description: str
    properties: dict[str, Any]
    required: tuple[str, ...] = ()
    output_schema: dict[str, Any] | None = None

    @property
    def schema(self) -> dict[str, Any]:
        """The schema of all its arguments."""
        required = {"required": list(self.required)} if self.required else {}
        return {"type": "object", "properties": self.properties, **required}

    def problem_with(self, arguments: dict[str, Any]) -> str | None:
        """Return what the SDK for Python says of arguments that the schema refuses, None where they are fine."""
        from jsonschema import Draft202012Validator

        errors = sorted(Draft202012Validator(self.schema).iter_errors(arguments), key=lambda error: error.json_path)
        if not errors:
            return None
        count = f"{len(errors)} validation error{'s' if len(errors) > 1 else ''}"
        found = "".join(f"\n{error.json_path.removeprefix('$.')}\n  {error.message}" for error in errors)
        return f"Error executing tool {self.name}: {count} for {self.name}Arguments{found}"

    def known(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments that the tool has, without null ones: that SDK drops the others without a word."""
        return {name: value for name, value in arguments.items() if name in self.properties and value is not None}


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answers.

    :param structured: the result once more as an object, where the server sends that too.
    """

    text: str
    is_error: bool = False
    structured: dict[str, Any] | None = None


class ToolServer(ABC):
    """One MCP server, over streamable HTTP at one path; the SDK is imported with the first request (a second).

    :param server_name: what it calls itself.
    :param stateless: whether it keeps no sessions.
    :param answers_json: whether it answers in JSON, rather than as a stream of events.
    :param tools: what can be called.
    :param unknown_tool: what it says of another, with a place for its name.
    """

    server_name: str
    stateless: bool
    answers_json: bool
    tools: tuple[Tool, ...]
    unknown_tool = "Unknown tool: {}"
    prefix: str
    _sessions: _HttpSessions | None = None

    def routes(self) -> list[web.RouteDef]:
        """Return the server's routes."""
        self._starting = asyncio.Lock()
        return [web.route("*", self.prefix, self.handle)]

    async def close(self) -> None:
        """End all sessions."""
        if self._sessions is not None:
            await self._sessions.close()

    @abstractmethod
    async def call(self, tool: Tool, arguments: dict[str, Any], request: web.Request | None) -> ToolResult:
        """Call a tool.

        :param request: the HTTP request that it came with; None over stdio.
        :raises RefusedError: the HTTP answer itself is to go wrong.
        """

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer an HTTP request."""
        async with self._starting:
            if self._sessions is None:
                try:
                    await asyncio.to_thread(import_module, "mcp.server.streamable_http_manager")
                except ImportError:
                    return web.Response(status=501, text=_MISSING)
                self._sessions = _HttpSessions(self)
        return await self._sessions.handle(request)


def _make_server(tool_server: ToolServer) -> Server[Any]:
    """Return an SDK server that lists and calls the tools."""
    import mcp_types as types
    from mcp.server.lowlevel import Server
    from mcp.shared.exceptions import MCPError

    async def list_tools(_context: Any, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        def described(tool: Tool) -> types.Tool:
            schemas: dict[str, Any] = {"input_schema": tool.schema, "output_schema": tool.output_schema}
            return types.Tool(name=tool.name, description=tool.description, **schemas)

        return types.ListToolsResult(tools=[described(tool) for tool in tool_server.tools])

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        answer: _Answer | None = context.request.scope[_REQUEST] if context.request is not None else None
        tool = next((one for one in tool_server.tools if one.name == params.name), None)
        try:
            if tool is None:
                result = ToolResult(tool_server.unknown_tool.format(params.name), is_error=True)
            else:
                result = await tool_server.call(tool, params.arguments or {}, answer.request if answer else None)
        except RefusedError as refused:
            if answer is None:
                raise MCPError(types.INTERNAL_ERROR, refused.message) from refused
            answer.instead = await broken_answer(answer.request, refused)
            return types.CallToolResult(content=[])
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=result.text)],
            structured_content=result.structured,
            is_error=result.is_error,
        )

    return Server(tool_server.server_name, on_list_tools=list_tools, on_call_tool=call_tool)


async def serve_stdio(tool_server: ToolServer) -> None:
    """Serve one client over stdin and stdout, until it leaves."""
    from mcp.server.stdio import stdio_server

    server = _make_server(tool_server)
    async with stdio_server() as (receiving, sending):
        await server.run(receiving, sending, server.create_initialization_options())


class _HttpSessions:
    """The SDK's sessions behind one path."""

    def __init__(self, tool_server: ToolServer) -> None:
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        self._manager = StreamableHTTPSessionManager(
            _make_server(tool_server), stateless=tool_server.stateless, json_response=tool_server.answers_json
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
        answer, left = _Answer(request), asyncio.Event()
        messages = [{"type": "http.request", "body": await request.read(), "more_body": False}]

        async def receive() -> dict[str, Any]:
            if not messages:
                await left.wait()
                return {"type": "http.disconnect"}
            return messages.pop()

        serving = asyncio.create_task(self._manager.handle_request(_scope(request, answer), receive, answer))
        self._served.add(serving)
        serving.add_done_callback(self._served.discard)
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            # A client that has its answer leaves before the SDK is through, and that must not end its session.
            left.set()
            raise
        return await answer.finished()


def _scope(request: web.Request, answer: _Answer) -> dict[str, Any]:
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
        _REQUEST: answer,
    }


class _Answer:
    """Takes the SDK's answer to a request and sends it, unless a prompt asks for another ``instead``."""

    def __init__(self, request: web.Request) -> None:
        self.request = request
        self.instead: web.StreamResponse | None = None
        self._head: MutableMapping[str, Any] = {"status": 500, "headers": []}
        self._sent: web.StreamResponse | None = None

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._head = message
            return
        body = message.get("body", b"")
        if self.instead is not None or not body:
            return
        if self._sent is None:
            self._sent = web.StreamResponse(status=self._head["status"])
            for name, value in self._head["headers"]:
                if name.lower() not in (b"content-length", b"transfer-encoding", b"connection"):
                    self._sent.headers[name.decode()] = value.decode()
            await self._sent.prepare(self.request)
        with suppress(ConnectionError):
            await self._sent.write(body)

    async def finished(self) -> web.StreamResponse:
        """Return the response, whole."""
        if self.instead is not None:
            return self.instead
        if self._sent is None:
            headers = {name.decode(): value.decode() for name, value in self._head["headers"]}
            headers.pop("content-length", None)
            return web.Response(status=self._head["status"], headers=headers)
        with suppress(ConnectionError):
            await self._sent.write_eof()
        return self._sent
