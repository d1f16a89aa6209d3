"""Statements of the account store, each made once, and the transactions that they run in.

SQLAlchemy takes ten times as long to build a statement as SQLite takes to run it, and three times as long to execute
it. So the text of each is kept, and goes straight to the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import bindparam
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.sql.expression import ClauseElement

Row = Mapping[str, Any]


class Statement:
    """A statement whose text is made once for each kind of database.

    :param core: with a named parameter for each value that differs; or a function that returns one for the lengths of
        its lists, by their names.
    """

    def __init__(self, core: ClauseElement | Callable[[Mapping[str, int]], ClauseElement]) -> None:
        self._core = core
        self._made: dict[tuple[Any, ...], tuple[str, Sequence[str] | None, dict[str, Any]]] = {}

    def bound(self, dialect: Dialect, each: Sequence[Row]) -> tuple[str, list[Any]]:
        """Return the text for a driver, and the parameters of each of some values, whose lists are equally long."""
        sizes: dict[str, int] = {}
        if callable(self._core):
            spread = [_spread(values) for values in each]
            each, sizes = [values for values, _ in spread], spread[0][1]
        key = (dialect.name, dialect.driver, *sizes.values())
        if key not in self._made:
            core: Any = self._core(sizes) if callable(self._core) else self._core
            text = core.compile(dialect=dialect)
            constants = {name: value for name, value in text.params.items() if value is not None}
            self._made[key] = str(text), text.positiontup if dialect.positional else None, constants
        sql, order, constants = self._made[key]
        given = [{**constants, **values} for values in each] if constants else each
        return sql, [[values[name] for name in order] for values in given] if order is not None else list(given)


def one_of(column: Any, name: str, sizes: Mapping[str, int]) -> Any:
    """Return the condition that a column has one of the values of a list."""
    return column.in_([bindparam(f"{name}_{at}") for at in range(sizes[name])])


def _spread(values: Row) -> tuple[Row, dict[str, int]]:
    """Return values with those of lists by names of their own, and how many those are."""
    spread: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    for name, value in values.items():
        if isinstance(value, list):
            # Few sizes, so that few texts are kept: what is said twice is found once, and nothing is None.
            sizes[name] = size = 1 << max(0, len(value) - 1).bit_length()
            padded = value + (value[-1:] or [None]) * (size - len(value))
            spread |= {f"{name}_{at}": each for at, each in enumerate(padded)}
        else:
            spread[name] = value
    return spread, sizes


class Transaction:
    """One transaction of a database.

    :param cursor: the driver's.
    """

    def __init__(self, cursor: Any, dialect: Dialect) -> None:
        self._cursor = cursor
        self._dialect = dialect

    def rows(self, statement: Statement, **values: Any) -> list[tuple[Any, ...]]:
        """Return what a statement finds."""
        self._run(statement, values)
        return list(self._cursor.fetchall())

    def value(self, statement: Statement, **values: Any) -> Any:
        """Return the first value of what a statement finds; None where it finds nothing."""
        rows = self.rows(statement, **values)
        return rows[0][0] if rows else None

    def change(self, statement: Statement, **values: Any) -> int:
        """Run a statement, and return how many rows it changed."""
        self._run(statement, values)
        return int(self._cursor.rowcount)

    def change_each(self, statement: Statement, each: Sequence[Row]) -> None:
        """Run a statement with each of some values."""
        if each:
            self._cursor.executemany(*statement.bound(self._dialect, each))

    def _run(self, statement: Statement, values: Row) -> None:
        text, (parameters,) = statement.bound(self._dialect, [values])
        self._cursor.execute(text, parameters)


@contextmanager
def transaction(engine: Engine) -> Iterator[Transaction]:
    """Open a transaction, which is written at the end or not at all.

    :raises Exception: the driver's own error, or SQLAlchemy's.
    """
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        if engine.dialect.name == "sqlite":
            cursor.execute("BEGIN IMMEDIATE")
        yield Transaction(cursor, engine.dialect)
        connection.commit()
    except BaseException:
        try:
            connection.rollback()
        except Exception:  # noqa: BLE001 - the first error says what happened
            connection.invalidate()
        raise
    finally:
        connection.close()
