"""Where kie.ai is not like AI GPT Image: its "Getting Started", "Get Task Details" and "Get Account Credits" pages."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import AuthenticationError, ProtocolError, UnknownOutcomeError
from airflow_provider_imagetasks.services import get_service
from tests.flow_driver import DrivenFlow, drive, no_response, response
from tests.services.wire_examples import REQUEST, TASK_ID, account, completed, envelope

SERVICE = get_service("kie")
CREATED = response(envelope({"taskId": TASK_ID}))


def submitted(*answers: Any) -> DrivenFlow:
    return drive(SERVICE.submit(REQUEST, key="derived"), *answers)


def asked(*answers: Any) -> DrivenFlow:
    return drive(SERVICE.get_task(TASK_ID), *answers)


OWN, OF_CONNECTION = "https://me.example/own", "https://me.example/connection"


def test_a_callback_url_goes_out_under_its_own_name() -> None:
    def body(connection: str | None, callback_url: str | None) -> Any:
        request = completed(SERVICE, of=account(callback_url=connection), callback_url=callback_url)
        return drive(SERVICE.submit(request), CREATED).requests[0].body

    without = body(None, None)

    assert without.keys() == {"model", "input"}
    assert set(without["input"]) == {"prompt"}
    assert body(OF_CONNECTION, OWN) == without | {"callBackUrl": OWN}
    assert body(OF_CONNECTION, None) == without | {"callBackUrl": OF_CONNECTION}


def test_a_submission_has_no_key_and_without_an_answer_is_not_made_again() -> None:
    driven = submitted(no_response(may_have_left=True))

    assert driven.requests[0].headers == {}
    assert type(driven.error) is UnknownOutcomeError
    assert "https://kie.ai/logs" in driven.error.message


def test_the_connection_is_checked_with_the_balance() -> None:
    driven = drive(SERVICE.check_connection(), response(envelope(87.5)))
    bad_key = drive(SERVICE.check_connection(), response({"code": 401, "msg": "You do not have access permissions"}))

    (request,) = driven.requests
    assert (request.method, request.path, request.body) == ("GET", "/api/v1/chat/credit", None)
    assert "87.5 credits" in driven.result
    assert type(bad_key.error) is AuthenticationError
    for balance in (None, {}, "a lot", True, [5]):
        assert type(drive(SERVICE.check_connection(), *[response(envelope(balance))] * 5).error) is ProtocolError


def test_a_second_id_beside_the_first_is_left_alone() -> None:
    assert submitted(response(envelope({"taskId": TASK_ID, "recordId": "another"}))).result.id == TASK_ID
    assert type(submitted(response(envelope({"recordId": "another"}))).error) is UnknownOutcomeError


@pytest.mark.parametrize("words", [{"msg": "no such"}, {"message": "no such"}, {"msg": "", "message": "no such"}])
def test_the_words_have_one_of_two_names_and_an_error_is_understood_without_words_or_data(words) -> None:
    error = submitted(response({"code": 422, "data": None, **words})).error

    assert error is not None
    assert "no such" in error.message
    assert submitted(response({"code": 200, "data": {"taskId": TASK_ID}, **words})).result.id == TASK_ID
    for body in ({"code": 401, **words}, {"code": 401, "data": None}, {"code": 401}):
        for driven in (asked(response(body)), submitted(response(body))):
            assert type(driven.error) is AuthenticationError
