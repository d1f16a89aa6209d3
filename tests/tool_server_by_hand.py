"""An MCP server by hand, for a scripted server: it opens sessions, lists tools, and answers calls as it is told."""

from __future__ import annotations

import json
from typing import Any

from tests.scripted_server import ReceivedRequest, Reply, Step

ALL_TOOLS = ("openai_generate_image", "openai_edit_image", "openai_get_task", "openai_list_tasks")


class ToolServer:
    """The ``otherwise`` of a scripted server.

    ``methods`` are those of the messages that came, in their order.

    :param calls: the steps for tool calls, the last one for ever.
    :param tools: what it lists.
    :param session_id: whether it keeps sessions, by what name.
    """

    def __init__(self, *calls: Step, tools: tuple[str, ...] = ALL_TOOLS, session_id: str | None = None) -> None:
        self.calls = list(calls)
        self.tools = tools
        self.session_id = session_id
        self.methods: list[str] = []

    def __call__(self, request: ReceivedRequest) -> Step:
        method = request.body["method"] if request.body else request.method
        self.methods.append(method)
        if method == "initialize":
            session = {"mcp-session-id": self.session_id} if self.session_id else {}
            hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
            return _answer(request, hello, session)
        if method == "tools/list":
            return _answer(
                request, {"tools": [{"name": tool, "inputSchema": {"type": "object"}} for tool in self.tools]}
            )
        if method == "tools/call":
            step = self.calls.pop(0) if len(self.calls) > 1 else self.calls[0]
            return _answer(request, step.body) if isinstance(step, Reply) and "content" in (step.body or {}) else step
        return Reply(status=202)


def _answer(request: ReceivedRequest, result: Any, headers: dict[str, str] | None = None) -> Reply:
    body = {"jsonrpc": "2.0", "id": request.body["id"], "result": result}
    return Reply(body, headers={"Content-Type": "application/json", **(headers or {})})


def says(text: Any) -> Reply:
    return Reply({"content": [{"type": "text", "text": text if isinstance(text, str) else json.dumps(text)}]})
