"""Answers of MCP servers, as far as they mean the same at every server: before the tool's own words count."""

from __future__ import annotations

import json
from collections.abc import Iterable

from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.refusals import unexplained
from airflow_provider_imagetasks.services.wire import Flow, Response, ToolAnswer, ToolListing, excerpt

REFUSING_CODES = frozenset({-32600, -32601, -32602})
"""JSON-RPC: the request is none, there is no such tool, its arguments are wrong. Nothing has been done."""
_ERRORS: dict[int, type[ImageTaskError]] = {
    **dict.fromkeys(REFUSING_CODES, InvalidRequestError),
    -32603: ServiceUnavailableError,
}


def tool_answer(response: Response, *, service: str) -> ToolAnswer:
    """Return the answer of a tool, which may still be an error in the tool's words.

    :param service: its name, for messages.
    :raises ImageTaskError: the call got no further than the server's HTTP or JSON-RPC layer.
    """
    if not isinstance(response, ToolAnswer):
        raise unexplained(response, service=service)
    if not response.from_tool:
        error = unexplained(response, service=service)
        error.message = f"{response.tool} at {response.server}: {error.message}"
        raise error
    if response.code is None:
        return response
    what = f"{response.tool} at {response.server} refused: {excerpt(response.text)}"
    raise _ERRORS.get(response.code, ProtocolError)(what, service=service, code=str(response.code))


def require_tools(wanted: Iterable[str], *, service: str, title: str) -> Flow[None]:
    """Ask an MCP server which tools it has, again where that helps. Free.

    :param title: what people call the server, for messages.
    :raises InvalidRequestError: it lacks one of ``wanted``.
    """

    def names(response: Response) -> list[str]:
        return list(json.loads(tool_answer(response, service=service).text))

    found = yield from exchange.patiently(lambda: exchange.read(ToolListing(), names, service=service))
    missing = sorted(set(wanted) - set(found))
    if missing:
        raise InvalidRequestError(
            f"There is an MCP server, and it has no tool {', '.join(missing)}: is Host that of {title}?",
            service=service,
        )
