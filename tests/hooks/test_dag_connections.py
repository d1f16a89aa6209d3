"""Whose key is used for an image task is for the Dag to say, not for the data that tells of the image task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from tests.image_dag import ImageDag
from tests.task_runner import Outcome

TEAM = "finance_team"
MODES: list[dict[str, Any]] = [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}]
READERS: list[Callable[..., Any]] = [
    *(lambda how=how, **given: ImageTaskSensor(task_id="wait", **how, **given) for how in MODES),
    lambda **given: ImageTaskDownloadOperator(task_id="wait", output_path="file:///nowhere", **given),
]

pytestmark = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)


@pytest.fixture
def record(dag: ImageDag, output_folder: str) -> dict[str, Any]:
    """A dict as our operators push it, of a connection that is not the default one."""
    usable = dag.runner.connections["imagetasks_default"]
    dag.runner.connections[TEAM] = {**usable, "password": "the-key-of-the-finance-team"}
    return {"id": dag.submitted("a kite", conn_id=TEAM), "service": "acedatacloud", "conn_id": TEAM}


def read(dag: ImageDag, make: Callable[..., Any], beside: Callable[[], Any], **given: Any) -> Outcome:
    """Read an image task, in a Dag with another task."""

    def tasks() -> Any:
        beside()
        task = make(**given)
        if hasattr(task, "output_path"):
            task.output_path = dag.output_folder
        return task

    return dag.runner.run(tasks)


@pytest.mark.parametrize("make", READERS)
def test_data_cannot_name_a_connection_that_the_dag_does_not(
    dag: ImageDag, record: dict[str, Any], make: Callable[..., Any]
) -> None:
    queries = dag.image_service.stats()["dialects"]["acedatacloud"]["status_queries"]

    for value in (record, [record, record["id"]]):
        outcome = read(dag, make, lambda: None, image_task_id=value)

        assert outcome.state == "failed"
        assert isinstance(outcome.error, InvalidRequestError)
        assert f"conn_id='{TEAM}' here" in str(outcome.error)
        assert outcome.error.billed == "unknown"
    assert dag.image_service.stats()["dialects"]["acedatacloud"]["status_queries"] == queries


NAMED: dict[str, Callable[[], Any]] = {
    "a submit task": lambda: ImageTaskSubmitOperator(task_id="submit", prompt="a kite", conn_id=TEAM),
    "by a template": lambda: ImageTaskSubmitOperator(task_id="submit", prompt="a", conn_id="{{ 'finance' }}_team"),
    "a mapped task": lambda: ImageTaskSubmitOperator.partial(task_id="submit", conn_id=TEAM).expand(prompt=["a"]),
    "a list": lambda: ImageTaskSubmitOperator.partial(task_id="submit", prompt="a").expand(conn_id=["x", TEAM]),
    "a batch": lambda: ImageBatchOperator(task_id="make", prompts=["a"], output_path="file:///tmp/x", conn_id=TEAM),
}


@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize("make", READERS)
def test_it_may_name_one_that_another_task_of_the_dag_names(
    dag: ImageDag, record: dict[str, Any], make: Callable[..., Any], named: str
) -> None:
    assert read(dag, make, NAMED[named], image_task_id=record).state in ("success", "deferred", "up_for_reschedule")


@pytest.mark.parametrize("make", READERS)
def test_the_task_s_own_connection_wins(dag: ImageDag, record: dict[str, Any], make: Callable[..., Any]) -> None:
    outcome = read(dag, make, lambda: None, image_task_id=record, conn_id=TEAM)

    assert outcome.state in ("success", "deferred", "up_for_reschedule")


def test_a_template_that_cannot_be_rendered_names_none(dag: ImageDag, record: dict[str, Any]) -> None:
    outcome = read(
        dag,
        READERS[0],
        lambda: ImageTaskSubmitOperator(task_id="submit", prompt="a", conn_id="{{ 1 / 0 }}"),
        image_task_id=record,
    )

    assert isinstance(outcome.error, InvalidRequestError)
