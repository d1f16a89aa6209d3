"""What an MCP server of the local service is made of: its tools, and what they answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.admission import RefusedError


@dataclass(frozen=True, slots=True)
class ToolDescription:
    """A tool as the server lists it.

    :param schema: of its arguments (JSON Schema).
    :param output_schema: of its result, where the server names one.
    """

    name: str
    description: str
    schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None


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
class Exchange:
    """One HTTP request on its way through the SDK.

    :param answer: sent instead of what the SDK answers, where a prompt asks for that.
    """

    request: web.Request
    answer: web.StreamResponse | None = field(default=None)


class ToolServer(ABC):
    """One MCP server.

    :param name: what it calls itself.
    :param stateless: whether it keeps no sessions.
    :param answers_json: whether it answers in JSON, rather than as a stream of events.
    """

    server_name: str
    stateless: bool
    answers_json: bool

    @abstractmethod
    def tools(self) -> list[ToolDescription]:
        """Return its tools."""

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
    async def go_wrong(self, request: web.Request, refused: RefusedError) -> web.StreamResponse:
        """Answer an HTTP request that is to go wrong."""
