"""A wait ends by its deadline although its turn to ask has not come, because of ``query_rate`` or of a 429."""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskTimeoutError
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.transports import http
from tests.image_dag import ImageDag
from tests.scripted_server import Reply
from tests.status_route import StatusRoute

pytestmark = pytest.mark.parametrize("service_name", ["acedatacloud", "kie"], indirect=True)


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds for which workers would have paused; their clock moves on by them."""
    seconds: list[float] = []
    clock = SimpleNamespace(sleep=seconds.append, time=lambda: time.time() + sum(seconds), monotonic=time.monotonic)
    monkeypatch.setattr(http, "time", clock)
    return seconds


@pytest.fixture
def slow(dag: ImageDag, connection: dict[str, Any]) -> ImageDag:
    """One question in ten minutes, of an account that nobody else asks with."""
    connection["password"] = secrets.token_hex(8)
    connection["extra"]["query_rate"] = "1/600s"
    return dag


def rescheduled_for(dag: ImageDag, seconds: float) -> None:
    dag.runner.first_reschedule = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def test_a_rescheduled_sensor_ends_by_its_timeout(slow: ImageDag, paused: list[float]) -> None:
    slow.submitted("a kite [never]")
    assert slow.wait(mode="reschedule", timeout=300).state == "up_for_reschedule"

    rescheduled_for(slow, 240)
    assert slow.wait(mode="reschedule", timeout=300).state == "up_for_reschedule"
    rescheduled_for(slow, 301)
    outcome = slow.wait(mode="reschedule", timeout=300)

    assert outcome.state == "failed"
    assert isinstance(outcome.error, ImageTaskTimeoutError)
    assert "query_rate" in str(outcome.error)
    assert sum(paused) < 5


def test_a_sensor_that_pokes_ends_by_its_timeout(
    slow: ImageDag, paused: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [slow.submitted(f"kite {number} [never]") for number in range(2)]
    assert slow.wait(ids, mode="reschedule").state == "up_for_reschedule"
    airflows_time = SimpleNamespace(sleep=lambda _seconds: None, time=time.time, monotonic=time.monotonic)
    monkeypatch.setattr("airflow.sdk.bases.sensor.time", airflows_time)

    outcome = slow.wait(ids, mode="poke", timeout=0.2)

    assert isinstance(outcome.error, ImageTaskTimeoutError)
    assert sum(paused) < 5


def test_a_deferrable_sensor_is_left_to_the_triggerer_and_ends_by_its_deadline(
    slow: ImageDag, paused: list[float]
) -> None:
    ids = [slow.submitted(f"kite {number}") for number in range(2)]
    assert slow.wait(ids[0], deferrable=True).state == "success"

    deferred = slow.wait(ids, deferrable=True, timeout=300)
    assert deferred.state == "deferred"
    deferred.message.next_kwargs["deadline"] = time.time() - 1
    outcome = slow.wait(ids, resume=deferred, event={"status": "deadline"}, deferrable=True, timeout=300)

    assert isinstance(outcome.error, ImageTaskTimeoutError)
    assert sum(paused) < 5


def test_a_hook_waits_no_longer_than_it_is_told(
    slow: ImageDag, paused: list[float], connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SLOW", json.dumps({"conn_type": "imagetasks", **connection}))

    with pytest.raises(ImageTaskTimeoutError):
        ImageTaskHook("slow").wait(slow.submitted("a kite [never]"), timeout=60, poll_interval=1)

    assert sum(paused) < 70


def test_a_429_ends_no_wait_later_than_its_deadline(
    dag: ImageDag, route: StatusRoute, paused: list[float], connection: dict[str, Any]
) -> None:
    image_task_id = dag.submitted("a kite [never]")
    connection["password"] = secrets.token_hex(8)
    route.breaks(
        Reply({"code": 429, "error": {"code": "too_many_requests"}}, status=429, headers={"Retry-After": "50"})
    )
    rescheduled_for(dag, 280)

    early = dag.wait(image_task_id, mode="reschedule", timeout=300, poll_interval=60)
    rescheduled_for(dag, 301)
    outcome = dag.wait(image_task_id, mode="reschedule", timeout=300, poll_interval=60)

    assert early.state == "up_for_reschedule"
    assert isinstance(outcome.error, ImageTaskTimeoutError)
    assert sum(paused) < 25
