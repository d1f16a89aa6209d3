"""Whatever a picture, a record or an address holds: the others are stored, and the bad one is an error of its own."""

from __future__ import annotations

import json
import logging
import resource
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks import exceptions
from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.files import fetching, picture_store
from airflow_provider_imagetasks.files.picture_structure import UnusablePictureError
from airflow_provider_imagetasks.files.pictures import Picture, inspect_picture
from tests.files.hostile_pictures import mutated
from tests.image_batch import ImageBatch
from tests.image_dag import ImageDag
from tests.operators.studio_of_poisons import PER_TASK, POISONS, PoisonedStudio

pytestmark = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
AMOUNTS = pytest.mark.parametrize(
    "amount", [5 * PER_TASK, pytest.param(20_032, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
SECONDS, MEGABYTES = 3, 500
BILLED = {None: "no", "failed": "no", **dict.fromkeys(("no-pictures", "list"), "unknown")}
"""What is said of money where a picture was not simply paid for; None stands for the row that is never asked for."""


@pytest.fixture
def studio(connection: dict[str, Any], no_proxy: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[PoisonedStudio]:
    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0)
    with PoisonedStudio() as studio:
        connection["host"] = studio.server.url
        yield studio


@pytest.fixture
def bounded_decisions(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Every decision on a picture is made in little time and memory, and nothing surprises anybody."""
    seconds: list[float] = []

    def timed(*given: Any, **how: Any) -> Picture:
        began = time.thread_time()
        try:
            return inspect_picture(*given, **how)
        finally:
            seconds.append(time.thread_time() - began)

    monkeypatch.setattr(picture_store, "inspect_picture", timed)
    caplog.set_level(logging.WARNING)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert "unexpected error" not in caplog.text
    assert max(seconds) < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES


def stored_of(amount: int) -> int:
    """Return how many of so many mutated pictures are still pictures."""
    count = 0
    for number in range(amount):
        with suppress(UnusablePictureError):
            inspect_picture(mutated(number), decode=False)
            count += 1
    return count


@AMOUNTS
def test_a_download_stores_the_good_ones_of_mutated_pictures_and_names_the_others(
    dag: ImageDag, studio: PoisonedStudio, bounded_decisions: None, amount: int
) -> None:
    outcome = dag.save([f"mutated-{first}" for first in range(0, amount, PER_TASK)], retries=2)

    assert isinstance(outcome.error, ImageTaskError)
    assert outcome.state in ("failed", "up_for_retry")
    assert "mutated-" in str(outcome.error)
    assert 0 < len(dag.stored) == stored_of(amount) < amount


@AMOUNTS
def test_a_batch_delivers_what_is_good_of_mutated_pictures_and_ends(
    batch: ImageBatch, studio: PoisonedStudio, bounded_decisions: None, amount: int
) -> None:
    prompts = [f"mutated-{first}" for first in range(0, amount, PER_TASK)]

    outcome = batch.start(*prompts, "good", "as-good", max_failed=1.0)

    assert outcome.state == "success", outcome.error
    assert batch.statuses == " ".join(["failed"] * len(prompts) + ["succeeded"] * 2)
    assert {row["error"]["class"] for row in batch.rows[:-2]} <= {"DownloadError", "UnsafeResultError"}
    stored = [path for path in Path(batch.output_folder.removeprefix("file://")).iterdir() if path.is_file()]
    assert len(stored) == stored_of(amount) + 2


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_of_a_batch_with_twenty_poisons_the_others_are_delivered_in_one_start(
    batch: ImageBatch, studio: PoisonedStudio, tmp_path: Path, deferrable: bool
) -> None:
    prompts = [POISONS[number // 10] if number % 10 == 0 else f"good {number}" for number in range(190)]
    rows: list[dict[str, Any]] = [{"prompt": prompt, "id": f"{prompt}/{'x' * 150}"} for prompt in prompts]
    rows += [{"prompt": f"good {number}"} for number in range(190, 199)] + [{"prompt": "unsent", "id": "a\ud800"}]
    path = tmp_path / "requests.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    given = {
        "requests_path": f"file://{path}",
        "max_failed": 20,
        "options": {},
        "row_attempts": 1,
        "deferrable": deferrable,
    }
    studio.is_ready = lambda: not deferrable

    outcome = batch.start(**given)
    if deferrable:
        assert outcome.state == "deferred"
        studio.is_ready = lambda: True
        outcome = batch.start(resume=outcome, **given)

    assert outcome.state == "success", outcome.error
    failed = {row["index"]: row for row in batch.rows if row["status"] == "failed"}
    assert sorted(failed) == [*range(0, 190, 10), 199]
    for row in failed.values():
        assert issubclass(getattr(exceptions, row["error"]["class"]), ImageTaskError), row
        assert row["error"]["billed"] == BILLED.get(row["prompt"], "yes"), row
        assert row["error"]["message"]
        assert row["image_task_id"] == (row["prompt"] or None)
    assert all(Path(file["uri"].removeprefix("file://")).exists() for row in batch.rows for file in row["files"])
    assert sum(len(row["files"]) for row in batch.rows) == 180
    assert sorted(studio.submitted) == sorted(row["prompt"] for row in rows[:199])


def test_a_download_stores_the_good_ones_beside_twenty_poisons(dag: ImageDag, studio: PoisonedStudio) -> None:
    outcome = dag.save([*POISONS, "good", "as-good"], retries=2)

    assert isinstance(outcome.error, ImageTaskError)
    assert f"{len(POISONS)} of {len(POISONS) + 2} failed" in str(outcome.error)
    assert [path.name for path in dag.stored] == ["as-good-0.jpg", "good-0.jpg"]
