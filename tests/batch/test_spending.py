"""What counts as spent, and when a submission would be one too many."""

from __future__ import annotations

import pytest

from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.batch.spending import Spending, in_words
from airflow_provider_imagetasks.exceptions import InvalidRequestError, QuotaExceededError

COSTS = {0: 0.1, 1: 0.1, 2: 0.1, 3: 5.0, 4: None}


def intent(row: int, attempt: int = 0, *, taken: bool = True) -> Intent:
    return Intent(index=row, attempt=attempt, at=1.0, taken=taken)


def spending(max_cost: float | None) -> Spending:
    return Spending(5, max_cost, COSTS.__getitem__)


def test_a_budget_does_for_exactly_what_it_is_meant_for() -> None:
    three = spending(0.3)
    for row in range(3):
        assert three.problem(intent(row)) is None
        three.submitted(intent(row))

    problem = three.problem(intent(1, attempt=1))
    assert isinstance(problem, QuotaExceededError)
    assert (problem.code, problem.billed, problem.retryable) == ("max_cost", "no", False)
    assert (
        "max_cost is 0.30. By the prices known 0.30 of it is spent, and row 1 would cost 0.10 more" in problem.message
    )


def test_each_submission_of_a_row_costs_and_the_same_one_costs_once() -> None:
    some = spending(1)
    for one in (intent(0), intent(0), intent(0, attempt=1)):
        some.submitted(one)

    assert some.amount == pytest.approx(0.2)
    assert some.problem(intent(0, attempt=1)) is None


def test_what_is_made_over_again_under_its_key_needs_no_money() -> None:
    some = spending(0.1)
    some.submitted(intent(0))

    assert some.problem(intent(0)) is None
    assert some.problem(intent(1)) is not None


@pytest.mark.parametrize("taken_back", [lambda it: it.submitted(intent(0, taken=False)), lambda it: it.not_billed(0)])
def test_what_was_not_billed_comes_back_once(taken_back) -> None:  # type: ignore[no-untyped-def]
    some = spending(1)
    some.submitted(intent(0))
    some.submitted(intent(0, attempt=1))

    taken_back(some)
    taken_back(some)

    assert some.amount == pytest.approx(0.1)


def test_a_row_without_a_price_is_not_submitted() -> None:
    assert isinstance(spending(9).problem(intent(4)), InvalidRequestError)


def test_without_a_limit_nothing_is_counted_or_asked_for() -> None:
    free = spending(None)
    for row in range(5):
        assert free.problem(intent(row)) is None
        free.submitted(intent(row))
        free.not_billed(row)

    assert free.amount == 0


@pytest.mark.parametrize(
    ("amount", "words"), [(0, "0.00"), (0.0043219, "0.00432"), (0.52, "0.52"), (1, "1.00"), (1234.5, "1,234.50")]
)
def test_amounts_are_read_by_people(amount: float, words: str) -> None:
    assert in_words(amount) == words
