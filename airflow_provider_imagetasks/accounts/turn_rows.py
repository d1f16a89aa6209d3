"""Turns of an account in its store: when requests leave, over all processes."""

from __future__ import annotations

import secrets
from typing import Literal, TypeAlias

from sqlalchemy import Float, Integer, bindparam, delete, insert, select, update

from airflow_provider_imagetasks.accounts.grants import Turn
from airflow_provider_imagetasks.accounts.statements import Statement, Transaction
from airflow_provider_imagetasks.accounts.tables import accounts, turns
from airflow_provider_imagetasks.accounts.turn_times import next_turns, ranks_for, with_slack
from airflow_provider_imagetasks.services.rates import Rate

Kind: TypeAlias = Literal["submit", "query"]
_NO_ROW = 0
"""Id of a turn that no rate bounds, but a pause."""

KEPT_WINDOWS = 2
"""Windows for which turns are kept."""
KEPT_SECONDS = 60.0
"""Seconds for which they are kept at least, to be shown."""

_is_ours = (turns.c.account == bindparam("its_account")) & (turns.c.kind == bindparam("its_kind"))
_latest = (
    select(turns.c.at)
    .where(_is_ours)
    .order_by(turns.c.at.desc())
    .offset(bindparam("skipped", type_=Integer))
    .limit(bindparam("most", type_=Integer))
)
_planned = update(turns).where(turns.c.id == bindparam("its_id")).values(at=bindparam("moment"))
_LATEST = Statement(_latest)
_LATEST_LEFT = Statement(_latest.where(turns.c.has_left == 1))
_GIVEN = Statement(insert(turns))
_PLANNED = Statement(_planned)
_DEPARTED = Statement(_planned.values(has_left=1))
_LATER = Statement(
    update(turns).where(turns.c.id == bindparam("its_id")).values(at=turns.c.at + bindparam("seconds", type_=Float))
)
_PAST = Statement(delete(turns).where(_is_ours, turns.c.at < bindparam("oldest")))
_pauses = (("submit", accounts.c.submit_paused_until), ("query", accounts.c.query_paused_until))
_PAUSES = {kind: Statement(select(column).where(accounts.c.id == bindparam("its_account"))) for kind, column in _pauses}
_PAUSED = {
    kind: Statement(
        update(accounts)
        .where(accounts.c.id == bindparam("its_account"), column < bindparam("until"))
        .values({column.name: bindparam("until")})
    )
    for kind, column in _pauses
}


def take_turns(
    transaction: Transaction, account_id: str, kind: Kind, rate: Rate | None, count: int, now: float, *, at_once: bool
) -> list[Turn]:
    """Give out the next turns of requests.

    :param rate: None sets no bound but the pauses that the service asked for.
    :param now: the database's Unix seconds.
    :param at_once: whether what may leave now does.
    """
    earliest = max(now, paused_until(transaction, account_id, kind))
    if not count:
        return []
    if rate is None:
        return [Turn(seconds=earliest - now, id=_NO_ROW if earliest > now else None)] * count
    ours = {"its_account": account_id, "its_kind": kind}
    latest = {}
    for window in rate.windows:
        ranks = ranks_for(window, count)
        found = transaction.rows(_LATEST, **ours, skipped=ranks.start - 1, most=len(ranks))
        latest[window] = {rank: at for rank, (at,) in zip(ranks, found, strict=False)}
    last = transaction.value(_LATEST, **ours, skipped=0, most=1)
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
    transaction.change_each(_GIVEN, rows)
    oldest = now - max(KEPT_SECONDS, KEPT_WINDOWS * max(window.seconds for window in rate.windows)) - 1
    transaction.change(_PAST, **ours, oldest=oldest)
    return [
        Turn(seconds=max(0.0, moment - now), id=int(row["id"]), has_left=bool(row["has_left"]))
        for row, moment in zip(rows, moments, strict=True)
    ]


def departs(
    transaction: Transaction, account_id: str, kind: Kind, rate: Rate | None, turn_id: int, now: float
) -> float:
    """Note that a request leaves now, and return 0; or return for how many seconds it must not.

    Turns are plans, and processes may be late: what counts is when the others really left.
    """
    seconds = paused_until(transaction, account_id, kind) - now
    if rate is not None and turn_id != _NO_ROW:
        for window in rate.windows:
            which = {"its_account": account_id, "its_kind": kind, "skipped": window.count - 1, "most": 1}
            bound = transaction.value(_LATEST_LEFT, **which)
            if bound is not None:
                seconds = max(seconds, bound + with_slack(window) - now)
        statement, moment = (_DEPARTED, now) if seconds <= 0 else (_PLANNED, now + seconds)
        if transaction.change(statement, its_id=turn_id, moment=moment) == 0:
            # It is so late that its turn is forgotten.
            row = {"id": turn_id, "account": account_id, "kind": kind, "at": moment, "has_left": int(seconds <= 0)}
            transaction.change(_GIVEN, **row)
    return max(0.0, seconds)


def counts_from_later(transaction: Transaction, turn_id: int, seconds: float) -> None:
    """Count a request as if it had left so many seconds later, since it may have been that long on its way."""
    transaction.change(_LATER, its_id=turn_id, seconds=seconds)


def paused_until(transaction: Transaction, account_id: str, kind: Kind) -> float:
    """Return until when the service asked for no such request, in Unix seconds; it may lie in the past."""
    return float(transaction.value(_PAUSES[kind], its_account=account_id) or 0.0)


def pause(transaction: Transaction, account_id: str, kind: Kind, until: float) -> None:
    """Hold back such requests until a moment in Unix seconds; a longer pause stays."""
    transaction.change(_PAUSED[kind], its_account=account_id, until=until)
