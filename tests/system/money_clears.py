"""The ways in which people clear a task on Airflow 3.4, and the submissions that are cleared in each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from dev.airflow_deployment import AirflowDeployment
from dev.child_process import ChildProcess
from tests.system.money_cases import Event

RUN, COMMAND = "run", "command"
BODIES: Mapping[str, Mapping[str, Any]] = {
    "api": {},
    "api_keeping": {"keep_task_state": True},
    # As the dialog of the UI sends it where nothing is chosen.
    "ui": {"include_downstream": True, "prevent_running_task": True},
    "ui_keeping": {"include_downstream": True, "prevent_running_task": True, "keep_task_state": True},
}
"""What is asked of ``clearTaskInstances``, by the way of the Clear."""
WAYS = {
    "api": "Clear by the API",
    "api_keeping": "Clear by the API with `keep_task_state`",
    "ui": "Clear in the UI",
    "ui_keeping": "Clear in the UI with *Keep task state and resume*",
    RUN: "Clear of its Dag run",
    COMMAND: "`airflow tasks clear`",
}
_WITH_COPY = {"with_copy": "`ledger_path` set, Clear by the API"}
CLEARS = tuple(
    Event(
        f"{name}_{key}",
        f"{title}; {words}",
        directives="[hang-after=1]" if is_ended_early else "",
        ended_early=is_ended_early,
        clears=1,
        way="api" if key in _WITH_COPY else key,
        keeps_copy=key in _WITH_COPY,
    )
    for name, title, is_ended_early in (
        ("finished", "finished", False),
        ("ended_early", "marked failed while the answer is awaited", True),
    )
    for key, words in (WAYS | _WITH_COPY).items()
)


def together(events: Sequence[Event]) -> dict[str, list[Event]]:
    """Return which of them share a Dag, by a name for it: a Clear of a Dag run is of all its tasks."""
    dags: dict[str, list[Event]] = {}
    for event in events:
        name = event.name if event.way == RUN else "with_copy" if event.keeps_copy else "by_task"
        dags.setdefault(name, []).append(event)
    return dags


def clear(deployment: AirflowDeployment, way: str, dag_id: str, run_id: str, task_id: str) -> ChildProcess | None:
    """Clear a task that has ended, and return the command that does it where one does: it goes on meanwhile."""
    path = f"/dags/{quote(dag_id, safe='')}"
    if way == COMMAND:
        command = ["tasks", "clear", "--yes", "--task-regex", task_id, dag_id]
        child = ChildProcess(
            f"airflow tasks clear {task_id}",
            [deployment.python, "-m", "airflow", *command],
            environment=deployment.environment,
            log_path=deployment.home / "component-logs" / f"clear-{dag_id}-{task_id}.log",
            folder=deployment.home,
        )
        child.start()
        return child
    if way == RUN:
        body = {"dry_run": False, "only_failed": False}
        deployment.api.request("POST", f"{path}/dagRuns/{quote(run_id, safe='')}/clear", json=body)
    else:
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "task_ids": [[task_id, -1]]}
        deployment.api.request("POST", f"{path}/clearTaskInstances", json={**body, **BODIES[way]})
    return None
