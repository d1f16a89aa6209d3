"""The database of accounts: its tables, their version, and how SQLite and PostgreSQL are connected to."""

from __future__ import annotations

import secrets
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
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from sqlalchemy.pool import QueuePool

VERSION = "1"
PATIENCE = 15.0
"""Seconds that one transaction waits for others."""
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


class OtherVersionError(Exception):
    """The database was made by another version of this package."""


def open_engine(url: str) -> Engine:
    """Return an engine for a database that is made where it is not there yet. One process uses one connection of it.

    :raises OtherVersionError: its tables are another version's.
    :raises SQLAlchemyError: it cannot be reached or written.
    """
    is_sqlite = make_url(url).get_backend_name() == "sqlite"
    options: dict[str, Any] = {"timeout": PATIENCE, "check_same_thread": False}
    if not is_sqlite:
        options = {"connect_timeout": CONNECT_SECONDS}
        if make_url(url).get_backend_name() == "postgresql":
            options["options"] = f"-c lock_timeout={int(PATIENCE * 1000)} -c statement_timeout={int(PATIENCE * 1000)}"
    engine = create_engine(
        url, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_pre_ping=not is_sqlite, connect_args=options
    )
    if is_sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_at_once)
    try:
        _require_tables(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transactions begin too late: two that read first would both fail to write.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _begin_at_once(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _require_tables(engine: Engine) -> None:
    for attempt in (1, 2, 3):
        try:
            with engine.begin() as connection:
                if not inspect(connection).has_table(facts.name):
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
        raise OtherVersionError(f"its tables are of version {str(version)[:20]}, and this package knows {VERSION}")
