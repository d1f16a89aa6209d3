"""AceDataCloud's MCP server: the Tasks API as tools. Follows the repository AceDataCloud/OpenAIMCP.

The tools answer with the Tasks API's records as JSON. An error of the API arrives as an ordinary result with a title,
since the package ``mcp-openai-pro`` also with the API's status and some of its codes. An older server has no more than
the title and the API's message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.account_fields import ConnectionField
from airflow_provider_imagetasks.services.connection_contract import COMMAND_FIELDS
from airflow_provider_imagetasks.services.fields import text, whole_number
from airflow_provider_imagetasks.services.rates import Rate, Window
from airflow_provider_imagetasks.services.tasks_api import TasksApiService
from airflow_provider_imagetasks.services.tasks_api_errors import is_only_an_error, refusal
from airflow_provider_imagetasks.services.tool_answers import require_tools, tool_answer
from airflow_provider_imagetasks.services.wire import Call, Flow, Response, ToolAnswer, ToolCall, excerpt, read_json
from airflow_provider_imagetasks.tasks import ImageRequest

TOOLS = {
    "generate": "openai_generate_image",
    "edit": "openai_edit_image",
    "retrieve": "openai_get_task",
    "retrieve_batch": "openai_list_tasks",
}
NOT_FOUND = "Task not found"
AUTHENTICATION = "Authentication Error"
FAILED_CALLS = (
    *("API Error", "Error generating image", "Error editing image", "Error retrieving task", "Error listing tasks"),
    "No response received.",
)
"""An older server asked the API in vain, or does not say what the API answered: a 400, a 429, a 500 or nothing."""
_OWN_SERVER = " (a server of one's own takes the connection's key only where its environment has MCP_SERVER_URL)"
_OF_CONTENT = re.compile(r"content|moderation|safety|polic(?:y|ies)\b|sensitive|prohibited", re.IGNORECASE)
_OF_BALANCE = re.compile(r"balance|\bused up\b|insufficient|quota|credits?\b|recharge|top.?up", re.IGNORECASE)
_WRONG_ARGUMENTS = re.compile(r"\AInput validation error|validation errors? for \w*Arguments")
"""The words of the SDK on the server's side before it calls a tool. (An *output* validation error comes after that.)"""


class AceDataCloudMcp(TasksApiService):
    """AceDataCloud's MCP server, hosted or one's own, over streamable HTTP."""

    name = "acedatacloud_mcp"
    title = "AceDataCloud's MCP server"
    default_base_url = "https://openai.mcp.acedata.cloud/mcp"
    console_url = "https://platform.acedata.cloud"
    is_tool_server = True
    # The tool for one record sleeps five seconds while it runs; the one for many does not.
    default_query_rate = Rate((Window(2, 1),))
    # The server drops a trace id without a word, so that nothing can be found by one of ours.
    finds_by_trace_id = False
    takes_files = False
    connection_fields: ClassVar[Mapping[str, ConnectionField]] = COMMAND_FIELDS

    def server_environment(self, account: Account) -> Mapping[str, str | None]:
        """Return the variable in which the server looks for its token."""
        return {"ACEDATACLOUD_API_TOKEN": account.key}

    def _submission(self, request: ImageRequest, trace_id: str | None) -> Call:
        arguments: dict[str, Any] = {**request.options, "prompt": request.prompt, "model": request.model}
        if request.callback_url:
            arguments["callback_url"] = request.callback_url
        if request.is_edit:
            arguments["image"] = list(request.images)
        return ToolCall(tool=TOOLS["edit" if request.is_edit else "generate"], arguments=arguments)

    def _question(self, action: str, query: Mapping[str, Any]) -> Call:
        return ToolCall(tool=TOOLS[action], arguments=query)

    def check_connection(self) -> Flow[str]:
        """Ask which tools the server has, then for an empty batch, which needs the key."""
        yield from require_tools(TOOLS.values(), service=self.name, title=self.title)
        return (yield from super().check_connection())

    def _object(self, response: Response) -> Mapping[str, Any]:
        """Return the object that a tool's text holds, or raise the error that it tells of."""
        answer = tool_answer(response, service=self.name)
        if answer.is_error:
            # It did not call the tool, or that broke.
            error_class = InvalidRequestError if _WRONG_ARGUMENTS.search(answer.text) else ProtocolError
            what = f"{answer.tool} at {answer.server} refused: {excerpt(answer.text) or 'no reason given'}"
            raise error_class(what, service=self.name)
        body = _unwrapped(answer)
        if not isinstance(body, Mapping):
            raise ProtocolError(
                f"{answer.tool} at {answer.server} gave an unexpected answer: {excerpt(answer.text) or 'nothing'}",
                service=self.name,
            )
        if is_only_an_error(body):
            if body["error"] == NOT_FOUND:
                return {}
            raise self._error_in(body, answer)
        return body

    def _error_in(self, body: Mapping[str, Any], answer: ToolAnswer) -> ImageTaskError:
        """Return the error of a result that is one by its words only."""
        where = f"{answer.tool} at {answer.server}"
        if isinstance(body["error"], Mapping):
            # The API's own, inside HTTP 200, which the server passes on as it is.
            return refusal(body, 200, where, service=self.name)
        title, message = text(body["error"]) or "error", text(body.get("message")) or "no reason given"
        said = f"{title}: {excerpt(message).rstrip('.')}"
        if "status_code" in body:
            status, code = whole_number(body["status_code"]), text(body.get("code"))
            if status == 403 and code == "http_403":
                return QuotaExceededError(
                    f"{where}: {said}. The server does not say whether the balance is empty or the account is disabled",
                    service=self.name,
                    code=code,
                    retry_advice=f"Look at the account at {self.console_url}, then Clear the task.",
                )
            if status is None and code == "auth_error":
                said += _OWN_SERVER
            # Without a status no answer of the API came.
            return refusal({"error": {"code": code, "message": said}}, status or 500, where, service=self.name)
        if title == AUTHENTICATION:
            return self._older_refusal(f"{where}: {said}", message)
        error_class = ServiceUnavailableError if title in FAILED_CALLS else ProtocolError
        return error_class(f"{where}: {said}", service=self.name, code=title)

    def _older_refusal(self, what: str, message: str) -> ImageTaskError:
        """Return what a 401 or 403 is at a server that hides which: by the API's message, else of the key."""
        facts: dict[str, Any] = {"service": self.name, "code": AUTHENTICATION}
        if _OF_CONTENT.search(message):
            return ContentPolicyError(what, **facts)
        if _OF_BALANCE.search(message):
            return QuotaExceededError(what, **facts)
        return AuthenticationError(
            f"{what}{_OWN_SERVER if 'not configured' in message else ''}. This version of the server gives the same "
            "answer for a refused key, an empty balance and a prompt against the content policy; the package "
            "mcp-openai-pro and the service acedatacloud distinguish them",
            retry_advice="Correct what it names (key, balance or prompt), then Clear the task.",
            **facts,
        )


def _unwrapped(answer: ToolAnswer) -> Any:
    """Return what the text holds as JSON; some clients and bridges leave it encoded twice."""
    try:
        body = answer.json()
        if isinstance(body, Mapping) and set(body) == {"result"} and isinstance(body["result"], str):
            body = body["result"]
        return read_json(body) if isinstance(body, str) else body
    except ValueError:
        return None
