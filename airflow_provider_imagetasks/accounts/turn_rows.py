"""Turns of an account in its store: when requests leave, over all processes."""

from __future__ import annotations

import secrets
from typing import Literal, TypeAlias

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection

from airflow_provider_imagetasks.accounts.grants import Turn
from airflow_provider_imagetasks.accounts.tables import accounts, turns
from airflow_provider_imagetasks.accounts.turn_times import next_turns, ranks_for, with_slack
from airflow_provider_imagetasks.services.rates import Rate

Kind: TypeAlias = Literal["submit", "query"]
_NO_ROW = 0
"""Id of a turn that no rate bounds, but a pause."""


def take_turns(
    connection: Connection, account_id: str, kind: Kind, rate: Rate | None, count: int, now: float, *, at_once: bool
) -> list[Turn]:
    """Give out the next turns of requests.

    :param rate: None sets no bound but the pauses that the service asked for.
    :param now: the database's Unix seconds.
    :param at_once: whether what may leave now does.
    """
    earliest = max(now, paused_until(connection, account_id, kind))
    if not count:
        return []
    if rate is None:
        return [Turn(seconds=earliest - now, id=_NO_ROW if earliest > now else None)] * count
    ours = (turns.c.account == account_id) & (turns.c.kind == kind)
    newest = select(turns.c.at).where(ours).order_by(turns.c.at.desc())
    latest = {}
    for window in rate.windows:
        ranks = ranks_for(window, count)
        found = connection.execute(newest.offset(ranks.start - 1).limit(len(ranks))).scalars()
        latest[window] = dict(zip(ranks, found, strict=False))
    last = connection.execute(newest.limit(1)).scalar()
    moments = next_turns(count, rate.windows, latest, not_before=earliest, last=last)
    rows = [
        {
            "id": secrets.randbits(62) | 1,
            "account": account_id,
            "kind": kind,
            "at": moment,
            "has_left": int(at_once and moment <= now),
        }
        for moment in moments
    ]
    connection.execute(insert(turns), rows)
    oldest = now - 2 * max(window.seconds for window in rate.windows) - 1
    connection.execute(delete(turns).where(ours & (turns.c.at < oldest)))
    return [
        Turn(seconds=max(0.0, moment - now), id=None if row["has_left"] else int(row["id"]))
        for row, moment in zip(rows, moments, strict=True)
    ]


def departs(connection: Connection, account_id: str, kind: Kind, rate: Rate | None, turn_id: int, now: float) -> float:
    """Note that a request leaves now, and return 0; or return for how many seconds it must not.

    Turns are planned, and processes may be late: what holds is when the others really left.
    """
    seconds = paused_until(connection, account_id, kind) - now
    if rate is not None and turn_id != _NO_ROW:
        left = (turns.c.account == account_id) & (turns.c.kind == kind) & (turns.c.has_left == 1)
        newest = select(turns.c.at).where(left).order_by(turns.c.at.desc())
        for window in rate.windows:
            bound = connection.execute(newest.offset(window.count - 1).limit(1)).scalar()
            if bound is not None:
                seconds = max(seconds, bound + with_slack(window) - now)
        values = {"at": now, "has_left": 1} if seconds <= 0 else {"at": now + seconds}
        connection.execute(update(turns).where(turns.c.id == turn_id).values(values))
    return max(0.0, seconds)


def paused_until(connection: Connection, account_id: str, kind: Kind) -> float:
    """Return until when the service asked for no such request, in Unix seconds; it may lie in the past."""
    column = accounts.c.submit_paused_until if kind == "submit" else accounts.c.query_paused_until
    return float(connection.execute(select(column).where(accounts.c.id == account_id)).scalar() or 0.0)
