"""The batch's trigger: when it calls a worker, what it tells XCom, and what is stored of it."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskFailedError
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.polling import batch_wait
from airflow_provider_imagetasks.polling.batch_wait import BatchProgress, wake_at
from airflow_provider_imagetasks.polling.waiting import WaitLog
from airflow_provider_imagetasks.tasks import ImageTask, TaskState
from airflow_provider_imagetasks.triggers import image_batch
from airflow_provider_imagetasks.triggers.image_batch import ImageBatchTrigger
from tests.polled_accounts import names, until, watch

ARGUMENTS: dict[str, Any] = {
    "conn_id": "c",
    "image_task_ids": ["1", "2", "3"],
    "deadline": 10_000.0,
    "poll_interval": 10.0,
    "asked_at": 0.0,
    "wake_at": 2,
    "counts": {"total": 10, "submitted": 6, "succeeded": 2, "failed": 1},
}


def task(name: str, state: TaskState) -> ImageTask:
    error = ImageTaskFailedError("no") if state is TaskState.FAILED else None
    return ImageTask(id=name, service="s", state=state, error=error)


def progress(count: int, wake: int) -> BatchProgress:
    return BatchProgress(watch(*names(count)), WaitLog(), wake_at=wake)


def test_what_is_stored_is_plain_and_leads_back_to_the_same_trigger() -> None:
    path, kwargs = ImageBatchTrigger(**ARGUMENTS).serialize()

    assert path == "airflow_provider_imagetasks.triggers.image_batch.ImageBatchTrigger"
    assert json.loads(json.dumps(kwargs)) == kwargs == ARGUMENTS
    assert ImageBatchTrigger(**kwargs).serialize()[1] == kwargs


@pytest.mark.parametrize(
    ("count", "rows_wait", "expected"),
    [
        *[(1, False, 1), (49, False, 49), (60, False, 50), (100, False, 50), (101, False, 51), (500, False, 250)],
        *[(1, True, 1), (2, True, 1), (10, True, 5), (500, True, 250)],
    ],
)
def test_it_wakes_a_worker_for_half_of_them_and_for_a_few_only_where_rows_wait_for_their_places(
    count: int, rows_wait: bool, expected: int
) -> None:
    assert wake_at(count, rows_wait=rows_wait) == expected


def test_it_ends_when_enough_are_over_and_counts_what_they_came_to_once() -> None:
    waiting = progress(4, 2)

    for _ in range(2):
        seen = {"id-0": task("id-0", TaskState.SUCCEEDED), "id-1": task("id-1", TaskState.RUNNING)}
        assert waiting.saw(seen, 100) is None
    assert waiting.saw({"id-1": task("id-1", TaskState.FAILED)}, 110) == "done"
    assert (waiting.succeeded_count, waiting.failed_count) == (1, 1)


def test_a_result_must_not_lie_there_for_more_than_five_minutes() -> None:
    waiting = progress(4, 4)
    assert not waiting.has_old_result(1e9)

    waiting.saw({"id-0": task("id-0", TaskState.SUCCEEDED)}, 100)

    assert [waiting.has_old_result(now) for now in (399, 400)] == [False, True]


class Poller:
    """Stands for the connection's poller: tells what the test says, when it says so."""

    def __init__(self) -> None:
        self.progress: asyncio.Future[BatchProgress] = asyncio.get_running_loop().create_future()
        self.end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def wait(self, progress: BatchProgress, *, first_pause: float) -> str:
        assert first_pause >= 10
        self.progress.set_result(progress)
        return await self.end


@pytest.fixture
async def poller(monkeypatch: pytest.MonkeyPatch) -> Poller:
    poller = Poller()
    monkeypatch.setattr(ImageTaskHook, "poller", lambda _hook: poller)
    monkeypatch.setattr(image_batch, "PROGRESS_SECONDS", 0.01)
    return poller


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What XCom was told."""
    values: list[dict[str, Any]] = []

    async def aset(key: str, value: dict[str, Any], **names: Any) -> None:
        assert (key, names["map_index"]) == ("progress", -1)
        values.append(value)

    monkeypatch.setattr(image_batch, "XCom", SimpleNamespace(aset=aset))
    return values


def started(*, has_task_instance: bool = True, **arguments: Any) -> asyncio.Task[Any]:
    """Run the trigger until it fires."""
    trigger = ImageBatchTrigger(**{**ARGUMENTS, **arguments})
    if has_task_instance:
        trigger._task_instance = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=None)
        if not hasattr(type(trigger), "task_instance"):
            trigger.task_instance = trigger._task_instance
    return asyncio.create_task(anext(trigger.run()))


async def test_progress_is_told_while_it_waits(poller: Poller, told: list[dict[str, Any]]) -> None:
    event = started()
    await until(lambda: told)
    (await poller.progress).saw({"1": task("1", TaskState.SUCCEEDED)}, time.time())
    await until(lambda: len(told) > 1)
    poller.end.set_result("done")

    assert (await event).payload == {"status": "done"}
    moments = [datetime.fromisoformat(one.pop("updated_at")).timestamp() for one in told]
    assert time.time() - 60 < moments[0] <= moments[1] <= time.time()
    first = {"total": 10, "submitted": 6, "succeeded": 2, "failed": 1, "running": 3}
    assert told[:2] == [first, {**first, "succeeded": 3, "running": 2}]


async def test_an_old_result_calls_a_worker(
    poller: Poller, told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_wait, "OLDEST_READY", 0.0)
    event = started()
    (await poller.progress).saw({"1": task("1", TaskState.SUCCEEDED)}, 100)

    assert (await event).payload == {"status": "ripe"}


async def test_where_each_that_ends_is_worth_a_worker_it_is_told_which_did(
    poller: Poller, told: list[dict[str, Any]]
) -> None:
    event = started(wake_at=1)
    (await poller.progress).saw({"2": task("2", TaskState.SUCCEEDED), "3": task("3", TaskState.RUNNING)}, time.time())
    poller.end.set_result("done")

    assert (await event).payload == {"status": "done", "over": ["2"]}


async def test_that_xcom_cannot_be_written_does_not_end_the_wait(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    async def aset(key: str, *_arguments: Any, **_names: Any) -> None:
        tried.append(key)
        raise OSError("the API is away")

    monkeypatch.setattr(image_batch, "XCom", SimpleNamespace(aset=aset))
    event = started()
    await until(lambda: tried)
    poller.end.set_result("deadline")

    assert (await event).payload == {"status": "deadline"}


async def test_without_a_task_instance_nothing_is_told(poller: Poller, told: list[dict[str, Any]]) -> None:
    event = started(has_task_instance=False)
    await asyncio.sleep(0.05)
    poller.end.set_result("done")
    await event

    assert told == []
