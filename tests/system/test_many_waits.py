"""Two hundred mapped sensors are one quiet poller, whatever happens to one of them or to the triggerer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess
from dev.rest_api import wait_until
from tests.system.deployments import connections, restart_triggerer, start_runs

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

COUNT = 200
UNKNOWN = 77
CLEARED = 123
POLL_INTERVAL = 10
TAKES = 240
"""Seconds that each image task takes."""

DAG = f"""
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.tasks import ImageRequest

@task
def submit() -> list[str]:
    hook = ImageTaskHook()
    ids = [hook.submit(ImageRequest(prompt=f"kite {{number}} [latency={TAKES}]")).id for number in range({COUNT})]
    ids[{UNKNOWN}] = "an-id-that-does-not-exist"
    return ids

with DAG("many_waits", schedule=None, max_active_tasks=500):
    ImageTaskSensor.partial(task_id="wait", deferrable=True, poll_interval={POLL_INTERVAL}, timeout=1200).expand(
        image_task_id=submit()
    )
"""


@pytest.fixture(scope="module")
def deployment(image_service: LocalImageServiceProcess, airflow_database_template: Path) -> Iterator[AirflowDeployment]:
    """An Airflow of its own, with the dialect of AceDataCloud and its query rate."""
    environment = connections(image_service, default="acedatacloud")
    with AirflowDeployment(
        environment=environment, parallelism=6, database_template=airflow_database_template
    ) as airflow:
        yield airflow


def test_199_right_results_from_a_few_requests(
    deployment: AirflowDeployment, image_service: LocalImageServiceProcess
) -> None:
    api, database = deployment.api, deployment.database
    run_id = start_runs(deployment, DAG, "many_waits")["many_waits"]

    def deferred() -> int:
        return len(database.trigger_rows("many_waits", run_id))

    wait_until(lambda: deferred() >= COUNT - 1, timeout=TAKES - 20, what="the sensors deferred", interval=2)
    api.clear("many_waits", run_id, [("wait", CLEARED)])
    restart_triggerer(deployment)
    before, begun = image_service.stats()["dialects"]["acedatacloud"], time.monotonic()
    wait_until(lambda: deferred() < COUNT / 2, timeout=300, what="half of the sensors resumed", interval=2)
    after, seconds = image_service.stats()["dialects"]["acedatacloud"], time.monotonic() - begun

    assert api.wait_for_run("many_waits", run_id, timeout=400) == "failed"

    states = Counter(task.state for task in api.task_instances("many_waits", run_id, "wait"))
    assert states == {"success": COUNT - 1, "failed": 1}, states
    submitted = api.xcom("many_waits", run_id, "submit")
    results = api.xcoms("many_waits", run_id, "wait")
    for number, (image_task_id, result) in enumerate(zip(submitted, results, strict=True)):
        if number == UNKNOWN:
            assert result is None
        else:
            assert (result["id"], result["state"]) == (image_task_id, "succeeded")

    for number, task in enumerate(api.task_instances("many_waits", run_id, "wait")):
        log = api.task_log("many_waits", run_id, task)
        named = {other for other in submitted if other in log}
        assert named == {submitted[task.map_index]}, f"the log of sensor {number} speaks of {named}"
        assert number == UNKNOWN or f"Image task {submitted[task.map_index]}: succeeded" in from_the_trigger(log), log

    rounds = seconds / (0.8 * POLL_INTERVAL) + 1
    assert after["batch_queries"] - before["batch_queries"] <= rounds * (COUNT / 50 + 1)


def from_the_trigger(log: str) -> str:
    """Return what a task's log says between its deferral and the event."""
    return log.partition("the triggerer asks every")[2].partition("Trigger fired")[0]
