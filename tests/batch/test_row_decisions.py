"""The table of what each start of a batch does, as a whole and with each row."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.batch.row_decisions import (
    Action,
    Failure,
    Life,
    after_failure,
    after_intent,
    next_life,
    read_failure_budget,
)
from airflow_provider_imagetasks.exceptions import InvalidRequestError


def life(**fields: Any) -> Life:
    return Life(**{"generation": 0, "max_tries": 2, "start": "old", **fields})


@pytest.mark.parametrize(
    ("last", "max_tries", "resumes", "expected"),
    [
        pytest.param(None, 2, False, life(start="new"), id="the first start"),
        pytest.param(None, 2, True, life(start="new"), id="the first start that Airflow takes for a resumption"),
        pytest.param(life(), 2, True, life(start="new"), id="back from the triggerer"),
        pytest.param(
            life(cleared_at=4, retried_at=2),
            2,
            True,
            life(start="new", cleared_at=4, retried_at=2),
            id="back from it",
        ),
        pytest.param(life(), 2, False, life(start="new", retried_at=7), id="a retry after a kill"),
        pytest.param(life(finished="failed"), 2, False, life(start="new", retried_at=7), id="a retry of a failed one"),
        pytest.param(
            life(finished="success"), 2, False, life(start="new", finished="success"), id="killed after its success"
        ),
        pytest.param(
            life(cleared_at=5), 2, False, life(start="new", cleared_at=5, retried_at=7), id="a retry of a cleared one"
        ),
        pytest.param(life(), 3, False, life(start="new", max_tries=3, cleared_at=7), id="a Clear of an unfinished one"),
        pytest.param(
            life(finished="failed"),
            3,
            False,
            life(start="new", max_tries=3, cleared_at=7),
            id="a Clear of a failed one",
        ),
        pytest.param(
            life(finished="success", cleared_at=3),
            3,
            False,
            life(start="new", max_tries=3, generation=1),
            id="a Clear of a successful batch makes it all anew",
        ),
    ],
)
def test_what_a_start_is_about(last: Life | None, max_tries: int, resumes: bool, expected: Life) -> None:
    assert next_life(last, max_tries=max_tries, start="new", next_number=7, resumes=resumes) == expected


def failure(error_class: str, billed: str, *, retryable: bool, has_id: bool = True) -> Failure:
    return Failure(number=3, error_class=error_class, billed=billed, retryable=retryable, has_id=has_id)


RATE_LIMITED = failure("RateLimitError", "no", retryable=True, has_id=False)
REFUSED = failure("ContentPolicyError", "no", retryable=False, has_id=False)
FAILED = failure("ImageTaskFailedError", "no", retryable=False)
UNKNOWN = failure("UnknownOutcomeError", "unknown", retryable=False, has_id=False)
UNREACHABLE = failure("ServiceUnavailableError", "unknown", retryable=True, has_id=False)
NOT_FETCHED = failure("DownloadError", "yes", retryable=True)
LATE = failure("ImageTaskTimeoutError", "unknown", retryable=False)
UNSAFE = failure("UnsafeResultError", "yes", retryable=False)
GONE = failure("ImageTaskNotFoundError", "unknown", retryable=False)


@pytest.mark.parametrize(
    ("row", "on_a_retry", "on_a_clear"),
    [
        pytest.param(RATE_LIMITED, Action.SUBMIT, Action.SUBMIT, id="retryable and unbilled"),
        pytest.param(REFUSED, Action.KEEP, Action.SUBMIT, id="refused"),
        pytest.param(FAILED, Action.KEEP, Action.SUBMIT, id="failed at the service"),
        pytest.param(UNKNOWN, Action.KEEP, Action.SUBMIT, id="unknown: the human has looked"),
        pytest.param(UNREACHABLE, Action.KEEP, Action.SUBMIT, id="retryable, but perhaps billed"),
        pytest.param(NOT_FETCHED, Action.REATTACH, Action.REATTACH, id="paid for and not fetched: never paid again"),
        pytest.param(LATE, Action.KEEP, Action.REATTACH, id="out of time: the service may have it by now"),
        pytest.param(UNSAFE, Action.KEEP, Action.REATTACH_ELSE_SUBMIT, id="the result cannot be stored"),
        pytest.param(GONE, Action.KEEP, Action.REATTACH_ELSE_SUBMIT, id="the service does not know it"),
    ],
)
def test_what_becomes_of_a_failed_row(row: Failure, on_a_retry: Action, on_a_clear: Action) -> None:
    assert after_failure(row, life(retried_at=4)) is on_a_retry
    assert after_failure(row, life(cleared_at=4)) is on_a_clear


@pytest.mark.parametrize("row", [RATE_LIMITED, REFUSED, FAILED, UNKNOWN, NOT_FETCHED, LATE, UNSAFE, GONE])
def test_a_row_that_failed_in_this_life_is_not_repeated_by_it(row: Failure) -> None:
    assert after_failure(row, life(retried_at=3, cleared_at=3)) is Action.KEEP


def test_an_intent_with_an_id_is_taken_up_and_one_without_is_looked_for() -> None:
    assert after_intent("an-id") is Action.REATTACH
    assert after_intent(None) is Action.RECONCILE


@pytest.mark.parametrize(
    ("max_failed", "allowed_of_200"),
    [(0, 0), (10, 10), ("10", 10), (0.05, 10), ("0.05", 10), (1.0, 200), (0.0, 0), (1, 1)],
)
def test_the_budget_is_a_count_or_a_share(max_failed: Any, allowed_of_200: int) -> None:
    assert read_failure_budget(max_failed).allowed(200) == allowed_of_200


@pytest.mark.parametrize("max_failed", [-1, 1.5, -0.1, True, None, "many", "", "5%", float("nan"), [1]])
def test_a_budget_that_makes_no_sense_is_refused(max_failed: Any) -> None:
    with pytest.raises(InvalidRequestError, match="max_failed"):
        read_failure_budget(max_failed)
