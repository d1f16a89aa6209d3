"""The account store: each method is one transaction, in which an account is locked for all processes.

Moments are the database's, in Unix seconds, so that workers whose clocks differ agree; callers are told seconds from
now. All users of a SQLite file are on one machine, and share its clock.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from airflow_provider_imagetasks.accounts import place_rows, statements, tables
from airflow_provider_imagetasks.accounts.account_identity import host_of, key_hash, place_hash, submission_id
from airflow_provider_imagetasks.accounts.budgets import Budgets
from airflow_provider_imagetasks.accounts.grants import EndedImageTask, Grant, PlannedSubmission, Turn
from airflow_provider_imagetasks.accounts.spending_rows import affordable, spend
from airflow_provider_imagetasks.accounts.statements import Statement, Transaction
from airflow_provider_imagetasks.accounts.tables import UnsuitableStoreError, accounts, connections
from airflow_provider_imagetasks.accounts.turn_rows import Kind, counts_from_later, departs, pause, take_turns
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.rates import Rate

_TIDIED_EVERY = 60.0
_LOCKED = Statement(select(accounts.c.id).where(accounts.c.id == bindparam("its_account")).with_for_update())
_moment = select(func.extract("epoch", func.clock_timestamp()))
_MOMENT = Statement(_moment)
_NONE: Mapping[str, str] = MappingProxyType({})


class StoreError(Exception):
    """The store cannot be used now; the message says why, without the secrets in its URL."""


class AccountStore:
    """The database that ``[imagetasks] account_store`` names.

    Every method raises :class:`StoreError` where it cannot be used. One process uses one connection of it.

    :param url: an SQLAlchemy URL.
    :param only_reads: whether it is only read (:meth:`reading`): then nothing is created, and waits are short.
    """

    def __init__(self, url: str, *, only_reads: bool = False) -> None:
        self._url = url
        self._only_reads = only_reads
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._file: tuple[int, int] | None = None
        self._ids: dict[Account, str] = {}
        self._tidied_at = 0.0

    def account_id(self, account: Account, limits: Mapping[str, str]) -> str:
        """Return the id of the account that a connection reaches; it is made where it is new.

        Two connections with one key are one account. A connection whose key was changed stays the account that it was,
        so that its counts do not start at zero again.

        :param limits: the connection's, for reports.
        """
        with self._usable():
            known_id = self._ids.get(account)
        if known_id is not None:
            return known_id
        with self._transaction() as connection:
            stored = select(tables.facts.c.value).where(tables.facts.c.name == "hash_key")
            # Two that come at once must not make the same account.
            hash_key = str(connection.execute(stored.with_for_update()).scalar())
            digest, place = key_hash(account, hash_key), place_hash(account, hash_key)
            known = select(tables.keys.c.account).where(tables.keys.c.hash == digest)
            account_id = connection.execute(known).scalar()
            conn_id = account.conn_id[: tables.LONGEST_NAME]
            is_named = (connections.c.conn_id == conn_id) & (connections.c.place == place)
            before = connection.execute(select(connections.c.account).where(is_named)).scalar()
            if account_id is None:
                account_id = before or digest[:32]
                if before is None:
                    row = {"id": account_id, "service": account.service, "host": host_of(account)}
                    connection.execute(insert(accounts), row)
                connection.execute(insert(tables.keys), {"hash": digest, "account": account_id})
            if before is None:
                row = {"conn_id": conn_id, "place": place, "account": account_id}
                connection.execute(insert(connections), row)
            elif before != account_id:
                connection.execute(update(connections).where(is_named).values(account=account_id))
            said = json.dumps(dict(limits))
            connection.execute(update(accounts).where(accounts.c.id == account_id).values(limits=said))
        self._ids[account] = str(account_id)
        return str(account_id)

    def take(
        self,
        account_id: str,
        ticket: str,
        wanted: Sequence[PlannedSubmission],
        *,
        rate: Rate | None,
        most_active: int | None,
        budgets: Budgets,
        look_every: float,
        at_once: bool = False,
    ) -> Grant:
        """Take a place, a turn and the money for as many of the first submissions as there are now.

        What was taken under the same key before, by a try that was killed, is taken over, and counted once, unless its
        pictures are made again.

        :param ticket: names the caller, which keeps its position in the queue for a place by asking again and again.
        :param most_active: places; None for any number.
        :param look_every: seconds between two looks at what holds the places.
        :param at_once: whether what may leave now does, with nothing to be done before.
        """
        with self._account(account_id) as (transaction, now):
            used = place_rows.open_places(transaction, account_id, now)
            free, ahead, waited = place_rows.free_places(transaction, account_id, ticket, most_active, used, now)
            ids = [submission_id(account_id, each.key) for each in wanted]
            known = {row["id"]: row for row in place_rows.known(transaction, ids)}
            again = [
                known.pop(id_)
                for id_, each in zip(ids, wanted, strict=True)
                if id_ in known and place_rows.goes_out_again(each, known[id_])
            ]
            if free <= 0 and not (ids[0] in known and known[ids[0]]["is_open"]):
                running = place_rows.running_to_look_at(transaction, account_id, now, look_every)
                place_rows.queue_up(transaction, account_id, ticket, now)
                return Grant(ahead=ahead, running=running, places=used)
            first = wanted[: max(free, 1)]
            counted = {position for position, id_ in enumerate(ids) if id_ in known}
            count, excess, shares = affordable(transaction, account_id, first, counted, budgets, now)
            turns = take_turns(transaction, account_id, "submit", rate, count, now, at_once=at_once)
            left = {id_ for id_, row in known.items() if row["has_left"]}
            turns = [replace(turn, is_again=id_ in left) for turn, id_ in zip(turns, ids, strict=False)]
            planned = {id_: (each, turn) for each, id_, turn in zip(first, ids, turns, strict=False)}
            place_rows.set_apart(transaction, [row for row in again if row["id"] in planned])
            place_rows.hold(transaction, account_id, planned, known, day=budgets.day_of(now), now=now)
            if waited:
                place_rows.leave_queue(transaction, ticket)
            held = used + sum(1 for id_ in planned if not (id_ in known and known[id_]["is_open"]))
            return Grant(turns=turns, excess=excess, places=held, used=shares)

    def count(self, account_id: str, wanted: Sequence[PlannedSubmission], *, budgets: Budgets) -> Grant:
        """Take the money for as many of the first submissions as there is, and neither places nor turns.

        It stays spent until :meth:`refused` gives it back, also where they never leave.
        """
        with self._account(account_id) as (transaction, now):
            ids = [submission_id(account_id, each.key) for each in wanted]
            known = {row["id"]: row for row in place_rows.known(transaction, ids)}
            counted = {position for position, id_ in enumerate(ids) if id_ in known}
            count, excess, shares = affordable(transaction, account_id, wanted, counted, budgets, now)
            planned = {id_: (each, None) for each, id_ in zip(wanted[:count], ids, strict=False)}
            place_rows.hold(transaction, account_id, planned, known, day=budgets.day_of(now), now=now)
            places = place_rows.open_places(transaction, account_id, now)
            return Grant(turns=[Turn()] * count, excess=excess, places=places, used=shares)

    def leave(self, ticket: str) -> None:
        """Stop waiting for a place."""
        with self._usable() as engine, statements.transaction(engine) as transaction:
            place_rows.leave_queue(transaction, ticket)

    def turn(self, account_id: str, kind: Kind, rate: Rate | None) -> Turn:
        """Take the next turn of a request."""
        with self._account(account_id) as (transaction, now):
            return take_turns(transaction, account_id, kind, rate, 1, now, at_once=True)[0]

    def leaves(
        self, account_id: str, kind: Kind, rate: Rate | None, turn_id: int, key: str | None = None
    ) -> float | None:
        """Note that a request leaves now, and return 0; or return for how many seconds it must not.

        None is returned where it must not leave at all, since it is no longer counted.

        :param turn_id: of its turn.
        :param key: of the submission that it belongs to.
        """
        with self._account(account_id) as (transaction, now):
            seconds = departs(transaction, account_id, kind, rate, turn_id, now)
            if key is not None:
                until = now + seconds + place_rows.ANSWER_SECONDS
                if not place_rows.left(transaction, submission_id(account_id, key), until, is_sure=not seconds):
                    return None
            return seconds

    def counts_from_later(self, account_id: str, turn_id: int, seconds: float) -> None:
        """Count a request as if it had left so many seconds later."""
        with self._account(account_id) as (transaction, _now):
            counts_from_later(transaction, turn_id, seconds)

    def pause(self, account_id: str, kind: Kind, seconds: float) -> None:
        """Hold back requests for so many seconds, as the service asked."""
        with self._account(account_id) as (transaction, now):
            pause(transaction, account_id, kind, now + seconds)

    def taken(self, account_id: str, image_task_ids: Mapping[str, str], *, life: float) -> None:
        """Note the image tasks of submissions, by the submissions' keys.

        :param life: seconds for which each holds its place at most.
        """
        with self._account(account_id) as (transaction, now):
            by_id = {submission_id(account_id, key): id_ for key, id_ in image_task_ids.items()}
            place_rows.taken(transaction, by_id, now + life)

    def refused(self, account_id: str, keys: Sequence[str]) -> None:
        """Give back place and money of submissions that were not billed."""
        ids = [submission_id(account_id, key) for key in keys]
        with self._account(account_id) as (transaction, _now):
            # What another try came to under the same key is paid for.
            free = [row for row in place_rows.known(transaction, ids) if row["image_task_id"] is None]
            place_rows.give_back(transaction, free)

    def over(self, account_id: str, ended: Sequence[EndedImageTask], *, keys: Mapping[str, str] = _NONE) -> None:
        """Give back the places of image tasks that are over, and correct what they cost.

        :param keys: image tasks that were over in the answer to their submission already, by the submission's key.
        """
        ends = {each.image_task_id: each for each in ended}
        at_once = {submission_id(account_id, key): image_task_id for key, image_task_id in keys.items()}
        with self._account(account_id) as (transaction, _now):
            free, billed, corrections = [], [], []
            for row in place_rows.ended(transaction, account_id, list(ends), list(at_once)):
                end = ends.get(row["image_task_id"] or at_once.get(row["id"], ""))
                if end is not None and end.is_free:
                    free.append(row)
                    continue
                billed.append(row)
                if end is not None and end.pictures and end.pictures != row["pictures"]:
                    amount = row["amount"] * end.pictures // row["pictures"] - row["amount"]
                    corrections.append((row, amount, 0))
            spend(transaction, corrections)
            place_rows.give_back(transaction, free)
            place_rows.forget(transaction, billed)

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lock:
            self._close()

    @contextmanager
    def reading(self) -> Iterator[tuple[Connection, float]]:
        """Open a transaction for a look at everything, with the database's moment."""
        with self._transaction() as connection:
            is_theirs = connection.dialect.name == "postgresql"
            yield connection, float(connection.execute(_moment).scalar_one()) if is_theirs else time.time()

    @contextmanager
    def _usable(self) -> Iterator[Engine]:
        with self._lock:
            drivers_error: type[Exception] = SQLAlchemyError
            try:
                if self._engine is not None and self._file is not None and tables.file_of(self._url) != self._file:
                    # What was removed or put in place of it since goes on for all others.
                    self._close()
                if self._engine is None:
                    self._engine = tables.open_engine(self._url, only_reads=self._only_reads)
                    self._file = tables.file_of(self._url)
                drivers_error = getattr(self._engine.dialect.dbapi, "Error", SQLAlchemyError)
                yield self._engine
            except (SQLAlchemyError, UnsuitableStoreError, ImportError, OSError, drivers_error) as error:
                # Whatever it has become by the next time is looked at anew.
                self._close()
                cause = getattr(error, "orig", None) or error
                raise StoreError(" ".join(str(cause).split())[:200] or type(cause).__name__) from error

    def _close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        self._engine = None
        self._ids.clear()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._usable() as engine, engine.begin() as connection:
            yield connection

    @contextmanager
    def _account(self, account_id: str) -> Iterator[tuple[Transaction, float]]:
        """Open a transaction with an account locked, and hand out the database's moment of it."""
        with self._usable() as engine, statements.transaction(engine) as transaction:
            if engine.dialect.name != "sqlite":
                transaction.rows(_LOCKED, its_account=account_id)
            now = float(transaction.value(_MOMENT)) if engine.dialect.name == "postgresql" else time.time()
            if now - self._tidied_at > _TIDIED_EVERY:
                self._tidied_at = now
                place_rows.tidy(transaction, now)
            yield transaction, now
