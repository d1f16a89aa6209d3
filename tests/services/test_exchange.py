from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.services.aigptimage import AiGptImage
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.flow_driver import NOW, drive, no_response, response

REQUEST = ImageRequest(prompt="a red kite", model="gpt-image-2")
CREATED = response({"code": 200, "msg": "success", "data": {"taskId": "task-1"}})
RECORD = response({"id": "task-1"})
UNREACHED, CUT = no_response(may_have_left=False), no_response(may_have_left=True)
NO_CREDITS = response({"code": 402, "msg": "no credits", "data": None})
BROKEN = response({"error": {"code": "api_error", "message": "no luck"}}, status=500)


def limited(retry_after: Any) -> Response:
    return response({"error": {"code": "too_many_requests"}}, status=429, headers={"retry-after": str(retry_after)})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 2.5 ", 2.5),
        ("-3", 0),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW - 90, usegmt=True), 0),
        (formatdate(NOW + 90), 90),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", None),
    ],
)
def test_retry_after_comes_in_seconds_or_as_a_date(value: str, seconds: float | None) -> None:
    assert exchange.retry_after(limited(value)) == seconds
    assert exchange.retry_after(BROKEN) is None


@pytest.mark.parametrize("failing", [BROKEN, CUT, UNREACHED, limited(1), response(b"<html>", status=502)])
def test_reading_is_repeated_until_it_works(failing: Any) -> None:
    driven = drive(AceDataCloud().get_task("task-1"), failing, failing, failing, failing, RECORD)

    assert driven.result.id == "task-1"
    assert len(driven.pauses) == 4


def test_reading_is_given_up_after_five_times_with_growing_pauses() -> None:
    driven = drive(AceDataCloud().get_task("task-1"), *[BROKEN] * 5)

    assert type(driven.error) is ServiceUnavailableError
    assert driven.error.retryable is True
    for pause, least in zip(driven.pauses, (1, 2, 4, 8), strict=True):
        assert least <= pause <= least + 1


def test_the_pauses_differ_so_that_many_tasks_do_not_ask_in_the_same_moment() -> None:
    pauses = {drive(AceDataCloud().get_task("task-1"), BROKEN, RECORD).pauses[0] for _ in range(5)}

    assert len(pauses) > 1


@pytest.mark.parametrize("seconds", [0, 1, 30, 60])
def test_the_pause_is_at_least_what_the_service_asks_for(seconds: int) -> None:
    driven = drive(AceDataCloud().submit(REQUEST), limited(seconds), response({"task_id": "task-1"}))

    assert driven.result.id == "task-1"
    assert seconds <= driven.pauses[0] <= seconds + 1


def test_a_pause_that_is_too_long_is_not_waited_for() -> None:
    for flow in (AceDataCloud().submit(REQUEST), AceDataCloud().get_task("task-1")):
        driven = drive(flow, limited(61))

        assert type(driven.error) is RateLimitError
        assert (driven.error.retry_after, driven.pauses) == (61, [])


def test_a_submission_is_repeated_while_it_did_not_leave_and_never_left_without_being_billed() -> None:
    driven = drive(AceDataCloud().submit(REQUEST), UNREACHED, limited(1), UNREACHED, response({"task_id": "task-1"}))
    error = drive(AceDataCloud().submit(REQUEST), *[UNREACHED] * 5).error

    assert driven.result.id == "task-1"
    assert type(error) is ServiceUnavailableError
    assert (error.billed, error.retryable) == ("no", True)


@pytest.mark.parametrize(
    "unclear",
    [
        pytest.param(CUT, id="no answer"),
        pytest.param(BROKEN, id="status 500"),
        pytest.param(response(b"", status=502), id="empty 502"),
        pytest.param(response(b"<html>try later</html>", status=504), id="a proxy's 504"),
        pytest.param(response(b"", status=408), id="empty 408"),
        pytest.param(response({"error": {"message": "too slow"}}, status=408), id="explained 408"),
        pytest.param(response(b"<html>welcome</html>"), id="a page"),
        pytest.param(response({"task_id": None}), id="no id"),
    ],
)
def test_a_submission_is_never_repeated_blindly(unclear: Any) -> None:
    driven = drive(AceDataCloud().submit(REQUEST, key="derived"), unclear)

    error = driven.error
    assert type(error) is UnknownOutcomeError
    assert (error.billed, error.retryable, error.trace_id) == ("unknown", False, "derived")
    assert "2026-09-21 14:13:20 UTC" in error.message
    assert "https://platform.acedata.cloud" in error.message
    assert "Clear submits anew" in str(error)


def test_with_a_key_an_unclear_submission_is_repeated_as_the_same() -> None:
    driven = drive(AiGptImage().submit(REQUEST, key="derived"), CUT, BROKEN, CREATED)

    assert driven.result.id == "task-1"
    assert [request.headers["X-Request-ID"] for request in driven.requests] == ["derived"] * 3
    assert len({str(request.body) for request in driven.requests}) == 1


@pytest.mark.parametrize(
    ("service", "key", "answers"),
    [
        pytest.param(AceDataCloud(), None, [limited(1), UNREACHED, CUT], id="after repetitions"),
        pytest.param(AiGptImage(), None, [CUT], id="without a key"),
        pytest.param(AiGptImage(), None, [response({"code": 408, "msg": "too slow"})], id="a timeout inside"),
        pytest.param(AiGptImage(), "derived", [CUT, *[UNREACHED] * 4], id="repetitions that do not leave"),
        pytest.param(AiGptImage(), "derived", [CUT, *[limited(1)] * 4], id="repetitions too fast"),
        pytest.param(AiGptImage(), "derived", [CUT, NO_CREDITS], id="a refused repetition"),
    ],
)
def test_an_unclear_submission_stays_so_whatever_came_before_and_after(
    service: Service, key: str | None, answers: list[Any]
) -> None:
    error = drive(service.submit(REQUEST, key=key), *answers).error

    assert type(error) is UnknownOutcomeError
    assert error.billed == "unknown"
    if answers[-1] is NO_CREDITS:
        assert type(error.__cause__) is QuotaExceededError
