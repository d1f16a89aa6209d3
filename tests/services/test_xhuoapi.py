"""Where XHuoAPI is not like AceDataCloud, by its "OpenAI Tasks API" page and its image guides."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account, read_account
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.flow_driver import NOW, DrivenFlow, drive, response
from tests.services.wire_examples import PICTURE, SUCCEEDED, TASK_ID

SERVICE = get_service("xhuoapi")
RESERVED = "https://callback.invalid/"
OWN, OF_CONNECTION = "https://me.example/own", "https://me.example/connection"
IMAGES = ["https://x.example/a.png"]
ACCEPTED = response({"task_id": TASK_ID})


def account(**extra: Any) -> Account:
    return read_account(
        conn_id="mine",
        service=SERVICE.name,
        default_base_url=SERVICE.default_base_url,
        requires_key=SERVICE.requires_key,
        host=None,
        key="sk-of-the-tests",
        extra=extra,
    )


def submitted(answer: Response, *, extra: dict[str, Any] | None = None, **fields: Any) -> DrivenFlow:
    request = SERVICE.complete(ImageRequest(prompt="a red kite", **fields), account(**(extra or {})))
    return drive(SERVICE.submit(request, key="derived"), answer)


def refused(code: str, *, status: int = 400, **arguments: Any) -> ImageTaskError:
    error = submitted(response({"error": {"code": code, "message": "no luck"}}, status=status), **arguments).error
    assert error is not None
    return error


def test_everything_stands_below_its_own_base_path() -> None:
    assert account().base_url == "https://api.xhuoapi.ai/v1"
    assert submitted(ACCEPTED).requests[0].path == "/openai/images/generations"
    assert submitted(ACCEPTED, images=IMAGES).requests[0].path == "/openai/images/edits"
    assert drive(SERVICE.get_task(TASK_ID), response({})).requests[0].path == "/openai/tasks"


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ({"callback_url": OWN, "extra": {"callback_url": OF_CONNECTION}}, OWN),
        ({"extra": {"callback_url": OF_CONNECTION}}, OF_CONNECTION),
        ({}, RESERVED),
        ({"images": IMAGES}, RESERVED),
    ],
)
def test_a_callback_url_is_always_sent_and_the_answer_asked_for_at_once_all_the_same(
    arguments: dict[str, Any], sent: str
) -> None:
    driven = submitted(ACCEPTED, **arguments)

    body = driven.requests[0].body
    assert (body["callback_url"], body["async"], driven.result.id) == (sent, True, TASK_ID)


def test_a_refused_request_says_that_the_reserved_address_may_be_why() -> None:
    error = refused("bad_request")

    assert type(error) is InvalidRequestError
    assert "set callback_url" in error.retry_advice
    assert RESERVED in error.retry_advice


def test_a_request_that_is_refused_for_something_else_says_nothing_of_it() -> None:
    assert "callback" not in str(refused("bad_request", callback_url="https://me.example"))
    assert "callback" not in str(refused("bad_request", extra={"callback_url": "https://me.example"}))
    assert "callback" not in str(refused("forbidden", status=403))


@pytest.mark.parametrize("task_id", [{}, {"task_id": TASK_ID}])
def test_an_answer_with_pictures_becomes_an_id_that_holds_them(task_id: dict[str, str]) -> None:
    task = submitted(response({"success": True, "created": 1790000000, "data": [PICTURE], **task_id})).result

    assert task.state is SUCCEEDED
    assert task.id.startswith("inline:")
    again = drive(SERVICE.get_task(task.id))
    assert (again.requests, again.result.id) == ([], task.id)
    assert again.result.as_xcom("c")["images"] == task.as_xcom("c")["images"]
    assert (again.result.finished_at, again.result.trace_id) == (NOW, "derived")


def test_pictures_that_cannot_be_asked_for_again_are_an_error_that_says_they_were_billed() -> None:
    error = submitted(response({"task_id": TASK_ID, "data": [{"b64_json": "aGVsbG8="}]})).error

    assert error is not None
    assert (type(error), error.billed, error.retryable) == (ImageTaskError, "yes", False)
    assert "response_format" in error.message
