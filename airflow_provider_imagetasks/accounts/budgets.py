"""Budgets of an account: the day and the month that they count, and whether a submission still fits. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal

from airflow_provider_imagetasks.accounts.grants import Excess
from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError, QuotaExceededError
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.money import MILLION, PUBLISHED, Money, PriceList, in_words
from airflow_provider_imagetasks.tasks import ImageRequest

CODE = "budget"
"""The error code of a submission that a budget does not allow."""
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """What an account may spend.

    :param per_day: by the days of ``zone``; likewise ``per_month``. None sets no bound.
    """

    per_day: Money | None = None
    per_month: Money | None = None
    zone: tzinfo = UTC

    def __bool__(self) -> bool:
        return self.currency is not None

    @property
    def currency(self) -> str | None:
        """The currency of both; None where there is no budget."""
        budget = self.per_day or self.per_month
        return budget.currency if budget else None

    def day_of(self, moment: float) -> str:
        """Return the day of a moment in Unix seconds, as ISO 8601 has it; its first seven characters are the month."""
        return datetime.fromtimestamp(moment, self.zone).date().isoformat()

    def spans(self, moment: float) -> list[tuple[str, str, Money, datetime]]:
        """Return for each budget its name, the prefix of its span's days, what may be spent, and when the span ends."""
        now = datetime.fromtimestamp(moment, self.zone)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        tomorrow = midnight + timedelta(days=1)
        next_month = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
        day = now.date().isoformat()
        spans = [
            ("budget_per_day", day, self.per_day, tomorrow),
            ("budget_per_month", day[:7], self.per_month, next_month),
        ]
        return [(name, begins, budget, end) for name, begins, budget, end in spans if budget is not None]


def cost_of(
    service: Service,
    request: ImageRequest,
    prices: PriceList,
    *,
    currency: str | None = None,
    share: float = 1.0,
) -> Money | None:
    """Return what all pictures of a request cost; None where the price of its model is not known.

    :param request: completed.
    :param prices: the user's own; they win over what the service publishes, in US dollars.
    :param currency: the budget's, which prices without a currency are in; None where there is no budget.
    :param share: of those prices that is paid, as in a provider batch.
    """
    own = next(((each, named) for model, each, named in prices if model == request.model), None)
    if own is not None:
        price, in_currency = own[0], own[1] or currency or PUBLISHED
    else:
        published = service.price_of(request)
        if published is None:
            return None
        price, in_currency = round(Decimal(str(published)) * MILLION), PUBLISHED
    if currency is not None and in_currency != currency:
        return None
    return Money(math.ceil(int(price) * service.image_count_of(request) * share), in_currency)


def require_price(cost: Money | None, budgets: Budgets, *, conn_id: str, model: str) -> None:
    """Refuse a submission under a budget if its price is not known.

    :raises InvalidRequestError: nothing was submitted.
    """
    if budgets and cost is None:
        raise InvalidRequestError(
            f"Connection {conn_id!r} has a budget in {budgets.currency}, but the price of a picture of "
            f"{model or 'this model'} is not known in it; enter it in the extra field 'prices', per picture, like "
            f'{{"{model or "model"}": "0.04 {budgets.currency}"}}',
            code=CODE,
            retry_advice="Enter the price, then Clear the task.",
        )


def exceeded(over: Excess, *, conn_id: str, service: str | None = None) -> ImageTaskError:
    """Return the error of a submission that does not fit into what is left of a budget."""
    whose = f"{over.name} of connection {conn_id!r} is {over.budget}"
    until = f"{over.ends:%Y-%m-%d %H:%M %Z}"
    if over.others:
        return QuotaExceededError(
            f"{whose}, but the same account has also spent {' and '.join(map(str, over.others))}, which cannot "
            f"be added to it. That spending counts until {until}",
            service=service,
            code=CODE,
            retry_advice="Clear the task after that, or set the budgets and prices of all connections with this key in "
            "one currency; nothing was sent to the service.",
        )
    spent = sum(over.spent_by_dag.values())
    largest = sorted(over.spent_by_dag.items(), key=lambda each: -each[1])[:_NAMED]
    dags = ", ".join(f"{dag_id or 'no Dag'} {in_words(amount)}" for dag_id, amount in largest)
    return QuotaExceededError(
        f"{whose}: {in_words(spent)} of it has been spent{f' ({dags})' if dags else ''}, and this submission would "
        f"cost {in_words(over.cost)}. The budget applies until {until}",
        service=service,
        code=CODE,
        retry_advice="Clear the task after that, or raise the budget and Clear it; nothing was sent to the service.",
    )
