"""Pictures that a service deletes within the hour are stored in time, also where each slot of the pool is taken.

Run by ``make test-expiry``, which prints what was measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess
from dev.postgresql_server import PostgresqlServer
from dev.rest_api import wait_until
from tests.system.conftest import CHECKOUT
from tests.system.deployments import connections, manifest_rows, require_intact, require_success, write_dag

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

PICTURES = 500
SLOTS = 2
MOST_SECONDS = 60.0
LATENCY = re.compile(r"\[latency=(\d+)\]")
DAGS = """
import time

with DAG("others", schedule=None):

    @task(pool="narrow")
    def work(number: int) -> None:
        time.sleep(8)

    work.expand(number=list(range(300)))

with DAG("pictures", schedule=None):
    ImageBatchOperator(
        task_id="batch",
        # They end one by one over some three minutes, after the last was submitted.
        prompts=[f"picture {{number}} [latency={{70 + number * 163 % 170}}]" for number in range({pictures})],
        options={{"width": 256, "height": 256}},
        conn_id="imagetasks_replicate",
        output_path="file://{folder}",
        deferrable=True,
        pool="narrow",
        # What waits for a slot may not wait behind all that was there before.
        priority_weight=10,
    )
"""


@pytest.fixture(scope="module")
def service(orderly_termination: None) -> Iterator[LocalImageServiceProcess]:
    with LocalImageServiceProcess(folder=CHECKOUT) as service:
        yield service


@pytest.fixture(scope="module")
def deployment(service: LocalImageServiceProcess) -> Iterator[AirflowDeployment]:
    with (
        PostgresqlServer() as postgresql,
        AirflowDeployment(
            environment=connections(service, replicate="replicate"), parallelism=6, database_url=postgresql.url()
        ) as running,
    ):
        yield running


def test_a_picture_is_stored_within_a_minute_of_its_end_though_the_pool_is_full(
    deployment: AirflowDeployment, service: LocalImageServiceProcess, tmp_path: Path
) -> None:
    api = deployment.api
    api.request("POST", "/pools", json={"name": "narrow", "slots": SLOTS, "description": ""})
    write_dag(deployment, "pictures", DAGS.format(folder=tmp_path, pictures=PICTURES))
    deployment.wait_for_dag("others")
    others = api.trigger_dag("others")
    wait_until(lambda: api.request("GET", "/pools/narrow")["open_slots"] == 0 or None, timeout=90, what="a full pool")

    run_id = api.trigger_dag("pictures")
    require_success(deployment, "pictures", run_id, timeout=700)

    states = {task.state for task in api.task_instances("others", others)}
    assert "running" in states
    assert states & {None, "scheduled", "queued"}
    rows = manifest_rows(api.xcom("pictures", run_id, "batch")["manifest"])
    require_intact(rows)
    ended = {one["id"]: one["created_at"] + _latency(one["prompt"]) for one in service.stats()["created"]}
    lain = sorted(
        Path(urlsplit(row["files"][0]["uri"]).path).stat().st_mtime - ended[row["image_task_id"]] for row in rows
    )
    starts = api.task_log("pictures", run_id, api.task_instances("pictures", run_id)[0]).count("the triggerer waits")
    print(
        f"\n{len(lain)} pictures, each slot of the pool taken, {starts} deferrals: from finished to stored "
        f"p50 {lain[len(lain) // 2]:.0f} s, p99 {lain[len(lain) * 99 // 100]:.0f} s, longest {lain[-1]:.0f} s"
    )
    assert len(lain) == PICTURES
    assert lain[len(lain) * 99 // 100] <= MOST_SECONDS


def _latency(prompt: str) -> int:
    told = LATENCY.search(prompt)
    assert told is not None
    return int(told[1])
