"""The dialect of AceDataCloud's MCP server, as its package ``mcp-openai-pro``: the Tasks API behind four tools."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError
from airflow_provider_imagetasks.local.dialects.dialect import Body, bearer_of
from airflow_provider_imagetasks.local.dialects.mcp_server import TEXT, Tool, ToolResult, ToolServer, choice
from airflow_provider_imagetasks.local.dialects.tasks_api_dialect import TasksApiDialect
from airflow_provider_imagetasks.local.task_table import TaskRecord

GENERATE, EDIT, GET, LIST = "openai_generate_image", "openai_edit_image", "openai_get_task", "openai_list_tasks"
_PASSED_ON = frozenset(
    {
        *("api_error", "bad_request", "content_policy_violation", "forbidden", "insufficient_balance"),
        *("insufficient_quota", "invalid_token", "moderation_blocked", "rate_limit_exceeded", "timeout"),
    }
)
"""The codes that the server hands on. Others could name a supplier, so that only the status is left of them."""
_MESSAGES = {
    400: "Invalid API request.",
    401: "API authentication failed. Check the application API key.",
    403: "API access denied. Check permissions and content restrictions.",
    404: "The requested API resource was not found.",
    408: "The API request timed out.",
    422: "The API request could not be processed. Check its parameters.",
    429: "API rate or usage limit exceeded. Check limits before retrying.",
}
"""All that the server says of an error by its status: the API's own message does not arrive."""
_POLLING = {"poll_tool": GET, "batch_poll_tool": LIST, "polling_interval_seconds": 15, "max_poll_attempts": 40}


def _advice(task_id: str, next_step: str, *, is_over: bool) -> dict[str, Any]:
    action = {"recommended_action": "stop" if is_over else "poll", "should_poll": not is_over}
    return {"task_id": task_id, **_POLLING, **action, "terminal_state_reached": is_over, "next_step": next_step}


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}], "default": None}


_TEXTS = {"type": "array", "items": TEXT}
_WHOLE, _NUMBER = {"type": "integer"}, {"type": "number"}
_MODELS = (
    "dall-e-2 dall-e-3 gpt-image-1 gpt-image-1.5 gpt-image-2 gpt-image-2.5-flare gpt-image-2.5-flare:official "
    "gpt-image-2.5-sunburst gpt-image-2.5-sunburst:official gpt-image-2:reverse gpt-image-2:official nano-banana "
    "nano-banana-2-lite nano-banana-2 nano-banana-2.1 nano-banana-pro"
)
_RESULT = {"type": "object", "properties": {"result": TEXT}, "required": ["result"]}
_PICTURES = {
    "prompt": TEXT,
    "model": choice(*_MODELS.split(), default="gpt-image-1"),
    "size": {**TEXT, "default": "auto"},
    "n": _optional(_WHOLE),
    "response_format": choice("url", "b64_json", default="url"),
    "background": _optional(choice("transparent", "opaque", "auto")),
    "output_format": choice("png", "jpeg", "webp", default="png"),
    "output_compression": _optional(_WHOLE),
    "callback_url": _optional(TEXT),
    "async": _optional({"type": "boolean"}),
}
_NEW = {
    **_PICTURES,
    "quality": choice("auto", "high", "medium", "low", "hd", "standard", default="auto"),
    "style": _optional(choice("vivid", "natural")),
    "moderation": _optional(choice("low", "auto")),
    "partial_images": _optional(_WHOLE),
}
_EDITED = {
    "image": {"anyOf": [TEXT, {**_TEXTS, "minItems": 1, "maxItems": 16}]},
    **_PICTURES,
    "model": choice(*_MODELS.split(), default="dall-e-3"),
    "quality": choice("auto", "high", "medium", "low", "standard", default="auto"),
    "input_fidelity": _optional(choice("high", "low")),
}
_LISTED = {
    **dict.fromkeys(("ids", "trace_ids"), _TEXTS),
    **dict.fromkeys(("application_id", "user_id"), TEXT),
    "type": choice("images", "images_generations", "images_edits"),
    **dict.fromkeys(("offset", "limit"), _WHOLE),
    **dict.fromkeys(("created_at_min", "created_at_max"), _NUMBER),
}
_TOOLS = (
    Tool(GENERATE, "Generate images.", _NEW, ("prompt",), _RESULT),
    Tool(EDIT, "Edit images.", _EDITED, ("image", "prompt"), _RESULT),
    Tool(GET, "Get a task.", dict.fromkeys(("id", "trace_id"), _optional(TEXT)), (), _RESULT),
    Tool(LIST, "List tasks.", {name: _optional(one) for name, one in _LISTED.items()}, (), _RESULT),
)


class AceDataCloudMcpDialect(TasksApiDialect, ToolServer):
    """Answers the tools as the server does; the real one for a single record sleeps while that runs, this does not."""

    name, prefix = "acedatacloud_mcp", "/mcp/acedatacloud"
    server_name = "openai"
    stateless = True
    answers_json = True
    tools = _TOOLS
    # The routes of the Tasks API are not there beside the tools.
    routes = ToolServer.routes

    async def call(self, tool: Tool, arguments: dict[str, Any], request: web.Request | None) -> ToolResult:
        """Call a tool; what the Tasks API would refuse comes as an ordinary result with an error in it."""
        assert request is not None, "it is not served over stdio"
        problem = tool.problem_with(arguments)
        if problem:
            return ToolResult(problem, is_error=True)
        answer = self._submit if tool.name in (GENERATE, EDIT) else self._ask
        try:
            found = await answer(tool.name, tool.known(arguments), request)
        except RefusedError as refused:
            if refused.is_below_any_dialect:
                raise
            found = self._words_of(refused)
        # What is no UTF-8 goes out escaped.
        words = json.dumps(found, ensure_ascii=False, indent=2).encode(errors="backslashreplace").decode()
        return ToolResult(words, structured={"result": words})

    async def _submit(self, tool: str, arguments: dict[str, Any], request: web.Request) -> dict[str, Any]:
        defaults = {
            "model": "dall-e-3" if tool == EDIT else "gpt-image-1",
            "size": "auto",
            "quality": "auto",
            "output_format": "png",
        }
        body = Body({**defaults, "response_format": "url", **arguments})
        if "callback_url" not in body:
            body.setdefault("async", True)

        async def read(request: web.Request) -> TaskRecord:
            bearer = bearer_of(request)
            return await self.edit_by_url(body, bearer) if tool == EDIT else self.asked(body, bearer)

        record = await self.submitted(request, read)
        answer = {"task_id": record.id}
        if record.behaviours.asks("sync"):
            answer = await self.result(record, request)
        advice = _advice(record.id, f"Ask {GET} for it until it has a finished_at.", is_over=False)
        return {**answer, "mcp_async_submission": {**advice, "expected_wait_seconds": 300}}

    async def _ask(self, tool: str, arguments: dict[str, Any], request: web.Request) -> dict[str, Any]:
        if tool == GET and not arguments:
            return {"error": "At least one of 'id' or 'trace_id' must be provided."}
        action = "retrieve" if tool == GET else "retrieve_batch"
        found = await self.queried(request, lambda request: self.found(request, action, Body(arguments)))
        if tool == LIST:
            return found
        if not found:
            return {"error": "Task not found", "message": "No task matches that id or trace_id."}
        finished = found.get("finished_at") is not None
        failed = finished and "error" in found["response"]
        advice = _advice(found["id"], "Stop." if finished else f"Ask {GET} again.", is_over=finished)
        ends = {"is_complete": finished and not failed, "is_failed": failed}
        return {**found, "mcp_task_polling": {**advice, **ends}}

    def _words_of(self, refused: RefusedError) -> dict[str, Any]:
        """Return the words of an error of the Tasks API: its status, and its code where the server knows that."""
        if refused.reason is Reason.MISSING_KEY:
            return _error("Authentication Error", _MESSAGES[401], None, "auth_error")
        answer, code = self.error(refused)
        if answer.status == 200:
            return dict(json.loads(answer.text or "{}"))
        title = "Authentication Error" if answer.status in (401, 403) else "API Error"
        message = _MESSAGES.get(answer.status, "The API service is temporarily unavailable.")
        return _error(title, message, answer.status, code if code in _PASSED_ON else f"http_{answer.status}")


def _error(title: str, message: str, status: int | None, code: str) -> dict[str, Any]:
    return {"error": title, "message": message, "status_code": status, "code": code, "request_id": None}
