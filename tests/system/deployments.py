"""What the suites do with a real Airflow: connect it, write Dags, run them, kill it, and read what a batch left."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess

REST_SERVICES = ("acedatacloud", "xhuoapi", "aigptimage", "kie")
QUEUE_SERVICES = ("fal", "replicate")
RESPONSE_SERVICES = ("openai",)
TOOL_SERVICES = ("acedatacloud_mcp", "gpt_image_mcp")
_IMPORTS = """
from datetime import timedelta
from airflow.sdk import DAG, AssetAlias, task, task_group
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
"""


def connections(image_service: LocalImageServiceProcess, **services: str) -> dict[str, str]:
    """Return the environment in which ``imagetasks_<name>`` is a connection to a service, by name."""
    return {
        f"AIRFLOW_CONN_IMAGETASKS_{name}".upper(): image_service.connection(service)
        for name, service in services.items()
    }


def write_dag(deployment: AirflowDeployment, dag_id: str, source: str) -> None:
    """Write a file with one Dag or more.

    :param source: the file without the imports that all need.
    """
    deployment.write_dag(dag_id, _IMPORTS + source)


def start_runs(deployment: AirflowDeployment, source: str, *dag_ids: str, run_id: str | None = None) -> dict[str, str]:
    """Write a file with some Dags, start a run of each, and return the ids of the runs."""
    write_dag(deployment, dag_ids[0], source)
    for dag_id in dag_ids:
        deployment.wait_for_dag(dag_id)
    return {dag_id: deployment.api.trigger_dag(dag_id, run_id=run_id) for dag_id in dag_ids}


def require_success(deployment: AirflowDeployment, dag_id: str, run_id: str, *, timeout: float = 120) -> None:
    """Wait for the end of a run, and fail with its logs unless it ended well."""
    state = deployment.api.wait_for_run(dag_id, run_id, timeout=timeout)
    assert state == "success", deployment.api.failure_report(dag_id, run_id)


def restart_triggerer(deployment: AirflowDeployment) -> None:
    """Kill the triggerer without notice, and start another."""
    deployment.kill("triggerer")
    deployment.start_component("triggerer")


def manifest_rows(uri: str) -> list[dict[str, Any]]:
    """Return the rows of a manifest on the local disk."""
    return [json.loads(line) for line in Path(urlsplit(uri).path).read_text().splitlines()]


def require_intact(rows: list[dict[str, Any]]) -> None:
    """Fail where a file of a manifest is not what the manifest says."""
    for row in rows:
        for file in row["files"]:
            content = Path(urlsplit(file["uri"]).path).read_bytes()
            assert (hashlib.sha256(content).hexdigest(), len(content)) == (file["sha256"], file["bytes"])
