"""A batch in a real Airflow: deferred, resumed, refused in part, cleared."""

from __future__ import annotations

from pathlib import Path

from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess
from tests.system.deployments import manifest_rows, require_intact, start_runs

DAG = """
with DAG("batch", schedule=None):
    ImageBatchOperator(
        task_id="batch",
        prompts=[f"batched kite {{number}}" for number in range(6)] + ["batched kite [refuse]"],
        output_path="file://{output}",
        options={{"size": "256x256"}},
        conn_id="imagetasks_xhuoapi",
        deferrable=True,
        retries=1,
    )
"""


def test_a_batch_waits_without_a_worker_and_a_clear_repeats_what_was_refused(
    airflow_deployment: AirflowDeployment, local_service: LocalImageServiceProcess, tmp_path: Path
) -> None:
    api = airflow_deployment.api
    before = local_service.stats()["dialects"]["xhuoapi"]
    run_id = start_runs(airflow_deployment, DAG.format(output=tmp_path), "batch")["batch"]
    api.wait_for_task_state("batch", run_id, "batch", "deferred", timeout=60)

    assert api.wait_for_run("batch", run_id, timeout=90) == "failed"
    error = api.xcom("batch", run_id, "batch", key="image_task_error")
    assert error["class"] == "ContentPolicyError"
    folder = api.xcom("batch", run_id, "batch", key="image_batch")["folder"]
    rows = manifest_rows(f"{folder}/manifest.jsonl")
    assert [row["status"] for row in rows] == ["succeeded"] * 6 + ["failed"]
    assert (rows[6]["error"]["class"], rows[6]["error"]["billed"]) == ("ContentPolicyError", "no")
    require_intact(rows)
    progress = api.xcom("batch", run_id, "batch", key="progress")
    assert (progress["total"], progress["succeeded"], progress["failed"]) == (7, 6, 1)

    api.clear("batch", run_id, [("batch", -1)])
    assert api.wait_for_run("batch", run_id, timeout=60) == "failed"

    after = local_service.stats()["dialects"]["xhuoapi"]
    assert after["created"] - before["created"] == 6
    assert after["refused"]["forbidden"] - before["refused"].get("forbidden", 0) == 2
    assert manifest_rows(f"{folder}/manifest.jsonl")[:6] == rows[:6]
