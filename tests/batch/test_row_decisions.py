"""The table of what each start of a batch does, as a whole and with each row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_imagetasks.batch.manifest import outcome_row
from airflow_provider_imagetasks.batch.row_decisions import (
    Action,
    Checkpoint,
    Failure,
    Occasion,
    after_failure,
    allowed_failures,
    error_of_answer,
    is_submitted_again,
    next_action,
    next_checkpoint,
    read_max_failed,
    timeout_error,
)
from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    DownloadError,
    ImageTaskError,
    ImageTaskFailedError,
    ImageTaskNotFoundError,
    InvalidRequestError,
)
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.tasks import ImageTask, TaskState


def checkpoint(**fields: Any) -> Checkpoint:
    return Checkpoint(**{"generation": 0, "max_tries": 2, "start": "old", "began_at": 50.0, **fields})


@pytest.mark.parametrize(
    ("last", "max_tries", "resumes", "changed"),
    [
        pytest.param(None, 2, False, {}, id="the first start"),
        pytest.param(None, 2, True, {}, id="the first start that Airflow takes for a resumption"),
        pytest.param({}, 2, True, {}, id="back from the triggerer"),
        pytest.param({"cleared_at": 4, "retried_at": 2}, 2, True, {}, id="back from it after a Clear and a retry"),
        pytest.param({}, 2, False, {"retried_at": 7}, id="a retry after a kill"),
        pytest.param(
            {"finished": "failed"}, 2, False, {"retried_at": 7, "finished": None}, id="a retry of a failed one"
        ),
        pytest.param({"finished": "success"}, 2, False, {}, id="killed after its success"),
        pytest.param({"cleared_at": 5}, 2, False, {"retried_at": 7}, id="a retry of a cleared one"),
        pytest.param({}, 3, False, {"cleared_at": 7}, id="a Clear of an unfinished one"),
        pytest.param(
            {"finished": "failed"}, 3, False, {"cleared_at": 7, "finished": None}, id="a Clear of a failed one"
        ),
        pytest.param(
            {"finished": "success", "cleared_at": 3},
            3,
            False,
            {"generation": 1, "cleared_at": 0, "finished": None},
            id="a Clear of a successful batch makes it all anew",
        ),
    ],
)
def test_what_a_start_is_about(
    last: dict[str, Any] | None, max_tries: int, resumes: bool, changed: dict[str, Any]
) -> None:
    before = None if last is None else checkpoint(**last)
    # What resumes, or was over, belongs to the try that it began with.
    begins = last is None or (not resumes and (last.get("finished") != "success" or max_tries != 2))
    began = {"began_at": 99.0 if begins else 50.0}
    expected = checkpoint(**{**(last or {}), "start": "new", "max_tries": max_tries, **began, **changed})

    after = next_checkpoint(before, max_tries=max_tries, start="new", next_number=7, resumes=resumes, now=99.0)

    assert after == expected


def failure(error_class: str, billed: str, *, retryable: bool, has_id: bool = True) -> Failure:
    return Failure(error_class=error_class, billed=billed, retryable=retryable, has_id=has_id)


TASK = ImageTask(id="an-id", service="acedatacloud", state=TaskState.RUNNING)
RATE_LIMITED = failure("RateLimitError", "no", retryable=True, has_id=False)
REFUSED = failure("ContentPolicyError", "no", retryable=False, has_id=False)
FAILED = failure("ImageTaskFailedError", "no", retryable=False)
UNKNOWN = failure("UnknownOutcomeError", "unknown", retryable=False, has_id=False)
UNANSWERED = replace(UNKNOWN, is_unanswered=True)
UNREACHABLE = failure("ServiceUnavailableError", "unknown", retryable=True, has_id=False)
NOT_FETCHED = failure("DownloadError", "yes", retryable=True)
LATE = failure("ImageTaskTimeoutError", "unknown", retryable=False)
UNSAFE = failure("UnsafeResultError", "yes", retryable=False)
UNREAD = replace(failure("InvalidRequestError", "unknown", retryable=False), is_unread=True)
WRITTEN_OFF_BEFORE = failure("InvalidRequestError", "no", retryable=False)
PAID_AND_FAILED = replace(FAILED, billed="yes")
FAILED_FOR_A_WHILE = replace(FAILED, retryable=True)
GONE = failure("ImageTaskNotFoundError", "unknown", retryable=False)


KEEP, SUBMIT, REATTACH, ELSE_SUBMIT = Action.KEEP, Action.SUBMIT, Action.REATTACH, Action.REATTACH_ELSE_SUBMIT
SEARCH = Action.SEARCH_ELSE_SUBMIT


@pytest.mark.parametrize(
    ("row", "on_a_retry", "on_a_clear", "again", "anew"),
    [
        pytest.param(RATE_LIMITED, SUBMIT, SUBMIT, True, False, id="retryable and unbilled"),
        pytest.param(REFUSED, KEEP, SUBMIT, False, False, id="refused"),
        pytest.param(FAILED, KEEP, ELSE_SUBMIT, True, True, id="failed at the service at no cost"),
        pytest.param(PAID_AND_FAILED, KEEP, ELSE_SUBMIT, False, True, id="failed at the service and paid for"),
        pytest.param(FAILED_FOR_A_WHILE, REATTACH, ELSE_SUBMIT, True, True, id="failed at no cost, and may be mended"),
        pytest.param(UNKNOWN, KEEP, SUBMIT, False, False, id="unknown: the human has looked"),
        pytest.param(UNANSWERED, KEEP, SEARCH, False, False, id="unknown, and the service may tell by then"),
        pytest.param(UNREACHABLE, KEEP, SUBMIT, False, False, id="retryable, but perhaps billed"),
        pytest.param(NOT_FETCHED, REATTACH, REATTACH, False, False, id="paid for, not fetched: never paid again"),
        pytest.param(LATE, KEEP, REATTACH, False, False, id="out of time: the service may have it by now"),
        pytest.param(UNSAFE, KEEP, ELSE_SUBMIT, False, True, id="the result cannot be stored"),
        pytest.param(GONE, KEEP, ELSE_SUBMIT, False, True, id="the service does not know it"),
        pytest.param(UNREAD, REATTACH, REATTACH, False, False, id="it could not be read: no word on money"),
        pytest.param(WRITTEN_OFF_BEFORE, KEEP, ELSE_SUBMIT, False, True, id="the same as earlier versions wrote it"),
    ],
)
def test_what_becomes_of_a_failed_row(
    row: Failure, on_a_retry: Action, on_a_clear: Action, again: bool, anew: bool
) -> None:
    assert after_failure(row, 3, checkpoint(retried_at=4)) is on_a_retry
    assert after_failure(row, 3, checkpoint(cleared_at=4)) is on_a_clear
    # What failed in this start is repeated by it only where that may help and costs nothing,
    assert after_failure(row, 3, checkpoint(retried_at=3, cleared_at=3)) is KEEP
    assert is_submitted_again(row, submissions=1, row_attempts=2, may_pay_again=False) is again
    assert not is_submitted_again(row, submissions=2, row_attempts=2, may_pay_again=False)
    # or where somebody cleared it, and its picture cannot be had.
    assert is_submitted_again(row, submissions=9, row_attempts=1, may_pay_again=True) is anew


@pytest.mark.parametrize(
    ("max_failed", "allowed_of_200"),
    [(0, 0), (10, 10), ("10", 10), (0.05, 10), ("0.05", 10), (1.0, 200), (0.0, 0), (1, 1)],
)
def test_the_budget_is_a_count_or_a_share(max_failed: Any, allowed_of_200: int) -> None:
    assert allowed_failures(read_max_failed(max_failed), 200) == allowed_of_200


@pytest.mark.parametrize("max_failed", [-1, 1.5, -0.1, True, None, "many", "", "5%", float("nan"), [1]])
def test_a_budget_that_makes_no_sense_is_refused(max_failed: Any) -> None:
    with pytest.raises(InvalidRequestError, match="max_failed"):
        read_max_failed(max_failed)


def test_a_failure_is_the_same_by_its_error_and_by_what_is_kept_of_it() -> None:
    error = DownloadError("cut")
    kept = outcome_row({"index": 0}, image_task_id="an-id", error=error)

    assert Failure.of_error(error, "an-id") == Failure.of_outcome(kept) == NOT_FETCHED
    unread = outcome_row({"index": 0}, image_task_id="an-id", error=ContentPolicyError("no"), unread=True)
    assert next_action(Failure.of_outcome(unread), Occasion.RETRY) is Action.REATTACH


@pytest.mark.parametrize(
    ("task", "now", "error_class"),
    [
        pytest.param(TASK, 5000.0, None, id="it runs"),
        pytest.param(replace(TASK, state=TaskState.SUCCEEDED), 5000.0, None, id="it succeeded"),
        pytest.param(replace(TASK, state=TaskState.NOT_FOUND), 1059.0, None, id="it may still be written down"),
        pytest.param(replace(TASK, state=TaskState.NOT_FOUND), 1061.0, ImageTaskNotFoundError, id="it is not there"),
        pytest.param(
            replace(TASK, state=TaskState.FAILED, error=ImageTaskFailedError("no")),
            1001.0,
            ImageTaskFailedError,
            id="it failed",
        ),
    ],
)
def test_what_the_service_says_of_a_row_ends_it_or_not(
    task: ImageTask, now: float, error_class: type[ImageTaskError] | None
) -> None:
    service = get_service("acedatacloud")

    error = error_of_answer(task, submitted_at=1000.0, now=now, service=service, conn_id="c")

    assert type(error) is (error_class or type(None))


def test_a_row_that_runs_out_of_time_may_still_be_billed() -> None:
    error = timeout_error("an-id", 60, get_service("acedatacloud"), told="validating")

    assert (error.billed, error.image_task_id) == ("unknown", "an-id")
    assert "It is not finished (validating) 60 s" in error.message
