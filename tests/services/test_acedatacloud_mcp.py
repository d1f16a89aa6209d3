"""The Tasks API as tools: the repository AceDataCloud/OpenAIMCP, whose errors are ordinary answers with a title."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services import exchange, get_service
from airflow_provider_imagetasks.services.exchange import ATTEMPTS
from airflow_provider_imagetasks.services.wire import ToolCall
from tests.flow_driver import DrivenFlow, drive, tool_answer
from tests.services.wire_examples import (
    NOT_FOUND,
    PICTURE,
    RUNNING,
    SUCCEEDED,
    TASK_ID,
    URL,
    A,
    B,
    completed,
    finished_record,
)

SERVICE = get_service("acedatacloud_mcp")
RECORD = finished_record({"success": True, "data": [PICTURE]})


def submitted(said: Any, *, is_error: bool = False, **fields: Any) -> DrivenFlow:
    request = completed(SERVICE, **{"prompt": "a red kite", **fields})
    return drive(SERVICE.submit(request, key="derived"), tool_answer(said, is_error=is_error))


def asked(said: Any, *, times: int = 1) -> DrivenFlow:
    return drive(SERVICE.get_task(TASK_ID), *[tool_answer(said, tool="openai_get_task")] * times)


def listed(said: Any, *, times: int = 1) -> DrivenFlow:
    answers = [tool_answer(said, tool="openai_list_tasks")] * times
    return drive(exchange.patiently(lambda: SERVICE.read_tasks_once([TASK_ID, "other"])), *answers)


def check_unavailable(error: ImageTaskError | None, title: str) -> None:
    assert isinstance(error, ServiceUnavailableError)
    assert (error.code, error.retryable) == (title, True)
    assert "no luck" in error.message
    assert "the MCP server" in error.message


def check_unknown(error: ImageTaskError | None) -> None:
    assert isinstance(error, UnknownOutcomeError)
    assert error.billed == "unknown"
    assert "no luck" in error.message


def test_a_submission_names_the_model_always_and_a_trace_id_never() -> None:
    driven = submitted({"task_id": TASK_ID}, options={"size": "1024x1024", "n": 2})

    arguments = {"size": "1024x1024", "n": 2, "prompt": "a red kite", "model": "gpt-image-2"}
    assert driven.requests == [ToolCall(tool="openai_generate_image", arguments=arguments)]
    assert (driven.result.trace_id, SERVICE.finds_by_trace_id) == (None, False)


def test_an_edit_sends_a_real_list_and_its_id_is_read_beside_the_advice() -> None:
    said = {"task_id": TASK_ID, "mcp_async_submission": {"task_id": TASK_ID, "should_poll": True}}

    driven = submitted(said, images=[A, B], callback_url="https://me.example/hook")

    (call,) = driven.requests
    assert (call.tool, call.arguments["image"]) == ("openai_edit_image", [A, B])
    assert call.arguments["callback_url"] == "https://me.example/hook"
    assert (driven.result.id, driven.result.state) == (TASK_ID, RUNNING)


@pytest.mark.parametrize(
    "said",
    [
        "Error executing tool openai_generate_image: 1 validation error for openai_generate_imageArguments\n"
        "model\n  Input should be 'dall-e-2' or 'dall-e-3'",
        "Input validation error: 'gpt-image-9' is not one of ['dall-e-2']",
    ],
    ids=["the server's check", "the SDK's own check"],
)
def test_what_the_schema_refuses_was_not_billed(said: str) -> None:
    error = submitted(said, is_error=True, model="gpt-image-9").error

    assert isinstance(error, InvalidRequestError)
    assert error.billed == "no"
    assert "dall-e-2" in error.message


def test_an_answer_that_the_server_itself_cannot_send_is_an_unknown_outcome() -> None:
    check_unknown(submitted("Output validation error: no luck", is_error=True).error)


def test_a_record_is_that_of_the_tasks_api() -> None:
    driven = asked({**RECORD, "mcp_task_polling": {"should_poll": False, "is_complete": True}})

    assert driven.requests == [ToolCall(tool="openai_get_task", arguments={"id": TASK_ID})]
    assert (driven.result.state, driven.result.images[0].url) == (SUCCEEDED, URL)


def test_several_are_asked_for_in_one_call_with_a_limit() -> None:
    driven = listed({"items": [RECORD], "count": 1})

    assert driven.requests == [ToolCall(tool="openai_list_tasks", arguments={"ids": [TASK_ID, "other"], "limit": 2})]
    assert [task.state for task in driven.result.values()] == [SUCCEEDED, NOT_FOUND]


@pytest.mark.parametrize("said", [{"result": json.dumps(RECORD)}, json.dumps(json.dumps(RECORD))])
def test_json_in_json_is_unwrapped(said: Any) -> None:
    assert asked(said).result.state is SUCCEEDED


@pytest.mark.parametrize("said", [{"error": "Task not found", "message": "No task matches that id or trace_id."}, {}])
def test_not_found_is_no_error(said: Any) -> None:
    task = asked(said).result

    assert (task.id, task.state) == (TASK_ID, NOT_FOUND)


def test_an_authentication_error_may_be_three_refusals_of_which_a_submission_pays_none() -> None:
    said = {"error": "Authentication Error", "message": "no luck"}
    for error, billed in ((submitted(said).error, "no"), (asked(said).error, "unknown")):
        assert isinstance(error, AuthenticationError)
        assert (error.billed, error.code) == (billed, "Authentication Error")
        assert all(words in error.message for words in ("no luck", "key", "balance", "content policy"))


@pytest.mark.parametrize(
    ("title", "images"),
    [
        ("API Error", []),
        ("Error generating image", []),
        ("Error editing image", [A]),
        ("No response received.", []),
    ],
)
def test_a_submission_without_an_answer_of_the_api_is_an_unknown_outcome(title: str, images: list[str]) -> None:
    check_unknown(submitted({"error": title, "message": "no luck"}, images=images).error)


@pytest.mark.parametrize(
    "title", ["API Error", "Error retrieving task", "Error listing tasks", "No response received."]
)
def test_a_question_without_an_answer_of_the_api_is_asked_again(title: str) -> None:
    for ask in (asked, listed):
        check_unavailable(ask({"error": title, "message": "no luck"}, times=ATTEMPTS).error, title)


def test_a_question_for_nothing_is_a_protocol_error() -> None:
    said = {"error": "At least one of 'id' or 'trace_id' must be provided."}

    assert isinstance(asked(said, times=ATTEMPTS).error, ProtocolError)


@pytest.mark.parametrize(
    "said", ["I am sorry, no luck", {"error": "Something New", "message": "no luck"}, [1, 2], ""], ids=repr
)
def test_words_that_nobody_knows_are_a_protocol_error_or_an_unknown_outcome(said: Any) -> None:
    assert isinstance(asked(said, times=ATTEMPTS).error, ProtocolError)
    assert isinstance(submitted(said).error, UnknownOutcomeError)
