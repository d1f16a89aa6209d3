"""Batches whose status route breaks, whose old start wakes up, whose folder is gone: counted at the service.

With ``WRITE_DOCS=1`` what came of each is written into the table of ``docs/outcomes.md``.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from airflow_provider_imagetasks.local.dialects.known_dialects import DIALECT_PATHS
from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess
from dev.rest_api import FINISHED_RUN_STATES, TaskInstance
from tests.status_route import StatusRoute
from tests.system import batch_cases
from tests.system.batch_cases import CASES, Case, Ending
from tests.system.deployments import require_intact, start_runs
from tests.system.killing import is_alive

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

PATIENCE = 400
FROZEN_AFTER = 3
Play = Generator[None, None, None]
"""Acts, yields until the next look, and so on."""


class Stage:
    """Runs all cases at once, and sees what came of each."""

    def __init__(
        self,
        deployment: AirflowDeployment,
        image_service: LocalImageServiceProcess,
        routes: dict[str, StatusRoute],
        folder: Path,
    ) -> None:
        self.deployment = deployment
        self.endings: dict[str, list[Ending]] = {case.name: [] for case in CASES}
        self._image_service = image_service
        self._routes = routes
        self._folder = folder
        self._runs = start_runs(deployment, batch_cases.dag_source(folder), *(case.name for case in CASES))

    def perform(self) -> None:
        """See all cases to their ends."""
        plays = {case.name: self._play(case) for case in CASES}
        deadline = time.monotonic() + PATIENCE
        while plays:
            assert time.monotonic() < deadline, {name: self._task(name).state for name in plays}
            plays = {name: play for name, play in plays.items() if next(play, StopIteration) is not StopIteration}
            time.sleep(0.5)

    def _play(self, case: Case) -> Play:
        intervention = getattr(self, f"_while_{case.name}", None)
        if intervention is not None:
            yield from intervention(case)
        yield from self._ended(case)
        after = getattr(self, f"_after_{case.name}", None)
        if after is not None:
            yield from after(case)
        self._note(case)
        if case.broken is not None:
            self._routes[case.name].mend()
        if case.cleared:
            self.deployment.api.clear(case.name, self._runs[case.name], ["batch"])
            yield from self._ended(case)
            self._note(case)

    def _ended(self, case: Case) -> Play:
        # A Clear between the end of the task and that of its run would be forgotten by the scheduler.
        while self.deployment.api.run_state(case.name, self._runs[case.name]) not in FINISHED_RUN_STATES:
            yield

    def _while_thawed(self, case: Case) -> Play:
        while len(self._created(case)) < FROZEN_AFTER:
            yield
        # What supervises the task as well, as where a whole machine stands still: it would end the task at the Clear.
        task, supervisor = self._processes(case)
        for process in (task, supervisor):
            os.kill(process, signal.SIGSTOP)
        path = f"/dags/{case.name}/dagRuns/{self._runs[case.name]}/taskInstances/batch"
        self.deployment.api.request("PATCH", path, json={"new_state": "failed"})
        yield from self._ended(case)
        self.deployment.api.clear(case.name, self._runs[case.name], ["batch"])
        yield from self._ended(case)
        for process in (task, supervisor):
            os.kill(process, signal.SIGCONT)
        while is_alive(task):
            yield

    def _while_folder_gone(self, case: Case) -> Play:
        while self._task(case.name).state != "deferred":
            yield
        self._kept(case).rename(self._kept(case).with_name("elsewhere"))

    def _after_folder_gone(self, case: Case) -> Play:
        self._kept(case).with_name("elsewhere").rename(self._kept(case))
        yield

    def _processes(self, case: Case) -> tuple[int, int]:
        """Return the ids of the process of a batch's first try, and of what supervises it."""
        task = int((self._folder / f"{case.name}.1.pid").read_text())
        return task, int(Path(f"/proc/{task}/stat").read_text().rpartition(")")[2].split()[1])

    def _kept(self, case: Case) -> Path:
        return self._folder / case.name / ".imagetasks"

    def _task(self, name: str) -> TaskInstance:
        (task,) = self.deployment.api.task_instances(name, self._runs[name], "batch")
        return task

    def _created(self, case: Case) -> list[str]:
        created = self._image_service.stats()["created"]
        return [entry["id"] for entry in created if entry["prompt"].split()[0] == case.name]

    def rows(self, case: Case) -> list[dict[str, object]]:
        """Return the rows of a batch's manifest, none where there is none."""
        manifests = list(self._kept(case).glob("*/manifest.jsonl"))
        return [json.loads(line) for path in manifests for line in path.read_text().splitlines()]

    def _note(self, case: Case) -> None:
        api, run_id, task, before = self.deployment.api, self._runs[case.name], self._task(case.name), self.endings
        created = len(self._created(case)) - sum(ending.created for ending in before[case.name])
        refused = self._image_service.stats()["dialects"][case.service]["refused"]
        unaccepted = sum(count for code, count in refused.items()) if "[500]" in case.directives else 0
        unaccepted -= sum(ending.unaccepted for ending in before[case.name])
        rows = self.rows(case)
        delivered = sum(row["status"] == "succeeded" for row in rows) if rows else None
        failed = task.state == "failed"
        error = api.xcom(case.name, run_id, "batch", key="image_task_error") if failed else None
        log = api.task_log(case.name, run_id, task)
        assert failed == (error is not None), log + self.deployment.component_logs("scheduler")
        self.endings[case.name].append(Ending(created, unaccepted, str(task.state), delivered, error, log))


@pytest.fixture(scope="module")
def stage(
    image_service: LocalImageServiceProcess, airflow_database_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    environment: dict[str, str] = {}
    routes: dict[str, StatusRoute] = {}
    with ExitStack() as stack:
        for case in CASES:
            route = routes[case.name] = StatusRoute(f"{image_service.url}/{DIALECT_PATHS[case.service]}")
            stack.enter_context(route.server)
            if case.broken is not None:
                route.breaks(case.broken, times=case.broken_times)
            connection = json.loads(image_service.connection(case.service, allow_private_hosts=True))
            host = route.server.url if case.broken is not None else connection["host"]
            environment[f"AIRFLOW_CONN_IMAGETASKS_{case.name}".upper()] = json.dumps({**connection, "host": host})
        deployment = stack.enter_context(
            AirflowDeployment(environment=environment, database_template=airflow_database_template, parallelism=5)
        )
        stage = Stage(deployment, image_service, routes, tmp_path_factory.mktemp("batches"))
        stage.perform()
        if os.environ.get("WRITE_DOCS"):
            batch_cases.write(stage.endings)
        yield stage


EACH = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@EACH
def test_the_documentation_says_what_happens(stage: Stage, case: Case) -> None:
    assert batch_cases.cells_of(case, stage.endings[case.name]) == batch_cases.documented()[case.name]


@EACH
def test_no_row_is_paid_twice_and_what_was_delivered_is_whole(stage: Stage, case: Case) -> None:
    created = sum(ending.created for ending in stage.endings[case.name])
    failing = sum("[fail]" in directives for directives in case.directives)
    never = sum("[500]" in directives for directives in case.directives)

    attempts = dict(case.arguments or {}).get("row_attempts", 2) * len(stage.endings[case.name])
    assert created == len(case.prompts) - never - failing + failing * attempts
    rows = stage.rows(case)
    assert len(rows) == len(case.prompts)
    require_intact(rows)


@EACH
def test_a_log_says_what_was_billed_and_what_to_do(stage: Stage, case: Case) -> None:
    for ending in stage.endings[case.name]:
        if ending.error is None:
            assert ending.state == "success"
            continue
        assert "Clear" in ending.log or "retry" in ending.log
        assert ("It was not billed." in ending.log) == (ending.error["billed"] == "no")
