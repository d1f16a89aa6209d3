"""A batch of a thousand whose worker, triggerer and worker are killed, beside one that is left alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess
from dev.rest_api import FINISHED_RUN_STATES
from tests.system.deployments import connections, manifest_rows, require_intact, restart_triggerer, start_runs

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

ROWS = 1000
PATIENCE = 400
PROGRESSING = list(range(15, 160, 10))
"""Seconds that the image tasks of the batch take whose progress is watched. The triggerer is killed meanwhile."""

DAGS = """
import os
from pathlib import Path

FOLDER = Path({folder!r})


class TellingItsProcess(ImageBatchOperator):
    def execute(self, context):
        (FOLDER / "pid").write_text(str(os.getpid()))
        return super().execute(context)

    def execute_complete(self, context, event=None):
        (FOLDER / "pid").write_text(str(os.getpid()))
        return super().execute_complete(context, event)


def batch(operator, name, prompts, **arguments):
    with DAG(name, schedule=None):
        operator(
            task_id="batch",
            prompts=prompts,
            output_path=f"file://{{FOLDER}}/{{name}}",
            options={{"size": "256x256"}},
            deferrable=True,
            retries=6,
            retry_delay=timedelta(seconds=1),
            **arguments,
        )


# The first half takes longer than a worker waits for something to end.
killed = [f"kite {{number}} [latency={{75 if number < {rows} / 2 else 3}}]" for number in range({rows})]
batch(TellingItsProcess, "killed", killed, conn_id="imagetasks_ace")
watched = [f"kite [latency={{seconds}}]" for seconds in {progressing}]
batch(ImageBatchOperator, "watched", watched, conn_id="imagetasks_kie")
"""


@dataclass
class Observed:
    """What was seen of the two batches."""

    runs: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    kills: list[str] = field(default_factory=list)
    progress: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture(scope="module")
def deployment(image_service: LocalImageServiceProcess, airflow_database_template: Path) -> Iterator[AirflowDeployment]:
    environment = connections(image_service, ace="acedatacloud", kie="kie")
    with AirflowDeployment(environment=environment, database_template=airflow_database_template) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("batches")


@pytest.fixture(scope="module")
def observed(deployment: AirflowDeployment, image_service: LocalImageServiceProcess, folder: Path) -> Observed:
    """Run both at once, kill what is to be killed, and look."""
    seen = Observed()
    source = DAGS.format(folder=str(folder), rows=ROWS, progressing=PROGRESSING)
    seen.runs = start_runs(deployment, source, "killed", "watched")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and len(seen.states) < len(seen.runs):
        _kill_what_is_due(seen, deployment, image_service, folder)
        _watch(seen, deployment)
        states = {name: deployment.api.run_state(name, run_id) for name, run_id in seen.runs.items()}
        seen.states = {name: state for name, state in states.items() if state in FINISHED_RUN_STATES}
        time.sleep(0.5)
    return seen


def _kill_what_is_due(
    seen: Observed, deployment: AirflowDeployment, image_service: LocalImageServiceProcess, folder: Path
) -> None:
    created = image_service.stats()["dialects"]["acedatacloud"]["created"]
    (instance,) = deployment.api.task_instances("killed", seen.runs["killed"], "batch") or [None]
    if (len(seen.kills) == 0 and created >= ROWS * 0.2) or (len(seen.kills) == 2 and created >= ROWS * 0.7):
        os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
        seen.kills.append(f"worker at {created} submissions")
    elif len(seen.kills) == 1 and instance is not None and instance.state == "deferred":
        restart_triggerer(deployment)
        seen.kills.append("triggerer")


def _watch(seen: Observed, deployment: AirflowDeployment) -> None:
    """Note the progress that a person sees while the task is deferred, before and after."""
    api, run_id = deployment.api, seen.runs["watched"]
    is_deferred = [task.state for task in api.task_instances("watched", run_id, "batch")] == ["deferred"]
    progress = api.xcom("watched", run_id, "batch", key="progress") if is_deferred else None
    still = [task.state for task in api.task_instances("watched", run_id, "batch")] == ["deferred"]
    if progress and still and progress not in seen.progress:
        seen.progress.append(progress)


def test_a_thousand_rows_are_a_thousand_submissions_whoever_is_killed(
    observed: Observed, deployment: AirflowDeployment, image_service: LocalImageServiceProcess, folder: Path
) -> None:
    run_id = observed.runs["killed"]
    assert [kill.split()[0] for kill in observed.kills] == ["worker", "triggerer", "worker"]
    assert observed.states.get("killed") == "success", deployment.api.failure_report("killed", run_id)

    assert image_service.stats()["dialects"]["acedatacloud"]["created"] == ROWS
    result = deployment.api.xcom("killed", run_id, "batch")
    assert (result["total"], result["succeeded"], result["failed"]) == (ROWS, ROWS, 0)
    assert [path.name for path in (folder / "killed").rglob("manifest*")] == ["manifest.jsonl"]
    rows = manifest_rows(result["manifest"])
    assert [row["index"] for row in rows] == list(range(ROWS))
    assert len({row["image_task_id"] for row in rows}) == ROWS
    assert all(len(row["files"]) == 1 for row in rows)
    require_intact(rows)
    assert len(list((folder / "killed").glob("*.png"))) == ROWS


def test_progress_is_seen_while_the_task_is_deferred(observed: Observed) -> None:
    assert observed.states.get("watched") == "success"
    values = [(one["succeeded"], one["running"]) for one in observed.progress]
    assert len(set(values)) >= 3, values
    assert all(one["total"] == len(PROGRESSING) == one["submitted"] for one in observed.progress)
