"""What a person stops is stopped, and nothing else: on a triggerer, in a sensor's worker and in a batch's."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_imagetasks.batch.run import BatchRun
from airflow_provider_imagetasks.exceptions import ImageTaskFailedError
from airflow_provider_imagetasks.hooks import cancel_on_kill
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from airflow_provider_imagetasks.tasks import ImageRequest
from airflow_provider_imagetasks.triggers.image_task import ImageTaskTrigger
from tests.image_batch import ImageBatch
from tests.image_dag import ImageDag
from tests.scripted_server import CutAfterReading, Reply, ScriptedServer
from tests.task_runner import TaskRunner

CAN_CANCEL = pytest.mark.parametrize("service_name", ["fal", "replicate", "openai"], indirect=True)
INSTANCE = SimpleNamespace(dag_id="kites", run_id="a_run", task_id="wait", map_index=-1)
GOES_ON = ["deferred", "scheduled", "queued", "running", "up_for_retry", "success", "restarting", None]


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The states that Airflow says the task instance has."""
    said: list[str | None] = ["failed"]
    monkeypatch.setattr(cancel_on_kill, "states_of", lambda _instance: list(said))
    return said


@pytest.fixture
def submitted(connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    monkeypatch.setenv("AIRFLOW_CONN_OF_THE_TRIGGER", json.dumps({"conn_type": "imagetasks", **connection}))
    return lambda prompt: ImageTaskHook("of_the_trigger").submit(ImageRequest(prompt=prompt)).id


def trigger_of(*ids: str, seconds: float = 60, **arguments: Any) -> ImageTaskTrigger:
    now = time.time()
    times = {"deadline": now + seconds, "poll_interval": 10, "asked_at": now}
    trigger = ImageTaskTrigger(conn_id="of_the_trigger", image_task_ids=list(ids), **times, **arguments)
    trigger.task_instance = INSTANCE
    return trigger


def cancelled(service: LocalImageService) -> int:
    return sum(counts["cancelled"] for counts in service.stats()["dialects"].values())


@CAN_CANCEL
async def test_a_trigger_cancels_once_what_nobody_waits_for_any_more(
    submitted: Callable[[str], str],
    states: list[str | None],
    image_service: LocalImageService,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trigger = trigger_of(submitted("a kite [never]"), submitted("a boat [never]"), cancel_on_kill=True)

    await trigger.on_kill()
    await trigger.on_kill()

    assert cancelled(image_service) == 2
    told = capsys.readouterr().out
    assert told.count("This task was stopped for good, so the service was asked to cancel image task") == 2
    assert "billed" in told


@CAN_CANCEL
@pytest.mark.parametrize("state", GOES_ON)
async def test_a_trigger_that_is_only_taken_over_woken_or_cleared_cancels_nothing(
    submitted: Callable[[str], str], states: list[str | None], image_service: LocalImageService, state: str | None
) -> None:
    states[:] = [state]

    await trigger_of(submitted("a kite [never]"), cancel_on_kill=True).on_kill()

    assert cancelled(image_service) == 0


@pytest.mark.parametrize("service_name", ["fal"], indirect=True)
@pytest.mark.parametrize(
    ("said", "how"),
    [
        (["failed"], {}),
        (["failed"], {"cancel_on_kill": False}),
        (["failed"], {"cancel_on_kill": True, "seconds": -1}),
        (["failed", "running"], {"cancel_on_kill": True}),
        ([], {"cancel_on_kill": True}),
    ],
    ids=["of an earlier version", "not wanted", "its time was over", "an iteration goes on", "not there"],
)
async def test_nothing_is_cancelled_where_that_is_not_surely_wanted(
    submitted: Callable[[str], str],
    states: list[str | None],
    image_service: LocalImageService,
    said: list[str | None],
    how: dict[str, Any],
) -> None:
    states[:] = said

    await trigger_of(submitted("a kite [never]"), **how).on_kill()

    assert cancelled(image_service) == 0


@pytest.mark.parametrize("service_name", ["fal"], indirect=True)
async def test_where_airflow_cannot_be_asked_nothing_is_cancelled_and_the_log_says_so(
    submitted: Callable[[str], str],
    image_service: LocalImageService,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def away(_instance: Any) -> list[str | None]:
        raise ConnectionError("the API server restarts")

    monkeypatch.setattr(cancel_on_kill, "states_of", away)

    await trigger_of(submitted("a kite [never]"), cancel_on_kill=True).on_kill()

    assert cancelled(image_service) == 0
    assert "Nothing was cancelled" in capsys.readouterr().out


@CAN_CANCEL
async def test_many_are_told_of_in_one_line_and_what_is_over_by_then_is_no_error(
    submitted: Callable[[str], str], states: list[str | None], capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [submitted("a kite [never]") for _ in range(4)] + [submitted("a kite")]

    await trigger_of(*ids, cancel_on_kill=True).on_kill()

    told = capsys.readouterr().out
    assert told.count("This task was stopped for good") == 1
    assert "so the service was asked to cancel 5 image tasks. 4: " in told
    assert "1: It was not cancelled" in told


@CAN_CANCEL
@pytest.mark.parametrize("answer", [CutAfterReading(), Reply(b"<html>", status=502), Reply({"x": 1}, status=409)])
async def test_of_a_cancel_without_a_definite_answer_nobody_is_told_that_it_did_nothing(
    submitted: Callable[[str], str],
    states: list[str | None],
    connection: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    no_pauses: None,
    answer: Any,
) -> None:
    image_task_id = submitted("a kite [never]")
    with ScriptedServer(otherwise=lambda _request: answer) as server:
        elsewhere = {"conn_type": "imagetasks", **connection, "host": server.url}
        monkeypatch.setenv("AIRFLOW_CONN_OF_THE_TRIGGER", json.dumps(elsewhere))
        await trigger_of(image_task_id, cancel_on_kill=True).on_kill()

    told = capsys.readouterr().out
    assert "It may go on, and be billed" in told
    assert "was not cancelled" not in told


@CAN_CANCEL
async def test_airflow_that_cancels_a_trigger_again_and_again_does_not_keep_it_from_cancelling(
    submitted: Callable[[str], str], image_service: LocalImageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = threading.Event(), threading.Event()

    def failed(_instance: Any) -> list[str | None]:
        asked.set()
        answered.wait(10)
        return ["failed"]

    monkeypatch.setattr(cancel_on_kill, "states_of", failed)
    trigger = trigger_of(submitted("a kite [never]"), cancel_on_kill=True)
    # As Airflow calls it; it cancels all of this once a second until it is over.
    killed = asyncio.create_task(asyncio.wait_for(trigger.on_kill(), timeout=30))
    await asyncio.to_thread(asked.wait, 10)
    for _ in range(3):
        killed.cancel("user-action")
        await asyncio.sleep(0)
    answered.set()
    with suppress(asyncio.CancelledError):
        await killed
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    assert cancelled(image_service) == 1


async def test_the_cancellation_is_told_to_airflow_only_where_it_is_to_call_on_kill() -> None:
    async def message_of(**how: Any) -> tuple[Any, ...]:
        told = trigger_of("a", **how).explained_cancellation(asyncio.CancelledError("user-action"))
        return told.args

    assert await message_of(cancel_on_kill=True) == ("user-action",)
    assert await message_of() == ()


def test_a_trigger_keeps_what_it_was_told_only_where_it_says_something() -> None:
    assert trigger_of("a", cancel_on_kill=True).serialize()[1]["cancel_on_kill"] is True
    assert "cancel_on_kill" not in trigger_of("a", cancel_on_kill=False).serialize()[1]


def cancelling() -> list[threading.Thread]:
    """What a process that ends now would not wait for."""
    return [thread for thread in threading.enumerate() if thread.name == "cancel on kill"]


@pytest.fixture
def killed_while_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sensor whose process is told to end as it has asked for the first time."""
    poke = ImageTaskSensor.poke

    def asked(sensor: ImageTaskSensor, context: Any) -> Any:
        answer = poke(sensor, context)
        sensor.on_kill()
        for thread in cancelling():
            thread.join(10)
        return answer

    monkeypatch.setattr(ImageTaskSensor, "poke", asked)


@pytest.fixture(params=[True, False], ids=["aiohttp is loaded", "aiohttp is not loaded"])
def aiohttp_or_not(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker's process has loaded by the time at which it is ended."""
    if not request.param:
        modules = {name: module for name, module in sys.modules.items() if name != "aiohttp"}
        monkeypatch.setattr(cancel_on_kill, "sys", SimpleNamespace(modules=modules))
        monkeypatch.setattr(cancel_on_kill, "open_async_transport", None)


@CAN_CANCEL
@pytest.mark.usefixtures("killed_while_it_asks", "aiohttp_or_not")
def test_a_sensor_on_a_worker_cancels_what_it_waits_for(
    dag: ImageDag, states: list[str | None], image_service: LocalImageService
) -> None:
    dag.submitted("a kite [never]")
    outcome = dag.wait()

    assert cancelled(image_service) == 1
    assert isinstance(outcome.error, ImageTaskFailedError)
    assert outcome.error.code in ("client_cancelled", "canceled", "cancelled")
    assert "Clear the submit task" in outcome.error.retry_advice
    assert dag.submitted("a kite [never]", try_number=2, max_tries=3)
    assert len(dag.created) == 2


@CAN_CANCEL
def test_the_process_of_a_sensor_ends_only_once_all_is_cancelled(
    dag: ImageDag, states: list[str | None], image_service: LocalImageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(sensor: ImageTaskSensor, _context: Any) -> Any:
        sensor.on_kill()
        raise RuntimeError("the wait is over")

    monkeypatch.setattr(ImageTaskSensor, "poke", ended)
    dag.submitted("a kite [never]")

    assert dag.wait().state != "success"
    assert not cancelling()
    assert cancelled(image_service) == 1


@CAN_CANCEL
def test_a_task_that_outlives_the_end_of_its_worker_is_still_cancelled_later(
    dag: ImageDag, states: list[str | None], image_service: LocalImageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []

    def told_twice(sensor: ImageTaskSensor, _context: Any) -> Any:
        for state in ("running", "failed", "failed"):
            states[:] = [state]
            sensor.on_kill()
            for thread in cancelling():
                thread.join(10)
            counts.append(cancelled(image_service))
        raise RuntimeError("the wait is over")

    monkeypatch.setattr(ImageTaskSensor, "poke", told_twice)
    dag.submitted("a kite [never]")
    dag.wait()

    assert counts == [0, 1, 1]


@pytest.mark.usefixtures("killed_while_it_asks")
@pytest.mark.parametrize(
    ("service_name", "state", "how"),
    [("fal", "running", {}), ("fal", "failed", {"cancel_on_kill": False}), ("kie", "failed", {})],
    indirect=["service_name"],
    ids=["the worker shuts down", "not wanted", "the service cannot"],
)
def test_a_sensor_on_a_worker_cancels_nothing_else(
    dag: ImageDag, states: list[str | None], image_service: LocalImageService, state: str, how: dict[str, Any]
) -> None:
    states[:] = [state]
    dag.submitted("a kite [latency=2]")

    assert dag.wait(**how).state == "success"
    assert cancelled(image_service) == 0


@pytest.mark.parametrize(
    ("service_name", "kept", "told"),
    [("fal", True, "cancels them at fal"), ("kie", None, "does not stop them at kie.ai")],
    indirect=["service_name"],
)
def test_a_deferred_wait_says_what_ending_it_does(
    dag: ImageDag,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kept: bool | None,
    told: str,
) -> None:
    monkeypatch.setattr(cancel_on_kill, "TRIGGERS_ARE_TOLD", True)
    dag.submitted("a kite [never]")
    outcome = dag.wait(deferrable=True)

    assert outcome.message.trigger_kwargs.get("cancel_on_kill") == kept
    assert told in capsys.readouterr().out


@pytest.fixture
def batch(runner: TaskRunner, image_service: LocalImageService, output_folder: str) -> ImageBatch:
    return ImageBatch(runner, image_service, output_folder, {"options": {}})


@CAN_CANCEL
def test_a_batch_on_a_worker_cancels_what_runs_and_a_clear_submits_it_anew(
    batch: ImageBatch, states: list[str | None], image_service: LocalImageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, arm = [], cancel_on_kill.CancelsOnKill.cancel_when_killed

    def armed(operator: Any, *arguments: Any, **named: Any) -> None:
        arm(operator, *arguments, **named)
        begun.append(operator)

    is_idle = BatchRun._is_idle

    def looked(run: BatchRun) -> bool:
        if len(run._state.open_ids) == 2 and begun:
            begun.pop().on_kill()
        return is_idle(run)

    monkeypatch.setattr(cancel_on_kill.CancelsOnKill, "cancel_when_killed", armed)
    monkeypatch.setattr(BatchRun, "_is_idle", looked)
    outcome = batch.start("a kite [never]", "a boat [never]", "a third", max_active_tasks=2)

    assert not cancelling()
    assert outcome.state != "success"
    assert cancelled(image_service) == 2
    assert batch.created == ["a boat [never]", "a kite [never]"]

    monkeypatch.setattr(BatchRun, "_is_idle", is_idle)
    image_service.finish([])
    again = batch.start("a kite [never]", "a boat [never]", "a third", try_number=2, max_tries=3, timeout=3)

    assert again.state != "success"
    assert batch.created == ["a boat [never]"] * 2 + ["a kite [never]"] * 2 + ["a third"]
