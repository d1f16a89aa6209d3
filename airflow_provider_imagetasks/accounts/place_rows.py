"""Places of an account in its store: which submissions hold one, who waits for one, and whose is taken back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.engine import Connection

from airflow_provider_imagetasks.accounts.grants import PlannedSubmission, Turn
from airflow_provider_imagetasks.accounts.spending_rows import spend
from airflow_provider_imagetasks.accounts.tables import LONGEST_NAME, accounts, places, waiting

ALIVE_SECONDS = 15.0
"""Seconds after which somebody who waits for a place, and says so no more, has lost the turn."""
ANSWER_SECONDS = 45.0
"""Seconds after its turn in which a submission has an image task, or its place is given back."""
KEPT_SECONDS = 7 * 86_400.0
"""Seconds for which a submission that holds no place any more may still turn out to cost nothing."""
_ANY_NUMBER = 1_000_000


def rows(connection: Connection, which: Any) -> list[dict[str, Any]]:
    """Return submissions."""
    return [dict(row) for row in connection.execute(select(places).where(which)).mappings()]


def expire(connection: Connection, account_id: str, now: float) -> None:
    """Take back the places of those who died, and the money of what certainly never left."""
    late = (places.c.account == account_id) & (places.c.is_open == 1) & (places.c.expires_at < now)
    for row in rows(connection, late):
        if row["has_left"]:
            values = {"is_open": 0, "expires_at": now + KEPT_SECONDS}
            connection.execute(update(places).where(places.c.id == row["id"]).values(values))
        else:
            give_back(connection, row)


def give_back(connection: Connection, row: dict[str, Any]) -> None:
    """Take a submission back that costs nothing."""
    spend(connection, row, -row["amount"], submissions=-1)
    connection.execute(delete(places).where(places.c.id == row["id"]))


def tidy(connection: Connection, now: float) -> None:
    """Forget submissions that hold no place any more and were not heard of for long."""
    connection.execute(delete(places).where((places.c.is_open == 0) & (places.c.expires_at < now)))


def free_places(
    connection: Connection, account_id: str, ticket: str, most_active: int | None, now: float
) -> tuple[int, int]:
    """Return how many places there are for who asks, and how many others wait before.

    One who wants many leaves a place to each who came later; so a batch keeps no single picture waiting for long.

    :param most_active: None for any number.
    """
    if most_active is None:
        return _ANY_NUMBER, 0
    is_open = (places.c.account == account_id) & (places.c.is_open == 1)
    used = int(connection.execute(select(func.count()).where(is_open)).scalar_one())
    connection.execute(delete(waiting).where((waiting.c.account == account_id) & (waiting.c.alive_until < now)))
    queue = select(waiting.c.ticket).where(waiting.c.account == account_id).order_by(waiting.c.since, waiting.c.ticket)
    tickets = list(connection.execute(queue).scalars())
    ahead = tickets.index(ticket) if ticket in tickets else len(tickets)
    behind = len([each for each in tickets[ahead:] if each != ticket])
    free = most_active - used - ahead
    return max(min(free, 1), free - behind), ahead


def queue_up(connection: Connection, account_id: str, ticket: str, now: float) -> None:
    """Put somebody at the end of those who wait, or note that who waits is alive."""
    alive = update(waiting).where(waiting.c.ticket == ticket).values(alive_until=now + ALIVE_SECONDS)
    if connection.execute(alive).rowcount == 0:
        row = {"ticket": ticket, "account": account_id, "since": now, "alive_until": now + ALIVE_SECONDS}
        connection.execute(insert(waiting), row)


def running_to_look_at(connection: Connection, account_id: str, now: float, every: float) -> list[str]:
    """Return the image tasks that hold places, for one of all who wait; nothing where somebody had them a moment ago.

    :param every: seconds between two looks.
    """
    due = (accounts.c.id == account_id) & (accounts.c.looked_at <= now - every)
    if connection.execute(update(accounts).where(due).values(looked_at=now)).rowcount == 0:
        return []
    is_open = (places.c.account == account_id) & (places.c.is_open == 1) & places.c.image_task_id.is_not(None)
    return [str(each) for each in connection.execute(select(places.c.image_task_id).where(is_open)).scalars()]


def hold(
    connection: Connection,
    account_id: str,
    wanted: PlannedSubmission,
    submission_id: str,
    *,
    day: str,
    turn: Turn,
    now: float,
) -> None:
    """Take a place for a submission, and count what it costs; one that was taken before is taken over.

    :param day: on which it is counted.
    :param now: the database's Unix seconds.
    """
    held = {"is_open": 1, "expires_at": now + turn.seconds + ANSWER_SECONDS}
    if connection.execute(update(places).where(places.c.id == submission_id).values(held)).rowcount:
        # What is known of the first time holds: it may have left.
        return
    row = {
        **held,
        "id": submission_id,
        "account": account_id,
        "image_task_id": None,
        "has_left": int(turn.id is None),
        "day": day,
        "dag_id": wanted.dag_id[:LONGEST_NAME],
        "model": wanted.model[:LONGEST_NAME],
        "currency": wanted.cost.currency if wanted.cost else "",
        "amount": wanted.cost.millionths if wanted.cost else 0,
        "pictures": max(1, wanted.pictures),
    }
    connection.execute(insert(places), row)
    spend(connection, row, wanted.cost.millionths if wanted.cost else 0, submissions=1)
