"""The same pictures through a real Airflow: as one batch, and through mapped tasks made of common parts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.batch.process_cpu import airflow_cpu_seconds
from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess

CHECKOUT = Path(__file__).resolve().parents[2]
LATENCY = 5
"""Seconds that an image task takes."""
SIZE = "256x256"
_AIRFLOWS_OWN = {
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "5",
    "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "5",
}
"""Airflow's defaults, where the settings of the tests make its components look more often than they do for users."""
_IDLE_SECONDS = 20.0
_BEFORE = 4
"""Pictures that each way makes before it is measured: what Airflow loads when it needs it first is not counted."""
_ASK_SECONDS = 5.0
"""How often the run is asked for, by an API whose CPU is counted."""
_PATIENCE = 1500.0

_MAPPED = """
import os

import requests
from airflow.sdk import DAG, task, task_group
from airflow.providers.http.hooks.http import HttpHook
from airflow.providers.http.sensors.http import HttpSensor

HEADERS = {{"Content-Type": "application/json"}}
PULL = "ti.xcom_pull(task_ids='picture.submit', map_indexes=ti.map_index)"

@task
def submit(prompt: str) -> str:
    body = {{"prompt": prompt, "model": "gpt-image-2", "size": "{size}", "async": True}}
    hook = HttpHook(method="POST", http_conn_id="images")
    return hook.run("openai/images/generations", json=body).json()["task_id"]

@task
def download(image_task_id: str) -> str:
    hook = HttpHook(method="POST", http_conn_id="images")
    record = hook.run("openai/tasks", json={{"action": "retrieve", "id": image_task_id}}).json()
    path = os.path.join({output!r}, image_task_id + ".png")
    with open(path, "wb") as file:
        file.write(requests.get(record["response"]["data"][0]["url"], timeout=60).content)
    return path

@task_group
def picture(prompt: str):
    submitted = submit(prompt)
    wait = HttpSensor(
        task_id="wait",
        http_conn_id="images",
        method="POST",
        endpoint="openai/tasks",
        request_params='{{"action": "retrieve", "id": "{{{{ ' + PULL + ' }}}}"}}',
        headers=HEADERS,
        response_check=lambda response: bool(response.json().get("finished_at")),
        poke_interval=2,
        timeout=600,
    )
    submitted >> wait >> download(submitted)

with DAG("{name}", schedule=None, max_active_tasks=64):
    picture.expand(prompt=[f"{name} kite {{number}}" for number in range({count})])
"""

_BATCH = """
from airflow.sdk import DAG
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator

with DAG("{name}", schedule=None):
    ImageBatchOperator(
        task_id="batch",
        prompts=[f"{name} kite {{number}}" for number in range({count})],
        output_path="file://{output}",
        options={{"size": "{size}"}},
        deferrable=True,
    )
"""


@dataclass(frozen=True, kw_only=True)
class PipelineFigures:
    """What pictures cost one way.

    :param cpu_seconds: of all Airflow processes and their children, from the trigger of the run to its end.
    :param seconds: of the clock.
    """

    pictures: int
    cpu_seconds: float
    seconds: float

    @property
    def cpu_per_picture(self) -> float:
        """Seconds."""
        return self.cpu_seconds / self.pictures


@dataclass(frozen=True, kw_only=True)
class PipelineComparison:
    """Both ways, in one run of one Airflow, and what that Airflow uses when it has nothing to do.

    :param idle_cpu: seconds of CPU a second.
    """

    batch: PipelineFigures
    mapped: PipelineFigures
    idle_cpu: float


def compare_pipelines(folder: Path, say: Callable[[str], None], *, batch: int, mapped: int) -> PipelineComparison:
    """Make pictures both ways and measure.

    :param folder: for the pictures.
    :param batch: pictures as one batch; ``mapped`` likewise through mapped tasks.
    """
    with LocalImageServiceProcess(latency=str(LATENCY), folder=CHECKOUT) as service:
        environment = {
            **_AIRFLOWS_OWN,
            "AIRFLOW_CONN_IMAGETASKS_DEFAULT": service.connection("acedatacloud"),
            "AIRFLOW_CONN_IMAGES": f'{{"conn_type": "http", "host": "{service.url}/acedatacloud"}}',
        }
        with AirflowDeployment(environment=environment, parallelism=4) as deployment:
            for name, source, count in (("batch", _BATCH, batch), ("mapped", _MAPPED, mapped)):
                for dag_id, number in ((name, count), (f"{name}_before", _BEFORE)):
                    (folder / dag_id).mkdir()
                    text = source.format(name=dag_id, output=str(folder / dag_id), size=SIZE, count=number)
                    deployment.write_dag(dag_id, text)
                say(f"{_BEFORE} pictures before those that count, {name}")
                _run(deployment, f"{name}_before", _BEFORE, folder)
            say("an idle Airflow")
            before = airflow_cpu_seconds(deployment)
            time.sleep(_IDLE_SECONDS)
            idle = (airflow_cpu_seconds(deployment) - before) / _IDLE_SECONDS
            say(f"{batch:,} pictures as a batch")
            as_batch = _run(deployment, "batch", batch, folder)
            say(f"{mapped:,} pictures through mapped tasks")
            as_mapped = _run(deployment, "mapped", mapped, folder)
    return PipelineComparison(batch=as_batch, mapped=as_mapped, idle_cpu=idle)


def _run(deployment: AirflowDeployment, dag_id: str, count: int, folder: Path) -> PipelineFigures:
    before, began = airflow_cpu_seconds(deployment), time.monotonic()
    deployment.api.run_dag(dag_id, timeout=_PATIENCE, interval=_ASK_SECONDS)
    seconds = time.monotonic() - began
    # Processes that have just ended are counted once they have been waited for.
    time.sleep(2)
    figures = PipelineFigures(pictures=count, cpu_seconds=airflow_cpu_seconds(deployment) - before, seconds=seconds)
    found = len(list((folder / dag_id).glob("*.png")))
    if found != count:
        raise RuntimeError(f"{dag_id}: {found} pictures instead of {count}")
    return figures
