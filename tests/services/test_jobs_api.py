"""Submissions, status requests and refusals by AI GPT Image's "Create Task", "Query Task" and "Errors" pages."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.polling.status_requests import read_all
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.flow_driver import NOW, drive, response
from tests.services.wire_examples import (
    NOT_FOUND,
    RUNNING,
    TASK_ID,
    A,
    B,
    check_refusal,
    completed,
    envelope,
    job,
    refused_jobs,
)

SERVICE = get_service("aigptimage")
FAMILY = pytest.mark.parametrize("service", ["aigptimage", "kie"])
REQUEST = ImageRequest(prompt="a red kite", model="gpt-image-2-text-to-image", options={"resolution": "2K"})
CREATED = response(envelope({"taskId": TASK_ID}))
UNKNOWN = response(envelope(None, 404, "what?"), status=404)


def edited(service: str, **fields: Any) -> dict[str, Any]:
    """Return the body that is sent for pictures and a prompt."""
    (request,) = drive(get_service(service).submit(completed(service, **fields)), CREATED).requests
    assert request.path == "/api/v1/jobs/createTask"
    return request.body


@pytest.mark.parametrize(("key", "headers"), [(None, {}), ("derived", {"X-Request-ID": "derived"})])
def test_options_and_prompt_go_into_input_and_the_submission_key_is_the_request_id(
    key: str | None, headers: dict[str, str]
) -> None:
    driven = drive(SERVICE.submit(REQUEST, key=key), CREATED)

    (request,) = driven.requests
    body = {"model": "gpt-image-2-text-to-image", "input": {"prompt": "a red kite", "resolution": "2K"}}
    assert (request.method, request.path, request.headers) == ("POST", "/api/v1/jobs/createTask", headers)
    assert request.body == body
    task = driven.result
    assert (task.id, task.state, task.created_at) == (TASK_ID, RUNNING, NOW)
    assert (task.model, task.prompt) == ("gpt-image-2-text-to-image", "a red kite")


@pytest.mark.parametrize("answer", [{}, envelope(None), envelope({}), envelope({"taskId": ""}), [], None, "yes"])
def test_an_answer_without_an_id_leaves_the_outcome_unknown(answer: Any) -> None:
    assert type(drive(SERVICE.submit(REQUEST), response(answer)).error) is UnknownOutcomeError


@FAMILY
def test_the_urls_of_an_edit_go_into_input_urls(service: str) -> None:
    assert edited(service, images=[A, B], options={"resolution": "2K"}) == {
        "model": "gpt-image-2-image-to-image",
        "input": {"prompt": "make it winter", "resolution": "2K", "input_urls": [A, B]},
    }


@FAMILY
@pytest.mark.parametrize("field", ["image_urls", "image_input", "input_urls"])
@pytest.mark.parametrize("empty", [[], None, ""])
def test_options_name_the_field_in_which_a_model_takes_pictures(service: str, field: str, empty: Any) -> None:
    body = edited(service, images=[A], options={field: empty})

    assert body["input"] == {"prompt": "make it winter", field: [A]}


@FAMILY
def test_pictures_in_options_alone_are_passed_through(service: str) -> None:
    body = edited(service, options={"image_input": [A]}, model="nano-banana-2")

    assert body == {"model": "nano-banana-2", "input": {"prompt": "make it winter", "image_input": [A]}}


@FAMILY
@pytest.mark.parametrize("field", ["input_urls", "image_urls", "image_input"])
def test_pictures_that_come_twice_are_refused(service: str, field: str) -> None:
    driven = drive(get_service(service).submit(completed(service, images=[A], options={field: [B]})))

    assert type(driven.error) is InvalidRequestError
    assert (driven.error.billed, driven.requests) == ("no", [])
    assert field in driven.error.message


def test_one_record_is_asked_for_by_its_id() -> None:
    (request,) = drive(SERVICE.get_task(TASK_ID), response(envelope(job("waiting")))).requests

    assert (request.method, request.path, request.body) == ("GET", "/api/v1/jobs/recordInfo", None)
    assert request.parameters == {"taskId": TASK_ID}


def test_several_are_asked_for_one_after_the_other() -> None:
    driven = drive(read_all(SERVICE, Pace(None), ["a", "b"]), response(envelope(job("waiting", taskId="a"))), UNKNOWN)

    assert [request.parameters["taskId"] for request in driven.requests] == ["a", "b"]
    assert [task.state for task in driven.result.values()] == [RUNNING, NOT_FOUND]


@pytest.mark.parametrize("data", [None, [], "waiting", job(None), job(""), {}])
def test_an_answer_without_a_state_is_a_protocol_error(data: Any) -> None:
    error = drive(SERVICE.get_task(TASK_ID), *[response(envelope(data))] * 5).error

    assert type(error) is ProtocolError
    assert error.image_task_id == TASK_ID


REFUSALS: list[tuple[int, type[ImageTaskError] | None, type[ImageTaskError]]] = [
    (400, InvalidRequestError, InvalidRequestError),
    (401, AuthenticationError, AuthenticationError),
    (402, QuotaExceededError, QuotaExceededError),
    (404, None, InvalidRequestError),
    (422, InvalidRequestError, InvalidRequestError),
    (429, RateLimitError, RateLimitError),
    (500, ServiceUnavailableError, UnknownOutcomeError),
]


@pytest.mark.parametrize("way", ["in HTTP 200", "with HTTP status", "HTTP status only"])
@pytest.mark.parametrize(("code", "on_read", "on_submit"), REFUSALS)
def test_a_code_ends_a_status_request_and_a_submission(
    code: int, on_read: type[ImageTaskError] | None, on_submit: type[ImageTaskError], way: str
) -> None:
    check_refusal(SERVICE, refused_jobs(code)[way], str(code), on_read, on_submit)


def test_the_http_status_counts_where_the_envelope_says_that_all_is_well_and_a_code_may_come_as_text() -> None:
    bad_key = drive(SERVICE.get_task(TASK_ID), response(envelope(job("success")), status=401))
    as_text = drive(SERVICE.get_task(TASK_ID), response(envelope(None, "404", "what?")))

    assert type(bad_key.error) is AuthenticationError
    assert as_text.result.state is NOT_FOUND


def test_a_redirect_is_named_whatever_its_body_says() -> None:
    moved = response(envelope(None), status=302, headers={"location": "https://elsewhere.example/login?key=k"})

    error = drive(SERVICE.get_task(TASK_ID), moved).error

    assert type(error) is ProtocolError
    assert "https://elsewhere.example/login." in error.message
    assert error.retryable is False


def test_a_rate_limit_in_the_envelope_says_how_long() -> None:
    limited = envelope({"retryAfter": 7, "limit": 1, "tier": "free", "windowSeconds": 60}, 429, "slowly")

    driven = drive(SERVICE.submit(REQUEST), response(limited), CREATED)

    assert driven.result.id == TASK_ID
    assert 7 <= driven.pauses[0] <= 8


def test_a_rate_limit_that_is_too_long_is_left_to_airflow() -> None:
    error = drive(SERVICE.submit(REQUEST), response(envelope({"retryAfter": 600}, 429, "slowly"))).error

    assert type(error) is RateLimitError
    assert (error.retry_after, error.billed, error.retryable) == (600, "no", True)


def test_there_is_no_look_up_by_trace_id_and_no_list() -> None:
    for flow in (SERVICE.get_task_by_trace_id("mine"), SERVICE.list_tasks()):
        assert type(drive(flow).error) is InvalidRequestError


def test_the_connection_is_good_when_a_made_up_id_is_not_found() -> None:
    good = drive(SERVICE.check_connection(), UNKNOWN)
    bad_key = drive(SERVICE.check_connection(), response(envelope(None, 401, "who?"), status=401))

    assert "credits" in good.result
    assert good.requests[0].parameters["taskId"].startswith("connection-test-")
    assert type(bad_key.error) is AuthenticationError
