"""A wait that ends while status requests fail says so, and that it was left alone only where it was."""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskNotFoundError, ImageTaskTimeoutError
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from tests.image_dag import ImageDag
from tests.scripted_server import Reply, ScriptedServer, Step

pytestmark = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
RUNNING = {"id": "a", "created_at": 1.5, "request": {"n": 1}}
DOWN = Reply({"error": {"code": "internal", "message": "the database is down"}}, status=500)
PAGE = Reply(b"<html>oops", headers={"Content-Type": "text/html"})


@pytest.fixture
def asked_by(dag: ImageDag) -> ImageDag:
    """Of an account that nobody else asks with."""
    dag.runner.connections["imagetasks_default"]["password"] = secrets.token_hex(8)
    return dag


@pytest.fixture
def pokes_twice(monkeypatch: pytest.MonkeyPatch, skipped_pauses: None) -> None:
    """A sensor's pause between two pokes passes at once, and its time is over after it."""
    passed = 0.0

    def sleep(_seconds: float) -> None:
        nonlocal passed
        passed += 10_000

    clock = SimpleNamespace(sleep=sleep, time=time.time, monotonic=lambda: time.monotonic() + passed)
    monkeypatch.setattr("airflow.sdk.bases.sensor.time", clock)


def over(dag: ImageDag) -> dict[str, Any]:
    """The arguments of a sensor whose time is over at its next question."""
    dag.runner.first_reschedule = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    return {"mode": "reschedule", "timeout": 60}


@pytest.mark.parametrize(
    ("answer", "said"), [(DOWN, "the database is down"), (PAGE, "not the expected JSON object")], ids=["500", "page"]
)
@pytest.mark.parametrize("several", [False, True])
def test_a_sensor_says_why_its_last_question_was_not_answered(
    asked_by: ImageDag, answer: Step, said: str, several: bool
) -> None:
    with ScriptedServer(otherwise=lambda _asked: answer) as server:
        asked_by.runner.connections["imagetasks_default"]["host"] = server.url
        outcome = asked_by.wait(["a", "b"] if several else "a", **over(asked_by))

    assert isinstance(outcome.error, ImageTaskTimeoutError)
    assert "no status request was answered (" in outcome.error.message
    assert said in outcome.error.message
    assert "asks for a pause" not in outcome.error.message


@pytest.mark.usefixtures("pokes_twice")
def test_what_was_read_before_is_said_with_what_came_after_it(asked_by: ImageDag) -> None:
    answers = iter([Reply(RUNNING)])
    with ScriptedServer(otherwise=lambda _asked: next(answers, DOWN)) as server:
        asked_by.runner.connections["imagetasks_default"]["host"] = server.url
        outcome = asked_by.wait("a", mode="poke", timeout=5)

    assert isinstance(outcome.error, ImageTaskTimeoutError)
    assert "since then no status request was answered (" in outcome.error.message
    assert "the database is down" in outcome.error.message


@pytest.mark.usefixtures("pokes_twice")
def test_what_failed_before_the_last_answer_is_not_said(asked_by: ImageDag) -> None:
    answers = iter([DOWN])
    with ScriptedServer(otherwise=lambda _asked: next(answers, Reply(RUNNING))) as server:
        asked_by.runner.connections["imagetasks_default"]["host"] = server.url
        outcome = asked_by.wait("a", mode="poke", timeout=5)

    assert isinstance(outcome.error, ImageTaskTimeoutError)
    assert "database" not in outcome.error.message


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_hook_says_it_too(asked_by: ImageDag, is_async: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(otherwise=lambda _asked: DOWN) as server:
        fields = {**asked_by.runner.connections["imagetasks_default"], "host": server.url}
        monkeypatch.setenv("AIRFLOW_CONN_SOME_ID", json.dumps({"conn_type": "imagetasks", **fields}))
        hook, how = ImageTaskHook("some_id"), {"timeout": 0.5, "poll_interval": 0.4}
        with pytest.raises(ImageTaskTimeoutError, match="the database is down"):
            await hook.await_task("a", **how) if is_async else hook.wait("a", **how)


@pytest.mark.usefixtures("skipped_pauses")
def test_what_is_denied_at_the_deadline_is_asked_for_until_that_is_believed(asked_by: ImageDag) -> None:
    outcome = asked_by.wait("11111111-2222-4333-8444-555555555555", **over(asked_by))

    assert isinstance(outcome.error, ImageTaskNotFoundError)
