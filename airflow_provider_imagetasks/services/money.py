"""Amounts of money as users write them: budgets and prices of a connection. Whole millionths, so that they add up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, TypeAlias

from airflow_provider_imagetasks.exceptions import InvalidRequestError

PUBLISHED = "USD"
"""The currency of the prices that services publish."""
MILLION = 1_000_000
PriceList: TypeAlias = tuple[tuple[str, int, str | None], ...]
"""Model, millionths and currency of each price of a picture; None where they name none."""
_LARGEST = Decimal(10) ** 9
_AMOUNT = re.compile(r"\s*([0-9]{1,13}(?:\.[0-9]{1,12})?)\s*([A-Za-z]{3,12})?\s*")
_NEARLY = re.compile(r"[\d\s.,A-Za-z-]{0,24}")


@dataclass(frozen=True)
class Money:
    """An amount in one currency.

    :param millionths: of the currency's unit.
    :param currency: in capitals.
    """

    millionths: int
    currency: str

    def __str__(self) -> str:
        return f"{in_words(self.millionths)} {self.currency}"


def in_words(millionths: int) -> str:
    """Return an amount as people read it; a fraction of a cent does not become nothing."""
    if millionths % 10_000 == 0 or abs(millionths) >= 100 * MILLION:
        return f"{Decimal(millionths) / MILLION:,.2f}"
    return f"{Decimal(millionths) / MILLION:,.6f}".rstrip("0")


def read_budget(name: str, value: Any) -> Money | None:
    """Read a budget such as ``"20.00 USD"``.

    :param name: what the user filled in, for the message.
    :raises InvalidRequestError: it is none, it has no currency, or it is nothing.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    millionths, currency = _read(value)
    if not millionths or currency is None:
        raise InvalidRequestError(f"{name} is {_shown(value)}; write it with its currency, like '20.00 USD'")
    return Money(millionths, currency)


def read_price_list(name: str, value: Any) -> PriceList:
    """Read prices of a picture by model, ``{"gpt-image-2": "0.04 USD"}``.

    :param name: what the user filled in, for the message.
    :returns: model, millionths and currency of each; None where they name none.
    :raises InvalidRequestError: it is no such object, or its prices are in several currencies.
    """
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise InvalidRequestError(
            f"{name} is {_shown(value)}, and must be an object of prices, like {{'gpt-image-2': '0.04 USD'}}"
        )
    found = []
    for model, price in value.items():
        millionths, currency = _read(price)
        if millionths is None:
            raise InvalidRequestError(
                f"{name} says {_shown(price)} for {str(model)[:80]!r}; write a price per picture, like '0.04 USD'"
            )
        found.append((str(model), millionths, currency))
    if len({currency for _, _, currency in found}) > 1:
        raise InvalidRequestError(
            f"{name} holds prices in several currencies; use one currency in all of them or in none, because spending "
            "is added up"
        )
    return tuple(found)


def require_one_currency(conn_id: str, *amounts: Money | None, prices: PriceList) -> None:
    """Refuse budgets and prices of a connection that cannot be compared.

    :raises InvalidRequestError: they are in two currencies.
    """
    named = {amount.currency for amount in amounts if amount} | {currency for _, _, currency in prices if currency}
    if any(amounts) and len(named) > 1:
        raise InvalidRequestError(
            f"Connection {conn_id!r} has budgets and prices in {' and '.join(sorted(named))}; write budget_per_day, "
            "budget_per_month and prices in one currency"
        )


def _read(value: Any) -> tuple[int | None, str | None]:
    """Return millionths and currency of an amount; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None, None
    match = _AMOUNT.fullmatch(value) if isinstance(value, str) else None
    try:
        amount = Decimal(match[1]) if match else Decimal(str(value))
    except InvalidOperation:
        return None, None
    if not amount.is_finite() or not 0 <= amount <= _LARGEST:
        return None, None
    # Never less than it is: what a picture costs must not be lost in rounding.
    return int((amount * MILLION).to_integral_value(ROUND_CEILING)), (match[2].upper() if match and match[2] else None)


def _shown(value: Any) -> str:
    # Anything longer may be a key in the wrong field.
    text = str(value)
    return repr(value)[:40] if _NEARLY.fullmatch(text) else f"a text of {len(text)} characters"
