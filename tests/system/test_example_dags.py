"""Each example Dag runs in a real Airflow against the local image service, and its pictures are real."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from dev.airflow_deployment import AirflowDeployment
from dev.rest_api import AirflowRestApi
from tests.system.deployments import manifest_rows, require_success

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "example_dags").glob("example_*.py"))
# One is started by the pictures of another, and one waits for a person: see test_good_citizen.py.
# Loops need Airflow 3.4: see test_task_loops.py.
IN_LOOPS = {"example_image_task_loop", "example_image_task_loop_person"}
ELSEWHERE = {"example_image_task_new_pictures", "example_image_task_approval", *IN_LOOPS}
FOUND = [dag_id for path in EXAMPLES for dag_id in re.findall(r'dag_id="(\w+)"', path.read_text())]
DAG_IDS = [dag_id for dag_id in FOUND if dag_id not in ELSEWHERE]


@pytest.fixture(scope="module")
def run_ids(airflow_deployment: AirflowDeployment) -> dict[str, str]:
    """A run of every example, all started together because most of their time is waiting."""
    pool = {"name": "image_account", "slots": 2, "include_deferred": True, "description": "at the same time"}
    airflow_deployment.api.request("POST", "/pools", json=pool)
    for dag_id in DAG_IDS:
        airflow_deployment.wait_for_dag(dag_id)
    return {dag_id: airflow_deployment.api.trigger_dag(dag_id) for dag_id in DAG_IDS}


def saved_files(api: AirflowRestApi, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    saves = {task.task_id for task in api.task_instances(dag_id, run_id) if task.short_id == "save"}
    files = [file for task_id in saves for saved in api.xcoms(dag_id, run_id, task_id) for file in saved["files"]]
    rows = [row for result in batch_results(api, dag_id, run_id) for row in manifest_rows(result["manifest"])]
    return files + [file for row in rows for file in row["files"]]


def batch_results(api: AirflowRestApi, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    names = sorted({task.task_id for task in api.task_instances(dag_id, run_id)})
    results = [result for name in names for result in api.xcoms(dag_id, run_id, name)]
    return [result for result in results if isinstance(result, dict) and "manifest" in result]


def test_every_example_file_is_covered() -> None:
    assert len(FOUND) >= len(EXAMPLES) > 0
    assert set(FOUND) > ELSEWHERE


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_example_dag_stores_its_pictures(
    airflow_deployment: AirflowDeployment, pictures_folder: Path, run_ids: dict[str, str], dag_id: str
) -> None:
    api, run_id = airflow_deployment.api, run_ids[dag_id]
    require_success(airflow_deployment, dag_id, run_id, timeout=180)

    files = saved_files(api, dag_id, run_id)
    submitted = [task for task in api.task_instances(dag_id, run_id) if task.short_id == "submit"]
    in_batches = sum(result["total"] for result in batch_results(api, dag_id, run_id))
    assert len(files) == len(submitted) + in_batches > 0
    assert len({file["sha256"] for file in files}) == len(files)
    for file in files:
        path = Path(urlsplit(file["uri"]).path)
        assert path.is_relative_to(pictures_folder)
        content = path.read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file["sha256"], file["bytes"])
        with Image.open(path) as picture:
            picture.load()
            assert picture.size == (file["width"], file["height"])
