"""What a person ends is stopped at the service, by a real worker or triggerer; what goes on is not.

Run by ``make test-cancel``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.hooks.cancel_on_kill import TRIGGERS_ARE_TOLD
from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess
from dev.postgresql_server import PostgresqlServer
from dev.rest_api import DeadlineExceededError, wait_until
from tests.system.conftest import CHECKOUT
from tests.system.deployments import QUEUE_SERVICES, connections, restart_triggerer, start_runs
from tests.system.money_interventions import make_second_triggerer

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not TRIGGERS_ARE_TOLD, reason="Airflow tells triggers that their task was ended since 3.3"),
]

ROWS = 3
DAG = """
with DAG("{dag_id}", schedule=None, default_args={{"retries": 2, "retry_delay": timedelta(seconds=1)}}):
    for service in {services}:
        for place, defers in (("worker", False), ("triggerer", True)):
            where = {{"conn_id": f"imagetasks_{{service}}", "deferrable": defers, "poll_interval": 2}}
            prompt = f"{dag_id} {{place}} {{service}} {directive}"
            made = ImageTaskSubmitOperator(
                task_id=f"submit_{{place}}_{{service}}", prompt=prompt, conn_id=where["conn_id"]
            )
            ImageTaskSensor(task_id=f"wait_{{place}}_{{service}}", image_task_id=made.output, **where)
            ImageBatchOperator(
                task_id=f"batch_{{place}}_{{service}}",
                prompts=[f"{{prompt}} {{number}}" for number in range({rows})],
                output_path="file://{folder}",
                **where,
            )
"""
WAITING = {
    f"{task}_{place}_{service}": (state, sign)
    for service in QUEUE_SERVICES
    for task, place, state, sign in (
        ("wait", "worker", "running", "Image task"),
        ("batch", "worker", "running", ""),
        ("wait", "triggerer", "deferred", "starting"),
        ("batch", "triggerer", "deferred", "starting"),
    )
}
"""In which state each task waits, and what its log then says: until somebody waits, nobody can cancel."""
ENDED = "This task was stopped for good, so"
PICTURES = len(WAITING) // 2 * (1 + ROWS)


@pytest.fixture(scope="module")
def service(orderly_termination: None) -> Iterator[LocalImageServiceProcess]:
    with LocalImageServiceProcess(folder=CHECKOUT) as service:
        yield service


@pytest.fixture(scope="module")
def deployment(service: LocalImageServiceProcess) -> Iterator[AirflowDeployment]:
    with (
        PostgresqlServer() as postgresql,
        AirflowDeployment(
            environment=connections(service, **{name: name for name in QUEUE_SERVICES}),
            parallelism=6,
            database_url=postgresql.url(),
        ) as running,
    ):
        yield running


class WaitingRun:
    """A Dag run in which everything waits."""

    def __init__(
        self,
        deployment: AirflowDeployment,
        service: LocalImageServiceProcess,
        dag_id: str,
        directive: str,
        folder: Path,
    ) -> None:
        self.deployment, self.api, self.service, self.dag_id = deployment, deployment.api, service, dag_id
        known = {"services": QUEUE_SERVICES, "rows": ROWS, "folder": folder, "directive": directive}
        self.run_id = start_runs(deployment, DAG.format(dag_id=dag_id, **known), dag_id)[dag_id]
        self.path = f"/dags/{dag_id}/dagRuns/{self.run_id}"
        self.until(self.waits, "waiting", timeout=240)

    def waits(self) -> bool:
        """Whether everything is submitted, and somebody waits for it."""
        states = {task.task_id: task.state for task in self.api.task_instances(self.dag_id, self.run_id)}
        is_there = all(states.get(task_id) == state for task_id, (state, _) in WAITING.items())
        return (
            is_there
            and len(self.created()) == PICTURES
            and all(sign in self.log(task_id) for task_id, (_, sign) in WAITING.items())
        )

    def until(self, look: Any, what: str, *, timeout: float = 60) -> None:
        """Wait for something, and show all logs where it does not come."""
        try:
            wait_until(lambda: look() or None, timeout=timeout, what=what)
        except DeadlineExceededError as error:
            told = "\n".join(f"--- {task_id}\n{self.log(task_id)}" for task_id in WAITING)
            raise AssertionError(f"{error}\nnot cancelled: {self.created() - self.cancelled()}\n{told}") from None

    def log(self, task_id: str) -> str:
        """Return the log of the last try of a task."""
        tasks = self.api.task_instances(self.dag_id, self.run_id, task_id)
        return self.api.task_log(self.dag_id, self.run_id, tasks[0]) if tasks and tasks[0].try_number else ""

    def created(self) -> set[str]:
        """Return the ids of the image tasks that the service created."""
        return {one["id"] for one in self.service.stats()["created"] if one["prompt"].startswith(f"{self.dag_id} ")}

    def cancelled(self) -> set[str]:
        """Return the ids of those that it was told to stop."""
        return self.created() & set(self.service.stats()["cancelled"])

    def mark_failed(self, *task_ids: str) -> None:
        """Mark tasks failed, or else the whole run."""
        for task_id in task_ids:
            self.api.request("PATCH", f"{self.path}/taskInstances/{task_id}", json={"new_state": "failed"})
        if not task_ids:
            self.api.request("PATCH", self.path, json={"state": "failed"})

    def signal_process_of(self, task_id: str, number: signal.Signals) -> None:
        """Send a signal to the process that runs a task."""
        (task,) = self.api.task_instances(self.dag_id, self.run_id, task_id)
        os.kill(task.raw["pid"], number)

    def triggerers(self) -> set[int | None]:
        """Return who has the waits that are deferred."""
        return {row["triggerer_id"] for row in self.deployment.database.trigger_rows(self.dag_id)}


@pytest.mark.parametrize(("dag_id", "marked"), [("each_task", tuple(WAITING)), ("whole_run", ())])
def test_all_that_is_marked_failed_is_cancelled_and_its_log_says_so(
    deployment: AirflowDeployment,
    service: LocalImageServiceProcess,
    tmp_path: Path,
    dag_id: str,
    marked: tuple[str, ...],
) -> None:
    run = WaitingRun(deployment, service, dag_id, "[never]", tmp_path)

    def late_lines() -> str:
        """What the triggerer says of a trigger that Airflow has let go by then, in its own log."""
        return deployment.component("triggerer").log_tail(200)

    run.mark_failed(*marked)

    run.until(lambda: run.cancelled() == run.created(), "cancelled at the service")
    for task_id in WAITING:
        run.until(lambda task_id=task_id: ENDED in run.log(task_id) + late_lines(), f"told by {task_id}", timeout=30)


def test_nothing_else_is_cancelled(
    deployment: AirflowDeployment, service: LocalImageServiceProcess, tmp_path: Path
) -> None:
    run = WaitingRun(deployment, service, "goes_on", "[latency=240]", tmp_path)
    second_triggerer = make_second_triggerer(deployment)

    # A worker that dies, and one that is told to end.
    for task in ("wait", "batch"):
        run.signal_process_of(f"{task}_worker_fal", signal.SIGKILL)
        run.signal_process_of(f"{task}_worker_replicate", signal.SIGTERM)
    try:
        (first,) = run.triggerers()
        second_triggerer.start()
        deployment.wait_until_healthy("triggerer")
        deployment.component("triggerer").send_signal(signal.SIGSTOP)
        run.until(lambda: not run.triggerers() & {first, None}, "taken over by another triggerer", timeout=90)
        deployment.component("triggerer").send_signal(signal.SIGCONT)
        run.until(lambda: "stops asking" in run.log("wait_triggerer_fal"), "given up by the first")
    finally:
        second_triggerer.stop(grace=15)
    restart_triggerer(deployment)
    deployment.stop_component("triggerer")
    deployment.start_component("triggerer")
    deployment.api.clear(run.dag_id, run.run_id, ["wait_triggerer_fal", "batch_triggerer_replicate"])

    assert deployment.api.run_state(run.dag_id, run.run_id) == "running"
    assert deployment.api.wait_for_run(run.dag_id, run.run_id, timeout=400) == "success", deployment.api.failure_report(
        run.dag_id, run.run_id
    )
    assert run.cancelled() == set()
    assert len(run.created()) == PICTURES
