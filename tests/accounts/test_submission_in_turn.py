"""A request counts from when it leaves, and later where it was long on its way: others can go by nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from airflow_provider_imagetasks.accounts.book import AccountBook
from airflow_provider_imagetasks.accounts.grants import PlannedSubmission
from airflow_provider_imagetasks.accounts.status_pace import SharedPace
from airflow_provider_imagetasks.accounts.store import AccountStore
from airflow_provider_imagetasks.accounts.submission_in_turn import within_account
from airflow_provider_imagetasks.accounts.tables import turns
from airflow_provider_imagetasks.exceptions import ImageTaskError, ServiceUnavailableError
from airflow_provider_imagetasks.services.submission_limits import SubmissionLimits
from airflow_provider_imagetasks.services.wire import (
    Answer,
    Blocking,
    Flow,
    Request,
    Sleep,
    Step,
    ask,
    pause,
    run_flow_at_once,
)
from airflow_provider_imagetasks.submissions.departure import Departure
from airflow_provider_imagetasks.tasks import ImageTask, TaskState
from tests.accounts.store_users import account, rate
from tests.flow_driver import response

IN_TEN_SECONDS = 10.0
TASK = ImageTask(id="an-id", service="easel", state=TaskState.RUNNING)


class Shop:
    """Submissions of one account at a service, on a clock that only they move.

    :param url: of the store.
    """

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_790_000_000.0
        self.url = url
        self.arrived: list[float] = []
        monkeypatch.setattr(time, "time", lambda: self.now)

    def submit(self, *, looks: float = 0.0, on_its_way: float = 0.0, thinks: float = 0.0, times: int = 1) -> None:
        """Submit in a process of its own.

        :param looks: seconds of the look before it leaves.
        :param on_its_way: seconds until the service counts it.
        :param thinks: seconds of the service until it answers.
        """
        book = AccountBook(account(submit_rate=rate(1, IN_TEN_SECONDS)), AccountStore(self.url))
        for _ in range(times):
            key = str(len(self.arrived))
            departure = Departure(self._takes(looks), look_seconds=1)
            flow = within_account(
                book,
                PlannedSubmission(key=key),
                self._submission(),
                limits=SubmissionLimits(book.account),
                read=self._read,
                poll_interval=1,
                say=lambda _text: None,
                watched=lambda flow, departure=departure: departure.watched(flow, intended_at=0),
            )
            run_flow_at_once(flow, self._performs(on_its_way, thinks))

    def ask(self, *, on_its_way: float = 0.0, fails: bool = False) -> None:
        """Ask for image tasks in a process of its own; likewise."""
        book = AccountBook(account(), AccountStore(self.url))
        reading = SharedPace(rate(1, IN_TEN_SECONDS), book).in_turn(1, self._failure() if fails else self._submission())
        with suppress(ServiceUnavailableError):
            run_flow_at_once(reading, self._performs(on_its_way, 0))

    @property
    def gaps(self) -> list[float]:
        """Seconds between what the service counts."""
        return [later - first for first, later in zip(self.arrived, self.arrived[1:], strict=False)]

    def _takes(self, seconds: float) -> Callable[[], None]:
        def look() -> None:
            self.now += seconds

        return look

    def _submission(self) -> Flow[ImageTask]:
        yield from ask(Request(method="POST", path="/"))
        return TASK

    def _failure(self) -> Flow[ImageTask]:
        yield from self._submission()
        raise ServiceUnavailableError("no luck")

    def _read(self, ids: Any) -> Flow[Any]:
        yield from pause(0)
        return {}

    def _performs(self, on_its_way: float, thinks: float) -> Callable[[Step], Answer | float]:
        def performed(step: Step) -> Answer | float:
            if isinstance(step, Sleep):
                self.now += step.seconds
            elif isinstance(step, Blocking):
                step.function()
            else:
                self.now += on_its_way
                self.arrived.append(self.now)
                self.now += thinks
                return response({})
            return self.now

        return performed


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(f"sqlite:///{tmp_path}/accounts.sqlite", monkeypatch)


def test_what_is_looked_at_before_it_leaves_does_not_bring_it_into_the_next_window(shop: Shop) -> None:
    shop.submit(looks=0.8)
    shop.submit()

    assert IN_TEN_SECONDS <= shop.gaps[0] < IN_TEN_SECONDS + 1


def test_one_that_was_long_on_its_way_counts_from_its_answer(shop: Shop) -> None:
    shop.submit(on_its_way=4)
    shop.submit()

    assert IN_TEN_SECONDS <= shop.gaps[0] < IN_TEN_SECONDS + 1


@pytest.mark.parametrize("fails", [False, True])
def test_a_status_request_that_was_long_on_its_way_counts_from_its_answer(shop: Shop, fails: bool) -> None:
    shop.ask(on_its_way=4, fails=fails)
    shop.ask()

    assert IN_TEN_SECONDS <= shop.gaps[0] < IN_TEN_SECONDS + 1


def test_a_service_that_always_takes_its_time_to_answer_is_not_asked_more_seldom(shop: Shop) -> None:
    shop.submit(thinks=2, times=5)

    assert all(IN_TEN_SECONDS <= gap < IN_TEN_SECONDS + 1 for gap in shop.gaps[1:])


def test_pictures_that_are_the_answer_stretch_a_window_by_some_seconds_at_most(shop: Shop) -> None:
    shop.submit(thinks=9)
    shop.submit()

    assert shop.gaps[0] < IN_TEN_SECONDS + 6


def test_a_look_that_finds_another_start_takes_no_turn(shop: Shop) -> None:
    def replaced() -> None:
        raise ImageTaskError("replaced")

    shop._takes = lambda _seconds: replaced  # type: ignore[method-assign]
    with pytest.raises(Exception, match="replaced"):
        shop.submit()

    with AccountStore(shop.url).reading() as (connection, _):
        assert list(connection.execute(select(turns.c.has_left)).scalars()) == [0]
