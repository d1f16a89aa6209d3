"""No form of an API key, and nothing of an address that lets somebody in, is found in what Airflow keeps after a run.

Whatever went wrong in it. What is kept because it was asked for (SECURITY.md) is not asked for here.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess
from tests.files.result_server import PNG
from tests.scripted_server import CutAfterReading, ReceivedRequest, Reply, ScriptedServer, Step
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

SIGNED_DAG = """
with DAG("with_signed_addresses", schedule=None):
    for fate in {fates}:
        given = dict(conn_id="signed")
        submit = ImageTaskSubmitOperator(task_id=f"submit_{{fate}}", prompt=fate, **given)
        # Who takes the addresses themselves finds them in the result of the sensor.
        wait = ImageTaskSensor(
            task_id=f"wait_{{fate}}", image_task_id=submit.output, deferrable=True, do_xcom_push=False, **given
        )
        save = ImageTaskDownloadOperator(
            task_id=f"save_{{fate}}", image_task_id=submit.output, output_path="{folder}", **given
        )
        wait >> save
    ImageBatchOperator(
        task_id="make", prompts=["well", "gone", "refused", "failed"], output_path="{folder}", row_attempts=1, **given
    )
    for conn_id in {mistyped}:
        ImageTaskSubmitOperator(task_id=conn_id, conn_id=conn_id, prompt="well")
        ImageTaskSensor(task_id=f"wait_{{conn_id}}", conn_id=conn_id, image_task_id="well", deferrable=True)
    ImageBatchOperator(task_id="elsewhere", requests_path="nowhere://{user}", output_path="{folder}", **given)
"""
FATES = ("well", "gone", "cut", "page", "garbage", "refused", "lost", "failed")


class SignedStudio:
    """A service whose pictures are at signed addresses, and which repeats in its refusals all that it was sent.

    :param signature: of the addresses.
    """

    def __init__(self, signature: str) -> None:
        self.server = ScriptedServer(otherwise=self._answer)
        self._signature = signature

    def _answer(self, request: ReceivedRequest) -> Step:
        name = request.path.rpartition("/")[2]
        if request.path.startswith("/pictures/"):
            cut = CutAfterReading(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nx")
            page = Reply(b"<html>", headers={"Content-Type": "text/html"})
            return {"gone": Reply(b"gone", status=403), "cut": cut, "page": page}.get(name) or Reply(PNG)
        if name != "tasks":
            return self._submission(request)
        ids = request.body.get("ids") or [request.body["id"]]
        if "garbage" in ids:
            return Reply(f"<p>{self._address('garbage')}</p>".encode(), headers={"Content-Type": "text/html"})
        records = [self._record(each) for each in ids]
        return Reply(records[0] if request.body["action"] == "retrieve" else {"items": records, "count": len(ids)})

    def _submission(self, request: ReceivedRequest) -> Step:
        fate = request.body["prompt"]
        if fate == "lost":
            return CutAfterReading()
        if fate == "refused":
            said = f"bad request: {request.content.decode()} {dict(request.headers)}"
            return Reply({"error": {"code": said, "message": said}, "trace_id": said}, status=400)
        return Reply({"task_id": fate})

    def _record(self, fate: str) -> dict[str, Any]:
        response: dict[str, Any] = {"data": [{"url": self._address(fate)}]}
        if fate == "failed":
            said = f"cannot upload to {self._address(fate)}"
            response = {"success": False, "error": {"code": said, "message": said}}
        return {"id": fate, "created_at": time.time(), "finished_at": time.time(), "response": response}

    def _address(self, fate: str) -> str:
        return f"{self.server.url}/pictures/{fate}?X-Amz-Signature={quote(self._signature, safe='')}"


@pytest.fixture(scope="module")
def secret_parts() -> dict[str, str]:
    """What lets somebody in: a signature, a callback's token, a password in a path, a key in the wrong field."""
    token = base64.urlsafe_b64encode(json.dumps({"conn_id": secrets.token_hex(9)}).encode()).decode().rstrip("=")
    return {
        "signature": f"{secrets.token_hex(12)}/{secrets.token_hex(8)}+=",
        "token": f"{token}.{secrets.token_hex(16)}",
        "password": f"{secrets.token_hex(8)}/{secrets.token_hex(8)}",
        "mistyped": f"sk-{secrets.token_hex(16)}",
    }


@pytest.fixture(scope="module")
def airflow_with_signed_addresses(
    key: str, secret_parts: dict[str, str], airflow_database_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AirflowDeployment]:
    """An Airflow after a run at a service that signs its addresses and repeats what it is sent."""
    studio, mistyped = SignedStudio(secret_parts["signature"]), secret_parts["mistyped"]
    with studio.server:
        extra = {"service": "acedatacloud", "poll_interval": 1, "request_timeout": 5}
        extra["callback_url"] = f"https://hooks.example/imagetasks/callback/{secret_parts['token']}"
        wrong: dict[str, dict[str, Any]] = {
            "wrong_service": {"service": mistyped},
            "wrong_secret": {"webhook_secret": [mistyped]},
            "wrong_verify": {"verify": mistyped},
            "wrong_hosts": {"download_hosts": f"{mistyped}/="},
            "wrong_rate": {"query_rate": mistyped},
            "wrong_callback": {"callback_url": f"ftp://{mistyped}"},
        }
        of_all = {"conn_type": "imagetasks", "host": studio.server.url, "password": key}
        connections = {"signed": extra, **{name: {**extra, **fields} for name, fields in wrong.items()}}
        environment = {
            f"AIRFLOW_CONN_{name.upper()}": json.dumps({**of_all, "extra": fields})
            for name, fields in connections.items()
        }
        with AirflowDeployment(environment=environment, database_template=airflow_database_template) as deployment:
            source = SIGNED_DAG.format(
                fates=FATES,
                mistyped=list(wrong),
                folder=f"file://{tmp_path_factory.mktemp('pictures')}",
                user=f"AKIDEXAMPLE:{secret_parts['password']}@bucket/rows.jsonl",
            )
            run_id = start_runs(deployment, source, "with_signed_addresses")["with_signed_addresses"]
            deployment.api.wait_for_run("with_signed_addresses", run_id, timeout=240)
            states = {
                task.task_id: task.state for task in deployment.api.task_instances("with_signed_addresses", run_id)
            }
            ended = {"save_well": "success", "save_gone": "failed", "save_cut": "failed", "submit_refused": "failed"}
            ended |= {"wait_failed": "failed", "make": "failed", "elsewhere": "failed", "submit_lost": "failed"}
            ended |= {name: "failed" for each in wrong for name in (each, f"wait_{each}")}
            assert {name: states[name] for name in ended} == ended, deployment.api.failure_report(
                "with_signed_addresses", run_id
            )
            yield deployment


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


@pytest.mark.parametrize("part", ["signature", "token", "mistyped"])
def test_nothing_that_lets_somebody_in_is_anywhere(
    airflow_with_signed_addresses: AirflowDeployment, secret_parts: dict[str, str], part: str
) -> None:
    assert places_with(secret_parts[part], airflow_with_signed_addresses) == []


def test_nor_does_a_log_or_an_xcom_show_the_password_in_a_path_of_the_dag(
    airflow_with_signed_addresses: AirflowDeployment, secret_parts: dict[str, str]
) -> None:
    password = secret_parts["password"]
    xcoms = airflow_with_signed_addresses.database.query("SELECT value FROM xcom")
    # Airflow keeps the author's own words: in the Dag as it stores it, and in its rendered templates.
    own = ("airflow.db", "dags/")
    others = [place for place in places_with(password, airflow_with_signed_addresses) if not place.startswith(own)]

    assert others == []
    assert len(xcoms) > 5
    assert not [row for row in xcoms if password in str(row["value"])]


def test_nor_is_the_key_where_a_service_repeats_what_it_is_sent(
    airflow_with_signed_addresses: AirflowDeployment, key: str
) -> None:
    assert places_with(key, airflow_with_signed_addresses) == []


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
