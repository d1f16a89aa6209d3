from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    RateLimitError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services.aigptimage import AiGptImage
from airflow_provider_imagetasks.tasks import ImageRequest, TaskState
from tests.flow_driver import NOW, drive, response
from tests.services.jobs_api_cases import PICTURES, TASK_ID, envelope, record, succeeded

SERVICE = AiGptImage()
REQUEST = ImageRequest(prompt="a red kite", model="gpt-image-2-text-to-image", options={"resolution": "2K"})


def read(data: Any) -> Any:
    return drive(SERVICE.get_task(TASK_ID), response(envelope(data))).result


def test_options_and_prompt_go_into_input() -> None:
    driven = drive(SERVICE.submit(REQUEST), response(envelope({"taskId": TASK_ID})))

    (request,) = driven.requests
    assert (request.method, request.path, request.headers) == ("POST", "/api/v1/jobs/createTask", {})
    assert request.body == {
        "model": "gpt-image-2-text-to-image",
        "input": {"prompt": "a red kite", "resolution": "2K"},
    }


def test_a_submitted_image_task_runs() -> None:
    task = drive(SERVICE.submit(REQUEST), response(envelope({"taskId": TASK_ID}))).result

    assert (task.id, task.state, task.created_at) == (TASK_ID, TaskState.RUNNING, NOW)
    assert (task.model, task.prompt) == ("gpt-image-2-text-to-image", "a red kite")


def test_the_submission_key_is_the_request_id() -> None:
    driven = drive(SERVICE.submit(REQUEST, key="derived"), response(envelope({"taskId": TASK_ID})))

    assert driven.requests[0].headers == {"X-Request-ID": "derived"}


@pytest.mark.parametrize("answer", [{}, envelope(None), envelope({}), envelope({"taskId": ""}), [], None, "yes"])
def test_an_answer_without_an_id_leaves_the_outcome_unknown(answer: Any) -> None:
    driven = drive(SERVICE.submit(REQUEST), response(answer))

    assert type(driven.error) is UnknownOutcomeError


def test_one_record_is_asked_for_by_its_id() -> None:
    driven = drive(SERVICE.get_task(TASK_ID), response(envelope(record("waiting"))))

    (request,) = driven.requests
    assert (request.method, request.path, request.body) == ("GET", "/api/v1/jobs/recordInfo", None)
    assert request.parameters == {"taskId": TASK_ID}


def test_several_are_asked_for_one_after_the_other() -> None:
    answers = [response(envelope(record("waiting", taskId="a"))), response(envelope(None, 404, "what?"), status=404)]

    driven = drive(SERVICE.get_tasks(["a", "b"]), *answers)

    assert [request.parameters["taskId"] for request in driven.requests] == ["a", "b"]
    assert [task.state for task in driven.result.values()] == [TaskState.RUNNING, TaskState.NOT_FOUND]


def test_a_finished_record_becomes_plain_data() -> None:
    task = read(succeeded(json.dumps(PICTURES)))

    assert task.as_xcom("mine") == {
        "id": TASK_ID,
        "service": "aigptimage",
        "conn_id": "mine",
        "trace_id": None,
        "state": "succeeded",
        "model": "gpt-image-2-text-to-image",
        "prompt": "a red kite",
        "images": [{"index": 0, "url": "https://pictures.example/kite.png", "path": None, "inline": False}],
        "image_count_requested": 1,
        "created_at": "2026-09-21T14:13:20.250000+00:00",
        "finished_at": "2026-09-21T14:14:01.500000+00:00",
        "duration": 41.25,
        "usage": None,
    }


@pytest.mark.parametrize("parameters", [None, "no json", "[]", "5", {"input": {"prompt": "a red kite"}}])
def test_param_may_be_anything(parameters: Any) -> None:
    assert read(record("waiting", param=parameters)).state is TaskState.RUNNING


def test_a_failed_record_without_times_has_none() -> None:
    task = read(record("fail", failCode="400", failMsg="a bad size", createTime=None))

    assert (task.created_at, task.finished_at, task.duration) == (None, None, None)
    assert "a bad size" in task.error.message


def test_the_service_s_own_word_is_kept() -> None:
    assert read(record("mixing-the-paint")).raw_state == "mixing-the-paint"


@pytest.mark.parametrize("data", [None, [], "waiting", record(None), record(""), {}])
def test_an_answer_without_a_state_is_a_protocol_error(data: Any) -> None:
    driven = drive(SERVICE.get_task(TASK_ID), *[response(envelope(data))] * 5)

    assert type(driven.error) is ProtocolError
    assert driven.error.image_task_id == TASK_ID


def test_the_http_status_counts_where_the_envelope_says_that_all_is_well() -> None:
    driven = drive(SERVICE.get_task(TASK_ID), response(envelope(record("success")), status=401))

    assert type(driven.error).__name__ == "AuthenticationError"


def test_a_code_may_come_as_text() -> None:
    assert drive(SERVICE.get_task(TASK_ID), response(envelope(None, "404", "what?"))).result.state == "not_found"


def test_a_redirect_is_named_whatever_its_body_says() -> None:
    moved = response(envelope(None), status=302, headers={"location": "https://elsewhere.example/login?key=k"})

    error = drive(SERVICE.get_task(TASK_ID), moved).error

    assert type(error) is ProtocolError
    assert "https://elsewhere.example/login." in error.message
    assert error.retryable is False


def test_a_rate_limit_in_the_envelope_says_how_long() -> None:
    limited = envelope({"retryAfter": 7, "limit": 1, "tier": "free", "windowSeconds": 60}, 429, "slowly")

    driven = drive(SERVICE.submit(REQUEST), response(limited), response(envelope({"taskId": TASK_ID})))

    assert driven.result.id == TASK_ID
    assert 7 <= driven.pauses[0] <= 8


def test_a_rate_limit_that_is_too_long_is_left_to_airflow() -> None:
    error = drive(SERVICE.submit(REQUEST), response(envelope({"retryAfter": 600}, 429, "slowly"))).error

    assert type(error) is RateLimitError
    assert (error.retry_after, error.billed, error.retryable) == (600, "no", True)


@pytest.mark.parametrize("request_", [{"trace_id": "mine"}, {"callback_url": "https://me.example"}])
def test_what_the_service_cannot_do_is_refused_before_it_is_asked(request_: dict[str, Any]) -> None:
    (field,) = request_
    account: Any = type("A", (), {"default_model": None, "callback_url": None})

    with pytest.raises(InvalidRequestError, match=field):
        SERVICE.complete(ImageRequest(prompt="a red kite", **request_), account)


def test_there_is_no_look_up_by_trace_id_and_no_list() -> None:
    for flow in (SERVICE.get_task_by_trace_id("mine"), SERVICE.list_tasks()):
        error: ImageTaskError | None = drive(flow).error
        assert type(error) is InvalidRequestError


def test_the_connection_is_good_when_a_made_up_id_is_not_found() -> None:
    driven = drive(SERVICE.check_connection(), response(envelope(None, 404, "what?"), status=404))

    assert "credits" in driven.result
    assert driven.requests[0].parameters["taskId"].startswith("connection-test-")


def test_the_connection_check_reports_a_bad_key() -> None:
    driven = drive(SERVICE.check_connection(), response(envelope(None, 401, "who?"), status=401))

    assert type(driven.error).__name__ == "AuthenticationError"
