"""Spending of an account in its store: by day, Dag and model, and what a budget leaves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import Connection

from airflow_provider_imagetasks.accounts.budgets import Budgets
from airflow_provider_imagetasks.accounts.grants import Excess, PlannedSubmission
from airflow_provider_imagetasks.accounts.tables import spending

_KEY = ("account", "day", "dag_id", "model", "currency")


def spend(connection: Connection, submission: Any, amount: int, *, submissions: int = 0) -> None:
    """Add to what is spent, or take back from it.

    :param submission: a row of ``places``, as a mapping: what it names is added to.
    :param amount: millionths, below zero for what is taken back; likewise ``submissions``.
    """
    key = {name: submission[name] for name in _KEY}
    is_it = [spending.c[name] == value for name, value in key.items()]
    values = {"amount": spending.c.amount + amount, "submissions": spending.c.submissions + submissions}
    if connection.execute(update(spending).where(*is_it).values(values)).rowcount == 0:
        connection.execute(insert(spending), {**key, "amount": amount, "submissions": submissions})


def spent_by_dag(connection: Connection, account_id: str, begins: str, currency: str) -> dict[str, int]:
    """Return what each Dag spent, in millionths.

    :param begins: what the days begin with: a day, or a month.
    """
    columns = spending.c
    which = (columns.account == account_id) & columns.day.startswith(begins) & (columns.currency == currency)
    totals = select(columns.dag_id, func.sum(columns.amount)).where(which).group_by(columns.dag_id)
    return {str(dag_id): int(total) for dag_id, total in connection.execute(totals)}


def affordable(
    connection: Connection,
    account_id: str,
    wanted: Sequence[PlannedSubmission],
    counted: Collection[int],
    budgets: Budgets,
    now: float,
) -> tuple[int, Excess | None]:
    """Return how many of the first submissions there is money for, and why there is none for the next.

    :param counted: positions of those that are counted already.
    :param now: the database's Unix seconds.
    """
    count, excess = len(wanted), None
    for name, begins, budget, ends in budgets.spans(now):
        spent = spent_by_dag(connection, account_id, begins, budget.currency)
        for position, each in enumerate(wanted[:count]):
            cost = each.cost.millionths if each.cost and position not in counted else 0
            if cost and sum(spent.values()) + cost > budget.millionths:
                count = position
                excess = Excess(name=name, budget=budget, ends=ends, spent_by_dag=spent, cost=cost)
                break
            spent[each.dag_id] = spent.get(each.dag_id, 0) + cost
    return count, excess
