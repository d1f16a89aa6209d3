from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_imagetasks.accounts.budgets import Budgets, cost_of, exceeded
from airflow_provider_imagetasks.accounts.grants import Excess
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.money import Money
from airflow_provider_imagetasks.tasks import ImageRequest

BERLIN = ZoneInfo("Europe/Berlin")
BOTH = Budgets(per_day=Money(1, "EUR"), per_month=Money(2, "EUR"), zone=BERLIN)


@pytest.mark.parametrize(
    ("moment", "day", "day_ends", "month_ends"),
    [
        ((2026, 3, 28, 23, 59), "2026-03-28", "2026-03-29T00:00:00+01:00", "2026-04-01T00:00:00+02:00"),
        ((2026, 3, 29, 12, 0), "2026-03-29", "2026-03-30T00:00:00+02:00", "2026-04-01T00:00:00+02:00"),
        ((2026, 12, 31, 0, 0), "2026-12-31", "2027-01-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00"),
        ((2026, 1, 31, 12, 0), "2026-01-31", "2026-02-01T00:00:00+01:00", "2026-02-01T00:00:00+01:00"),
    ],
)
def test_days_and_months_are_those_of_the_zone_also_where_the_clock_is_changed(
    moment: tuple[int, ...], day: str, day_ends: str, month_ends: str
) -> None:
    now = datetime(*moment, tzinfo=BERLIN).timestamp()  # type: ignore[misc,arg-type]

    spans = {name: (begins, end.isoformat()) for name, begins, _, end in BOTH.spans(now)}

    assert BOTH.day_of(now) == day
    assert spans == {"budget_per_day": (day, day_ends), "budget_per_month": (day[:7], month_ends)}


def test_without_budgets_nothing_is_bounded() -> None:
    assert not Budgets()
    assert Budgets().spans(0) == []
    assert BOTH


def test_the_error_says_what_is_spent_by_whom_and_until_when() -> None:
    (span, _) = BOTH.spans(datetime(2026, 3, 1, tzinfo=BERLIN).timestamp())
    spent = {"covers": 900_000, "": 50_000}

    over = Excess(name=span[0], budget=Money(1_000_000, "EUR"), ends=span[3], spent_by_dag=spent, cost=80_000)
    error = exceeded(over, conn_id="shop")

    told = "budget_per_day of connection 'shop' is 1.00 EUR: 0.95 of it has been spent (covers 0.90, no Dag 0.05)"
    assert told in str(error)
    assert "would cost 0.08" in str(error)
    assert "until 2026-03-02 00:00 CET" in str(error)
    assert (error.code, error.billed, error.retryable) == ("budget", "no", False)


@pytest.mark.parametrize(
    ("prices", "currency", "cost"),
    [
        ((("m", 40_000, "USD"),), "USD", Money(120_000, "USD")),
        ((("m", 40_000, None),), "EUR", Money(120_000, "EUR")),
        ((("m", 40_000, "USD"),), "EUR", None),
        ((("other", 40_000, None),), "USD", Money(0, "USD")),
        ((("m", 40_000, None),), None, Money(120_000, "USD")),
    ],
)
def test_a_request_costs_its_price_for_each_picture_in_the_currency_of_the_budget(
    prices: tuple[tuple[str, int, str | None], ...], currency: str | None, cost: Money | None
) -> None:
    request = ImageRequest(prompt="a kite", model="m", options={"n": 3})

    assert cost_of(get_service("local"), request, prices, currency=currency) == cost


def test_a_picture_of_a_provider_batch_costs_its_share_never_rounded_down() -> None:
    request = ImageRequest(prompt="a kite", model="m", options={"n": 3})

    assert cost_of(get_service("local"), request, (("m", 1, "USD"),), share=0.5) == Money(2, "USD")
