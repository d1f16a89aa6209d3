"""Reads what the SDK returns and raises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError

from airflow_provider_imagetasks.services.wire import excerpt
from airflow_provider_imagetasks.transports.mcp.guarded_http import FAILURE

_MOST_TOOL_PAGES = 20


async def tools_of(session: ClientSession) -> frozenset[str]:
    """Return the names of a server's tools."""
    names: set[str] = set()
    params: types.PaginatedRequestParams | None = None
    for _page in range(_MOST_TOOL_PAGES):
        listed = await session.list_tools(params=params)
        names.update(tool.name for tool in listed.tools)
        if not listed.next_cursor:
            break
        params = types.PaginatedRequestParams(cursor=listed.next_cursor)
    return frozenset(names)


def text_of(result: types.CallToolResult) -> str:
    """Return what a tool said: its texts, or what it holds as a structure."""
    texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
    if texts:
        return "\n".join(texts)
    structured = result.structured_content
    if isinstance(structured, dict) and isinstance(structured.get("result"), str):
        return str(structured["result"])
    return json.dumps(structured) if structured is not None else ""


def failure_of(error: MCPError) -> Mapping[str, Any] | None:
    """Return the facts that our own HTTP layer put into an error."""
    data = error.error.data
    return data[FAILURE] if isinstance(data, dict) and FAILURE in data else None


def innermost(error: BaseException) -> BaseException:
    """Return the one error of a group of groups, or its first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def said(error: BaseException) -> str:
    """Return what an error says, for a message."""
    return excerpt(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, 160)
