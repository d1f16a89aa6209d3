from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_imagetasks.hooks import connection as connections
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.tasks import ImageRequest
from airflow_provider_imagetasks.triggers import base as trigger_module
from airflow_provider_imagetasks.triggers.image_task import ImageTaskTrigger
from tests.conftest import DIALECT_PATHS


@pytest.fixture(autouse=True)
def short_first_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ten seconds before the first poll protect a real scheduler; there is none here."""
    monkeypatch.setattr(trigger_module, "SHORTEST_FIRST_PAUSE", 0.05)


@pytest.fixture
def submitted(connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Submit a prompt and return its image task id."""
    monkeypatch.setenv("AIRFLOW_CONN_OF_THE_TRIGGER", json.dumps({"conn_type": "imagetasks", **connection}))
    return lambda prompt="a red kite": ImageTaskHook("of_the_trigger").submit(ImageRequest(prompt=prompt)).id


def make(*ids: str, seconds: float = 10, **arguments: Any) -> ImageTaskTrigger:
    now = time.time()
    times = {"deadline": now + seconds, "poll_interval": 0.02, "asked_at": now}
    return ImageTaskTrigger(**{"conn_id": "of_the_trigger", "image_task_ids": list(ids), **times, **arguments})


async def events(trigger: ImageTaskTrigger) -> list[Any]:
    return [event.payload async for event in trigger.run()]


def test_its_arguments_are_small_plain_and_enough_to_make_it_again() -> None:
    trigger = make("a", "b")

    path, kwargs = trigger.serialize()

    assert path == "airflow_provider_imagetasks.triggers.image_task.ImageTaskTrigger"
    assert json.loads(json.dumps(kwargs)) == kwargs
    assert ImageTaskTrigger(**kwargs).serialize() == trigger.serialize()


async def test_it_fires_once_when_everything_is_over(submitted: Callable[..., str]) -> None:
    trigger = make(submitted(), submitted("a kite [fail]"))

    assert await events(trigger) == [{"status": "done", "deadline": trigger.deadline, "asked_at": trigger.asked_at}]


async def test_it_fires_at_the_deadline(submitted: Callable[..., str]) -> None:
    trigger = make(submitted("[never]"), seconds=0.3)

    (event,) = await events(trigger)

    assert event["status"] == "deadline"
    assert trigger.deadline <= time.time() < trigger.deadline + 40


async def test_the_first_poll_comes_a_full_interval_after_the_deferral(
    submitted: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trigger_module, "SHORTEST_FIRST_PAUSE", 1.2)
    image_task_id, before = submitted(), time.monotonic()

    await events(make(image_task_id))

    # Longer than the poller holds a question back for others.
    assert time.monotonic() - before >= 1.2


async def test_a_key_that_is_refused_ends_the_wait_so_that_a_worker_can_say_so(
    service_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalImageService(latency=0, api_keys=["right"]) as service:
        host = f"{service.url}/{DIALECT_PATHS[service_name]}"
        fields = {"conn_type": "imagetasks", "host": host, "password": "wrong", "extra": {"service": service_name}}
        monkeypatch.setenv("AIRFLOW_CONN_OF_THE_TRIGGER", json.dumps(fields))

        # Some say by the form of an id alone that it is none of theirs.
        image_task_id = "resp_some-id" if service_name == "openai" else "an.app.some-id"
        assert [event["status"] for event in await events(make(image_task_id))] == ["error"]


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
async def test_it_waits_by_trace_id(submitted: Callable[..., str], image_service: LocalImageService) -> None:
    ImageTaskHook("of_the_trigger").submit(ImageRequest(prompt="a kite", trace_id="order-17"))

    (event,) = await events(make(trace_id="order-17"))

    assert event["status"] == "done"


async def test_waits_for_one_account_read_its_connection_once_also_where_it_is_away_at_first(
    submitted: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, real, calls = [submitted(f"kite {number}") for number in range(5)], connections.get_async_connection, []

    async def counted(conn_id: str) -> Any:
        calls.append(conn_id)
        if len(calls) == 1:
            raise ConnectionError("the API server restarts")
        return await real(conn_id)

    monkeypatch.setattr(connections, "get_async_connection", counted)
    fired = await asyncio.gather(*(events(make(image_task_id)) for image_task_id in ids))

    assert [event["status"] for (event,) in fired] == ["done"] * 5
    assert calls == ["of_the_trigger"] * 2


async def test_a_cancelled_wait_is_not_called_a_users_action(
    submitted: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Airflow tells by the message, and also cancels so in a frozen triggerer whose waits another one took over."""
    waiting = asyncio.ensure_future(events(make(submitted("[never]"))))
    await asyncio.sleep(0)
    waiting.cancel("user action")

    with pytest.raises(asyncio.CancelledError) as cancelled:
        await waiting

    assert cancelled.value.args == ()
    assert "This triggerer stops asking" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (["reassigned"], "another triggerer took the wait over."),
        (["user action"], "a callback woke the task, or the task was ended or cleared."),
        ([], "this triggerer shuts down."),
    ],
    ids=["reassigned", "ended", "shut down"],
)
async def test_where_airflow_tells_what_ended_a_wait_the_log_says_so(
    submitted: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    message: list[str],
    told: str,
) -> None:
    names = {"_REASSIGNED_CANCEL_MSG": "reassigned", "_USER_ACTION_CANCEL_MSG": "user action"}
    monkeypatch.setitem(sys.modules, "airflow.jobs.triggerer_job_runner", SimpleNamespace(**names))
    waiting = asyncio.ensure_future(events(make(submitted("[never]"))))
    await asyncio.sleep(0)
    waiting.cancel(*message)

    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert f"This triggerer stops asking: {told}" in capsys.readouterr().out
