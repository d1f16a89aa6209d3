"""Checks of the rows of section 3.2 that are neither a state nor a code: where kie is not like AI GPT Image."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    InvalidRequestError,
    ProtocolError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.kie import Kie
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.tasks import ImageRequest, TaskState
from tests.flow_driver import DrivenFlow, drive, no_response, response
from tests.services.jobs_api_cases import PICTURES, TASK_ID, envelope
from tests.services.kie_cases import finished, record
from tests.services.row_cases import Rules

SERVICE = Kie()
RULES = Rules()
CREATED = response(envelope({"taskId": TASK_ID}))
ACCOUNT = Account(conn_id="mine", service="kie", base_url="https://api.kie.ai", callback_url="https://me.example/conn")
NO_RECORD = response({"code": 422, "msg": "recordInfo is null", "data": None})
RESULT = json.dumps(PICTURES)


def submitted(*answers: Any, **fields: Any) -> DrivenFlow:
    request = ImageRequest(**{"prompt": "a red kite", "model": "gpt-image-2-text-to-image", **fields})
    return drive(SERVICE.submit(request, key="derived"), *answers)


def read(answer: Response) -> Any:
    return drive(SERVICE.get_task(TASK_ID), answer).result


@RULES.row("3.2-just-created")
def a_missing_record_is_not_found_without_a_second_question() -> None:
    driven = drive(SERVICE.get_task(TASK_ID), NO_RECORD)

    assert (driven.result.state, driven.result.id, driven.pauses) == (TaskState.NOT_FOUND, TASK_ID, [])


@RULES.row("3.2-just-created")
def the_same_answer_to_a_submission_is_a_refusal() -> None:
    driven = submitted(NO_RECORD)

    assert type(driven.error) is InvalidRequestError
    assert (driven.error.billed, driven.error.retryable) == ("no", False)
    assert len(driven.requests) == 1


@RULES.row("3.2-callback")
def a_callback_url_goes_out_under_its_own_name() -> None:
    own = SERVICE.complete(ImageRequest(prompt="a", callback_url="https://me.example/own"), ACCOUNT)
    connection = SERVICE.complete(ImageRequest(prompt="a"), ACCOUNT)

    bodies = [drive(SERVICE.submit(request), CREATED).requests[0].body or {} for request in (own, connection)]

    assert [body["callBackUrl"] for body in bodies] == ["https://me.example/own", "https://me.example/conn"]
    assert all("callback_url" not in body for body in bodies)
    assert all(set(body["input"]) == {"prompt"} for body in bodies)


@RULES.row("3.2-callback")
def without_a_callback_url_none_is_sent() -> None:
    assert "callBackUrl" not in (submitted(CREATED).requests[0].body or {})


@RULES.row("3.2-no-request-id")
def a_submission_has_no_key() -> None:
    assert submitted(CREATED).requests[0].headers == {}


@RULES.row("3.2-no-request-id")
def a_submission_without_an_answer_is_not_made_again() -> None:
    driven = submitted(no_response(may_have_left=True))

    assert type(driven.error) is UnknownOutcomeError
    assert "https://kie.ai/logs" in driven.error.message


@RULES.row("3.2-credits")
def the_connection_is_checked_with_the_balance() -> None:
    driven = drive(SERVICE.check_connection(), response(envelope(87.5)))

    (request,) = driven.requests
    assert (request.method, request.path, request.body) == ("GET", "/api/v1/chat/credit", None)
    assert "87.5 credits" in driven.result


@RULES.row("3.2-credits")
def a_bad_key_shows_there() -> None:
    driven = drive(SERVICE.check_connection(), response({"code": 401, "msg": "You do not have access permissions"}))

    assert type(driven.error) is AuthenticationError


@RULES.row("3.2-credits")
def a_balance_that_is_no_number_is_a_protocol_error() -> None:
    for balance in (None, {}, "a lot", True, [5]):
        assert type(drive(SERVICE.check_connection(), *[response(envelope(balance))] * 5).error) is ProtocolError


@RULES.row("3.2-record-id")
def the_second_id_is_left_alone() -> None:
    driven = submitted(response(envelope({"taskId": TASK_ID, "recordId": "another"})))

    assert driven.result.id == TASK_ID
    assert type(submitted(response(envelope({"recordId": "another"}))).error) is UnknownOutcomeError


@RULES.row("3.2-message")
def either_name_of_the_words_is_read() -> None:
    for words in ({"msg": "no such model"}, {"message": "no such model"}, {"msg": "", "message": "no such model"}):
        error = submitted(response({"code": 422, "data": None, **words})).error

        assert error is not None
        assert "no such model" in error.message


@RULES.row("3.2-message")
def an_accepted_submission_may_have_either_too() -> None:
    assert submitted(response({"code": 200, "message": "success", "data": {"taskId": TASK_ID}})).result.id == TASK_ID


@RULES.row("3.2-no-data")
def an_error_is_understood_without_data() -> None:
    for body in ({"code": 401, "msg": "who?"}, {"code": 401, "msg": "who?", "data": None}, {"code": 401}):
        assert type(drive(SERVICE.get_task(TASK_ID), response(body)).error) is AuthenticationError
        assert type(submitted(response(body)).error) is AuthenticationError


@RULES.row("3.2-odd-client")
def a_text_at_the_door_is_no_refusal_by_the_service() -> None:
    door = response(b"error code: 1010", status=403)

    read_error, submit_error = drive(SERVICE.get_task(TASK_ID), door).error, submitted(door).error

    for error, billed in ((read_error, "unknown"), (submit_error, "no")):
        assert type(error) is ProtocolError
        assert "error code: 1010" in error.message
        assert (error.billed, error.retryable) == (billed, False)


@RULES.row("3.2-credits-consumed")
def what_a_record_says_it_cost_is_its_usage() -> None:
    assert read(response(envelope(finished(RESULT, creditsConsumed=6)))).usage == {"credits": 6}
    assert read(response(envelope(finished(RESULT, creditsConsumed="2.5")))).usage == {"credits": 2.5}
    assert read(response(envelope(record("waiting", creditsConsumed=None)))).usage is None


@RULES.row("3.2-credits-consumed")
def a_finished_record_has_its_times_in_seconds() -> None:
    task = read(response(envelope(finished(RESULT))))

    assert (task.created_at, task.finished_at, task.duration) == (1790000000.25, 1790000041.5, 41.25)
    assert (task.model, task.prompt) == ("gpt-image-2-text-to-image", "a red kite")
