"""A triggerer that is killed in the middle of a wait changes neither the wait nor its deadline."""

from __future__ import annotations

import time

from dev.airflow_deployment import AirflowDeployment
from dev.rest_api import wait_until
from tests.system.deployments import restart_triggerer, start_runs

TIMEOUT = 60

DAG = f"""
with DAG("killed_triggerer", schedule=None):
    never = ImageTaskSubmitOperator(task_id="submit_never", prompt="a kite that nobody finishes [never]")
    ImageTaskSensor(task_id="never", image_task_id=never.output, deferrable=True, timeout={TIMEOUT}, retries=2)
    later = ImageTaskSubmitOperator(task_id="submit_later", prompt="a kite that takes a while [latency=30]")
    ImageTaskSensor(task_id="later", image_task_id=later.output, deferrable=True, timeout=300)
"""


def test_the_deadline_outlives_the_triggerer(airflow_deployment: AirflowDeployment) -> None:
    api, database = airflow_deployment.api, airflow_deployment.database
    run_id = start_runs(airflow_deployment, DAG, "killed_triggerer")["killed_triggerer"]

    def deadlines() -> dict[str, float]:
        rows = database.trigger_rows("killed_triggerer", run_id)
        return {row["task_id"]: row["kwargs"]["deadline"] for row in rows}

    wait_until(lambda: len(deadlines()) == 2, timeout=60, what="both sensors deferred")
    before = deadlines()
    restart_triggerer(airflow_deployment)

    assert deadlines() == before
    assert api.wait_for_run("killed_triggerer", run_id, timeout=120) == "failed"
    ended_by = time.time()

    tasks = {task.task_id: task for task in api.task_instances("killed_triggerer", run_id)}
    never = tasks["never"]
    assert (tasks["later"].state, never.state, never.try_number) == ("success", "failed", 1)
    assert before["never"] < ended_by < before["never"] + 20
    log = api.task_log("killed_triggerer", run_id, never)
    assert "ImageTaskTimeoutError" in log
    assert "may have been billed" in log
    assert "Clear the sensor to wait again" in log
