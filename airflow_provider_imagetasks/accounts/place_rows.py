"""Places of an account in the account store: which submissions hold one, who waits, and which are taken back."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from airflow_provider_imagetasks.accounts.grants import PlannedSubmission, Turn
from airflow_provider_imagetasks.accounts.spending_rows import spend
from airflow_provider_imagetasks.accounts.statements import Row, Statement, Transaction, one_of
from airflow_provider_imagetasks.accounts.tables import LONGEST_NAME, accounts, places, waiting

ALIVE_SECONDS = 15.0
"""Seconds for which a caller keeps its position in the queue without asking again."""
ANSWER_SECONDS = 45.0
"""Seconds after its turn in which a submission has an image task, or its place is given back."""
KEPT_SECONDS = 7 * 86_400.0
"""Seconds for which a submission that holds no place any more may still turn out to cost nothing."""
_ANY_NUMBER = 1_000_000

_account: Any = bindparam("its_account")
_is_this = places.c.id == bindparam("its_id")
_is_open = (places.c.account == _account) & (places.c.is_open == 1)
_expires: dict[str, Any] = {"expires_at": bindparam("until")}
_is_whose = waiting.c.ticket == bindparam("whose")

_OPEN = Statement(select(func.count(), func.min(places.c.expires_at)).where(_is_open))
_LATE = Statement(select(places).where(_is_open, places.c.expires_at < bindparam("now")))
_RUNNING = Statement(select(places.c.image_task_id).where(_is_open, places.c.image_task_id.is_not(None)))
_KNOWN = Statement(lambda sizes: select(places).where(one_of(places.c.id, "ids", sizes)))
_ENDED = Statement(
    lambda sizes: select(places).where(
        places.c.account == _account,
        one_of(places.c.image_task_id, "image_task_ids", sizes) | one_of(places.c.id, "ids", sizes),
    )
)
_HELD = Statement(insert(places))
_HELD_AGAIN = Statement(update(places).where(_is_this).values(is_open=1, **_expires))
_LEFT = Statement(update(places).where(_is_this).values(is_open=1, has_left=1, **_expires))
_TAKEN = Statement(
    update(places).where(_is_this).values(is_open=1, has_left=1, image_task_id=bindparam("named"), **_expires)
)
_CLOSED = Statement(update(places).where(_is_this).values(is_open=0, **_expires))
_NAMED_APART = Statement(update(places).where(_is_this).values(id=bindparam("other_id")))
_OVER = Statement(delete(places).where(_is_this))
_FORGOTTEN = Statement(delete(places).where(places.c.is_open == 0, places.c.expires_at < bindparam("now")))
_QUEUE = Statement(
    select(waiting.c.ticket, waiting.c.alive_until)
    .where(waiting.c.account == _account)
    .order_by(waiting.c.since, waiting.c.ticket)
)
_ALIVE = Statement(update(waiting).where(_is_whose).values(alive_until=bindparam("until")))
_QUEUED = Statement(insert(waiting))
_WAITS_NO_MORE = Statement(delete(waiting).where(_is_whose))
_LOOKED = Statement(
    update(accounts)
    .where(accounts.c.id == _account, accounts.c.looked_at <= bindparam("before"))
    .values(looked_at=bindparam("now"))
)


def known(transaction: Transaction, ids: Sequence[str]) -> list[Row]:
    """Return which of the given submissions are counted."""
    return _rows(transaction, _KNOWN, ids=list(ids))


def ended(transaction: Transaction, account_id: str, image_task_ids: Sequence[str], ids: Sequence[str]) -> list[Row]:
    """Return the submissions of image tasks, and those with one of ``ids``."""
    return _rows(transaction, _ENDED, its_account=account_id, image_task_ids=list(image_task_ids), ids=list(ids))


def open_places(transaction: Transaction, account_id: str, now: float) -> int:
    """Return how many places are held, after expired ones are taken back, and the money of what never left."""
    ((count, first_end),) = transaction.rows(_OPEN, its_account=account_id)
    if first_end is None or first_end >= now:
        return int(count)
    late = _rows(transaction, _LATE, its_account=account_id, now=now)
    left = [row for row in late if row["has_left"]]
    transaction.change_each(_CLOSED, [{"its_id": row["id"], "until": now + KEPT_SECONDS} for row in left])
    give_back(transaction, [row for row in late if not row["has_left"]])
    return int(count) - len(late)


def give_back(transaction: Transaction, submissions: Sequence[Row]) -> None:
    """Take back submissions that cost nothing."""
    spend(transaction, [(row, -row["amount"], -1) for row in submissions])
    forget(transaction, submissions)


def forget(transaction: Transaction, submissions: Sequence[Row]) -> None:
    """Close submissions: they hold no place any more, and their cost is not corrected any more."""
    transaction.change_each(_OVER, [{"its_id": row["id"]} for row in submissions])


def tidy(transaction: Transaction, now: float) -> None:
    """Forget submissions that hold no place and were not heard of for long."""
    transaction.change(_FORGOTTEN, now=now)


def left(transaction: Transaction, submission_id: str, until: float, *, is_sure: bool) -> bool:
    """Keep the place of a submission until a moment in which it leaves, or, where that is sure, is answered.

    Returns whether it is still counted: one that leaves far too late is not.
    """
    return transaction.change(_LEFT if is_sure else _HELD_AGAIN, its_id=submission_id, until=until) > 0


def goes_out_again(submission: PlannedSubmission, counted: Row) -> bool:
    """Whether it has left under its key before, and its pictures are made again."""
    return bool(counted["has_left"]) and not submission.is_made_once


def set_apart(transaction: Transaction, submissions: Sequence[Row]) -> None:
    """Count submissions under ids of their own from now on, since others go out with their keys."""
    apart = [{"its_id": row["id"], "other_id": secrets.token_hex(32)} for row in submissions]
    transaction.change_each(_NAMED_APART, apart)


def taken(transaction: Transaction, image_task_ids: Mapping[str, str], until: float) -> None:
    """Note the image tasks of submissions, by the submissions' ids."""
    rows = [{"its_id": id_, "named": image_task_id, "until": until} for id_, image_task_id in image_task_ids.items()]
    transaction.change_each(_TAKEN, rows)


def free_places(
    transaction: Transaction, account_id: str, ticket: str, most_active: int | None, used: int, now: float
) -> tuple[int, int, bool]:
    """Return how many places are free for the caller, how many others wait before it, and whether the caller waited.

    A caller that wants many leaves a place to each later one, so that a batch keeps no single picture waiting for long.

    :param most_active: None for any number.
    :param used: places that are held.
    """
    if most_active is None:
        return _ANY_NUMBER, 0, False
    queue = transaction.rows(_QUEUE, its_account=account_id)
    transaction.change_each(_WAITS_NO_MORE, [{"whose": one} for one, alive_until in queue if alive_until < now])
    tickets = [one for one, alive_until in queue if alive_until >= now]
    ahead = tickets.index(ticket) if ticket in tickets else len(tickets)
    behind = len([each for each in tickets[ahead:] if each != ticket])
    free = most_active - used - ahead
    return max(min(free, 1), free - behind), ahead, ticket in tickets


def queue_up(transaction: Transaction, account_id: str, ticket: str, now: float) -> None:
    """Put a caller at the end of the queue, or note that one in the queue is alive."""
    until = now + ALIVE_SECONDS
    if transaction.change(_ALIVE, whose=ticket, until=until) == 0:
        transaction.change(_QUEUED, ticket=ticket, account=account_id, since=now, alive_until=until)


def leave_queue(transaction: Transaction, ticket: str) -> None:
    """Take a caller out of the queue."""
    transaction.change(_WAITS_NO_MORE, whose=ticket)


def running_to_look_at(transaction: Transaction, account_id: str, now: float, every: float) -> list[str]:
    """Return the image tasks that hold places, to one waiting caller; nothing if another had them a moment ago.

    :param every: seconds between two looks.
    """
    if transaction.change(_LOOKED, its_account=account_id, before=now - every, now=now) == 0:
        return []
    return [str(image_task_id) for (image_task_id,) in transaction.rows(_RUNNING, its_account=account_id)]


def hold(
    transaction: Transaction,
    account_id: str,
    wanted: Mapping[str, tuple[PlannedSubmission, Turn | None]],
    counted: Row,
    *,
    day: str,
    now: float,
) -> None:
    """Take places for submissions, and count what they cost; those that were taken before are taken over.

    :param wanted: by id, each with its turn; None for one that is only paid for, and holds no place.
    :param counted: those of before, by id. What is known of the first time holds: it may have left.
    :param day: on which they are counted.
    :param now: the database's Unix seconds.
    """
    until = {id_: now + (turn.seconds + ANSWER_SECONDS if turn else KEPT_SECONDS) for id_, (_, turn) in wanted.items()}
    again = [{"its_id": id_, "until": until[id_]} for id_, (_, turn) in wanted.items() if id_ in counted and turn]
    transaction.change_each(_HELD_AGAIN, again)
    rows: list[Row] = [
        {
            "id": id_,
            "account": account_id,
            "image_task_id": None,
            "is_open": int(turn is not None),
            "has_left": int(turn is None or not turn.is_planned),
            "expires_at": until[id_],
            "day": day,
            "dag_id": submission.dag_id[:LONGEST_NAME],
            "model": submission.model[:LONGEST_NAME],
            "currency": submission.cost.currency if submission.cost else "",
            "amount": submission.cost.millionths if submission.cost else 0,
            "pictures": max(1, submission.pictures),
        }
        for id_, (submission, turn) in wanted.items()
        if id_ not in counted
    ]
    transaction.change_each(_HELD, rows)
    spend(transaction, [(row, row["amount"], 1) for row in rows])


def _rows(transaction: Transaction, statement: Statement, **values: Any) -> list[Row]:
    names = places.c.keys()
    return [dict(zip(names, row, strict=True)) for row in transaction.rows(statement, **values)]
