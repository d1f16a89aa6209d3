"""Celery, several triggerers, PostgreSQL and object storage: whatever is killed, every picture is there exactly once.

Run by ``make test-cluster``, which needs PostgreSQL and Redis installed.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterator

import pytest
import requests
from PIL import Image

from dev.airflow_cluster import AirflowCluster
from dev.local_image_service import LocalImageServiceProcess
from dev.memory_peaks import MemoryPeaks
from tests.system.cluster_interventions import Director
from tests.system.conftest import CHECKOUT
from tests.system.deployments import write_dag

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

PICTURE = re.compile(r"(?P<id>[^/]+)-0\.png$")
# Long enough that every intervention finds waits in progress.
LATENCY = "20-60"


BATCH_SIZE = 300
BATCH = f"""
import os

with DAG("batch_of_many", schedule=None, default_args={{"retries": 4, "retry_delay": timedelta(seconds=10)}}):
    ImageBatchOperator(
        task_id="batch",
        prompts=[f"kite number {{number}}" for number in range({BATCH_SIZE})],
        options={{"size": "256x256"}},
        max_active_tasks=100,
        output_path=os.environ["IMAGETASKS_EXAMPLE_OUTPUT"] + "/batch/",
        deferrable=True,
    )
"""

RUNS = {"batch_of_many": 1, "example_image_task_mapped": 4}
EXPECTED = BATCH_SIZE + 4 * 6
"""Pictures: those of the batch, and six in each run of the example."""


@pytest.fixture(scope="module")
def cluster(image_service: LocalImageServiceProcess) -> Iterator[AirflowCluster]:
    # This service knows a submission by its key. Elsewhere a worker killed while it submits needs a person's decision.
    connection = image_service.connection("aigptimage", submit_rate="20/s", query_rate="10/s")
    with AirflowCluster(
        dag_folders={"examples": CHECKOUT / "example_dags"}, environment={"AIRFLOW_CONN_IMAGETASKS_DEFAULT": connection}
    ) as cluster:
        yield cluster


def original(service: LocalImageServiceProcess, image_task_id: str) -> bytes:
    """Return the picture as the service made it."""
    with requests.Session() as session:
        session.trust_env = False
        response = session.get(f"{service.url}/files/{image_task_id}/0.png", timeout=30)
        response.raise_for_status()
        return response.content


def test_every_picture_is_there_exactly_once_whatever_is_killed(
    cluster: AirflowCluster, image_service: LocalImageServiceProcess
) -> None:
    director = Director(cluster)
    with MemoryPeaks(lambda: {"image service": image_service.process, **cluster.processes}) as memory:
        runs = []
        write_dag(cluster.airflow, "batch_of_many", BATCH)
        for dag_id, count in RUNS.items():
            cluster.airflow.wait_for_dag(dag_id)
            runs += [(dag_id, cluster.airflow.api.trigger_dag(dag_id)) for _ in range(count)]
        director.note(f"{len(runs)} runs started, {EXPECTED} pictures")
        killed = {director.kill_worker("submit")}
        director.wait_for("the batch submits", lambda: image_service.stats()["active_tasks"] >= BATCH_SIZE / 10)
        killed.add(director.kill_worker("batch"))
        director.kill_triggerer(holding=2)
        frozen, thaw_at = director.freeze_triggerer()
        killed.add(director.kill_worker("save"))
        director.thaw_triggerer(frozen, thaw_at)
        director.restart_postgresql()
        director.wait_for_runs(runs, timeout=420)

    stats = image_service.stats()
    submitted = [entry["id"] for entry in stats["created"]]
    objects = dict(cluster.s3.objects())
    pictures = {key: found["id"] for key in objects if (found := PICTURE.search(key))}
    tries = cluster.airflow.database.query("SELECT try_number, count(*) FROM task_instance GROUP BY 1 ORDER BY 1")
    interrupted = cluster.airflow.database.query(
        "SELECT hostname, count(*) FROM task_instance_history GROUP BY 1 ORDER BY 1"
    )
    print(
        f"\n{director.kills} components killed, one frozen, PostgreSQL restarted; ended by themselves: {director.ended}"
    )
    print(f"asked for {EXPECTED} pictures; the service counts {len(submitted)} submissions")
    print(f"in S3: {len(pictures)} pictures of {len(set(pictures.values()))} image tasks, {len(objects)} objects")
    print(f"task instances by tries: {[(row['try_number'], row['count']) for row in tries]}")
    print(f"tries cut off, by worker: {[(row['hostname'], row['count']) for row in interrupted]}")
    print(f"status requests: {stats['dialects']['aigptimage']['status_queries']}")
    print(memory.table(), flush=True)

    # The kills struck tasks at work.
    assert {row["hostname"] for row in interrupted} >= {cluster.address(name) for name in killed}
    assert len(submitted) == EXPECTED
    assert Counter(pictures.values()) == Counter(submitted)
    for key, image_task_id in pictures.items():
        content = objects[key]
        assert hashlib.sha256(content).digest() == hashlib.sha256(original(image_service, image_task_id)).digest(), key
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
