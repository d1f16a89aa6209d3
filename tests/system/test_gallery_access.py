"""The gallery's routes of a real Airflow: nobody sees what they may not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from dev.airflow_deployment import AirflowDeployment
from dev.airflow_settings import password_file
from dev.local_image_service import LocalImageServiceProcess
from tests.system.conftest import CHECKOUT
from tests.system.deployments import connections, require_success, start_runs

pytestmark = pytest.mark.slow

LATENCY = "0"
DAG = """
for dag_id in ("private_kites", "open_kites"):
    with DAG(dag_id, schedule=None):
        submit = ImageTaskSubmitOperator(task_id="submit", prompt=f"a kite of {{dag_id}} [latency=0]")
        wait = ImageTaskSensor(task_id="wait", image_task_id=submit.output)
        ImageTaskDownloadOperator(task_id="save", image_task_id=wait.output, output_path="file://{folder}/" + dag_id)
"""


@pytest.fixture(scope="module")
def airflow(
    image_service: LocalImageServiceProcess, airflow_database_template: Path, pictures_folder: Path
) -> Iterator[AirflowDeployment]:
    """An Airflow in which ``guest`` may see open_kites and not private_kites, each with a run that is over."""
    environment = {
        **connections(image_service, default="local"),
        "AIRFLOW__CORE__AUTH_MANAGER": "dev.per_dag_auth_manager.PerDagAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,guest:viewer",
        "AIRFLOW__IMAGETASKS__GALLERY_ROOTS": f"file://{pictures_folder}",
        "PYTHONPATH": str(CHECKOUT),
    }
    with AirflowDeployment(environment=environment, database_template=airflow_database_template) as deployment:
        source = DAG.format(folder=pictures_folder)
        for dag_id, run_id in start_runs(deployment, source, "private_kites", "open_kites", run_id="a_run").items():
            require_success(deployment, dag_id, run_id)
        yield deployment


class Visitor:
    """Somebody who asks the gallery's routes."""

    def __init__(self, airflow: AirflowDeployment, user: str | None) -> None:
        self._url = f"{airflow.url}/imagetasks"
        self.session = requests.Session()
        self.session.trust_env = False
        if user is not None:
            passwords = json.loads(password_file(airflow.home).read_text())
            login = {"username": user, "password": passwords[user]}
            token = self.session.post(f"{airflow.url}/auth/token", json=login, timeout=20).json()["access_token"]
            self.session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **parameters: Any) -> requests.Response:
        return self.session.get(f"{self._url}/{path}", params=parameters, timeout=20, allow_redirects=False)


@pytest.fixture(scope="module")
def admin(airflow: AirflowDeployment) -> Visitor:
    return Visitor(airflow, "admin")


@pytest.fixture(scope="module")
def guest(airflow: AirflowDeployment) -> Visitor:
    return Visitor(airflow, "guest")


def routes(admin: Visitor, dag_id: str) -> list[str]:
    """Every route that is about a Dag, with a picture of it."""
    run = f"api/dags/{dag_id}/runs/a_run"
    card = admin.get(f"{run}/tasks/save/-1/pictures").json()["items"][0]
    link = card["pictures"][0]["link"]
    tasks = [f"{run}/tasks/{task_id}/-1/pictures" for task_id in ("submit", "wait", "save")]
    return [f"{run}/pictures", *tasks, f"{run}/tasks/save/-1/batch", link, f"{link}/thumbnail"]


def test_who_may_read_the_dag_sees_its_pictures(admin: Visitor, guest: Visitor) -> None:
    for visitor, dag_id in ((admin, "private_kites"), (admin, "open_kites"), (guest, "open_kites")):
        statuses = {path: visitor.get(path).status_code for path in routes(admin, dag_id)}
        # There is no batch in these Dags.
        assert dict.fromkeys(statuses, 200) | {p: 404 for p in statuses if p.endswith("/batch")} == statuses
        assert dag_id in {item["dag_id"] for item in visitor.get("api/pictures").json()["items"]}


def test_who_may_not_gets_403_from_every_route_and_sees_nothing(admin: Visitor, guest: Visitor) -> None:
    paths = routes(admin, "private_kites")

    assert {guest.get(path).status_code for path in paths} == {403}
    assert guest.get("api/pictures", dag_id="private_kites").status_code == 403
    newest = guest.get("api/pictures").json()
    assert newest["dags"] == ["open_kites"]
    assert {item["dag_id"] for item in newest["items"]} == {"open_kites"}
    assert "private" not in json.dumps(newest)


def test_who_is_not_logged_in_gets_401(airflow: AirflowDeployment, admin: Visitor) -> None:
    nobody = Visitor(airflow, None)

    for dag_id in ("private_kites", "open_kites", "no_such_dag"):
        assert {nobody.get(path).status_code for path in routes(admin, "open_kites")} == {401}
        assert nobody.get(f"api/dags/{dag_id}/runs/a_run/pictures").status_code == 401
    assert nobody.get("api/pictures").status_code == 401
