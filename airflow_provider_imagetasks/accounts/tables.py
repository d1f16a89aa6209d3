"""The database of accounts: its tables, their version, and how SQLite and PostgreSQL are connected to."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.pool import QueuePool

VERSION = "1"
PATIENCE = 15.0
"""Seconds that one transaction waits for others."""
READING_PATIENCE = 3.0
"""Likewise where somebody only looks."""
CONNECT_SECONDS = 5
"""Seconds that a server may take to answer."""
LONGEST_NAME = 250

metadata = MetaData()
_name = String(LONGEST_NAME)

facts = Table("imagetasks_facts", metadata, Column("name", String(40), primary_key=True), Column("value", Text))
"""The version of these tables, and the key of the hashes."""

accounts = Table(
    "imagetasks_accounts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("service", _name, nullable=False),
    Column("host", _name, nullable=False),
    Column("submit_paused_until", Float, nullable=False, default=0.0),
    Column("query_paused_until", Float, nullable=False, default=0.0),
    Column("looked_at", Float, nullable=False, default=0.0),
    Column("limits", Text),
)
"""What a service bills. ``limits`` is what connections said last, as JSON, to be shown."""

keys = Table(
    "imagetasks_keys",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("account", String(32), nullable=False),
)
connections = Table(
    "imagetasks_connections",
    metadata,
    Column("conn_id", _name, primary_key=True),
    Column("place", String(64), primary_key=True),
    Column("account", String(32), nullable=False),
)
"""Which account a connection was read with last, by a hash of its service and host: another key is no other account."""

turns = Table(
    "imagetasks_turns",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("account", String(32), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("at", Float, nullable=False),
    Column("has_left", Integer, nullable=False),
    Index("imagetasks_turns_by_time", "account", "kind", "at"),
)
"""When each request is to leave, or when it left."""

waiting = Table(
    "imagetasks_waiting",
    metadata,
    Column("ticket", String(64), primary_key=True),
    Column("account", String(32), nullable=False, index=True),
    Column("since", Float, nullable=False),
    Column("alive_until", Float, nullable=False),
)
"""Who waits for a place, in the order in which they came."""

places = Table(
    "imagetasks_places",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account", String(32), nullable=False),
    Column("image_task_id", Text),
    Column("is_open", Integer, nullable=False),
    Column("has_left", Integer, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("day", String(10), nullable=False),
    Column("dag_id", _name, nullable=False),
    Column("model", _name, nullable=False),
    Column("currency", String(12), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("pictures", Integer, nullable=False),
    Index("imagetasks_places_of_account", "account", "is_open", "expires_at"),
)
"""Submissions that are not known to be over. One that is not open holds no place, but may turn out to cost nothing."""

spending = Table(
    "imagetasks_spending",
    metadata,
    Column("account", String(32), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("dag_id", _name, primary_key=True),
    Column("model", _name, primary_key=True),
    Column("currency", String(12), primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("submissions", Integer, nullable=False),
)


class UnsuitableStoreError(Exception):
    """The database cannot be an account store: its kind is not supported, or it is not the same for all processes."""


def open_engine(url: str, *, only_reads: bool = False) -> Engine:
    """Return an engine for a database that is made where it is not there yet. One process uses one connection of it.

    :param only_reads: for one that must be there, and that nothing is written to.
    :raises UnsuitableStoreError: it is not the same one for all processes, or its tables are another version's.
    :raises SQLAlchemyError: it cannot be reached or written.
    """
    _require_shared(url)
    is_sqlite = make_url(url).get_backend_name() == "sqlite"
    if is_sqlite and only_reads and file_of(url) is None:
        raise UnsuitableStoreError(f"there is no file {make_url(url).database} yet")
    patience = READING_PATIENCE if only_reads else PATIENCE
    options: dict[str, Any] = {"timeout": patience, "check_same_thread": False}
    if not is_sqlite:
        seconds = f"{int(patience * 1000)}"
        settings = {"lock_timeout": seconds, "statement_timeout": seconds}
        settings |= {"default_transaction_read_only": "on"} if only_reads else {}
        options = {
            "connect_timeout": CONNECT_SECONDS,
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        }
    engine = create_engine(
        url, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_pre_ping=not is_sqlite, connect_args=options
    )
    if is_sqlite and not only_reads:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_at_once)
    try:
        _require_tables(engine, makes_them=not only_reads)
    except BaseException:
        engine.dispose()
        raise
    return engine


def file_of(url: str) -> tuple[int, int] | None:
    """Return what identifies the file of a SQLite database; None where it is gone, or there is none."""
    address = make_url(url)
    if address.get_backend_name() != "sqlite" or not address.database:
        return None
    try:
        found = Path(address.database).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _require_shared(url: str) -> None:
    """Refuse an address under which each process, or each folder, would find a store of its own."""
    try:
        address = make_url(url)
        is_unreadable = "@" in (address.host or "") or not url.isprintable()
    except (ValueError, ArgumentError):
        is_unreadable = True
    if is_unreadable:
        # What cannot be read may hold a password anywhere, so nothing of it is repeated.
        raise UnsuitableStoreError(
            "it is not an SQLAlchemy URL such as postgresql+psycopg2://user:password@host/database; write special "
            "characters of user and password as %XX (%40 for @)"
        )
    kind, database = address.get_backend_name(), address.database or ""
    if kind not in ("sqlite", "postgresql"):
        raise UnsuitableStoreError(f"{kind} is not supported; use PostgreSQL, or a SQLite file")
    if kind == "sqlite" and not Path(database).is_absolute():
        raise UnsuitableStoreError(
            "its SQLite database is in memory or has a relative path, so that each process "
            "would have a separate one; write sqlite:////the/whole/path.sqlite, with four slashes"
        )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transactions begin too late: two that read first would both fail to write.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _begin_at_once(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _require_tables(engine: Engine, *, makes_them: bool) -> None:
    for attempt in (1, 2, 3):
        try:
            with engine.begin() as connection:
                if not inspect(connection).has_table(facts.name):
                    if not makes_them:
                        raise UnsuitableStoreError("nothing was written to it yet")
                    metadata.create_all(connection)
                    connection.execute(
                        insert(facts),
                        [{"name": "version", "value": VERSION}, {"name": "hash_key", "value": secrets.token_hex(32)}],
                    )
                version = connection.execute(select(facts.c.value).where(facts.c.name == "version")).scalar()
            break
        except (IntegrityError, ProgrammingError, OperationalError):
            # Another process made them in the same moment.
            if attempt == 3:
                raise
    if version != VERSION:
        raise UnsuitableStoreError(
            f"its tables have version {str(version)[:20]}, but this package needs version {VERSION}"
        )
