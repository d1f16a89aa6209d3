"""A Clear of a batch that threw away what Airflow kept of it, and batches in a loop, as on Airflow 3.4."""

from __future__ import annotations

import pytest
from airflow.sdk import Context

from airflow_provider_imagetasks.submissions import identity
from tests.image_batch import ImageBatch
from tests.task_runner import HAS_LOOPS

CLEARED = {"try_number": 2, "max_tries": 3}
ONE_SERVICE = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
RECOGNISES = pytest.mark.parametrize("service_name", ["aigptimage"], indirect=True)
WITH_LOOPS = pytest.mark.skipif(not HAS_LOOPS, reason="Airflow has no loops before 3.4")
pytestmark = pytest.mark.skipif(
    "task_state_store" not in Context.__annotations__, reason="Airflow keeps no state of tasks before 3.3"
)


@pytest.fixture(autouse=True)
def discarding_clears(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an older Airflow these tests stand in for 3.4."""
    monkeypatch.setattr(identity, "clear_empties_state", lambda _instance: True)


@ONE_SERVICE
def test_a_clear_of_a_failed_batch_repeats_the_failed_rows_only(batch: ImageBatch) -> None:
    failed = batch.start("a kite", "a boat [fail]", row_attempts=1)
    batch.runner.states.clear()
    cleared = batch.start("a kite", "a boat [fail]", row_attempts=1, **CLEARED)

    assert (failed.state, cleared.state, batch.statuses) == ("failed", "failed", "succeeded failed")
    assert batch.created == ["a boat [fail]", "a boat [fail]", "a kite"]


@ONE_SERVICE
@pytest.mark.parametrize("clears", [1, 3])
def test_each_clear_of_a_finished_batch_makes_new_pictures_and_keeps_the_old_manifest(
    batch: ImageBatch, clears: int
) -> None:
    for number in range(clears + 1):
        batch.runner.states.clear()
        outcome = batch.start("a kite", try_number=1 + number, max_tries=2 + number)
        assert outcome.state == "success", outcome.error

    assert batch.created == ["a kite"] * (1 + clears)
    assert len(list(batch.folder.glob("manifest*.jsonl"))) == 1 + clears


@ONE_SERVICE
def test_a_clear_while_rows_run_waits_for_those(batch: ImageBatch) -> None:
    deferred = batch.start("a kite [latency=1]", deferrable=True)
    batch.runner.states.clear()

    assert deferred.state == "deferred"
    assert batch.start("a kite [latency=1]", **CLEARED).state == "success"
    assert batch.created == ["a kite [latency=1]"]


@ONE_SERVICE
def test_what_a_start_that_was_cleared_still_keeps_does_not_count_against_the_next(batch: ImageBatch) -> None:
    batch.start("a kite")
    ((key, state),) = batch.runner.states.items()
    batch.runner.states[key] = {name: state[name] for name in ("generation", "counts")}

    assert batch.start("a kite", **CLEARED).state == "success"


@RECOGNISES
def test_what_begins_anew_in_another_folder_is_handed_no_older_picture(batch: ImageBatch, service_name: str) -> None:
    batch.start("a kite", output_path=f"{batch.output_folder}/1")
    batch.runner.states.clear()
    outcome = batch.start("a boat", output_path=f"{batch.output_folder}/2", **CLEARED)

    assert outcome.state == "success", outcome.error
    assert batch.created == ["a boat", "a kite"]


@WITH_LOOPS
@ONE_SERVICE
def test_each_iteration_of_a_loop_has_a_batch_of_its_own(batch: ImageBatch) -> None:
    manifests = []
    for index in range(3):
        assert batch.start("a kite", iteration=index, try_number=1).state == "success"
        manifests.append(batch.pushed()["manifest"])
    assert batch.start("a kite", iteration=1, try_number=2).state == "success"

    assert batch.pushed()["manifest"] == manifests[1]
    assert len(set(manifests)) == batch.counts["created"] == 3
