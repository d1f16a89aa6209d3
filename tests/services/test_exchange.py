from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.services.aigptimage import AiGptImage
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.flow_driver import NOW, drive, no_response, response

REQUEST = ImageRequest(prompt="a red kite", model="gpt-image-2")
CREATED = response({"code": 200, "msg": "success", "data": {"taskId": "task-1"}})
RECORD = response({"id": "task-1"})
UNREACHED, CUT = no_response(may_have_left=False), no_response(may_have_left=True)
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


def test_without_the_header_nobody_knows_how_long() -> None:
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


def test_a_submission_is_repeated_while_it_did_not_leave() -> None:
    driven = drive(AceDataCloud().submit(REQUEST), UNREACHED, limited(1), UNREACHED, response({"task_id": "task-1"}))

    assert driven.result.id == "task-1"


def test_a_submission_that_never_left_was_not_billed() -> None:
    driven = drive(AceDataCloud().submit(REQUEST), *[UNREACHED] * 5)

    assert type(driven.error) is ServiceUnavailableError
    assert (driven.error.billed, driven.error.retryable) == ("no", True)


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


def test_an_unclear_submission_is_not_repeated_although_earlier_ones_were() -> None:
    driven = drive(AceDataCloud().submit(REQUEST), limited(1), UNREACHED, CUT)

    assert type(driven.error) is UnknownOutcomeError


def test_a_jobs_api_timeout_is_unclear_too() -> None:
    driven = drive(AiGptImage().submit(REQUEST), response({"code": 408, "msg": "too slow", "data": None}))

    assert type(driven.error) is UnknownOutcomeError


def test_with_a_key_an_unclear_submission_is_repeated_as_the_same() -> None:
    driven = drive(AiGptImage().submit(REQUEST, key="derived"), CUT, BROKEN, CREATED)

    assert driven.result.id == "task-1"
    assert [request.headers["X-Request-ID"] for request in driven.requests] == ["derived"] * 3
    assert len({str(request.body) for request in driven.requests}) == 1


def test_without_a_key_it_is_not() -> None:
    assert type(drive(AiGptImage().submit(REQUEST), CUT).error) is UnknownOutcomeError


def test_a_refused_repetition_says_nothing_about_the_first() -> None:
    refused = response({"code": 402, "msg": "no credits", "data": None})

    driven = drive(AiGptImage().submit(REQUEST, key="derived"), CUT, refused)

    assert type(driven.error) is UnknownOutcomeError
    assert driven.error.billed == "unknown"
    assert type(driven.error.__cause__) is QuotaExceededError


@pytest.mark.parametrize("last", [UNREACHED, limited(1)])
def test_repetitions_that_do_not_get_through_leave_the_first_unknown(last: Any) -> None:
    driven = drive(AiGptImage().submit(REQUEST, key="derived"), CUT, *[last] * 4)

    assert type(driven.error) is UnknownOutcomeError


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_refused_and_named_without_its_query(status: int) -> None:
    moved = response(b"", status=status, headers={"location": "https://elsewhere.example/login?session=secret"})

    for flow, billed in ((AceDataCloud().submit(REQUEST), "no"), (AiGptImage().get_task("task-1"), "unknown")):
        error = drive(flow, moved).error
        assert type(error) is ProtocolError
        assert (error.billed, error.retryable) == (billed, False)
        assert "https://elsewhere.example/login" in error.message
        assert "secret" not in error.message


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (401, "AuthenticationError"),
        (402, "QuotaExceededError"),
        (403, "ProtocolError"),
        (404, "InvalidRequestError"),
        (413, "InvalidRequestError"),
        (418, "ProtocolError"),
    ],
)
def test_a_page_with_a_client_error_is_a_definite_no(status: int, name: str) -> None:
    for service in (AceDataCloud(), AiGptImage()):
        error = drive(service.submit(REQUEST), response(b"error code: 1010", status=status)).error

        assert type(error).__name__ == name
        assert error is not None
        assert error.billed == "no"
        assert "error code: 1010" in error.message


def test_a_long_page_is_quoted_in_part() -> None:
    error = drive(AceDataCloud().submit(REQUEST), response(b"<html>\n\n" + b"word " * 4000, status=400)).error

    assert error is not None
    assert len(error.message) < 250
    assert "\n" not in error.message
