"""Prices that services publish, what counts as spent, and when a submission would be one too many."""

from __future__ import annotations

import pytest

from airflow_provider_imagetasks.batch.costs import (
    Spending,
    by_model,
    cost_of,
    currency_of,
    in_words,
    price_of,
    read_max_cost,
)
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.exceptions import InvalidRequestError, QuotaExceededError
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.money import read_price_list
from airflow_provider_imagetasks.tasks import ImageRequest

COSTS = {0: 0.1, 1: 0.1, 2: 0.1, 3: 5.0, 4: None}


def intent(row: int, attempt: int = 0, *, taken: bool = True) -> Intent:
    return Intent(index=row, attempt=attempt, at=1.0, taken=taken)


def spending(max_cost: float | None) -> Spending:
    def cost_of_row(row: int, pictures: int | None) -> float | None:
        cost = COSTS[row]
        return None if cost is None else cost * (1 if pictures is None else pictures)

    return Spending(5, max_cost, cost_of_row)


def test_submissions_are_made_in_their_order_for_exactly_the_money_that_there_is() -> None:
    some = spending(0.3)

    held, problem = some.affordable([intent(row) for row in range(5)])

    assert [one.index for one in held] == [0, 1, 2]
    assert some.amount == pytest.approx(0.3)
    assert some.affordable(held) == (held, None)
    assert isinstance(problem, QuotaExceededError)
    assert (problem.code, problem.billed, problem.retryable) == ("max_cost", "no", False)
    said = "max_cost is 0.30. By the known prices, 0.30 of it has been spent, and row 3 would cost 5.00 more"
    assert said in problem.message


def test_each_submission_of_a_row_costs_and_the_same_one_costs_once() -> None:
    some = spending(0.2)
    for one in (intent(0), intent(0), intent(0, attempt=1)):
        some.submitted(one)

    assert some.amount == pytest.approx(0.2)
    # What is made over again under its key needs no money.
    assert (some.problem(intent(0, attempt=1)), some.problem(intent(1)) is None) == (None, False)


@pytest.mark.parametrize("taken_back", [lambda it: it.submitted(intent(0, taken=False)), lambda it: it.not_billed(0)])
def test_what_was_not_billed_comes_back_once(taken_back) -> None:  # type: ignore[no-untyped-def]
    some = spending(1)
    some.submitted(intent(0))
    some.submitted(intent(0, attempt=1))

    taken_back(some)
    taken_back(some)

    assert some.amount == pytest.approx(0.1)


def test_the_pictures_that_came_of_a_row_count_and_not_those_that_were_asked_for() -> None:
    some = spending(1)
    for row in range(3):
        some.submitted(intent(row))

    # Known from the record, and again from what was stored.
    for pictures in (4, 4, 3):
        some.made(0, pictures)
    some.made(1, 1)
    some.made(2, 0)
    assert some.amount == pytest.approx(0.4)

    # Another submission of the row asks for one again.
    some.submitted(intent(0, attempt=1))
    assert some.amount == pytest.approx(0.5)
    some.not_billed(0)
    assert some.amount == pytest.approx(0.4)


def test_a_row_without_a_price_is_submitted_only_where_there_is_no_limit_and_then_nothing_is_counted() -> None:
    assert isinstance(spending(9).problem(intent(4)), InvalidRequestError)
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


@pytest.mark.parametrize(
    ("service", "model", "options", "price"),
    [
        ("kie", "gpt-image-2-text-to-image", {}, 0.03),
        ("kie", "gpt-image-2-text-to-image", {"resolution": "4K"}, 0.08),
        ("kie", "gpt-image-2-text-to-image", {"resolution": "8K"}, None),
        ("acedatacloud", "gpt-image-1.5", {}, 0.052),
        ("acedatacloud", "gpt-image-2", {}, None),
        ("xhuoapi", "gpt-image-2", {}, None),
        ("local", "whatever", {}, 0.0),
    ],
)
def test_published_prices_are_known_and_others_are_not_made_up(
    service: str, model: str, options: dict[str, object], price: float | None
) -> None:
    assert price_of(get_service(service), ImageRequest(prompt="a kite", model=model, options=options), {}) == price


def test_the_user_s_price_wins_and_counts_for_each_picture() -> None:
    model = "gpt-image-2-text-to-image"
    assert (
        cost_of(get_service("kie"), ImageRequest(prompt="a kite", model=model, options={"n": 3}), {model: 0.5}) == 1.5
    )


@pytest.mark.parametrize(
    ("prices", "amounts", "currency"),
    [
        (None, {}, "USD"),
        ({}, {}, "USD"),
        ({"m": 0.04}, {"m": 0.04}, None),
        ({"m": "0.04"}, {"m": 0.04}, None),
        ({"m": "0.04 EUR", "n": "1eur"}, {"m": 0.04, "n": 1.0}, "EUR"),
    ],
)
def test_prices_name_the_currency_of_costs(prices: object, amounts: dict[str, float], currency: str | None) -> None:
    given = read_price_list("prices", prices)

    assert (by_model(given), currency_of(given)) == (amounts, currency)


@pytest.mark.parametrize(("currency", "price"), [(None, 0.03), ("USD", 0.03), ("EUR", None)])
def test_a_published_price_counts_beside_no_other_currency(currency: str | None, price: float | None) -> None:
    request = ImageRequest(prompt="a kite", model="gpt-image-2-text-to-image")

    assert price_of(get_service("kie"), request, {}, currency=currency) == price
    assert cost_of(get_service("kie"), request, {"gpt-image-2-text-to-image": 2}, currency=currency) == 2


def test_a_budget_of_money_is_an_amount() -> None:
    assert read_max_cost("12.5") == 12.5
    assert read_max_cost(None) is None
    with pytest.raises(InvalidRequestError, match="max_cost"):
        read_max_cost("much")
