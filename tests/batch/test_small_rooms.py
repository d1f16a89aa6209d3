"""Prices, progress and the memory that rows take."""

from __future__ import annotations

import logging
import sys

import pytest

from airflow_provider_imagetasks.batch.prices import cost_of, price_of, read_max_cost, read_prices
from airflow_provider_imagetasks.batch.progress import Counts, ProgressLine, ProgressReport
from airflow_provider_imagetasks.batch.state import BatchState
from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.tasks import ImageRequest


def request(model: str, **options: object) -> ImageRequest:
    return ImageRequest(prompt="a kite", model=model, options=options)


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
    assert price_of(service, request(model, **options), {}) == price


def test_the_user_s_price_wins_and_counts_for_each_picture() -> None:
    assert cost_of("kie", request("gpt-image-2-text-to-image", n=3), {"gpt-image-2-text-to-image": 0.5}) == 1.5


@pytest.mark.parametrize("prices", [[], "0.04", {"m": "cheap"}, {"m": -1}, {"m": True}, {"m": float("inf")}])
def test_prices_that_are_none_are_refused(prices: object) -> None:
    with pytest.raises(InvalidRequestError, match="prices"):
        read_prices(prices)


def test_a_budget_of_money_is_an_amount() -> None:
    assert read_max_cost("12.5") == 12.5
    assert read_max_cost(None) is None
    with pytest.raises(InvalidRequestError, match="max_cost"):
        read_max_cost("much")


def test_progress_says_rate_and_time_left() -> None:
    line = ProgressLine()
    line.line(Counts(total=1000, submitted=100), 0)

    text = line.line(Counts(total=1000, submitted=400, succeeded=290, failed=10), 60)

    assert text == "300 of 1,000 done, 10 failed, 100 running, 300 a minute, some 2 min left"


def test_progress_in_xcom() -> None:
    value = Counts(total=10, submitted=6, succeeded=2, failed=1).as_xcom(0)

    assert value == {
        "total": 10,
        "submitted": 6,
        "succeeded": 2,
        "failed": 1,
        "running": 3,
        "updated_at": "1970-01-01T00:00:00+00:00",
    }


def test_xcom_is_told_now_and_then_and_in_the_end() -> None:
    pushed: list[int] = []
    report = ProgressReport(logging.getLogger("test"), lambda value: pushed.append(value["succeeded"]))
    for number in range(5):
        report(Counts(total=5, submitted=5, succeeded=number))
    report(Counts(total=5, submitted=5, succeeded=5), last=True)

    assert pushed == [0, 5]


def test_a_row_takes_some_bytes() -> None:
    state = BatchState(100_000)

    assert sys.getsizeof(state._stages) + sys.getsizeof(state._attempts) < 4 * 100_000
    assert state.next_new(3) == [0, 1, 2]
    assert state.counts == Counts(total=100_000)
