"""A read that fails says nothing about money: the picture that it asks for may be paid for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services import exchange, get_service
from airflow_provider_imagetasks.services.inline_ids import task_from_inline_id
from airflow_provider_imagetasks.services.wire import Answer, Request, Response
from tests.flow_driver import drive, no_response, response, tool_answer

HTTP_SERVICES = ("acedatacloud", "xhuoapi", "aigptimage", "kie", "local")
TOOL_SERVERS = ("acedatacloud_mcp", "gpt_image_mcp")
PAGE = b"<html>nothing for you</html>"


def reported(status: int, code: Any) -> Response:
    """Return an error in the words of both families at once: each reads its own."""
    return response({"error": {"code": code, "message": "no"}, "code": status, "msg": "no"}, status=status)


OVER_HTTP = {
    "a 404 page": response(PAGE, status=404),
    "a 400 page": response(PAGE, status=400),
    "a 413 page": response(PAGE, status=413),
    "a 403 page": response(PAGE, status=403),
    "a 429 page": response(PAGE, status=429),
    "a redirect": response(b"", status=302, headers={"location": "https://login.example"}),
    "an empty balance": reported(403, "used_up"),
    "a refused key": reported(401, "invalid_token"),
    "a bad request": reported(400, "bad_request"),
    "an unknown code": reported(418, "teapot"),
    "no connection": no_response(may_have_left=False),
    "no answer": no_response(may_have_left=True),
}
OVER_MCP = {
    **{
        name: replace(tool_answer(PAGE.decode()), status=status, from_tool=False)
        for name, status in (("a 404 page", 404), ("a 400 page", 400), ("a 413 page", 413), ("a 403 page", 403))
    },
    "wrong arguments": tool_answer("no such argument", code=-32602),
    "a marked error": tool_answer("Input validation error: 'x' is not of type 'string'", is_error=True),
    "an empty balance": tool_answer({"error": "Authentication Error", "message": "used up"}),
    "no connection": no_response(may_have_left=False),
    "no answer": no_response(may_have_left=True),
}


def check(error: ImageTaskError | None) -> None:
    assert error is not None
    assert error.billed == "unknown"
    assert "not billed" not in str(error)
    # A Clear of the submission, or of a batch, would pay for the picture again.
    assert "Clear" not in str(error)
    assert "ask" in error.retry_advice


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        *(pytest.param(name, OVER_HTTP[what], id=f"{name}-{what}") for name in HTTP_SERVICES for what in OVER_HTTP),
        *(pytest.param(name, OVER_MCP[what], id=f"{name}-{what}") for name in TOOL_SERVERS for what in OVER_MCP),
    ],
)
def test_no_answer_to_a_status_request_says_that_the_picture_was_not_billed(name: str, answer: Answer) -> None:
    service = get_service(name)

    check(drive(service.read_one("paid"), answer).error)
    if service.batch_size > 1:
        check(drive(service.read_batch(["paid", "too"]), answer).error)


@pytest.mark.parametrize("answer", [OVER_HTTP["an empty balance"], OVER_HTTP["a 404 page"]])
def test_a_question_by_trace_id_says_nothing_about_money_either(answer: Answer) -> None:
    service = get_service("acedatacloud")

    check(drive(service.read_by_trace_id("t"), answer).error)
    check(drive(service.list_tasks(trace_ids=["t"]), answer).error)


@pytest.mark.parametrize(
    ("error_class", "advice"),
    [
        (AuthenticationError, "Correct the API key (the connection's password); asking again costs nothing."),
        (QuotaExceededError, "Top up the account at the service; asking again costs nothing."),
        (InvalidRequestError, "Correct what it names; asking again costs nothing."),
        (ServiceUnavailableError, "A retry asks again."),
    ],
)
def test_the_advice_after_a_failed_read_is_about_reading(error_class: type[ImageTaskError], advice: str) -> None:
    def refuse(_answer: Response) -> None:
        raise error_class("no")

    error = drive(exchange.read(Request(method="GET", path="/"), refuse, service="kie"), response({})).error

    assert type(error) is error_class
    assert (error.billed, error.retry_advice) == ("unknown", advice)


def test_a_record_that_says_it_failed_and_was_not_billed_is_a_result() -> None:
    failed = {"id": "paid", "finished_at": 1, "response": {"success": False, "error": {"code": "api_error"}}}

    task = drive(get_service("acedatacloud").read_one("paid"), response(failed)).result

    assert task.error.billed == "no"


def test_an_inline_id_that_cannot_be_read_stands_for_a_picture_that_was_paid_for() -> None:
    for image_task_id in ("inline:broken", "inline:eyJ1cmxzIjpbInUiXSwic2VydmljZSI6ImtpZSJ9"):
        with pytest.raises(InvalidRequestError) as caught:
            task_from_inline_id(image_task_id, "acedatacloud")
        check(caught.value)


def test_a_service_that_cannot_cancel_does_not_say_what_becomes_of_the_bill() -> None:
    error = drive(get_service("kie").cancel("paid")).error

    assert error is not None
    assert (error.billed, "goes on" in error.message) == ("unknown", True)


@pytest.mark.parametrize(
    "surprise", [KeyError("id"), TypeError("no"), ValueError("no"), AttributeError("no"), IndexError("no")]
)
def test_a_surprise_in_an_answer_is_a_protocol_error_with_its_cause(surprise: Exception) -> None:
    def stumble(_answer: Response) -> None:
        raise surprise

    error = drive(exchange.read(Request(method="GET", path="/"), stumble, service="kie"), response({"odd": 1})).error

    assert type(error) is ProtocolError
    assert error.__cause__ is surprise
    assert (error.service, error.retryable) == ("kie", True)
    assert type(surprise).__name__ in error.message
    assert '{"odd": 1}' in error.message
