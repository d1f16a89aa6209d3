"""Provider batches that a person stops: what was made by then is delivered, and a Clear has the rest made anew."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from airflow_provider_imagetasks.batch.provider.run import ProviderBatchRun
from airflow_provider_imagetasks.hooks import cancel_on_kill
from airflow_provider_imagetasks.triggers.image_batch import ImageBatchTrigger
from tests.provider_batch import DAY, ProviderBatch, with_latency
from tests.task_runner import Outcome

pytestmark = pytest.mark.parametrize("service_name", ["openai"], indirect=True)
PROMPTS = [f"kite {number}" for number in range(4)]
INSTANCE = SimpleNamespace(dag_id="a_dag", run_id="a_run", task_id="batch", map_index=-1)


@pytest.fixture(autouse=True)
def _marked_failed(connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow says of the task instance that somebody marked it failed, and has its connection for a triggerer too."""
    monkeypatch.setattr(cancel_on_kill, "states_of", lambda _instance: ["failed"])
    monkeypatch.setenv("AIRFLOW_CONN_IMAGETASKS_DEFAULT", json.dumps({"conn_type": "imagetasks", **connection}))


@pytest.fixture
def slow(provider_batch: ProviderBatch) -> Iterator[ProviderBatch]:
    """A batch whose provider batches take an hour."""
    undo = with_latency(provider_batch.image_service, 3600)
    yield provider_batch
    undo()


def end_the_wait(deferred: Outcome) -> None:
    """Do what Airflow does to the trigger of a task that is marked failed."""
    trigger = ImageBatchTrigger(**deferred.message.trigger_kwargs)
    trigger.task_instance = INSTANCE  # type: ignore[assignment]
    asyncio.run(trigger.on_kill())


def require_the_rest_made_anew(batch: ProviderBatch, *, done: int, rows: int) -> None:
    """Clear, and fail unless what was done by then was delivered, and all else made once."""
    undo = with_latency(batch.image_service, 0)
    outcome = batch.start(*PROMPTS, try_number=2, max_tries=3)
    undo()
    assert outcome.state == "success", outcome.error
    assert batch.statuses == " ".join(["succeeded"] * 4)
    assert (batch.created, batch.pictures) == (PROMPTS, 4)
    first_batch = batch.rows[0]["image_task_id"].partition(".")[0]
    assert [row["image_task_id"].startswith(first_batch) for row in batch.rows].count(True) == done
    assert batch.batches == rows


def test_marked_failed_while_deferred_it_is_cancelled_and_a_clear_delivers_what_was_done_and_submits_the_rest(
    slow: ProviderBatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deferred = slow.start(*PROMPTS, deferrable=True)
    slow.image_service.skip(1800)

    end_the_wait(deferred)

    told = " ".join(capsys.readouterr().out.split())
    assert slow.asked["cancelled"] == 1
    assert "What was made is billed, and delivered when the task is cleared" in told
    require_the_rest_made_anew(slow, done=2, rows=2)


def test_several_of_a_task_are_all_cancelled(slow: ProviderBatch) -> None:
    slow.limited(provider_rows=2)
    deferred = slow.start(*PROMPTS, deferrable=True)

    end_the_wait(deferred)

    assert slow.asked["cancelled"] == 2
    slow.limited()
    undo = with_latency(slow.image_service, 0)
    assert slow.start(*PROMPTS, try_number=2, max_tries=3).state == "success"
    undo()
    assert slow.created == PROMPTS
    # The rows go out together, or as soon as it is read of each of the two that it is over.
    assert slow.batches in (3, 4)


def test_marked_failed_after_all_was_made_nothing_is_cancelled_and_a_clear_delivers_it(
    slow: ProviderBatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deferred = slow.start(*PROMPTS, deferrable=True)
    slow.image_service.skip(3600)

    end_the_wait(deferred)

    told = " ".join(capsys.readouterr().out.split())
    assert "It was not cancelled" in told
    require_the_rest_made_anew(slow, done=4, rows=1)


def test_marked_failed_on_a_worker_it_is_cancelled_too_and_nothing_more_is_submitted(
    slow: ProviderBatch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    armed, arm = [], cancel_on_kill.CancelsOnKill.cancel_when_killed
    is_idle = ProviderBatchRun._is_idle

    def noted(operator: Any, *arguments: Any, **named: Any) -> None:
        arm(operator, *arguments, **named)
        armed.append(operator)

    def killed_once(run: ProviderBatchRun) -> bool:
        if run.unfinished and armed:
            slow.image_service.skip(900)
            armed.pop().on_kill()
        return is_idle(run)

    with monkeypatch.context() as patch:
        patch.setattr(cancel_on_kill.CancelsOnKill, "cancel_when_killed", noted)
        patch.setattr(ProviderBatchRun, "_is_idle", killed_once)
        outcome = slow.start(*PROMPTS)

    assert not [thread for thread in threading.enumerate() if thread.name == "cancel on kill"]
    assert outcome.state != "success"
    assert slow.asked["cancelled"] == 1
    assert "OpenAI was told to stop the batch" in " ".join(capsys.readouterr().out.split())
    require_the_rest_made_anew(slow, done=1, rows=2)


def test_without_cancel_on_kill_it_goes_on_and_a_clear_waits_for_it(slow: ProviderBatch) -> None:
    deferred = slow.start(*PROMPTS, deferrable=True, cancel_on_kill=False)

    end_the_wait(deferred)

    assert slow.asked["cancelled"] == 0
    slow.image_service.skip(DAY)
    require_the_rest_made_anew(slow, done=4, rows=1)


@pytest.mark.parametrize("row_attempts", [1, 2])
def test_what_somebody_else_cancels_again_and_again_fails_unbilled_and_a_clear_has_it_made(
    slow: ProviderBatch, row_attempts: int
) -> None:
    outcome = slow.start(*PROMPTS, deferrable=True, row_attempts=row_attempts)
    for _ in range(row_attempts):
        (batch_id,) = outcome.message.trigger_kwargs["image_task_ids"]
        requests.post(f"{slow.image_service.url}/openai/v1/batches/{batch_id}/cancel", timeout=10)
        outcome = slow.start(*PROMPTS, resume=outcome, deferrable=True, row_attempts=row_attempts)

    assert outcome.state == "up_for_retry"
    assert slow.errors == [("ServiceUnavailableError", "no")] * 4
    undo = with_latency(slow.image_service, 0)
    assert slow.start(*PROMPTS, try_number=2, max_tries=3, row_attempts=row_attempts).state == "success"
    undo()
    assert (slow.created, slow.batches) == (PROMPTS, row_attempts + 1)
