"""An MCP server as the local service plays it: its tools, what they answer, and the path at which it is found."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_imagetasks.local.faults import RefusedError

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.dialects.mcp_sessions import HttpSessions

_SESSIONS = "airflow_provider_imagetasks.local.dialects.mcp_sessions"
_MISSING = "MCP needs the package 'mcp': pip install 'airflow-provider-imagetasks[mcp]'"
TEXT: dict[str, Any] = {"type": "string"}
"""The schema of a text."""


def choice(*values: str, default: str | None = None) -> dict[str, Any]:
    """Return the schema of a text that is one of some."""
    schema: dict[str, Any] = {"type": "string", "enum": list(values)}
    return {**schema, "default": default} if default else schema


@dataclass(frozen=True, slots=True)
class ToolDescription:
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


class UnknownToolError(Exception):
    """There is no tool of that name."""


@dataclass(slots=True)
class ToolRequest:
    """One HTTP request on its way through the SDK.

    :param answer: sent instead of what the SDK answers, where a prompt asks for that.
    """

    request: web.Request
    answer: web.StreamResponse | None = None


class ToolServer(ABC):
    """One MCP server, over streamable HTTP at one path; the SDK is imported with the first request (a second).

    :param server_name: what it calls itself.
    :param stateless: whether it keeps no sessions.
    :param answers_json: whether it answers in JSON, rather than as a stream of events.
    :param tools: what can be called.
    """

    server_name: str
    stateless: bool
    answers_json: bool
    tools: tuple[ToolDescription, ...]
    prefix: str
    _sessions: HttpSessions | None = None

    def routes(self) -> list[web.RouteDef]:
        """Return the server's routes."""
        self._starting = asyncio.Lock()
        return [web.route("*", self.prefix, self._handle)]

    async def close(self) -> None:
        """End all sessions."""
        if self._sessions is not None:
            await self._sessions.close()

    def refusal(self, request: web.Request) -> web.Response | None:
        """Return the answer to a request that does not get as far as the server."""
        return None

    @abstractmethod
    async def call(self, tool: str, arguments: dict[str, Any], request: web.Request | None) -> ToolResult:
        """Call a tool.

        :param request: the HTTP request that it came with; None over stdio.
        :raises UnknownToolError: there is no such tool.
        :raises RefusedError: the HTTP request is to go wrong.
        """

    @abstractmethod
    async def answer_refusal(self, request: web.Request, refused: RefusedError) -> tuple[web.StreamResponse, str]:
        """Answer an HTTP request that is to go wrong; return also the code to count it under."""

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        refusal = self.refusal(request)
        if refusal is not None:
            return refusal
        async with self._starting:
            if self._sessions is None:
                try:
                    sessions = await asyncio.to_thread(import_module, _SESSIONS)
                except ImportError:
                    return web.Response(status=501, text=_MISSING)
                self._sessions = sessions.HttpSessions(self)
        return await self._sessions.handle(request)
