"""A triggerer that is killed in the middle of a wait changes neither the wait nor its deadline."""

from __future__ import annotations

import time

from dev.airflow_deployment import AirflowDeployment
from dev.rest_api import wait_until

TIMEOUT = 60

DAG = f"""
from airflow.sdk import DAG
from airflow_provider_imagetasks.operators.image_task import ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor

with DAG("killed_triggerer", schedule=None):
    never = ImageTaskSubmitOperator(task_id="submit_never", prompt="a kite that nobody finishes [never]")
    ImageTaskSensor(task_id="never", image_task_id=never.output, deferrable=True, timeout={TIMEOUT}, retries=2)
    later = ImageTaskSubmitOperator(task_id="submit_later", prompt="a kite that takes a while [latency=30]")
    ImageTaskSensor(task_id="later", image_task_id=later.output, deferrable=True, timeout=300)
"""


def test_the_deadline_outlives_the_triggerer(airflow_deployment: AirflowDeployment) -> None:
    api, database = airflow_deployment.api, airflow_deployment.database
    airflow_deployment.write_dag("killed_triggerer", DAG)
    run_id = api.trigger_dag("killed_triggerer")

    def deadlines() -> dict[str, float]:
        rows = database.trigger_rows("killed_triggerer", run_id)
        return {row["task_id"]: row["kwargs"]["deadline"] for row in rows}

    wait_until(lambda: len(deadlines()) == 2, timeout=60, what="both sensors deferred")
    before = deadlines()
    airflow_deployment.kill("triggerer")
    airflow_deployment.start_component("triggerer")
    after = deadlines()

    assert after == before
    assert api.wait_for_run("killed_triggerer", run_id, timeout=120) == "failed"
    ended_by = time.time()

    states = {task.task_id: task.state for task in api.task_instances("killed_triggerer", run_id)}
    assert states["later"] == "success"
    assert states["never"] == "failed"
    assert before["never"] < ended_by < before["never"] + 20
    (never,) = [task for task in api.task_instances("killed_triggerer", run_id) if task.task_id == "never"]
    assert never.try_number == 1
    log = api.task_log("killed_triggerer", run_id, never)
    assert "ImageTaskTimeoutError" in log
    assert "may have been billed" in log
    assert "Clear the sensor to wait again" in log
