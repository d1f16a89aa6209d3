"""The book of an account while its store is away: what is told later, and what is not submitted uncounted."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_imagetasks.accounts import book as books
from airflow_provider_imagetasks.accounts.book import AccountBook
from airflow_provider_imagetasks.accounts.grants import EndedImageTask, PlannedSubmission, Turn
from airflow_provider_imagetasks.accounts.store import AccountStore
from airflow_provider_imagetasks.exceptions import ServiceUnavailableError
from airflow_provider_imagetasks.services.money import Money
from tests.accounts.store_users import PRICE, account, rate


class Store:
    """A store that a test takes away and brings back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/there/accounts.sqlite"
        self.come()

    def go(self) -> None:
        (self.folder / "there").rename(self.folder / "away")

    def come(self) -> None:
        away = self.folder / "away"
        if away.exists():
            away.rename(self.folder / "there")
        else:
            (self.folder / "there").mkdir()

    def book(self, **limits: Any) -> AccountBook:
        """The book of a process of its own."""
        return AccountBook(account(**limits), AccountStore(self.url))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(books, "AWAY_SECONDS", 0.0)
    return Store(tmp_path)


def planned(key: str, cost: Money | None = PRICE) -> PlannedSubmission:
    return PlannedSubmission(key=key, cost=cost, model="m")


def granted(book: AccountBook, key: str, cost: Money | None = PRICE) -> int:
    grant = book.take("ticket of " + key, [planned(key, cost)])
    assert grant is not None
    return len(grant.turns)


def test_a_place_is_given_back_once_the_store_is_back_that_was_away_when_it_became_free(store: Store) -> None:
    book = store.book(max_active_tasks=1)
    granted(book, "1")
    book.taken({"1": "task-1"})
    store.go()
    book.over([EndedImageTask(image_task_id="task-1", is_free=True)])
    store.come()

    assert granted(book, "2") == 1


def test_an_image_task_keeps_its_place_whose_id_came_while_the_store_was_away(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books.AccountStore, "close", lambda self: None)
    book, other = store.book(max_active_tasks=1), store.book(max_active_tasks=1)
    granted(book, "1")
    store.go()
    book.taken({"1": "task-1"})
    store.come()
    monkeypatch.setattr("airflow_provider_imagetasks.accounts.store.time", later(60))
    book.turn("query", None)

    assert granted(other, "2") == 0


def test_under_a_budget_nothing_leaves_that_the_store_cannot_note_as_left(store: Store) -> None:
    limits = {"budget_per_day": PRICE, "submit_rate": rate(1, 60)}
    bounded = store.book(**limits)
    granted(store.book(**{**limits, "budget_per_day": Money(80_000, "USD")}), "0")
    turn = store.book(submit_rate=rate(1, 60)).take("ticket", [planned("1")]).turns[0]  # type: ignore[union-attr]
    store.go()

    with pytest.raises(ServiceUnavailableError) as raised:
        bounded.leaves("submit", None, turn, "1", is_first=True)
    assert (raised.value.code, raised.value.billed) == ("account_store", "no")
    assert bounded.leaves("submit", None, turn, "1") == 0
    assert store.book().leaves("submit", None, Turn(id=1), "1", is_first=True) == 0


def test_a_submission_that_is_counted_no_more_does_not_leave_and_was_not_billed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = store.book(submit_rate=rate(1, 60))
    granted(book, "1")
    grant = book.take("ticket", [planned("2")])
    assert grant is not None
    book.refused(["2"])

    with pytest.raises(ServiceUnavailableError) as raised:
        book.leaves("submit", None, grant.turns[0], "2", is_first=True)

    assert (raised.value.code, raised.value.billed) == ("account_store", "no")
    assert "its place went to others" in str(raised.value)


def test_the_log_says_once_that_the_store_is_away_and_once_that_it_is_back(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    book = store.book()
    store.go()
    for _ in range(3):
        assert book.take("ticket", [planned("1")]) is None
    store.come()
    assert granted(book, "2") == 1

    assert caplog.text.count("cannot be used") == 1
    assert caplog.text.count("account store is back") == 1


def later(seconds: float) -> SimpleNamespace:
    return SimpleNamespace(time=lambda: time.time() + seconds)
