from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.account import Account, read_account
from airflow_provider_imagetasks.services.money import Money, in_words, read_budget, read_price_list


def connection(**extra: Any) -> Account:
    return read_account(
        conn_id="shop",
        service="local",
        default_base_url="https://local.example",
        requires_key=False,
        host=None,
        key=None,
        extra=extra,
    )


@pytest.mark.parametrize(
    ("given", "millionths", "currency"),
    [("20.00 USD", 20_000_000, "USD"), (" 0.5eur ", 500_000, "EUR"), ("300 credits", 300_000_000, "CREDITS")],
)
def test_a_budget_is_an_amount_with_its_currency(given: str, millionths: int, currency: str) -> None:
    assert read_budget("budget_per_day", given) == Money(millionths, currency)


@pytest.mark.parametrize(
    "given", ["20", 20, "0 USD", "-1 USD", "1e3 USD", "nan USD", True, [], "USD 20", "20 USD a day"]
)
def test_anything_else_is_refused_with_how_to_write_it(given: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"like '20\.00 USD'"):
        connection(budget_per_day=given)


def test_what_may_be_a_key_in_the_wrong_field_is_not_shown() -> None:
    with pytest.raises(InvalidRequestError) as raised:
        connection(budget_per_month="sk-proj-very-secret-0123456789-abcdefgh")

    assert "secret" not in str(raised.value)


def test_a_connection_names_prices_by_model_also_as_json_in_a_text() -> None:
    both = {"gpt-image-2": "0.04 USD", "other": "0.0000001 usd"}

    account = connection(budget_per_day="1 USD", prices=both)

    # Never less than it is.
    assert account.prices == (("gpt-image-2", 40_000, "USD"), ("other", 1, "USD"))
    assert connection(prices='{"m": 0.04}').prices == (("m", 40_000, None),)
    assert connection(prices="").prices == ()


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"prices": {"a": "0.04 USD", "b": "0.04 EUR"}}, "several currencies"),
        ({"prices": {"a": "0.04 EUR"}, "budget_per_day": "1 USD"}, "in EUR and USD"),
        ({"budget_per_day": "1 USD", "budget_per_month": "1 EUR"}, "in EUR and USD"),
        ({"prices": "0.04"}, "must be an object"),
        ({"prices": {"a": "cheap"}}, "a price per picture"),
        ({"prices": {"a": -1}}, "a price per picture"),
        ({"prices": {"a": True}}, "a price per picture"),
        ({"prices": {"a": float("inf")}}, "a price per picture"),
    ],
)
def test_what_cannot_be_added_up_or_read_is_refused_at_the_connection(extra: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        connection(**extra)


def test_a_fraction_of_a_cent_is_shown() -> None:
    assert [in_words(each) for each in (0, 40_000, 1_500, 20_000_000, 1_234_567_891)] == [
        "0.00",
        "0.04",
        "0.0015",
        "20.00",
        "1,234.57",
    ]
    assert read_price_list("prices", None) == ()
