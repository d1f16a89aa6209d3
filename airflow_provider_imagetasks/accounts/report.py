"""Report of all accounts: rates, places and spending, as the account store has them. Needs no running Airflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from airflow_provider_imagetasks.accounts.budgets import Budgets
from airflow_provider_imagetasks.accounts.settings import budget_zone
from airflow_provider_imagetasks.accounts.store import AccountStore
from airflow_provider_imagetasks.accounts.tables import accounts, connections, places, spending, turns, waiting
from airflow_provider_imagetasks.services.fields import cleaned
from airflow_provider_imagetasks.services.money import in_words, read_budget

DAYS = 7
_MOST_LINES = 1_000


@dataclass(frozen=True, kw_only=True)
class AccountReport:
    """What is known of one account.

    :param limits: what its connections said last.
    :param running: image tasks that hold a place; likewise ``waiting``, callers that wait for one.
    :param running_by_dag: those of each Dag, the Dag with the most first.
    :param waiting_for: seconds for which the first of them has waited.
    :param budgets: ``{name, spent, budget, currency, until}`` of those that its connections named last.
    :param submitted: turns of the last minute; likewise ``asked``.
    :param paused: seconds for which the service wants no submissions; likewise ``asked_paused``, no status requests.
    :param spending: ``{day, dag_id, model, currency, amount, submissions}``, the latest days first.
    :param left_out: how many more of those there are.
    """

    service: str
    host: str
    connections: list[str]
    limits: dict[str, str]
    running: int
    running_by_dag: dict[str, int]
    waiting: int
    waiting_for: float
    budgets: list[dict[str, Any]]
    submitted: int
    asked: int
    paused: float
    asked_paused: float
    spending: list[dict[str, Any]]
    left_out: int = 0


def reports(store: AccountStore, *, days: int = DAYS) -> list[AccountReport]:
    """Return a report of each account in the store.

    :param days: how many days with spending are shown of each.
    :raises StoreError: it cannot be read.
    """
    with store.reading() as (connection, now):

        def count(column: Any, *which: Any) -> int:
            return int(connection.execute(select(func.count(column)).where(*which)).scalar_one())

        made = []
        for row in connection.execute(select(accounts).order_by(accounts.c.service, accounts.c.host)).mappings():
            named = select(connections.c.conn_id).where(connections.c.account == row["id"])
            is_spent = (spending.c.account == row["id"]) & (spending.c.submissions > 0)
            its_days = select(spending.c.day).where(is_spent).distinct().order_by(spending.c.day.desc()).limit(days)
            is_shown = is_spent & spending.c.day.in_(its_days.scalar_subquery())
            spent = select(spending).where(is_shown).order_by(spending.c.day.desc(), spending.c.amount.desc())
            lines = [dict(line) for line in connection.execute(spent.limit(_MOST_LINES)).mappings()]
            limits = json.loads(row["limits"] or "{}")
            # Those whose time is over are given back by who asks for a place next.
            is_held = (places.c.account == row["id"]) & (places.c.is_open == 1) & (places.c.expires_at >= now)
            held = select(places.c.dag_id, func.count()).where(is_held).group_by(places.c.dag_id)
            by_dag = {str(dag_id): int(held_by) for dag_id, held_by in connection.execute(held)}
            waits = (waiting.c.account == row["id"]) & (waiting.c.alive_until > now)
            first = connection.execute(select(func.min(waiting.c.since)).where(waits)).scalar()
            recent = (turns.c.account == row["id"], turns.c.at > now - 60, turns.c.at <= now)
            made.append(
                AccountReport(
                    service=row["service"],
                    host=row["host"],
                    connections=sorted(connection.execute(named).scalars()),
                    limits=limits,
                    running=sum(by_dag.values()),
                    running_by_dag=dict(sorted(by_dag.items(), key=lambda each: -each[1])),
                    waiting=count(waiting.c.ticket, waits),
                    waiting_for=max(0.0, now - first) if first is not None else 0.0,
                    budgets=_budgets(connection, row["id"], limits, now),
                    submitted=count(turns.c.id, *recent, turns.c.kind == "submit"),
                    asked=count(turns.c.id, *recent, turns.c.kind == "query"),
                    paused=max(0.0, row["submit_paused_until"] - now),
                    asked_paused=max(0.0, row["query_paused_until"] - now),
                    spending=lines,
                    left_out=count(spending.c.day, is_shown) - len(lines),
                )
            )
        return made


def _budgets(connection: Connection, account_id: str, limits: dict[str, str], now: float) -> list[dict[str, Any]]:
    zone = budget_zone()
    per_day, per_month = (read_budget(name, limits.get(name)) for name in ("budget_per_day", "budget_per_month"))
    made = []
    for name, begins, budget, ends in Budgets(per_day=per_day, per_month=per_month, zone=zone).spans(now):
        spent = select(func.sum(spending.c.amount)).where(
            spending.c.account == account_id,
            spending.c.day.startswith(begins),
            spending.c.currency == budget.currency,
        )
        made.append(
            {
                "name": name,
                "spent": int(connection.execute(spent).scalar() or 0),
                "budget": budget.millionths,
                "currency": budget.currency,
                "until": ends.isoformat(),
            }
        )
    return made


def in_lines(report: AccountReport) -> Iterator[str]:
    """Yield the lines of a report, for people to read."""
    yield f"{report.service} at {report.host} (connections: {', '.join(report.connections) or 'none'})"
    limits = ", ".join(f"{name} {value}" for name, value in report.limits.items())
    yield f"  limits: {limits or 'none'}"
    most = report.limits.get("max_active_tasks")
    dags = ", ".join(f"{cleaned(dag_id) or 'no Dag'} {held}" for dag_id, held in report.running_by_dag.items())
    running = f"{report.running}{f' of {most}' if most else ''}{f' ({dags})' if dags else ''}"
    first = f", the first for {report.waiting_for:.0f} s" if report.waiting else ""
    yield f"  running: {running}; waiting for a place: {report.waiting}{first}"
    yield f"  in the last minute: {report.submitted} submissions with a rate, {report.asked} status requests"
    for what, seconds in (("submissions", report.paused), ("status requests", report.asked_paused)):
        if seconds:
            yield f"  the service asked for no {what} for another {seconds:.0f} s"
    for each in report.budgets:
        spent, budget = in_words(each["spent"]), in_words(each["budget"])
        until = datetime.fromisoformat(each["until"]).strftime("%Y-%m-%d %H:%M %Z")
        used = f"{each['spent'] / each['budget']:.0%}"
        yield f"  {each['name']}: {spent} of {budget} {each['currency']} ({used}), until {until}"
    for line in report.spending:
        amount = f"{in_words(line['amount'])} {line['currency']}" if line["currency"] else "price not known"
        who = f"{cleaned(line['dag_id']) or 'no Dag'}, {cleaned(line['model']) or 'no model'}"
        yield f"  {line['day']}  {amount:>16}  {line['submissions']:>6} submissions  {who}"
    if report.left_out:
        yield f"  and {report.left_out:,} more, which fewer --days show"
