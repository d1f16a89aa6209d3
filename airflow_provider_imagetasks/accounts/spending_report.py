"""Spending between two days, by day, Dag and model, as the account store has it; shown by the gallery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from airflow_provider_imagetasks.accounts.store import AccountStore
from airflow_provider_imagetasks.accounts.tables import spending

MOST_LINES = 20_000
"""Lines that are read, the latest days first."""


@dataclass(frozen=True, slots=True)
class SpendingLine:
    """What a Dag spent on a day for a model, over all accounts.

    :param day: as ISO 8601 has it, in the time zone of the budgets.
    :param dag_id: empty for what no Dag submitted.
    :param currency: empty where the price was not known.
    :param amount: millionths.
    """

    day: str
    dag_id: str
    model: str
    currency: str
    amount: int
    submissions: int


def spending_lines(store: AccountStore, first: str, last: str) -> Sequence[SpendingLine]:
    """Return what was spent between two days, both included: at most :data:`MOST_LINES` and one more.

    :raises StoreError: it cannot be read.
    """
    columns = (spending.c.day, spending.c.dag_id, spending.c.model, spending.c.currency)
    found = (
        select(*columns, func.sum(spending.c.amount), func.sum(spending.c.submissions))
        .where(spending.c.day.between(first, last), spending.c.submissions > 0)
        .group_by(*columns)
        .order_by(spending.c.day.desc(), *columns[1:])
        .limit(MOST_LINES + 1)
    )
    with store.reading() as (connection, _):
        return [SpendingLine(*row[:4], int(row[4]), int(row[5])) for row in connection.execute(found)]
