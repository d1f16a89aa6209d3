"""A service's callback wakes the waiting task at once, once, and only that one; whoever forges one gains nothing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.submissions.callback_urls import CallbackPlace, sign
from dev.airflow_deployment import AirflowDeployment
from dev.rest_api import wait_until
from tests.system.deployments import require_success, start_runs

pytestmark = [pytest.mark.long, pytest.mark.timeout(420)]

SECRET = "what the callbacks of the tests are signed with"
SIGNING_KEY = "the key of kie.ai's settings page"
AT_ONCE, ALONE = 50, 4
DEFER_WITHIN = 230
"""Seconds that the machine may take to submit and defer all of them."""

MANY = f"""
@task_group
def picture(prompt):
    submit = ImageTaskSubmitOperator(task_id="submit", prompt=prompt)
    ImageTaskSensor(task_id="wait", image_task_id=submit.output, deferrable=True, poll_interval=300, retries=2)

with DAG("called_back", schedule=None):
    picture.expand(prompt=[f"kite {{number}}" for number in range({ALONE + AT_ONCE})])
"""

ONE = """
with DAG("hostile_calls", schedule=None):
    submit = ImageTaskSubmitOperator(task_id="submit", prompt="a kite", callback_url="http://127.0.0.1:9/nobody")
    ImageTaskSensor(task_id="wait", image_task_id=submit.output, deferrable=True, poll_interval=300, retries=2)
    early = ImageTaskSubmitOperator(
        task_id="submit_early", prompt="an early kite [latency=12]", callback_url="http://127.0.0.1:9/nobody"
    )
    ImageTaskSensor(task_id="wait_early", image_task_id=early.output, deferrable=True, poll_interval=300, retries=2)
"""


@pytest.fixture(scope="module")
def service(orderly_termination: None) -> Iterator[LocalImageService]:
    """The local image service, within this process: its image tasks end when a test says so."""
    with LocalImageService(latency=3600, webhook_secret=SIGNING_KEY) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(service: LocalImageService, airflow_database_template: Path) -> Iterator[AirflowDeployment]:
    """An Airflow that is called back: by kie's dialect signed, by AceDataCloud's not."""

    def connection(name: str, path: str, **extra: str) -> str:
        host = f"{service.url}/{path}"
        fields = {"conn_type": "imagetasks", "host": host, "password": "any", "extra": {"service": name, **extra}}
        return json.dumps(fields)

    with AirflowDeployment(
        environment={
            "AIRFLOW_CONN_IMAGETASKS_DEFAULT": connection("kie", "kie", webhook_secret=SIGNING_KEY),
            "AIRFLOW_CONN_UNSIGNED": connection("acedatacloud", "acedatacloud"),
        },
        parallelism=6,
        database_template=airflow_database_template,
        callback_secret=SECRET,
    ) as deployment:
        yield deployment


@pytest.fixture
def call(airflow: AirflowDeployment) -> Iterator[Callable[..., int]]:
    """Call Airflow as a service would, and return the status code."""
    with requests.Session() as session:
        session.trust_env = False

        def post(url: str) -> int:
            return session.post(url, data=b"{}", timeout=20).status_code

        yield post


def url(airflow: AirflowDeployment, secret: str = SECRET, **place: Any) -> str:
    token = sign(CallbackPlace(**{"map_index": -1, **place}), secret)
    return f"{airflow.url}/imagetasks/callback/{token}"


def age(created_date: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(created_date).replace(tzinfo=UTC)).total_seconds()


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_fifty_callbacks_at_once_wake_fifty_tasks(
    airflow: AirflowDeployment, service: LocalImageService, call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    api, total = airflow.api, ALONE + AT_ONCE
    run_id = start_runs(airflow, MANY, "called_back")["called_back"]

    def waiting() -> list[dict[str, Any]]:
        return airflow.database.trigger_rows("called_back", run_id)

    def all_wait() -> bool:
        # The first status request of each, 16 s after its deferral, is over as well.
        rows = waiting()
        return len(rows) == total and all(age(row["created_date"]) > 20 for row in rows)

    wait_until(all_wait, timeout=DEFER_WITHIN, what="every sensor deferred for 20 s", interval=2)
    alone = []
    for number in range(ALONE):
        moment = time.time()
        service.finish([f"kite {number}"])
        task = api.wait_for_task_state("called_back", run_id, "picture.wait", "success", map_index=number, timeout=30)
        alone.append(seconds(task.raw["end_date"]) - moment)
    moment = time.time()
    service.finish([f"kite {number}" for number in range(ALONE, total)])
    require_success(airflow, "called_back", run_id, timeout=200)

    done = api.task_instances("called_back", run_id, "picture.wait")
    woken = [seconds(task.raw["scheduled_when"]) - moment for task in done[ALONE:]]
    over = [seconds(task.raw["end_date"]) - moment for task in done[ALONE:]]
    with capsys.disabled():
        sys.stdout.write(
            f"\ncallback to success, one at a time: {', '.join(f'{each:.2f}' for each in alone)} s; {AT_ONCE} at once: "
            f"all woken within {max(woken):.2f} s, all over within {max(over):.2f} s\n"
        )
    assert service.stats()["callbacks"] == {"sent": total, "failed": 0, "not_sent": 0}
    # A machine that does other things beside may be slow once or twice.
    assert min(alone) < 3
    assert max(woken) < 3
    assert [task.try_number for task in done] == [1] * total
    assert list(api.pages("/eventLogs", "event_logs", event="state mismatch")) == []
    assert "finished with state" not in airflow.component("scheduler").log_tail(100_000)
    log = api.task_log("called_back", run_id, done[-1])
    assert "unless the service calls back earlier" in log
    assert "user action" not in log
    for name in ("api-server", "triggerer", "scheduler"):
        assert SECRET not in airflow.component(name).log_tail(100_000)
    place = {"conn_id": "unsigned", "dag_id": "called_back", "run_id": run_id, "task_id": "picture.submit"}
    replayed = url(airflow, map_index=ALONE, **place)
    assert call(replayed) == 202
    assert api.run_state("called_back", run_id) == "success"
    token = replayed.rpartition("/")[2]
    assert token not in airflow.component("api-server").log_tail(100_000)


def test_what_is_forged_early_or_late_changes_nothing(
    airflow: AirflowDeployment, service: LocalImageService, call: Callable[..., int]
) -> None:
    api = airflow.api
    run_id = start_runs(airflow, ONE, "hostile_calls")["hostile_calls"]
    place = {"conn_id": "unsigned", "dag_id": "hostile_calls", "run_id": run_id, "task_id": "submit"}
    assert call(url(airflow, **place)) == 202
    early = api.wait_for_task_state("hostile_calls", run_id, "wait_early", "deferred", "success")
    assert call(url(airflow, **{**place, "task_id": "submit_early"})) == 202
    assert early.state == "deferred"
    waiting = api.wait_for_task_state("hostile_calls", run_id, "wait", "deferred")

    def deferred_at() -> float:
        # SQLite gives a new trigger the id of one that is gone, so that the id does not tell them apart.
        task = api.wait_for_task_state("hostile_calls", run_id, "wait", "deferred")
        return seconds(task.raw["trigger"]["created_date"]) if task.raw["trigger"] else 0

    before = deferred_at()
    assert call(url(airflow, secret="somebody else's secret, long enough", **place)) == 404
    assert call(url(airflow, **{**place, "run_id": "another"})) == 202
    assert call(url(airflow, **{**place, "conn_id": "imagetasks_default"})) == 403
    assert deferred_at() == before
    assert api.wait_for_task_state("hostile_calls", run_id, "wait_early", "success").try_number == 1

    # A call that tells a lie, though with our own URL: the task asks the service itself, and waits again.
    wait_until(lambda: time.time() > before + 16, timeout=30, what="a deferral of 16 s")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: call(url(airflow, **place)), range(8)))
    assert sorted(answers) == [200] + [202] * 7
    wait_until(lambda: deferred_at() > before, timeout=60, what="the task deferred again")
    service.finish(["a kite"])
    require_success(airflow, "hostile_calls", run_id)
    assert {task.try_number for task in api.task_instances("hostile_calls", run_id)} == {1}
    assert call(url(airflow, **place)) == 202
    assert waiting.try_number == 1
