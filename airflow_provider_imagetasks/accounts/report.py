"""Report of all accounts: rates, places and spending, as the store has them. It needs no Airflow that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from airflow_provider_imagetasks.accounts.store import AccountStore
from airflow_provider_imagetasks.accounts.tables import accounts, connections, places, spending, turns, waiting
from airflow_provider_imagetasks.services.fields import cleaned
from airflow_provider_imagetasks.services.money import in_words

DAYS = 7
_MOST_LINES = 1_000


@dataclass(frozen=True, kw_only=True)
class AccountReport:
    """What is known of one account.

    :param limits: what its connections said last.
    :param running: image tasks that hold a place; likewise ``waiting``, for who waits for one.
    :param submitted: turns of the last minute; likewise ``asked``.
    :param paused: seconds for which the service wants no submissions; likewise ``asked_paused``, no questions.
    :param spending: ``{day, dag_id, model, currency, amount, submissions}``, the latest days first.
    :param left_out: how many more of those there are.
    """

    service: str
    host: str
    connections: list[str]
    limits: dict[str, str]
    running: int
    waiting: int
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
            recent = (turns.c.account == row["id"], turns.c.at > now - 60, turns.c.at <= now)
            made.append(
                AccountReport(
                    service=row["service"],
                    host=row["host"],
                    connections=sorted(connection.execute(named).scalars()),
                    limits=json.loads(row["limits"] or "{}"),
                    running=count(places.c.id, places.c.account == row["id"], places.c.is_open == 1),
                    waiting=count(waiting.c.ticket, waiting.c.account == row["id"], waiting.c.alive_until > now),
                    submitted=count(turns.c.id, *recent, turns.c.kind == "submit"),
                    asked=count(turns.c.id, *recent, turns.c.kind == "query"),
                    paused=max(0.0, row["submit_paused_until"] - now),
                    asked_paused=max(0.0, row["query_paused_until"] - now),
                    spending=lines,
                    left_out=count(spending.c.day, is_shown) - len(lines),
                )
            )
        return made


def in_lines(report: AccountReport) -> Iterator[str]:
    """Yield a report as people read it."""
    yield f"{report.service} at {report.host} (connections: {', '.join(report.connections) or 'none'})"
    limits = ", ".join(f"{name} {value}" for name, value in report.limits.items())
    yield f"  limits: {limits or 'none'}"
    most = report.limits.get("max_active_tasks")
    yield f"  running: {report.running}{f' of {most}' if most else ''}; waiting for a place: {report.waiting}"
    yield f"  in the last minute: {report.submitted} submissions with a rate, {report.asked} status requests"
    for what, seconds in (("submissions", report.paused), ("status requests", report.asked_paused)):
        if seconds:
            yield f"  the service asked for no {what} for another {seconds:.0f} s"
    for line in report.spending:
        amount = f"{in_words(line['amount'])} {line['currency']}" if line["currency"] else "price not known"
        who = f"{cleaned(line['dag_id']) or 'no Dag'}, {cleaned(line['model']) or 'no model'}"
        yield f"  {line['day']}  {amount:>16}  {line['submissions']:>6} submissions  {who}"
    if report.left_out:
        yield f"  and {report.left_out:,} more, which fewer --days show"
