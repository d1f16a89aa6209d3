"""No form of an API key is found in anything that Airflow keeps after a run, whatever went wrong in it."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess
from tests.system.deployments import REST_SERVICES, start_runs

pytestmark = pytest.mark.slow

DAG = """
with DAG("with_a_secret", schedule=None):
    for service in {services}:
        conn_id = f"secret_{{service}}"
        submit = ImageTaskSubmitOperator(task_id=f"submit_{{service}}", conn_id=conn_id, prompt="a kite [latency=3]")
        wait = ImageTaskSensor(
            task_id=f"wait_{{service}}", image_task_id=submit.output, conn_id=conn_id, deferrable=True
        )
        ImageTaskDownloadOperator(task_id=f"save_{{service}}", image_task_id=wait.output, output_path="{folder}")
        for trouble in ("refuse", "expired-key", "cut-after", "garbage", "html", "fail"):
            failing = ImageTaskSubmitOperator(
                task_id=f"{{trouble}}_{{service}}", conn_id=conn_id, prompt=f"a kite [{{trouble}}]"
            )
            if trouble == "fail":
                ImageTaskSensor(task_id=f"wait_{{trouble}}_{{service}}", image_task_id=failing.output, conn_id=conn_id)
"""


@pytest.fixture(scope="module")
def key() -> str:
    """A key with characters that look different in a URL and in base64."""
    return f"sk/{secrets.token_hex(12)}+{secrets.token_hex(4)}="


@pytest.fixture(scope="module")
def airflow_with_a_secret(
    key: str,
    local_service: LocalImageServiceProcess,
    airflow_database_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AirflowDeployment]:
    """An Airflow of its own after a run of everything, well and badly, the key in its environment and its database."""
    folder = tmp_path_factory.mktemp("pictures")
    connections = {
        service: {**json.loads(local_service.connection(service)), "password": key} for service in REST_SERVICES
    }
    environment = {
        f"AIRFLOW_CONN_SECRET_{service.upper()}": json.dumps(connections[service]) for service in REST_SERVICES[:2]
    }
    with AirflowDeployment(environment=environment, database_template=airflow_database_template) as deployment:
        for service in REST_SERVICES[2:]:
            fields = {**connections[service], "extra": json.dumps(connections[service]["extra"])}
            deployment.api.request("POST", "/connections", json={"connection_id": f"secret_{service}", **fields})
        source = DAG.format(services=REST_SERVICES, folder=f"file://{folder}")
        run_id = start_runs(deployment, source, "with_a_secret")["with_a_secret"]
        deployment.api.wait_for_run("with_a_secret", run_id, timeout=240)
        states = {task.task_id: task.state for task in deployment.api.task_instances("with_a_secret", run_id)}
        for service in REST_SERVICES:
            assert states[f"save_{service}"] == "success", deployment.api.failure_report("with_a_secret", run_id)
            assert states[f"expired-key_{service}"] == "failed"
        yield deployment


def forms(secret: str) -> list[bytes]:
    """Return what a secret may look like: plain, in a URL, in base64 at any offset."""
    encoded = [base64.b64encode(b"x" * offset + secret.encode())[4 if offset else 0 : -4] for offset in range(3)]
    return [secret.encode(), quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode(), *encoded]


def places_with(secret: str, deployment: AirflowDeployment) -> list[str]:
    """Search every file of an Airflow (its database, task logs and component logs) for a secret."""
    found = []
    for path in sorted(deployment.home.rglob("*")):
        if path.is_file() and path.suffix != ".py":
            content = path.read_bytes()
            found += [str(path.relative_to(deployment.home)) for form in forms(secret) if form in content]
    return found


def test_the_key_is_nowhere(airflow_with_a_secret: AirflowDeployment, key: str) -> None:
    assert places_with(key, airflow_with_a_secret) == []


def test_the_search_finds_what_is_planted(airflow_with_a_secret: AirflowDeployment) -> None:
    planted = secrets.token_hex(16)
    log = airflow_with_a_secret.home / "logs" / "planted.log"
    log.write_text(f"oops: {quote(planted)} and {base64.b64encode(b'key=' + planted.encode()).decode()}")
    airflow_with_a_secret.api.request(
        "POST", "/variables", json={"key": "a_variable", "value": "open", "description": planted}
    )

    places = places_with(planted, airflow_with_a_secret)

    assert "logs/planted.log" in places
    assert any(place.startswith("airflow.db") for place in places)


def test_the_run_left_logs_and_rendered_templates_to_search(airflow_with_a_secret: AirflowDeployment) -> None:
    rendered = airflow_with_a_secret.database.query("SELECT count(*) AS rows FROM rendered_task_instance_fields")
    logs = list((airflow_with_a_secret.home / "logs").rglob("*.log"))

    assert rendered[0]["rows"] > 20
    assert len(logs) > 20
