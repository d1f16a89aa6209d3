"""Task loops of Airflow 3.4: each iteration hands on its own picture, whatever ends its processes, and pays once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess
from dev.rest_api import AirflowRestApi, TaskInstance, wait_until
from tests.system import killing
from tests.system.deployments import manifest_rows, require_success, start_runs
from tests.system.test_good_citizen import respond
from tests.task_runner import HAS_LOOPS

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not HAS_LOOPS, reason="Airflow has no loops before 3.4"),
]
BY_FUNCTION, BY_PERSON = "example_image_task_loop", "example_image_task_loop_person"
POINTS = ("before the record", "before XCom", "after acceptance")
"""Where the submission of each iteration is killed."""
KILLED = """
import os

from killing import KilledSensor, KilledSubmitOperator


class LoopedSubmitOperator(KilledSubmitOperator):
    def execute(self, context):
        index = context["loop"].index
        self.marks = os.path.join(self.marks, str(index))
        os.makedirs(self.marks, exist_ok=True)
        self.killed = {points!r}[index]
        return super().execute(context)


class LoopedSensor(KilledSensor):
    def execute_complete(self, context, *arguments, **named):
        self.marks = os.path.join(self.marks, str(context["loop"].index))
        return super().execute_complete(context, *arguments, **named)


with DAG("killed_loop", schedule=None, default_args={{"retries": 3, "retry_delay": timedelta(seconds=1)}}):

    @task_group
    def make():
        submit = LoopedSubmitOperator(
            task_id="submit",
            # Long enough for the sensor to be deferred; the answer that is awaited never comes.
            prompt="killed loop {{{{ loop.index }}}} [latency=30]{{{{ ' [hang-after=1]' if loop.index == 2 }}}}",
            conn_id="imagetasks_acedatacloud",
            killed="before XCom",
            marks={marks!r},
        )
        wait = LoopedSensor(
            task_id="wait",
            image_task_id=submit.output,
            conn_id="imagetasks_acedatacloud",
            deferrable=True,
            poll_interval=1,
            killed=True,
            marks={marks!r},
        )
        ImageTaskDownloadOperator(task_id="save", image_task_id=wait.output, output_path={folder!r})

    make.loop(max_iterations=3)
"""
BATCHES = """
with DAG("batch_loop", schedule=None):

    @task_group
    def make():
        ImageBatchOperator(
            task_id="batch",
            prompts=["batch loop a", "batch loop b"],
            output_path={folder!r},
        )

    make.loop(max_iterations=2)
"""


def iterations(api: AirflowRestApi, dag_id: str, run_id: str, task_id: str) -> list[TaskInstance]:
    """Return the instances of a task in a loop, in the order of their iterations."""
    found = api.task_instances(dag_id, run_id, task_id)
    return sorted(found, key=lambda task: task.raw["loop_iteration"]["iteration"])


def handed_on(api: AirflowRestApi, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> list[Any]:
    """Return what each iteration of a task pushed."""
    tasks = iterations(api, dag_id, run_id, task_id)
    return [api.xcom(dag_id, run_id, task_id, key=key, region=task.region) for task in tasks]


def require_own_pictures(api: AirflowRestApi, dag_id: str, run_id: str) -> list[str]:
    """Fail unless each iteration waits for and stores what it submitted, and return those image tasks."""
    submitted = handed_on(api, dag_id, run_id, "make.submit")
    assert len(set(submitted)) == len(submitted)
    assert [record["id"] for record in handed_on(api, dag_id, run_id, "make.wait")] == submitted
    stored = [saved["files"][0] for saved in handed_on(api, dag_id, run_id, "make.save")]
    assert [file["image_task_id"] for file in stored] == submitted
    assert len({file["sha256"] for file in stored}) == len(submitted)
    return submitted


def created(service: LocalImageServiceProcess, words: str) -> list[str]:
    """Return the ids of what the service created for prompts with these words, in order."""
    return [entry["id"] for entry in service.stats()["created"] if words in entry["prompt"]]


def test_a_function_looks_at_each_picture_until_it_is_content(airflow_deployment: AirflowDeployment) -> None:
    api = airflow_deployment.api
    airflow_deployment.wait_for_dag(BY_FUNCTION)
    run_id = api.run_dag(BY_FUNCTION, timeout=480)

    submitted = require_own_pictures(api, BY_FUNCTION, run_id)

    looked_at = handed_on(api, BY_FUNCTION, run_id, "make.look")
    assert 2 <= len(submitted) <= 5
    assert [each["image_task_id"] for each in looked_at] == submitted
    brightest = max(looked_at, key=lambda each: float(each["brightness"]))
    assert api.xcom(BY_FUNCTION, run_id, "choose") == brightest
    prompts = [each["prompt"] for each in handed_on(api, BY_FUNCTION, run_id, "make.submit", "image_task")]
    assert [prompt.count("with more light") for prompt in prompts] == list(range(len(submitted)))


def test_a_person_looks_and_what_is_wished_stands_in_the_next_prompt(airflow_deployment: AirflowDeployment) -> None:
    api = airflow_deployment.api
    airflow_deployment.wait_for_dag(BY_PERSON)
    run_id = api.trigger_dag(BY_PERSON)

    for number, answer in enumerate(("Once more", "Keep it")):
        asked = _asked(api, run_id, number)
        path = f"/dags/{BY_PERSON}/dagRuns/{quote(run_id, safe='')}/taskInstances/make.ask/-1/hitlDetails"
        respond(api, path, answer, {"wish": "in a storm"}, asked.region)

    require_success(airflow_deployment, BY_PERSON, run_id, timeout=300)
    assert len(require_own_pictures(api, BY_PERSON, run_id)) == 2
    prompts = [each["prompt"] for each in handed_on(api, BY_PERSON, run_id, "make.submit", "image_task")]
    assert prompts == ["a lighthouse in the fog", "a lighthouse in the fog, in a storm"]


def _asked(api: AirflowRestApi, run_id: str, number: int) -> TaskInstance:
    """Wait until an iteration asks its person."""

    def asked() -> TaskInstance | None:
        found = [
            task
            for task in api.task_instances(BY_PERSON, run_id, "make.ask")
            if task.raw["loop_iteration"]["iteration"] == number and task.state in {"awaiting_input", "deferred"}
        ]
        return found[0] if found else None

    return wait_until(asked, timeout=300, what=f"the question of iteration {number}")


def test_an_iteration_that_is_killed_at_any_step_hands_on_its_own_picture_and_pays_once(
    airflow_deployment: AirflowDeployment, local_service: LocalImageServiceProcess, tmp_path: Path
) -> None:
    marks, folder = tmp_path / "marks", f"file://{tmp_path}/pictures"
    marks.mkdir()
    shutil.copy(killing.__file__, airflow_deployment.dags_folder / "killing.py")
    source = KILLED.format(points=POINTS, marks=str(marks), folder=folder)
    run_id = start_runs(airflow_deployment, source, "killed_loop")["killed_loop"]
    require_success(airflow_deployment, "killed_loop", run_id, timeout=600)

    struck = [killing.mark_of(str(marks / str(index)), "killed_loop", "make.submit") for index in range(3)]
    waited = [killing.mark_of(str(marks / str(index)), "killed_loop", "make.wait") for index in range(3)]
    assert [mark.exists() for mark in (*struck, *waited)] == [True] * 6
    submitted = require_own_pictures(airflow_deployment.api, "killed_loop", run_id)
    assert created(local_service, "killed loop") == submitted


def test_a_batch_in_a_loop_is_another_one_in_each_iteration(
    airflow_deployment: AirflowDeployment, local_service: LocalImageServiceProcess, tmp_path: Path
) -> None:
    source = BATCHES.format(folder=f"file://{tmp_path}/pictures")
    run_id = start_runs(airflow_deployment, source, "batch_loop")["batch_loop"]
    require_success(airflow_deployment, "batch_loop", run_id, timeout=480)

    results = handed_on(airflow_deployment.api, "batch_loop", run_id, "make.batch")
    rows = [row for result in results for row in manifest_rows(result["manifest"])]
    assert [row["prompt"] for row in rows] == ["batch loop a", "batch loop b"] * 2
    assert len({row["image_task_id"] for row in rows}) == 4
    assert sorted(row["image_task_id"] for row in rows) == sorted(created(local_service, "batch loop"))
