"""Checks of the rows of section 1.12: the Tasks API as tools of AceDataCloud's MCP server."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.acedatacloud_mcp import AceDataCloudMcp
from airflow_provider_imagetasks.services.exchange import ATTEMPTS
from airflow_provider_imagetasks.services.wire import ToolCall
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest, TaskState
from tests.flow_driver import DrivenFlow, drive, tool_answer
from tests.services.row_cases import Rules

SERVICE = AceDataCloudMcp()
RULES = Rules()
ACCOUNT = Account(conn_id="mine", service="acedatacloud_mcp", base_url="https://mcp.example/mcp", key="sk-1")
TASK_ID = "0b6c2c4e-1111-4222-8333-444444444444"
RECORD = {
    "id": TASK_ID,
    "finished_at": 5.5,
    "request": {"model": "gpt-image-2", "prompt": "a red kite"},
    "response": {"success": True, "data": [{"url": "https://x.example/a.png"}]},
}
ADVICE = {"mcp_task_polling": {"should_poll": False, "is_complete": True}}


def submitted(said: Any, *, is_error: bool = False, **fields: Any) -> DrivenFlow:
    request = SERVICE.complete(ImageRequest(**{"prompt": "a red kite", **fields}), ACCOUNT)
    return drive(SERVICE.submit(request, key="derived"), tool_answer(said, is_error=is_error))


def asked(said: Any, *, times: int = 1) -> DrivenFlow:
    return drive(SERVICE.get_task(TASK_ID), *[tool_answer(said, tool="openai_get_task")] * times)


def listed(said: Any, *, times: int = 1) -> DrivenFlow:
    return drive(SERVICE.get_tasks([TASK_ID, "other"]), *[tool_answer(said, tool="openai_list_tasks")] * times)


def refused_by_complete(**fields: Any) -> InvalidRequestError:
    try:
        SERVICE.complete(ImageRequest(prompt="a red kite", **fields), ACCOUNT)
    except InvalidRequestError as error:
        return error
    raise AssertionError("it was not refused")


def check_unavailable(error: ImageTaskError | None, title: str) -> None:
    assert isinstance(error, ServiceUnavailableError)
    assert (error.code, error.retryable) == (title, True)
    assert "no luck" in error.message
    assert "the MCP server" in error.message


def check_unknown(error: ImageTaskError | None) -> None:
    assert isinstance(error, UnknownOutcomeError)
    assert error.billed == "unknown"
    assert "no luck" in error.message


@RULES.row("1.12-submission")
def the_model_is_always_named() -> None:
    driven = submitted({"task_id": TASK_ID}, options={"size": "1024x1024", "n": 2})

    assert driven.requests == [
        ToolCall(
            tool="openai_generate_image",
            arguments={"size": "1024x1024", "n": 2, "prompt": "a red kite", "model": "gpt-image-2"},
        )
    ]


@RULES.row("1.12-edit")
def several_pictures_are_a_real_list() -> None:
    urls = ["https://x.example/a.png", "https://x.example/b.png"]
    (call,) = submitted({"task_id": TASK_ID}, images=urls).requests

    assert isinstance(call, ToolCall)
    assert (call.tool, call.arguments["image"]) == ("openai_edit_image", urls)


@RULES.row("1.12-edit")
def files_and_masks_are_refused_before_anything_is_sent() -> None:
    file = ImageFile(name="a.png", media_type="image/png", content=b"x")

    assert "takes only URLs" in refused_by_complete(images=[file]).message
    assert "no masks" in refused_by_complete(images=["https://x.example/a.png"], mask=file).message


@RULES.row("1.12-trace-id")
def a_trace_id_is_refused_and_our_own_is_not_claimed() -> None:
    driven = submitted({"task_id": TASK_ID})

    assert "no trace ids" in refused_by_complete(trace_id="mine").message
    assert "trace_id" not in driven.requests[0].arguments  # type: ignore[union-attr]
    assert driven.result.trace_id is None
    assert SERVICE.finds_by_trace_id is False


@RULES.row("1.12-model-refused")
def what_the_schema_refuses_was_not_billed() -> None:
    said = (
        "Error executing tool openai_generate_image: 1 validation error for openai_generate_imageArguments\n"
        "model\n  Input should be 'dall-e-2' or 'dall-e-3'"
    )
    error = submitted(said, is_error=True, model="gpt-image-9").error

    assert isinstance(error, InvalidRequestError)
    assert error.billed == "no"
    assert "Input should be" in error.message


@RULES.row("1.12-model-refused")
def what_the_sdk_s_own_schema_check_refuses_was_not_billed() -> None:
    error = submitted("Input validation error: 'gpt-image-9' is not one of ['dall-e-2']", is_error=True).error

    assert isinstance(error, InvalidRequestError)


@RULES.row("1.12-model-refused")
def an_answer_that_the_server_itself_cannot_send_is_an_unknown_outcome() -> None:
    check_unknown(submitted("Output validation error: no luck", is_error=True).error)


@RULES.row("1.12-callback")
def a_callback_url_is_passed_on() -> None:
    driven = submitted({"task_id": TASK_ID}, callback_url="https://me.example/hook")

    assert driven.requests[0].arguments["callback_url"] == "https://me.example/hook"  # type: ignore[union-attr]


@RULES.row("1.12-submitted")
def the_id_is_read_beside_the_advice() -> None:
    task = submitted({"task_id": TASK_ID, "mcp_async_submission": {"task_id": TASK_ID, "should_poll": True}}).result

    assert (task.id, task.state) == (TASK_ID, TaskState.RUNNING)


@RULES.row("1.12-record")
def a_record_is_that_of_the_tasks_api() -> None:
    driven = asked({**RECORD, **ADVICE})

    assert driven.requests == [ToolCall(tool="openai_get_task", arguments={"id": TASK_ID})]
    assert (driven.result.state, driven.result.images[0].url) == (TaskState.SUCCEEDED, "https://x.example/a.png")


@RULES.row("1.12-batch")
def several_are_asked_for_in_one_call_with_a_limit() -> None:
    driven = listed({"items": [RECORD], "count": 1})

    assert driven.requests == [ToolCall(tool="openai_list_tasks", arguments={"ids": [TASK_ID, "other"], "limit": 2})]
    assert [task.state for task in driven.result.values()] == [TaskState.SUCCEEDED, TaskState.NOT_FOUND]


@RULES.row("1.12-encoded-twice")
def json_in_json_is_unwrapped() -> None:
    assert asked({"result": json.dumps(RECORD)}).result.state is TaskState.SUCCEEDED
    assert asked(json.dumps(json.dumps(RECORD))).result.state is TaskState.SUCCEEDED


@RULES.row("1.12-not-found")
def not_found_is_no_error() -> None:
    driven = asked({"error": "Task not found", "message": "No task matches that id or trace_id."})

    assert (driven.result.id, driven.result.state) == (TASK_ID, TaskState.NOT_FOUND)


@RULES.row("1.12-not-found-empty")
def an_empty_object_is_not_found_too() -> None:
    assert asked({}).result.state is TaskState.NOT_FOUND


@RULES.row("1.12-authentication-error")
def three_refusals_look_alike_and_none_was_billed() -> None:
    said = {"error": "Authentication Error", "message": "no luck"}
    for error, billed in ((submitted(said).error, "no"), (asked(said).error, "unknown")):
        assert isinstance(error, AuthenticationError)
        assert (error.billed, error.code) == (billed, "Authentication Error")
        assert all(words in error.message for words in ("no luck", "key", "balance", "content policy"))


@RULES.row("1.12-api-error")
def it_may_be_anything_so_a_submission_is_an_unknown_outcome() -> None:
    said = {"error": "API Error", "message": "no luck"}

    check_unknown(submitted(said).error)
    check_unavailable(asked(said, times=ATTEMPTS).error, "API Error")


@RULES.row("1.12-error-generating-image")
def a_generation_without_an_answer_is_an_unknown_outcome() -> None:
    check_unknown(submitted({"error": "Error generating image", "message": "no luck"}).error)


@RULES.row("1.12-error-editing-image")
def an_edit_without_an_answer_is_an_unknown_outcome() -> None:
    said = {"error": "Error editing image", "message": "no luck"}

    check_unknown(submitted(said, images=["https://x.example/a.png"]).error)


@RULES.row("1.12-error-retrieving-task")
def a_question_without_an_answer_is_asked_again() -> None:
    said = {"error": "Error retrieving task", "message": "no luck"}

    check_unavailable(asked(said, times=ATTEMPTS).error, "Error retrieving task")


@RULES.row("1.12-error-listing-tasks")
def a_batch_without_an_answer_is_asked_for_again() -> None:
    said = {"error": "Error listing tasks", "message": "no luck"}

    check_unavailable(listed(said, times=ATTEMPTS).error, "Error listing tasks")


@RULES.row("1.12-no-response-received")
def an_empty_answer_is_asked_for_again_and_never_submitted_again() -> None:
    said = {"error": "No response received.", "message": "no luck"}

    check_unavailable(listed(said, times=ATTEMPTS).error, "No response received.")
    check_unknown(submitted(said).error)


@RULES.row("1.12-one-of-id-and-trace-id")
def a_question_for_nothing_is_a_protocol_error() -> None:
    said = {"error": "At least one of 'id' or 'trace_id' must be provided."}

    assert isinstance(asked(said, times=ATTEMPTS).error, ProtocolError)


@RULES.row("1.12-words-of-its-own")
def words_that_nobody_knows_are_a_protocol_error_or_an_unknown_outcome() -> None:
    for said in ("I am sorry, no luck", {"error": "Something New", "message": "no luck"}, [1, 2], ""):
        assert isinstance(asked(said, times=ATTEMPTS).error, ProtocolError)
        assert isinstance(submitted(said).error, UnknownOutcomeError)
