"""Status requests of several processes: each takes a turn among those of all, and tells what is over."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from airflow_provider_imagetasks.accounts.grants import EndedImageTask, Turn
from airflow_provider_imagetasks.accounts.status_pace import SharedPace
from airflow_provider_imagetasks.accounts.turn_times import AnswerTimes
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.polling.reads import read_all
from airflow_provider_imagetasks.polling.session import pace_of
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.rates import Rate, Window
from tests.accounts.store_users import in_processes
from tests.flow_driver import NOW, drive, response
from tests.polling.conftest import ScriptedService

TWO_A_SECOND = Rate((Window(2, 1),))


class ScriptedBook:
    """What the store answers, in turn."""

    def __init__(self, turns: list[Turn] | None = None, late: list[float] | None = None) -> None:
        self.turns = turns or []
        self.late = late or []
        self.told: list[Any] = []
        self.answer_times = {"query": AnswerTimes()}

    def turn(self, kind: str, rate: Rate | None) -> Turn:
        assert (kind, rate) == ("query", TWO_A_SECOND)
        return self.turns.pop(0) if self.turns else Turn()

    def leaves(self, kind: str, rate: Rate | None, turn: Turn) -> float:
        return self.late.pop(0) if self.late else 0.0

    def pause(self, kind: str, seconds: float) -> None:
        self.told.append((kind, seconds))

    def has_news(self, ended: list[EndedImageTask]) -> bool:
        return bool(ended)

    def over(self, ended: list[EndedImageTask]) -> None:
        self.told += ended


def pace(book: ScriptedBook) -> SharedPace:
    return SharedPace(TWO_A_SECOND, book)  # type: ignore[arg-type]


def test_a_request_waits_for_its_turn_and_longer_where_others_were_late() -> None:
    book = ScriptedBook([Turn(seconds=3, id=1)], late=[0.5, 0.0])
    shared = pace(book)

    driven = drive(read_all(ScriptedService(1, "succeeded"), shared, ["a"]), response({}))

    assert driven.pauses == [3, 0.5]
    assert shared.free_at() == pytest.approx(NOW + 3.5)


def test_nobody_of_a_process_queues_up_behind_a_request_that_waits() -> None:
    shared = pace(ScriptedBook([Turn(seconds=30, id=1)]))

    flow = shared.in_turn(1, ScriptedService(1).read_batch(["a"]))
    next(flow)
    flow.send(NOW).function()  # type: ignore[union-attr]
    flow.send(NOW)
    flow.send(NOW)

    assert shared.next_at() == NOW + 30


def test_what_is_over_and_a_pause_that_the_service_asks_for_are_told_to_all() -> None:
    from airflow_provider_imagetasks.exceptions import RateLimitError

    book = ScriptedBook()
    service = ScriptedService(1, RateLimitError("slowly", retry_after=7), "running", "succeeded")

    drive(read_all(service, pace(book), ["a"]), *[response({})] * 2)
    drive(read_all(service, pace(book), ["a"]), response({}))

    assert [each if isinstance(each, tuple) else each.image_task_id for each in book.told] == [("query", 7), "a"]


def test_without_a_store_a_process_keeps_to_its_own_pace_and_with_one_to_that_of_all(
    monkeypatch: pytest.MonkeyPatch, account_store: str
) -> None:
    account, service = Account(conn_id="c", service="local", base_url="http://127.0.0.1:1"), get_service("local")

    shared = pace_of(account, service)
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__ACCOUNT_STORE", "none")

    assert isinstance(shared, SharedPace)
    assert not isinstance(pace_of(account, service), SharedPace)


@pytest.mark.long
def test_a_thousand_waits_of_two_processes_never_ask_more_often_than_the_account_allows(
    account_store: str, monkeypatch: pytest.MonkeyPatch, no_proxy: None
) -> None:
    seconds = 30.0

    with LocalImageService(latency=3600, query_limit="2/1s") as service:
        connection = json.loads(service.connection("acedatacloud"))
        connection |= {"password": "a-key"}
        connection["extra"] |= {"query_rate": "2/s"}
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(connection))

        def wait(number: int) -> None:
            async def wait_for_all() -> None:
                hook = ImageTaskHook("shop")
                ids = [f"{number}-{each}" for each in range(500)]
                waits = (hook.await_task(each, timeout=seconds, poll_interval=5) for each in ids)
                await asyncio.gather(*waits, return_exceptions=True)

            asyncio.run(wait_for_all())

        assert in_processes(wait, 2) == [0, 0]
        counts = service.stats()["dialects"]["acedatacloud"]

    assert counts["queries_refused"] == {}
    assert counts["batch_queries"] + counts["status_queries"] >= 0.8 * 2 * seconds
