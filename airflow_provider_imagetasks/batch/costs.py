"""Costs of a batch: what its pictures cost, as far as services publish it, and what ``max_cost`` still allows. Pure.

What counts in the end is the service's own console. Users override the published prices (``Service.price_of``, in US
dollars) by model with ``prices={"gpt-image-2": 0.04}``, or in a currency that they name: ``"0.04 EUR"``. Amounts in two
currencies are never added up.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError, QuotaExceededError
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.money import MILLION, PUBLISHED, PriceList
from airflow_provider_imagetasks.tasks import ImageRequest

CODE = "max_cost"
"""The error code of a row that was not submitted for its cost."""


def by_model(prices: PriceList) -> dict[str, float]:
    """Return the prices of a picture by model."""
    return {model: millionths / MILLION for model, millionths, _ in prices}


def currency_of(prices: PriceList) -> str | None:
    """Return the currency of costs: the one that prices name (None if they name none), US dollars without prices."""
    return prices[0][2] if prices else PUBLISHED


def read_max_cost(value: Any) -> float | None:
    """Check ``max_cost``, an amount in the currency of the prices.

    :raises InvalidRequestError: it is not an amount above zero.
    """
    if value is None:
        return None
    if not str(value).strip():
        # As no limit it would be one that nobody set.
        raise InvalidRequestError("max_cost is empty; did its template render nothing?")
    amount = _amount("max_cost", value)
    if amount == 0:
        raise InvalidRequestError("max_cost is 0; no picture could be submitted")
    return amount


def price_of(
    service: Service, request: ImageRequest, prices: Mapping[str, float], *, currency: str | None = None
) -> float | None:
    """Return what one picture of a request costs, None where no price is known.

    :param request: its model filled in.
    :param prices: the user's own, by model; they win.
    :param currency: the one that they name; with another than US dollars, published prices do not count.
    """
    price = prices.get(request.model or "")
    if price is None and currency in (None, PUBLISHED):
        return service.price_of(request)
    return price


def cost_of(
    service: Service,
    request: ImageRequest,
    prices: Mapping[str, float],
    *,
    pictures: int | None = None,
    currency: str | None = None,
) -> float | None:
    """Return what all pictures of a request cost, None where no price is known.

    :param pictures: how many came of it; None where it is only known how many it asks for.
    :param currency: as for :func:`price_of`.
    """
    price = price_of(service, request, prices, currency=currency)
    if price is None:
        return None
    return price * (service.image_count_of(request) if pictures is None else pictures)


class Spending:
    """Money spent since all pictures were last made anew: every submission that was billed, or may have been.

    :param total: rows of the batch.
    :param max_cost: what may be spent; None where nothing is counted.
    :param cost_of_row: what a row's pictures cost, all that it asks for or so many; None where it is not known.
    """

    def __init__(
        self, total: int, max_cost: float | None, cost_of_row: Callable[[int, int | None], float | None]
    ) -> None:
        self.max_cost = max_cost
        self.amount = 0.0
        self._cost_of_row = cost_of_row
        self._attempts = array("H", bytes(2 * total)) if max_cost is not None else array("H")
        self._counted = bytearray(len(self._attempts))
        """Of each row, whether its latest submission is in the amount."""
        self._pictures: dict[int, int] = {}
        """How many pictures came of the latest submission of a row, where they are more or fewer than asked for."""

    def problem(self, intent: Intent) -> ImageTaskError | None:
        """Return why a submission must not be made; None where it may.

        :param intent: the submission; one that is repeated under its key costs nothing more.
        """
        if self.max_cost is None or self._is_counted(intent):
            return None
        cost = self._cost_of_row(intent.index, None)
        if cost is None:
            return InvalidRequestError(
                f"max_cost is set, but the price of row {intent.index} is not known; set it with "
                "prices={model: ...}, per picture",
                code=CODE,
                retry_advice="Set prices for all models, then Clear: this submits the remaining rows.",
            )
        if is_within(self.amount + cost, self.max_cost):
            return None
        return QuotaExceededError(
            f"max_cost is {in_words(self.max_cost)}. By the known prices, {in_words(self.amount)} of it has been "
            f"spent, and row {intent.index} would cost {in_words(cost)} more",
            code=CODE,
            retryable=False,
            retry_advice="Set a higher max_cost, then Clear: this submits the remaining rows, and keeps all pictures.",
        )

    def affordable(self, intents: Sequence[Intent]) -> tuple[list[Intent], ImageTaskError | None]:
        """Count submissions in their order for as long as there is money for them.

        :returns: those that may be made, and why the next one must not be.
        """
        for position, intent in enumerate(intents):
            problem = self.problem(intent)
            if problem is not None:
                return list(intents[:position]), problem
            self.submitted(intent)
        return list(intents), None

    def submitted(self, intent: Intent) -> None:
        """Count a submission that is being made, or take back one that was not taken."""
        if self.max_cost is None:
            return
        if intent.after_unbilled:
            self._count(intent.index, False)
        if intent.attempt >= self._attempts[intent.index]:
            self._attempts[intent.index] = intent.attempt + 1
            self._counted[intent.index] = False
            self._pictures.pop(intent.index, None)
        self._count(intent.index, intent.taken)

    def made(self, row: int, pictures: int) -> None:
        """Count the pictures that came of the latest submission of a row, in place of those that it asks for."""
        if self.max_cost is None:
            return
        # Also where it had been said that it cost nothing.
        self._count(row, True)
        before = self._cost(row)
        self._pictures[row] = pictures
        if self._cost(row) == self._cost_of_row(row, None):
            del self._pictures[row]
        self.amount += self._cost(row) - before

    def not_billed(self, row: int) -> None:
        """Take back the latest submission of a row, which turned out to cost nothing."""
        if self.max_cost is not None:
            self._count(row, False)

    def _is_counted(self, intent: Intent) -> bool:
        return intent.attempt < self._attempts[intent.index] and bool(self._counted[intent.index])

    def _count(self, row: int, counts: bool) -> None:
        if counts != bool(self._counted[row]):
            self._counted[row] = counts
            cost = self._cost(row)
            self.amount = max(0.0, self.amount + (cost if counts else -cost))

    def _cost(self, row: int) -> float:
        return self._cost_of_row(row, self._pictures.get(row)) or 0.0


def is_within(amount: float, max_cost: float) -> bool:
    """Whether an amount may be spent."""
    # A budget of ten pictures must do for ten, whatever their prices add up to in binary.
    return amount <= max_cost * (1 + 1e-9)


def in_words(amount: float) -> str:
    """Return an amount of money for people to read; a fraction of a cent is not rounded to zero."""
    return f"{amount:,.2f}" if amount >= 0.1 or amount == 0 else f"{amount:.3g}"


def _amount(name: str, value: Any) -> float:
    try:
        amount = float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError, OverflowError):
        amount = float("nan")
    if not 0 <= amount < float("inf"):
        raise InvalidRequestError(f"{name} is {value!r:.80}; it must be an amount of 0 or more")
    return amount
