"""The Tasks API as tools: the repository AceDataCloud/OpenAIMCP, whose errors are ordinary answers with a title."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
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


@pytest.mark.parametrize(
    ("title", "images"),
    [
        *(("API Error", []), ("Error generating image", []), ("No response received.", [])),
        ("Error editing image", [A]),
        ("Output validation error", []),
    ],
)
def test_a_submission_without_an_answer_of_the_api_is_an_unknown_outcome(title: str, images: list[str]) -> None:
    itself = title == "Output validation error"
    said = f"{title}: no luck" if itself else {"error": title, "message": "no luck"}

    error = submitted(said, is_error=itself, images=images).error

    assert isinstance(error, UnknownOutcomeError)
    assert error.billed == "unknown"
    assert "no luck" in error.message


@pytest.mark.parametrize(
    "title", ["API Error", "Error retrieving task", "Error listing tasks", "No response received."]
)
def test_a_question_without_an_answer_of_the_api_is_asked_again(title: str) -> None:
    for ask in (asked, listed):
        error = ask({"error": title, "message": "no luck"}, times=ATTEMPTS).error
        assert isinstance(error, ServiceUnavailableError)
        assert (error.code, error.retryable) == (title, True)
        assert all(words in error.message for words in ("no luck", "the MCP server"))


@pytest.mark.parametrize(
    "said", ["I am sorry, no luck", {"error": "Something New", "message": "no luck"}, [1, 2], ""], ids=repr
)
def test_words_that_nobody_knows_are_a_protocol_error_or_an_unknown_outcome(said: Any) -> None:
    nothing = {"error": "At least one of 'id' or 'trace_id' must be provided."}

    assert isinstance(asked(said, times=ATTEMPTS).error, ProtocolError)
    assert isinstance(submitted(said).error, UnknownOutcomeError)
    assert isinstance(asked(nothing, times=ATTEMPTS).error, ProtocolError)


def test_a_submission_names_the_model_always_and_a_trace_id_never_and_an_edit_sends_a_real_list() -> None:
    advice = {"task_id": TASK_ID, "mcp_async_submission": {"task_id": TASK_ID, "should_poll": True}}
    generated = submitted({"task_id": TASK_ID}, options={"size": "1024x1024", "n": 2})
    edited = submitted(advice, images=[A, B], callback_url="https://me.example/hook")

    usual = {"prompt": "a red kite", "model": "gpt-image-2"}
    of_edit = {"image": [A, B], "callback_url": "https://me.example/hook"}
    assert [*generated.requests, *edited.requests] == [
        ToolCall(tool="openai_generate_image", arguments={**usual, "size": "1024x1024", "n": 2}),
        ToolCall(tool="openai_edit_image", arguments={**usual, **of_edit}),
    ]
    for driven in (generated, edited):
        assert (driven.result.id, driven.result.state, driven.result.trace_id) == (TASK_ID, RUNNING, None)
    assert SERVICE.finds_by_trace_id is False


SCHEMA_ERRORS = {
    "the server's check": "Error executing tool a_tool: 1 validation error for aArguments\n  Input should be 'b'",
    "the SDK's own check": "Input validation error: 'gpt-image-9' is not one of ['b']",
}


@pytest.mark.parametrize("check", SCHEMA_ERRORS)
def test_what_the_schema_refuses_was_not_billed(check: str) -> None:
    error = submitted(SCHEMA_ERRORS[check], is_error=True, model="gpt-image-9").error

    assert isinstance(error, InvalidRequestError)
    assert error.billed == "no"
    assert all(words in error.message for words in ("the MCP server", "a_tool", "'b'"))


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({**RECORD, "mcp_task_polling": {"should_poll": False, "is_complete": True}}, SUCCEEDED),
        # JSON in JSON is unwrapped.
        ({"result": json.dumps(RECORD)}, SUCCEEDED),
        (json.dumps(json.dumps(RECORD)), SUCCEEDED),
        ({"error": "Task not found", "message": "No task matches that id or trace_id."}, NOT_FOUND),
        ({}, NOT_FOUND),
    ],
)
def test_a_record_is_that_of_the_tasks_api_and_not_found_no_error(said: Any, state: Any) -> None:
    driven = asked(said)

    assert driven.requests == [ToolCall(tool="openai_get_task", arguments={"id": TASK_ID})]
    assert (driven.result.id, driven.result.state) == (TASK_ID, state)
    assert [image.url for image in driven.result.images] == ([URL] if state is SUCCEEDED else [])


def test_several_are_asked_for_in_one_call_with_a_limit() -> None:
    driven = listed({"items": [RECORD], "count": 1})

    assert driven.requests == [ToolCall(tool="openai_list_tasks", arguments={"ids": [TASK_ID, "other"], "limit": 2})]
    assert [task.state for task in driven.result.values()] == [SUCCEEDED, NOT_FOUND]


def said_of(status: int | None, code: str, title: str = "API Error") -> dict[str, Any]:
    """Return an error as ``mcp-openai-pro`` 2026.10 says it, whose message tells nothing that the status does not."""
    facts = {"status_code": status, "code": code, "request_id": None}
    return {"error": title, "message": "no luck.", **facts}


OF_KEY = "Authentication Error"
NEWER: list[tuple[dict[str, Any], type[ImageTaskError], type[ImageTaskError]]] = [
    (said_of(400, "bad_request"), InvalidRequestError, InvalidRequestError),
    (said_of(400, "http_400"), InvalidRequestError, InvalidRequestError),
    (said_of(401, "invalid_token", OF_KEY), AuthenticationError, AuthenticationError),
    (said_of(401, "http_401", OF_KEY), AuthenticationError, AuthenticationError),
    (said_of(403, "forbidden", OF_KEY), ContentPolicyError, ContentPolicyError),
    (said_of(403, "http_403", OF_KEY), QuotaExceededError, QuotaExceededError),
    (said_of(403, "insufficient_balance", OF_KEY), QuotaExceededError, QuotaExceededError),
    (said_of(404, "http_404"), InvalidRequestError, InvalidRequestError),
    (said_of(429, "http_429"), RateLimitError, RateLimitError),
    (said_of(429, "rate_limit_exceeded"), RateLimitError, RateLimitError),
    (said_of(429, "insufficient_quota"), QuotaExceededError, QuotaExceededError),
    (said_of(500, "api_error"), UnknownOutcomeError, ServiceUnavailableError),
    (said_of(502, "http_502"), UnknownOutcomeError, ServiceUnavailableError),
    (said_of(504, "timeout"), UnknownOutcomeError, ServiceUnavailableError),
    (said_of(None, "network_error"), UnknownOutcomeError, ServiceUnavailableError),
    (said_of(None, "timeout_error"), UnknownOutcomeError, ServiceUnavailableError),
    (said_of(None, "invalid_response"), UnknownOutcomeError, ServiceUnavailableError),
    (said_of(None, "internal_error", "Error generating image"), UnknownOutcomeError, ServiceUnavailableError),
    (said_of(None, "auth_error", OF_KEY), AuthenticationError, AuthenticationError),
]
REPEATED = (RateLimitError, ServiceUnavailableError)


@pytest.mark.parametrize(("said", "on_submit", "on_read"), NEWER, ids=lambda value: str(value)[:60])
def test_the_status_and_the_code_that_a_newer_server_passes_on_are_what_they_are_at_the_api(
    said, on_submit, on_read
) -> None:
    times = ATTEMPTS if on_submit in REPEATED else 1
    submission = drive(SERVICE.submit(completed(SERVICE, prompt="a red kite")), *[tool_answer(said)] * times).error
    question = asked(said, times=ATTEMPTS if on_read in REPEATED else 1).error

    for error, expected in ((submission, on_submit), (question, on_read)):
        assert (type(error), error and error.code) == (expected, said["code"])
        assert "no luck" in str(error)
        assert ".." not in str(error)
    assert submission is not None
    assert submission.billed == ("unknown" if on_submit is UnknownOutcomeError else "no")


def test_a_server_without_a_key_says_how_it_is_told_to_take_the_connection_s() -> None:
    older = {"error": OF_KEY, "message": "API token not configured"}

    for said in (said_of(None, "auth_error", OF_KEY), older):
        assert "MCP_SERVER_URL" in str(submitted(said).error)


def test_an_error_of_the_api_inside_http_200_keeps_its_words_and_its_trace_id() -> None:
    said = {"error": {"code": "api_error", "message": "no luck today"}, "trace_id": "t-9"}
    error = submitted(said).error

    assert (type(error), error and error.code, error and error.trace_id) == (UnknownOutcomeError, "api_error", "t-9")
    assert "no luck today" in str(error)
    used_up = {"error": {"code": "used_up", "message": "no balance"}, "trace_id": "t-9"}
    assert type(submitted(used_up).error) is QuotaExceededError


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("The content was refused by the moderation.", ContentPolicyError),
        ("Balance insufficient", QuotaExceededError),
        ("Your balance is not sufficient", QuotaExceededError),
        ("invalid token", AuthenticationError),
        ("no luck", AuthenticationError),
    ],
)
def test_an_older_server_s_authentication_error_is_what_the_api_s_message_makes_of_it(message, expected) -> None:
    said = {"error": OF_KEY, "message": message}

    for error, billed in ((submitted(said).error, "no"), (asked(said).error, "unknown")):
        assert (type(error), error and error.billed, error and error.code) == (expected, billed, OF_KEY)
        assert message.rstrip(".") in str(error)
        assert expected is not AuthenticationError or "mcp-openai-pro" in str(error)
