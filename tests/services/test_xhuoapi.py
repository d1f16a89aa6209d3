"""Where XHuoAPI is not like AceDataCloud, by its "OpenAI Tasks API" page and its image guides."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.tasks import ImageFile
from tests.flow_driver import DrivenFlow, drive, response
from tests.services.wire_examples import TASK_ID, A, account, completed

SERVICE = get_service("xhuoapi")
RESERVED = "https://callback.invalid/"
OWN, WITH_URL = "https://me.example/own", account(callback_url="https://me.example/connection")
FILE = ImageFile(name="a.png", media_type="image/png", content=b"\x89PNGa")
ACCEPTED = response({"task_id": TASK_ID})


def submitted(answer: Response, *, of: Account | None = None, **fields: Any) -> DrivenFlow:
    request = completed(SERVICE, of=of, **{"prompt": "a red kite", **fields})
    return drive(SERVICE.submit(request, key="derived"), answer)


def refused(code: str, *, status: int = 400, **arguments: Any) -> ImageTaskError:
    error = submitted(response({"error": {"code": code, "message": "no luck"}}, status=status), **arguments).error
    assert error is not None
    return error


def test_everything_stands_below_its_own_base_path() -> None:
    assert SERVICE.default_base_url == "https://api.xhuoapi.ai/v1"
    assert submitted(ACCEPTED).requests[0].path == "/openai/images/generations"
    assert submitted(ACCEPTED, images=[A]).requests[0].path == "/openai/images/edits"
    assert drive(SERVICE.get_task(TASK_ID), response({})).requests[0].path == "/openai/tasks"


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"callback_url": OWN, "of": WITH_URL}, OWN),
        ({"of": WITH_URL}, WITH_URL.callback_url),
        ({}, RESERVED),
        ({"images": [A]}, RESERVED),
    ],
)
def test_a_callback_url_is_always_sent_and_the_answer_asked_for_at_once_all_the_same(fields, sent) -> None:
    driven = submitted(ACCEPTED, **fields)
    in_form = submitted(ACCEPTED, **fields | {"images": [FILE]}).requests[0].form

    body = driven.requests[0].body
    assert (body["callback_url"], body["async"], driven.result.id) == (sent, True, TASK_ID)
    assert in_form["callback_url"] == sent


def test_a_refused_request_says_that_the_reserved_address_may_be_why_but_not_where_it_cannot_be() -> None:
    error = refused("bad_request")

    assert type(error) is InvalidRequestError
    assert all(words in error.retry_advice for words in ("set callback_url", RESERVED))
    assert "callback" not in str(refused("bad_request", callback_url="https://me.example"))
    assert "callback" not in str(refused("bad_request", of=WITH_URL))
    assert "callback" not in str(refused("forbidden", status=403))
