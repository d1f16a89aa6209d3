"""``max_cost``: a batch stops before it exceeds it, says what it spent, and goes on where more is granted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from airflow_provider_imagetasks.batch.run import BatchRun
from airflow_provider_imagetasks.exceptions import QuotaExceededError
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from tests.task_runner import Outcome, TaskRunner

FIVE = [f"kite {number}" for number in range(5)]

Start = Callable[..., Outcome]


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the package runs after it."""


@pytest.fixture
def service_name() -> str:
    """The dialect of one service; what is tested here does not depend on it."""
    return "acedatacloud"


@pytest.fixture
def start(runner: TaskRunner, output_folder: str) -> Start:
    """Start a batch of pictures that cost 0.50 each."""

    def run(*, try_number: int = 1, max_tries: int = 2, **arguments: Any) -> Outcome:
        arguments = {
            "output_path": output_folder,
            "deferrable": False,
            "options": {"size": "256x256"},
            "prices": {"gpt-image-2": 0.5},
            **arguments,
        }
        return runner.run(
            lambda: ImageBatchOperator(task_id="batch", **arguments), try_number=try_number, max_tries=max_tries
        )

    return run


def created(image_service: LocalImageService) -> list[str]:
    return sorted(entry["prompt"] for entry in image_service.stats()["created"])


def manifest(runner: TaskRunner) -> list[dict[str, Any]]:
    folder = Path(urlsplit(runner.xcoms[("batch", "image_batch")]["folder"]).path)
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_a_batch_stops_before_it_exceeds_its_cost_and_says_what_it_spent(
    runner: TaskRunner, start: Start, image_service: LocalImageService, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = start(prompts=FIVE, max_cost=1.2)

    assert created(image_service) == FIVE[:2]
    assert (
        "would cost some 2.50, more than max_cost (1.20): rows are submitted in their order" in capsys.readouterr().out
    )
    assert outcome.state == "failed"
    assert isinstance(outcome.error, QuotaExceededError)
    assert outcome.error.billed == "no"
    assert "3 of 5 rows failed" in str(outcome.error)
    assert "max_cost is 1.20. By the prices known 1.00 of it is spent, and row 2 would cost 0.50 more" in str(
        outcome.error
    )
    rows = manifest(runner)
    assert [row["cost"] for row in rows] == [0.5, 0.5, None, None, None]
    assert {(row["error"]["class"], row["error"]["code"], row["error"]["billed"]) for row in rows[2:]} == {
        ("QuotaExceededError", "max_cost", "no")
    }


def test_rows_that_do_not_fit_may_be_allowed_to_fail(runner: TaskRunner, start: Start) -> None:
    assert start(prompts=FIVE, max_cost=1.2, max_failed=3).state == "success"
    result = runner.xcoms[("batch", "return_value")]
    assert (result["succeeded"], result["failed"], result["cost"]) == (2, 3, pytest.approx(1.0))


def test_a_retry_spends_nothing_and_a_clear_goes_on_where_more_is_granted(
    runner: TaskRunner, start: Start, image_service: LocalImageService
) -> None:
    start(prompts=FIVE, max_cost=1.2)

    assert start(prompts=FIVE, max_cost=1.2, try_number=2).state == "failed"
    assert start(prompts=FIVE, max_cost=1.2, try_number=3, max_tries=4).state == "failed"
    assert created(image_service) == FIVE[:2]

    assert start(prompts=FIVE, max_cost=2.5, try_number=4, max_tries=5).state == "success"
    assert created(image_service) == FIVE
    assert runner.xcoms[("batch", "return_value")]["cost"] == pytest.approx(2.5)


def test_what_was_not_billed_pays_for_the_next_rows(start: Start, image_service: LocalImageService) -> None:
    start(prompts=["a [refuse]", "b [refuse]", "c", "d", "e"], max_cost=1, max_failed=5)

    assert created(image_service) == ["c", "d"]


def test_a_picture_that_was_paid_for_in_vain_is_spent(start: Start, image_service: LocalImageService) -> None:
    start(prompts=["a [file-404]", "b", "c"], max_cost=1, max_failed=3)

    assert created(image_service) == ["a [file-404]", "b"]


def test_what_a_killed_start_spent_is_spent(
    start: Start, image_service: LocalImageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: BatchRun) -> None:
        if self._state.has_new and not self._submissions.under_way and created(image_service):
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(BatchRun, "_ask", killed)
        assert isinstance(start(prompts=FIVE, max_cost=1, max_active_tasks=1).error, Killed)
    assert created(image_service) == FIVE[:1]
    start(prompts=FIVE, max_cost=1, try_number=2)

    assert created(image_service) == FIVE[:2]


def test_a_limit_needs_prices(start: Start, image_service: LocalImageService) -> None:
    outcome = start(prompts=["a"], prices=None, max_cost=5)

    assert "gpt-image-2" in str(outcome.error)
    assert "prices=" in str(outcome.error)
    assert created(image_service) == []


def test_a_row_that_is_an_edit_of_a_file_goes_by_the_model_that_it_will_be_sent_with(
    runner: TaskRunner, start: Start, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 48), "orange").save(tmp_path / "in.png")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "a hat on it", "images": [str(tmp_path / "in.png")]}))

    assert start(requests_path=f"file://{tmp_path}/rows.jsonl", max_cost=1).state == "success"
    assert runner.xcoms[("batch", "return_value")]["cost"] == pytest.approx(0.5)


def test_a_batch_within_its_cost_goes_through(runner: TaskRunner, start: Start) -> None:
    assert start(prompts=["a", "b"], max_cost=1).state == "success"
    assert runner.xcoms[("batch", "return_value")]["cost"] == pytest.approx(1.0)


def test_thousands_of_rows_that_do_not_fit_are_written_off_without_delay(
    start: Start, image_service: LocalImageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeps: list[None] = []
    sleep = BatchRun._sleep

    async def counted(self: BatchRun) -> None:
        sleeps.append(None)
        await sleep(self)

    monkeypatch.setattr(BatchRun, "_sleep", counted)
    start(prompts=[f"kite {number}" for number in range(900)], prices={"gpt-image-2": 5}, max_cost=1)

    assert created(image_service) == []
    assert len(sleeps) < 10
