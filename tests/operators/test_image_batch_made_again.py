"""A Dag run is deleted and made again under its run id, or Airflow forgets a batch that waits."""

from __future__ import annotations

import pytest
from airflow.sdk import Context

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from tests.image_batch import ImageBatch
from tests.task_runner import HAS_LOOPS

REST = pytest.mark.parametrize("service_name", ["acedatacloud", "aigptimage"], indirect=True)
KEEPS_STATE = pytest.mark.skipif(
    "task_state_store" not in Context.__annotations__, reason="Airflow keeps no state of tasks before 3.3"
)
LATER = {
    "retry": {"try_number": 2},
    "Clear": {"try_number": 2, "max_tries": 3},
}


@pytest.fixture
def made_again(batch: ImageBatch) -> ImageBatch:
    """The batch of a run that was made again; the folder of the deleted one is there."""
    assert batch.start("a red kite").state == "success"
    batch.runner.states.clear()
    batch.was_started = False
    return batch


@REST
def test_with_a_folder_of_its_own_it_makes_pictures_of_its_own(made_again: ImageBatch) -> None:
    outcome = made_again.start("a blue boat", output_path=f"{made_again.output_folder}/new")

    assert outcome.state == "success"
    assert made_again.created == ["a blue boat", "a red kite"]
    assert made_again.rows[0]["image_task_id"] == made_again.image_service.tasks[1].id
    assert len({entry["trace_id"] or entry["id"] for entry in made_again.image_service.stats()["created"]}) == 2


@KEEPS_STATE
@REST
@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize("dies_first", [False, True])
def test_the_folder_of_the_deleted_run_is_not_taken_up_by_a_later_try_either(
    made_again: ImageBatch, later: str, dies_first: bool
) -> None:
    if HAS_LOOPS and later == "Clear":
        pytest.skip("a Clear on Airflow 3.4 throws away what tells the two apart")
    connections = made_again.runner.connections
    connection = connections.pop("imagetasks_default") if dies_first else connections["imagetasks_default"]
    first = made_again.start("a blue boat")
    connections["imagetasks_default"] = connection
    second = made_again.start("a blue boat", **LATER[later])

    assert first.error is not None
    assert isinstance(second.error, InvalidRequestError)
    assert "a Clear alone does not help" in str(second.error)
    assert made_again.created == ["a red kite"]


@REST
def test_a_batch_that_airflow_forgets_while_it_waits_goes_on_from_the_folder_that_it_left(batch: ImageBatch) -> None:
    rows = ["a kite [latency=600]", "a boat [latency=600]"]
    deferred = batch.start(*rows, deferrable=True)
    batch.runner.states.clear()
    batch.image_service.finish(rows)
    resumed = batch.start(*rows, resume=deferred)

    assert resumed.state == "success", resumed.error
    assert batch.created == sorted(rows)
    # What is kept again is enough for a retry.
    assert batch.start(*rows).state == "success"
    assert batch.created == sorted(rows)
