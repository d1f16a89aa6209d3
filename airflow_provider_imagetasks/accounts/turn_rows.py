"""Turns of an account in its store: when requests leave, over all processes."""

from __future__ import annotations

from typing import Literal, TypeAlias

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection

from airflow_provider_imagetasks.accounts.rates import next_turns, ranks_for
from airflow_provider_imagetasks.accounts.tables import accounts, turns
from airflow_provider_imagetasks.services.rates import Rate

Kind: TypeAlias = Literal["submit", "query"]


def take_turns(
    connection: Connection, account_id: str, kind: Kind, rate: Rate | None, count: int, now: float
) -> list[float]:
    """Give out the next turns of requests, and return when each is, in the database's Unix seconds.

    :param rate: None sets no bound but the pauses that the service asked for.
    """
    column = accounts.c.submit_paused_until if kind == "submit" else accounts.c.query_paused_until
    paused = float(connection.execute(select(column).where(accounts.c.id == account_id)).scalar() or 0.0)
    windows = rate.windows if rate else ()
    if not windows or not count:
        return [max(now, paused)] * count
    ours = (turns.c.account == account_id) & (turns.c.kind == kind)
    newest = select(turns.c.at).where(ours).order_by(turns.c.at.desc())
    latest = {}
    for window in windows:
        ranks = ranks_for(window, count)
        found = connection.execute(newest.offset(ranks.start - 1).limit(len(ranks))).scalars()
        latest[window] = dict(zip(ranks, found, strict=False))
    last = connection.execute(newest.limit(1)).scalar()
    moments = next_turns(count, windows, latest, not_before=max(now, paused), last=last)
    connection.execute(insert(turns), [{"account": account_id, "kind": kind, "at": moment} for moment in moments])
    oldest = now - 2 * max(window.seconds for window in windows) - 1
    connection.execute(delete(turns).where(ours & (turns.c.at < oldest)))
    return moments
