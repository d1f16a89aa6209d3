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

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "example_dags").glob("example_*.py"))
DAG_IDS = [dag_id for path in EXAMPLES for dag_id in re.findall(r'dag_id="(\w+)"', path.read_text())]


@pytest.fixture(scope="module")
def run_ids(airflow_deployment: AirflowDeployment) -> dict[str, str]:
    """A run of every example, all started together because most of their time is waiting."""
    for dag_id in DAG_IDS:
        airflow_deployment.wait_for_dag(dag_id)
    return {dag_id: airflow_deployment.api.trigger_dag(dag_id) for dag_id in DAG_IDS}


def saved_files(api: AirflowRestApi, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    saves = {task.task_id for task in api.task_instances(dag_id, run_id) if task.short_id == "save"}
    return [file for task_id in saves for saved in api.xcoms(dag_id, run_id, task_id) for file in saved["files"]]


def test_every_example_file_is_covered() -> None:
    assert len(DAG_IDS) >= len(EXAMPLES) > 0


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_example_dag_stores_its_pictures(
    airflow_deployment: AirflowDeployment, pictures_folder: Path, run_ids: dict[str, str], dag_id: str
) -> None:
    api, run_id = airflow_deployment.api, run_ids[dag_id]
    state = api.wait_for_run(dag_id, run_id, timeout=180)
    assert state == "success", api.failure_report(dag_id, run_id)

    files = saved_files(api, dag_id, run_id)
    submitted = [task for task in api.task_instances(dag_id, run_id) if task.short_id == "submit"]
    assert len(files) == len(submitted) > 0
    assert len({file["sha256"] for file in files}) == len(files)
    for file in files:
        path = Path(urlsplit(file["uri"]).path)
        assert path.is_relative_to(pictures_folder)
        content = path.read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file["sha256"], file["bytes"])
        with Image.open(path) as picture:
            picture.load()
            assert picture.size == (file["width"], file["height"])
