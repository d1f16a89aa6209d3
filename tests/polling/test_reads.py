"""The reads of a worker: the engine for status questions as a flow, until each is answered once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from airflow_provider_imagetasks.accounts.grants import EndedImageTask, Turn
from airflow_provider_imagetasks.accounts.status_pace import SharedPace
from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    InvalidRequestError,
    RateLimitError,
)
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.polling.reads import pace_of, read_all, read_moved
from airflow_provider_imagetasks.polling.status_requests import FAILED_READS
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.rates import Pace, Rate, Window
from airflow_provider_imagetasks.tasks import ImageTask, TaskState
from tests.accounts.store_users import in_processes
from tests.flow_driver import NOW, DrivenFlow, drive, response
from tests.polling.conftest import ScriptedService, down

TWO_A_SECOND = Rate((Window(2, 1),))


def read(service: ScriptedService, *ids: str, pace: Pace | None = None, answers: int) -> DrivenFlow:
    return drive(read_all(service, pace or Pace(None), ids), *[response({})] * answers)


def test_a_worker_reads_group_by_group_and_gets_them_in_its_own_order() -> None:
    service = ScriptedService(2, "succeeded")

    driven = read(service, "c", "a", "b", "a", answers=2)

    assert service.asked == [["c", "a"], ["b"]]
    assert list(driven.result) == ["c", "a", "b"]
    assert driven.pauses == []


def test_five_hundred_ids_at_a_service_of_one_id_a_request_are_read_within_its_rate() -> None:
    driven = read(ScriptedService(1), *map(str, range(500)), pace=Pace(Rate((Window(8, 1),))), answers=500)

    assert sum(driven.pauses) == pytest.approx(500 / 8, rel=0.05)


def test_a_failed_read_of_a_worker_is_made_again_with_growing_pauses() -> None:
    driven = read(ScriptedService(50, *[down()] * 4, "running"), "a", answers=5)

    assert driven.error is None
    assert [int(seconds) for seconds in driven.pauses] == [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("error", "requests"),
    [
        (down(), FAILED_READS),
        (InvalidRequestError("no luck"), 1),
        (AuthenticationError("who?"), 1),
        (RateLimitError("slowly", retry_after=1), FAILED_READS),
        (RateLimitError("come back tomorrow", retry_after=3_600), 1),
    ],
    ids=["down", "refused", "key", "again and again too fast", "for longer than a worker waits"],
)
def test_a_read_that_cannot_be_made_fails_with_its_error(error: ImageTaskError, requests: int) -> None:
    driven = read(ScriptedService(50, error), "a", answers=requests)

    assert driven.error is error


def test_a_read_waits_no_longer_for_a_service_than_it_has_patience() -> None:
    pace = Pace(None)
    pace.pause_until(NOW + 20)

    impatient = drive(read_all(ScriptedService(50), pace, ["a"], patience=19))
    patient = drive(read_all(ScriptedService(50), pace, ["a"], patience=20), response({}))

    assert isinstance(impatient.error, RateLimitError)
    assert (impatient.error.retry_after, impatient.error.billed) == (20, "unknown")
    assert (patient.pauses, patient.error) == ([20], None)


def test_what_has_had_no_turn_when_nobody_waits_any_more_is_left_out() -> None:
    pace = Pace(Rate((Window(1, 600),)))

    first = drive(read_all(ScriptedService(1), pace, ["a", "b"], until=NOW + 60), response({}))
    later = drive(read_all(ScriptedService(1), pace, ["a"], until=NOW - 5))
    patient = drive(read_all(ScriptedService(1), pace, ["a"], until=NOW + 700), response({}))

    assert (list(first.result), first.pauses) == (["a"], [])
    assert (later.result, later.pauses) == ({}, [])
    assert sum(patient.pauses) == pytest.approx(600, rel=0.05)


def test_a_worker_does_not_wait_for_long_to_read_once_more_what_expired() -> None:
    pace = Pace(Rate((Window(1, 600),)))
    task = ImageTask(id="a", service="local", state=TaskState.SUCCEEDED)
    pace.count(NOW)

    driven = drive(read_moved(ScriptedService(1), pace, [task]))

    assert (driven.result, driven.pauses) == ([], [])


def test_the_one_of_many_that_cannot_be_read_is_named() -> None:
    refused = InvalidRequestError("no luck")

    driven = read(ScriptedService(50, InvalidRequestError("one of you"), "running", refused), "a", "b", answers=3)

    assert driven.error is refused
    assert refused.image_task_id == "b"


def test_a_read_ends_with_the_first_answer_that_is_enough() -> None:
    service = ScriptedService(2)

    driven = drive(read_all(service, Pace(None), "abcdef", enough=lambda task: task.id == "d"), *[response({})] * 2)

    assert list(driven.result) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("readings", "how", "state", "pauses"),
    [
        pytest.param(["not_found"], {}, "not_found", [], id="one that nobody vouches for"),
        pytest.param(["not_found"] * 3, {"insists": True}, "not_found", [1, 2], id="one that somebody was told of"),
        pytest.param(["not_found", "running"], {"insists": True}, "running", [1], id="a hiccup"),
        pytest.param(["not_found", "running"], {"known": ["a"]}, "running", [1], id="a hiccup after its record"),
        pytest.param(["not_found"] * 3, {"known": ["a"]}, None, [1, 2], id="its record was read, so it is left out"),
    ],
)
def test_that_there_is_none_is_believed_by_what_is_known_of_it(
    readings: list[str], how: dict[str, Any], state: str | None, pauses: list[float]
) -> None:
    service = ScriptedService(50, *readings)

    driven = drive(read_all(service, Pace(None), ["a"], **how), *[response({})] * len(readings))

    assert [task.state for task in driven.result.values()] == ([state] if state else [])
    assert driven.pauses == pauses


class ScriptedBook:
    """What the store answers, in turn."""

    def __init__(self, turns: list[Turn] | None = None, late: list[float] | None = None) -> None:
        self.turns = turns or []
        self.late = late or []
        self.told: list[Any] = []

    def turn(self, kind: str, rate: Rate | None) -> Turn:
        assert (kind, rate) == ("query", TWO_A_SECOND)
        return self.turns.pop(0) if self.turns else Turn()

    def leaves(self, kind: str, rate: Rate | None, turn: Turn) -> float:
        return self.late.pop(0) if self.late else 0.0

    def seconds_late(self, kind: str, rate: Rate | None, seconds: float) -> float:
        return 0.0

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
