"""Four Dags with one key: none is refused, the rate is used, what is spent is known. Run by ``make test-accounts``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess
from tests.system.conftest import CHECKOUT
from tests.system.deployments import require_success, start_runs

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

ROWS, MAPPED, LOOP = 80, 40, 20
EXPECTED = 2 * ROWS + MAPPED + LOOP
DAGS = """
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.tasks import ImageRequest

OPTIONS = {{"size": "256x256"}}

for name, conn_id in (("covers", "imagetasks_one"), ("thumbnails", "imagetasks_other")):
    with DAG(name, schedule=None):
        ImageBatchOperator(
            task_id="batch",
            prompts=[f"{{name}} {{number}}" for number in range({rows})],
            options=OPTIONS,
            conn_id=conn_id,
            output_path="file://{output}/" + name,
            deferrable=True,
        )

with DAG("mapped", schedule=None):
    ImageTaskSubmitOperator.partial(
        task_id="submit", options=OPTIONS, conn_id="imagetasks_one", retries=0
    ).expand(prompt=[f"mapped {{number}}" for number in range({mapped})])

with DAG("loop", schedule=None):

    @task(retries=0)
    def submit() -> list[str]:
        hook = ImageTaskHook("imagetasks_other")
        return [hook.submit(ImageRequest(prompt=f"loop {{number}}", options=OPTIONS)).id for number in range({loop})]

    submit()
"""


@pytest.fixture(scope="module")
def service(orderly_termination: None) -> Iterator[LocalImageServiceProcess]:
    limits = ("--create-limit", "20/10s", "--max-active", "10")
    with LocalImageServiceProcess(latency="1", arguments=limits, folder=CHECKOUT) as service:
        yield service


@pytest.fixture(scope="module")
def airflow(service: LocalImageServiceProcess, airflow_database_template: Path) -> Iterator[AirflowDeployment]:
    """An Airflow with two connections to one account, whose store is where it is by default."""
    fields = json.loads(service.connection("acedatacloud"))
    fields |= {"password": "key-of-the-shop"}
    fields["extra"] |= {
        "submit_rate": "20/10s",
        "max_active_tasks": 10,
        "query_rate": "10/s",
        "budget_per_day": "100 USD",
        "prices": {"gpt-image-2": "0.04 USD"},
    }
    value = json.dumps(fields)
    with AirflowDeployment(
        environment={
            "AIRFLOW_CONN_IMAGETASKS_ONE": value,
            "AIRFLOW_CONN_IMAGETASKS_OTHER": value,
            "AIRFLOW__IMAGETASKS__ACCOUNT_STORE": "",
        },
        database_template=airflow_database_template,
        parallelism=8,
    ) as deployment:
        yield deployment


def test_four_dags_keep_to_one_account_and_use_what_it_allows(
    airflow: AirflowDeployment, service: LocalImageServiceProcess, tmp_path: Path
) -> None:
    source = DAGS.format(rows=ROWS, mapped=MAPPED, loop=LOOP, output=tmp_path)
    names = ("covers", "thumbnails", "mapped", "loop")

    runs = start_runs(airflow, source, *names)
    for dag_id, run_id in runs.items():
        require_success(airflow, dag_id, run_id, timeout=400)

    stats = service.stats()
    counts = stats["dialects"]["acedatacloud"]
    moments = sorted(entry["created_at"] for entry in stats["created"])
    # What is free at the beginning is no part of the rate, and at the end there are only tasks that Airflow starts.
    rows = [entry["created_at"] for entry in stats["created"] if not entry["prompt"].startswith("mapped")]
    busy = [moment for moment in moments[20:] if moment <= max(rows)]
    used = (len(busy) - 1) / (busy[-1] - busy[0]) / 2
    refused = counts["refused"]
    print(f"\n{len(moments)} pictures in {moments[-1] - moments[0]:.0f} s, {used:.0%} of the rate; refused: {refused}")
    report = subprocess.run(
        [sys.executable, "-m", "airflow_provider_imagetasks.accounts"],
        env=airflow.environment,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    print(report)
    assert len(moments) == EXPECTED
    assert refused == {}
    assert used >= 0.95
    for dag_id, pictures in zip(names, (ROWS, ROWS, MAPPED, LOOP), strict=True):
        (line,) = [line for line in report.splitlines() if f" {dag_id}, gpt-image-2" in line]
        assert f"{pictures * 0.04:.2f} USD" in line
