"""Statements of the account store: what they find and change, and what is left of a transaction that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Engine

from airflow_provider_imagetasks.accounts.statements import Statement, one_of, transaction
from airflow_provider_imagetasks.accounts.tables import facts, open_engine

ADD = Statement(insert(facts))
CHANGE = Statement(update(facts).where(facts.c.name == bindparam("whose")).values(value=bindparam("new")))
SAID = Statement(select(facts.c.value).where(facts.c.name == bindparam("whose")))
FIND = Statement(
    lambda sizes: (
        select(facts.c.name)
        .where(facts.c.value == "new", one_of(facts.c.name, "names", sizes) | one_of(facts.c.value, "values", sizes))
        .order_by(facts.c.name)
    )
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path}/accounts.sqlite")
    yield engine
    engine.dispose()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 8, 50, 333])
def test_a_list_of_any_length_finds_each_of_its_values_once(engine: Engine, count: int) -> None:
    names = [f"fact {number:03}" for number in range(count)]

    with transaction(engine) as open_transaction:
        open_transaction.change_each(ADD, [{"name": name, "value": "new"} for name in [*names, "another"]])
        found = open_transaction.rows(FIND, names=[*names], values=[])

    assert [name for (name,) in found] == names


def test_a_change_says_how_many_rows_it_changed(engine: Engine) -> None:
    with transaction(engine) as open_transaction:
        assert open_transaction.value(SAID, whose="easel") is None
        assert open_transaction.change(CHANGE, whose="easel", new="oak") == 0
        open_transaction.change(ADD, name="easel", value=None)
        assert open_transaction.change(CHANGE, whose="easel", new="oak") == 1
        assert open_transaction.value(SAID, whose="easel") == "oak"


def test_nothing_is_left_of_a_transaction_that_fails(engine: Engine) -> None:
    def change() -> None:
        with transaction(engine) as open_transaction:
            open_transaction.change(ADD, name="easel", value="oak")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change()

    with transaction(engine) as open_transaction:
        assert open_transaction.value(SAID, whose="easel") is None


def test_one_statement_has_a_text_for_each_kind_of_database(engine: Engine) -> None:
    values = {"names": ["a", "b", "c"], "values": ["d"]}

    here, (in_order,) = FIND.bound(engine.dialect, [values])
    there, (named,) = FIND.bound(postgresql.dialect(), [values])

    assert here.count("?") == len(in_order) == 6
    assert "?" not in there
    assert named == {
        "value_1": "new",
        **{f"names_{at}": name for at, name in enumerate("abcc")},
        "values_0": "d",
    }
