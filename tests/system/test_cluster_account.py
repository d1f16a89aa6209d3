"""One account over two Celery workers and two triggerers, its store in PostgreSQL, while a worker and a triggerer die.

Run by ``make test-cluster-account``, which needs PostgreSQL and Redis installed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest

from airflow_provider_imagetasks.accounts.report import AccountReport, reports
from airflow_provider_imagetasks.accounts.store import AccountStore
from dev.airflow_cluster import AirflowCluster
from dev.local_image_service import LocalImageServiceProcess
from dev.postgresql_server import PostgresqlServer
from tests.system.cluster_interventions import Director
from tests.system.conftest import CHECKOUT
from tests.system.deployments import write_dag

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ROWS, MAPPED = 100, 16
EXPECTED = 2 * ROWS + MAPPED
PLACES = 10
BACK_WITHIN = 60
"""Seconds after which the places of who died are used by others."""
DAGS = f"""
import os

AGAIN = {{"retries": 4, "retry_delay": timedelta(seconds=5)}}
OPTIONS = {{"size": "256x256"}}

for name, conn_id in (("covers", "imagetasks_one"), ("thumbnails", "imagetasks_other")):
    with DAG(name, schedule=None, default_args=AGAIN):
        ImageBatchOperator(
            task_id="batch",
            prompts=[f"{{name}} {{number}}" for number in range({ROWS})],
            options=OPTIONS,
            conn_id=conn_id,
            output_path=os.environ["IMAGETASKS_EXAMPLE_OUTPUT"] + "/" + name,
            deferrable=True,
        )

with DAG("mapped", schedule=None, default_args=AGAIN):
    submit = ImageTaskSubmitOperator.partial(task_id="submit", options=OPTIONS, conn_id="imagetasks_one").expand(
        prompt=[f"mapped {{number}}" for number in range({MAPPED})]
    )
    wait = ImageTaskSensor.partial(task_id="wait", conn_id="imagetasks_one", deferrable=True)
    wait.expand(image_task_id=submit.output)
"""
NAMES = ("covers", "thumbnails", "mapped")


@pytest.fixture(scope="module")
def service(orderly_termination: None) -> Iterator[LocalImageServiceProcess]:
    limits = ("--create-limit", "20/10s", "--max-active", str(PLACES))
    with LocalImageServiceProcess(latency="3-5", arguments=limits, folder=CHECKOUT) as service:
        yield service


@pytest.fixture(scope="module")
def store(orderly_termination: None) -> Iterator[PostgresqlServer]:
    with PostgresqlServer() as server:
        yield server


@pytest.fixture(scope="module")
def cluster(service: LocalImageServiceProcess, store: PostgresqlServer) -> Iterator[AirflowCluster]:
    fields = json.loads(service.connection("acedatacloud"))
    fields |= {"password": "key-of-the-shop"}
    fields["extra"] |= {
        "submit_rate": "20/10s",
        "max_active_tasks": PLACES,
        "query_rate": "10/s",
        "budget_per_day": "100 USD",
        "prices": {"gpt-image-2": "0.04 USD"},
    }
    value = json.dumps(fields)
    environment = {
        "AIRFLOW_CONN_IMAGETASKS_ONE": value,
        "AIRFLOW_CONN_IMAGETASKS_OTHER": value,
        "AIRFLOW__IMAGETASKS__ACCOUNT_STORE": store.url(),
    }
    with AirflowCluster(dag_folders={}, environment=environment) as cluster:
        yield cluster


def test_none_is_refused_nothing_is_paid_twice_and_places_come_back_whoever_dies(
    cluster: AirflowCluster, service: LocalImageServiceProcess, store: PostgresqlServer
) -> None:
    director = Director(cluster)
    write_dag(cluster.airflow, NAMES[0], DAGS)
    for dag_id in NAMES:
        cluster.airflow.wait_for_dag(dag_id)
    runs = [(dag_id, cluster.airflow.api.trigger_dag(dag_id)) for dag_id in NAMES]
    director.wait_for("all places are taken", lambda: service.stats()["active_tasks"] >= PLACES)
    director.kill_worker("batch")
    director.kill_triggerer(holding=1)
    director.wait_for_runs(runs, timeout=600)

    def report() -> AccountReport:
        (found,) = reports(AccountStore(store.url(), only_reads=True))
        return found

    director.wait_for("all places are given back", lambda: report().running == 0, timeout=BACK_WITHIN)
    stats = service.stats()
    moments = sorted(entry["created_at"] for entry in stats["created"])
    longest = max(later - first for first, later in pairwise(moments))
    refused = stats["dialects"]["acedatacloud"]["refused"]
    print(
        f"\n{len(moments)} pictures in {moments[-1] - moments[0]:.0f} s, none for {longest:.0f} s; refused: {refused}"
    )
    assert refused == {}
    assert stats["peak_active_tasks"] <= PLACES
    assert len(moments) == EXPECTED
    assert set(Counter(entry["prompt"] for entry in stats["created"]).values()) == {1}
    assert longest <= BACK_WITHIN
    spent = Counter({line["dag_id"]: 0 for line in report().spending})
    for line in report().spending:
        spent[line["dag_id"]] += line["amount"]
    assert spent == {name: pictures * 40_000 for name, pictures in zip(NAMES, (ROWS, ROWS, MAPPED), strict=True)}
