"""Spending of an account in its store: by day, Dag and model, and what a budget leaves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update

from airflow_provider_imagetasks.accounts.budgets import Budgets
from airflow_provider_imagetasks.accounts.grants import Excess, PlannedSubmission
from airflow_provider_imagetasks.accounts.statements import Row, Statement, Transaction
from airflow_provider_imagetasks.accounts.tables import spending
from airflow_provider_imagetasks.services.money import Money

_KEY = ("account", "day", "dag_id", "model", "currency")
_columns = spending.c
_ADDED = Statement(
    update(spending)
    .where(*(_columns[name] == bindparam(f"its_{name}") for name in _KEY))
    .values(amount=_columns.amount + bindparam("more"), submissions=_columns.submissions + bindparam("further"))
)
_FIRST = Statement(insert(spending))
_BY_DAG = Statement(
    select(_columns.currency, _columns.dag_id, func.sum(_columns.amount))
    .where(
        _columns.account == bindparam("its_account"),
        _columns.day.between(bindparam("first"), bindparam("last")),
        _columns.amount > 0,
    )
    .group_by(_columns.currency, _columns.dag_id)
)


def spend(transaction: Transaction, changes: Iterable[tuple[Row, int, int]]) -> None:
    """Add to what is spent, or take back from it.

    :param changes: rows of ``places``, each with millionths and submissions that are added to what it names; below zero
        they are taken back.
    """
    totals: dict[tuple[Any, ...], tuple[int, int]] = {}
    for row, amount, submissions in changes:
        key = tuple(row[name] for name in _KEY)
        before = totals.get(key, (0, 0))
        totals[key] = (before[0] + amount, before[1] + submissions)
    for key, (amount, submissions) in totals.items():
        named = {f"its_{name}": value for name, value in zip(_KEY, key, strict=True)}
        if transaction.change(_ADDED, **named, more=amount, further=submissions) == 0:
            row = dict(zip(_KEY, key, strict=True))
            transaction.change(_FIRST, **row, amount=amount, submissions=submissions)


def spent_by_dag(transaction: Transaction, account_id: str, begins: str) -> dict[str, dict[str, int]]:
    """Return what each Dag spent by currency, in millionths.

    :param begins: what the days begin with: a day, or a month.
    """
    is_month = len(begins) == len("2026-01")
    first, last = (f"{begins}-01", f"{begins}-31") if is_month else (begins, begins)
    found: dict[str, dict[str, int]] = {}
    for currency, dag_id, total in transaction.rows(_BY_DAG, its_account=account_id, first=first, last=last):
        found.setdefault(str(currency), {})[str(dag_id)] = int(total)
    return found


def affordable(
    transaction: Transaction,
    account_id: str,
    wanted: Sequence[PlannedSubmission],
    counted: Collection[int],
    budgets: Budgets,
    now: float,
) -> tuple[int, Excess | None, dict[str, float]]:
    """Return how many of the first submissions there is money for, why not for the next one, and what is then used.

    What is used is a share of each budget, by the budget's name.

    :param counted: positions of those that are counted already.
    :param now: the database's Unix seconds.
    """
    count, excess, used = len(wanted), None, {}
    for name, begins, budget, ends in budgets.spans(now):
        by_currency = spent_by_dag(transaction, account_id, begins)
        spent = by_currency.pop(budget.currency, {})
        others = [Money(sum(each.values()), currency) for currency, each in sorted(by_currency.items()) if currency]
        for position, each in enumerate(wanted[:count]):
            cost = each.cost.millionths if each.cost and position not in counted else 0
            if cost and (others or sum(spent.values()) + cost > budget.millionths):
                count = position
                excess = Excess(name=name, budget=budget, ends=ends, spent_by_dag=spent, cost=cost, others=others)
                break
            spent[each.dag_id] = spent.get(each.dag_id, 0) + cost
        used[name] = sum(spent.values()) / budget.millionths
    return count, excess, used
