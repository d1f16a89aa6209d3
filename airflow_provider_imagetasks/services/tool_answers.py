"""What an MCP server's answer to a tool call means before the tool's own words count: the same for every server."""

from __future__ import annotations

from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services.refusals import unexplained
from airflow_provider_imagetasks.services.wire import Response, ToolAnswer

INTERNAL_ERROR = -32603
REFUSING_CODES = frozenset({-32600, -32601, -32602})
"""JSON-RPC: the request is none, there is no such tool, its arguments are wrong. Nothing has been done."""


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
    raise protocol_refusal(response, response.code, response.text, service=service)


def protocol_refusal(response: ToolAnswer, code: int, message: str, *, service: str) -> ImageTaskError:
    """Return the error that a JSON-RPC error stands for.

    :param code: the JSON-RPC code.
    :param message: the server's words.
    """
    what = f"{response.tool} at {response.server} refused: {excerpt(message)}"
    if code in REFUSING_CODES:
        return InvalidRequestError(what, service=service, code=str(code))
    if code == INTERNAL_ERROR:
        return ServiceUnavailableError(what, service=service, code=str(code))
    return ProtocolError(what, service=service, code=str(code))


def excerpt(text: str, length: int = 300) -> str:
    """Return the beginning of a text on one line, for messages."""
    return " ".join(text.split())[:length]
