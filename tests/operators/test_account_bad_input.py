"""An account store that cannot be used, and budgets that change: a clear word, and nothing submitted uncounted."""

from __future__ import annotations

import itertools
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.accounts import book, tables
from airflow_provider_imagetasks.accounts.store import AccountStore
from airflow_provider_imagetasks.exceptions import ImageTaskError, QuotaExceededError, ServiceUnavailableError
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.accounts.store_users import account
from tests.image_batch import ImageBatch
from tests.image_dag import ImageDag

pytestmark = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
PRICES = {"gpt-image-2": "0.04 USD"}
PLENTY = {"budget_per_day": "5 USD", "prices": PRICES}


_CLOSED_PLACE = "INSERT INTO imagetasks_places VALUES (?, 'another', NULL, 0, 1, 9e9, '2026-01-01', '', '', '', 0, 1)"


class Trouble:
    """What befalls an account store that is there.

    :param url: of a SQLite file.
    """

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = Path(url.removeprefix("sqlite:///"))
        self.monkeypatch = monkeypatch
        store = AccountStore(url)
        store.account_id(account(), {})
        store.close()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Another program has it."""
        self.monkeypatch.setattr(tables, "PATIENCE", 0.1)
        with closing(sqlite3.connect(self.file, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield

    @contextmanager
    def full(self) -> Iterator[None]:
        """Its disk has no room left."""
        prepare, full = tables._prepare_sqlite, "PRAGMA max_page_count = 1"

        def limited(connection: Any, record: Any) -> None:
            prepare(connection, record)
            connection.execute(full)

        with closing(sqlite3.connect(self.file, isolation_level=None)) as other:
            other.execute(full)
            rows = ((f"{number:064}",) for number in itertools.count())
            with pytest.raises(sqlite3.OperationalError, match="full"):
                other.executemany(_CLOSED_PLACE, rows)
        with self.monkeypatch.context() as patched:
            patched.setattr(tables, "_prepare_sqlite", limited)
            yield

    @contextmanager
    def away(self) -> Iterator[None]:
        """Its folder is gone."""
        folder, other = self.file.parent, self.file.parent.with_name("elsewhere")
        folder.rename(other)
        yield
        other.rename(folder)

    @contextmanager
    def another_version(self) -> Iterator[None]:
        """A later version of this package has changed it."""
        self._write("UPDATE imagetasks_facts SET value = '7' WHERE name = 'version'")
        yield
        self._write("UPDATE imagetasks_facts SET value = '1' WHERE name = 'version'")

    def _write(self, statement: str) -> None:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            connection.execute(statement)


SAID = {
    "locked": "database is locked",
    "full": "database or disk is full",
    "away": "unable to open database file",
    "another_version": "its tables have version 7, but this package needs version 1",
}


def forget() -> None:
    """Go on as a process that has not used the store."""
    book._books.clear()
    book._stores.clear()


@pytest.fixture
def account_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an account store in a folder of its own, which is set up."""
    (tmp_path / "store").mkdir()
    url = f"sqlite:///{tmp_path}/store/accounts.sqlite"
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__ACCOUNT_STORE", url)
    return url


@pytest.fixture(autouse=True)
def trouble(account_store: str, monkeypatch: pytest.MonkeyPatch) -> Trouble:
    monkeypatch.setattr(book, "AWAY_SECONDS", 0.0)
    return Trouble(account_store, monkeypatch)


@pytest.fixture
def shop(connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Submits with a hook that is made anew, as another process makes it."""

    def submit(key: str = "a-key", **extra: Any) -> None:
        forget()
        fields = {"conn_type": "imagetasks", **connection, "password": key}
        fields["extra"] = {**fields["extra"], "prices": PRICES, **extra}
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(fields))
        ImageTaskHook("shop").submit(ImageRequest(prompt="a kite"))

    return submit


@pytest.mark.parametrize("kind", SAID)
def test_a_store_that_cannot_be_used_refuses_under_a_budget_until_it_is_back(
    dag: ImageDag, limited: Any, trouble: Trouble, kind: str
) -> None:
    limited(**PLENTY)
    assert dag.submit(task_id="before").state == "success"
    forget()

    with getattr(trouble, kind)():
        refused = dag.submit(task_id="meanwhile")
    after = dag.submit(task_id="after")

    assert isinstance(refused.error, ServiceUnavailableError)
    assert (refused.error.code, refused.error.billed, refused.state) == ("account_store", "no", "up_for_retry")
    assert SAID[kind] in str(refused.error)
    assert after.state == "success"
    assert len(dag.created) == 2


@pytest.mark.parametrize("kind", SAID)
def test_a_store_that_cannot_be_used_stops_nothing_without_a_budget_and_is_said_once(
    dag: ImageDag, limited: Any, trouble: Trouble, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    limited(max_active_tasks=50, submit_rate="50/1s")
    dag.submit(task_id="before")
    forget()

    with getattr(trouble, kind)():
        states = [dag.submit(task_id=f"meanwhile-{number}").state for number in range(2)]

    assert states == ["success", "success"]
    assert caplog.text.count("cannot be used") == 1
    assert SAID[kind] in caplog.text


@pytest.mark.parametrize("kind", SAID)
def test_a_batch_submits_nothing_uncounted_and_goes_on_once_the_store_is_back(
    batch: ImageBatch, limited: Any, trouble: Trouble, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_imagetasks.batch.row_places.PATIENCE", 0.0)
    limited(**PLENTY)

    with getattr(trouble, kind)():
        refused = batch.start("a", "b")
    created = batch.created
    after = batch.start("a", "b")

    assert refused.state == "up_for_retry"
    assert isinstance(refused.error, ImageTaskError)
    assert (refused.error.code, created) == ("account_store", [])
    assert (after.state, batch.created) == ("success", ["a", "b"])


def test_a_key_that_is_rotated_in_the_middle_spends_a_budget_no_second_time(dag: ImageDag, shop: Any) -> None:
    shop(budget_per_day="0.08 USD", max_active_tasks=5)
    shop("another-key", budget_per_day="0.08 USD", max_active_tasks=5)

    for key in ("another-key", "a-key", "a-third-key"):
        with pytest.raises(QuotaExceededError, match=r"0\.08 of it has been spent"):
            shop(key, budget_per_day="0.08 USD", max_active_tasks=5)
    assert len(dag.created) == 2


def test_a_budget_that_is_lowered_below_what_was_spent_refuses_all_and_one_that_is_raised_goes_on(
    dag: ImageDag, shop: Any
) -> None:
    shop(budget_per_day="1 USD")
    shop(budget_per_day="1 USD")

    with pytest.raises(QuotaExceededError, match=r"is 0\.05 USD: 0\.08 of it has been spent"):
        shop(budget_per_day="0.05 USD")
    shop(budget_per_day="0.12 USD")
    assert len(dag.created) == 3


def test_two_currencies_of_one_account_are_not_added_up_and_neither_is_spent_beside_the_other(
    dag: ImageDag, shop: Any
) -> None:
    shop(budget_per_day="1 USD")

    with pytest.raises(QuotaExceededError, match=r"the same account has also spent 0\.04 USD"):
        shop(budget_per_day="1 EUR", prices={"gpt-image-2": "0.04 EUR"})
    with pytest.raises(ImageTaskError, match="EUR"):
        shop(budget_per_day="1 EUR", prices=PRICES)
    assert len(dag.created) == 1


def test_a_clock_that_is_set_forth_and_back_neither_frees_nor_blocks_for_longer_than_that(
    dag: ImageDag, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"budget_per_day": "0.12 USD", "max_active_tasks": 5, "submit_rate": "2/1s"}
    real = time.time
    shop(**limits)
    monkeypatch.setattr(time, "time", lambda: real() + 3)
    shop(**limits)
    monkeypatch.setattr(time, "time", real)

    shop(**{**limits, "submit_rate": "9/1s"})

    with pytest.raises(QuotaExceededError):
        shop(**limits)
    assert len(dag.created) == 3
