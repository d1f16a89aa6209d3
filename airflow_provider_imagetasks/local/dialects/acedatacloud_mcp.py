"""The dialect of AceDataCloud's MCP server: the Tasks API behind four tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.local.admission import Reason, RefusedError
from airflow_provider_imagetasks.local.dialects import mishaps
from airflow_provider_imagetasks.local.dialects.acedatacloud_mcp_tools import EDIT, GENERATE, GET, LIST, TOOLS
from airflow_provider_imagetasks.local.dialects.dialect import bearer_of
from airflow_provider_imagetasks.local.dialects.tasks_api import TasksApiDialect
from airflow_provider_imagetasks.local.dialects.tasks_api_orders import edit_by_url, generation
from airflow_provider_imagetasks.local.dialects.tasks_api_records import TasksApiVariant
from airflow_provider_imagetasks.local.mcp.arguments import known_arguments, problem_with
from airflow_provider_imagetasks.local.mcp.endpoint import McpEndpoint
from airflow_provider_imagetasks.local.mcp.tools import ToolDescription, ToolResult, ToolServer, UnknownToolError

if TYPE_CHECKING:
    from aiohttp import web

    from airflow_provider_imagetasks.local.state import ServiceState

VARIANT = TasksApiVariant(name="acedatacloud_mcp", prefix="/mcp/acedatacloud")
_FAILURES = {
    GENERATE: "Error generating image",
    EDIT: "Error editing image",
    GET: "Error retrieving task",
    LIST: "Error listing tasks",
}
_INTERVAL, _ATTEMPTS, _EXPECTED_WAIT = 15, 40, 300


class AceDataCloudMcpDialect(TasksApiDialect, ToolServer):
    """Answers the tools as the server does; the real one for a single record sleeps while that runs, this does not."""

    server_name = "openai"
    stateless = True
    answers_json = True

    def __init__(self, state: ServiceState) -> None:
        super().__init__(state, VARIANT)
        self._tools = {tool.name: tool for tool in TOOLS}
        self._endpoint = McpEndpoint(self, self.prefix)

    def routes(self) -> list[web.RouteDef]:
        """Return the dialect's routes."""
        return self._endpoint.routes()

    async def close(self) -> None:
        """End all sessions."""
        await self._endpoint.close()

    def tools(self) -> list[ToolDescription]:
        """Return its tools."""
        return list(TOOLS)

    async def call(self, tool: str, arguments: dict[str, Any], request: web.Request | None) -> ToolResult:
        """Call a tool; what the Tasks API would refuse comes as an ordinary result with an error in it."""
        if tool not in self._tools or request is None:
            raise UnknownToolError(tool)
        problem = problem_with(self._tools[tool], arguments)
        if problem:
            return ToolResult(problem, is_error=True)
        known = known_arguments(self._tools[tool], arguments)
        try:
            found = await (self._submit if tool in (GENERATE, EDIT) else self._ask)(tool, known, request)
        except RefusedError as refused:
            if refused.reason in mishaps.BELOW_ANY_DIALECT:
                raise
            found = self._words_of(refused, tool)
        words = json.dumps(found, ensure_ascii=False, indent=2)
        return ToolResult(words, structured={"result": words})

    async def go_wrong(self, request: web.Request, refused: RefusedError) -> web.StreamResponse:
        """Answer an HTTP request that is to go wrong."""
        return (await self.answer_refusal(request, refused))[0]

    async def _submit(self, tool: str, arguments: dict[str, Any], request: web.Request) -> dict[str, Any]:
        self.counts.submissions += 1
        defaults = {"model": "gpt-image-1", "size": "auto", "quality": "auto", "output_format": "png"}
        body = {**defaults, "response_format": "url", **arguments}
        if "callback_url" not in body:
            body["async"] = True
        bearer = bearer_of(request)
        try:
            self.state.admission.check_key(bearer)
            if tool == EDIT:
                submission = await edit_by_url(body, bearer, self.state, self.variant)
            else:
                submission = generation(body, bearer, self.state, self.variant)
            record, is_new = self.state.admission.admit(submission)
        except RefusedError as refused:
            self.counts.refused[self._code(refused)] += 1
            raise
        self.after_admission(request, record, is_new=is_new)
        mishaps.check_after_submission(self.state.admission, record)
        answer = {"task_id": record.id}
        if record.behaviours.asks("sync"):
            answer = await self.result(record, request)
        return {**answer, "mcp_async_submission": _submission_advice(record.id)}

    async def _ask(self, tool: str, arguments: dict[str, Any], request: web.Request) -> dict[str, Any]:
        if tool == GET and not arguments:
            return {"error": "At least one of 'id' or 'trace_id' must be provided."}
        self.counts.status_queries += 1
        bearer = bearer_of(request)
        try:
            self.state.admission.check_key(bearer)
            self.state.admission.queries.check(bearer)
            found = await self.found(request, "retrieve" if tool == GET else "retrieve_batch", arguments)
        except RefusedError as refused:
            self.counts.queries_refused[self._code(refused)] += 1
            raise
        if tool == LIST:
            return found
        if not found:
            return {"error": "Task not found", "message": "No task matches that id or trace_id."}
        return {**found, "mcp_task_polling": _polling_advice(found)}

    def _words_of(self, refused: RefusedError, tool: str) -> dict[str, Any]:
        """Return the words of an error of the Tasks API: they do not tell its status or code."""
        status = self.error(refused)[0].status
        if refused.reason is Reason.MISSING_KEY:
            return {"error": "Authentication Error", "message": "API token not configured"}
        if status == 504:
            return {"error": _FAILURES[tool], "message": "the request timed out"}
        title = "Authentication Error" if status in (401, 403) else "API Error"
        return {"error": title, "message": refused.message}

    def _code(self, refused: RefusedError) -> str:
        if refused.reason in mishaps.BELOW_ANY_DIALECT:
            return refused.reason.value
        return self.error(refused)[1]


def _submission_advice(task_id: str) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "poll_tool": GET,
        "batch_poll_tool": LIST,
        "recommended_action": "poll",
        "should_poll": True,
        "terminal_state_reached": False,
        "polling_interval_seconds": _INTERVAL,
        "max_poll_attempts": _ATTEMPTS,
        "expected_wait_seconds": _EXPECTED_WAIT,
        "next_step": f"Ask {GET} for it until it has a finished_at.",
    }


def _polling_advice(record: dict[str, Any]) -> dict[str, Any]:
    finished = record.get("finished_at") is not None
    failed = finished and "error" in record["response"]
    return {
        "task_id": record["id"],
        "poll_tool": GET,
        "batch_poll_tool": LIST,
        "recommended_action": "stop" if finished else "poll",
        "should_poll": not finished,
        "terminal_state_reached": finished,
        "is_complete": finished and not failed,
        "is_failed": failed,
        "polling_interval_seconds": _INTERVAL,
        "max_poll_attempts": _ATTEMPTS,
        "next_step": "Stop." if finished else f"Ask {GET} again.",
    }
