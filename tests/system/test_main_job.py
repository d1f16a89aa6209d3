"""The main job under a real scheduler: many mapped prompts, every sensor mode, the same outcome."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess
from tests.system.deployments import REST_SERVICES, require_success, start_runs

PROMPT_COUNT = 14
TOO_FAST = ("too_many_requests", "429")
"""What the dialects call a submission that came too fast. No other test on this service makes one."""

MAPPED_DAG = """
prompts = [f"{service} kite {{number}}" for number in range({count})]
prompts[5] += " [429=1,retry-after=2]"

with DAG("many_{service}", schedule=None, default_args={{"retries": 2, "retry_delay": timedelta(seconds=5)}}):
    submit = ImageTaskSubmitOperator.partial(task_id="submit", conn_id="imagetasks_{service}").expand(prompt=prompts)
    wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output, deferrable=True, conn_id="imagetasks_{service}")
    ImageTaskDownloadOperator(task_id="save", image_task_id=wait.output, output_path="file://{folder}/{service}")
"""

MODES_DAG = """
with DAG("every_mode", schedule=None):
    submit = ImageTaskSubmitOperator(task_id="submit", prompt="one kite for all modes [latency=6]")
    ImageTaskSensor(task_id="poke", image_task_id=submit.output, mode="poke", poll_interval=2)
    ImageTaskSensor(task_id="reschedule", image_task_id=submit.output, mode="reschedule", poll_interval=2)
    ImageTaskSensor(task_id="deferrable", image_task_id=submit.output, deferrable=True, poll_interval=2)
"""


@pytest.fixture(scope="module")
def runs(airflow_deployment: AirflowDeployment, pictures_folder: Path) -> dict[str, str]:
    """A run of each Dag, all started together because most of their time is waiting."""
    mapped = [MAPPED_DAG.format(service=name, count=PROMPT_COUNT, folder=pictures_folder) for name in REST_SERVICES]
    dag_ids = ["every_mode", *(f"many_{name}" for name in REST_SERVICES)]
    return start_runs(airflow_deployment, "".join([MODES_DAG, *mapped]), *dag_ids)


@pytest.mark.parametrize("service", REST_SERVICES)
def test_every_mapped_prompt_is_submitted_once_and_gives_a_picture_of_its_own_also_where_one_is_asked_to_slow_down(
    airflow_deployment: AirflowDeployment, local_service: LocalImageServiceProcess, runs: dict[str, str], service: str
) -> None:
    dag_id = f"many_{service}"

    require_success(airflow_deployment, dag_id, runs[dag_id], timeout=180)

    refused = local_service.stats()["dialects"][service]["refused"]
    assert sum(refused.get(code, 0) for code in TOO_FAST) == 1
    created = [entry["prompt"] for entry in local_service.stats()["created"] if entry["prompt"].startswith(service)]
    assert len(created) == len(set(created)) == PROMPT_COUNT
    (saved,) = airflow_deployment.api.xcoms(dag_id, runs[dag_id], "save")
    assert len({file["sha256"] for file in saved["files"]}) == PROMPT_COUNT
    assert all(Path(urlsplit(file["uri"]).path).is_file() for file in saved["files"])


def test_every_sensor_mode_gives_the_same_result(airflow_deployment: AirflowDeployment, runs: dict[str, str]) -> None:
    api, run_id = airflow_deployment.api, runs["every_mode"]

    require_success(airflow_deployment, "every_mode", run_id, timeout=180)

    results = [api.xcoms("every_mode", run_id, task_id)[0] for task_id in ("poke", "reschedule", "deferrable")]
    assert results[0]["state"] == "succeeded"
    assert results[0] == results[1] == results[2]
