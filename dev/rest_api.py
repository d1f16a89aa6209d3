"""A client for Airflow's REST API, with what a script needs to run a Dag and look at the outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote

import requests

from dev.task_log import last_lines, log_text

FINISHED_RUN_STATES = frozenset({"success", "failed"})
PAGE_SIZE = 100
_ATTEMPTS = 10
"""A busy SQLite refuses a change whose transaction has read what another one changed since; nothing was done then."""
_REQUEST_TIMEOUT = 90
"""Seconds. Longer than the deployment lets SQLite wait for its lock: a busy one makes a change wait its turn."""

T = TypeVar("T")


class RestApiError(Exception):
    """The REST API refused a request."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class DeadlineExceededError(Exception):
    """Something did not come about in time."""


class DagRunFailedError(Exception):
    """A Dag run that was expected to succeed did not."""


@dataclass(frozen=True)
class TaskInstance:
    """One task instance as the REST API shows it; ``raw`` is the whole answer."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    max_tries: int
    raw: Mapping[str, Any]

    @property
    def short_id(self) -> str:
        """The task id without its task groups."""
        return self.task_id.rpartition(".")[2]

    @property
    def label(self) -> str:
        """The task id, with the map index of a mapped one, or the iteration of one in a loop."""
        index = self.map_index if self.map_index >= 0 else self.raw.get("region_index")
        return self.task_id if index is None else f"{self.task_id}[{index}]"

    @property
    def region(self) -> dict[str, Any]:
        """What the API asks for to tell it from other iterations, since Airflow 3.4; nothing where there are none."""
        return {name: self.raw[name] for name in ("region_id", "region_index") if name in self.raw}


def wait_until(look: Callable[[], T | None], *, timeout: float, what: str, interval: float = 0.5) -> T:
    """Call ``look`` until it returns something other than None or False, and return that."""
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        if time.monotonic() >= deadline:
            raise DeadlineExceededError(f"not within {timeout:g} s: {what}")
        time.sleep(interval)


class AirflowRestApi:
    """Airflow's REST API, as one user."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._login = {"username": user, "password": password}
        self._session = requests.Session()
        # No proxy and no .netrc of the machine between this process and its own child.
        self._session.trust_env = False

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def health(self) -> dict[str, Any]:
        """Return the health of each component; needs no login."""
        response = self._session.get(f"{self.url}/api/v2/monitor/health", timeout=10)
        response.raise_for_status()
        return dict(response.json())

    def request(self, method: str, path: str, **arguments: Any) -> Any:
        """Make one call below ``/api/v2`` and return the decoded JSON."""
        if "Authorization" not in self._session.headers:
            self._log_in()
        url = f"{self.url}/api/v2{path}"
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(1)
            response = self._session.request(method, url, timeout=_REQUEST_TIMEOUT, **arguments)
            if not (response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR and "Database error" in response.text):
                break
        if not response.ok:
            raise RestApiError(
                f"{method} {path}: HTTP {response.status_code}: {response.text[:500]}", response.status_code
            )
        return response.json() if response.content else None

    def pages(self, path: str, key: str, **filters: Any) -> Iterator[dict[str, Any]]:
        """Yield the entries of a list from all of its pages."""
        offset = 0
        while True:
            answer = self.request("GET", path, params={**filters, "limit": PAGE_SIZE, "offset": offset})
            yield from answer[key]
            offset += PAGE_SIZE
            if offset >= answer["total_entries"] or not answer[key]:
                return

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """Return what Airflow knows of a Dag, None while it knows nothing."""
        try:
            return dict(self.request("GET", f"/dags/{quote(dag_id, safe='')}"))
        except RestApiError as error:
            if error.status == requests.codes.not_found:
                return None
            raise

    def import_errors(self) -> list[dict[str, Any]]:
        """Return the Dag files that Airflow could not import."""
        return list(self.pages("/importErrors", "import_errors"))

    def trigger_dag(self, dag_id: str, conf: Mapping[str, Any] | None = None, *, run_id: str | None = None) -> str:
        """Start a run dated now, as the UI does, and return its id."""
        body = {"logical_date": datetime.now(UTC).isoformat(), "conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        run = self.request("POST", f"/dags/{quote(dag_id, safe='')}/dagRuns", json=body)
        return str(run["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        return str(self.request("GET", _run_path(dag_id, run_id))["state"])

    def run_url(self, dag_id: str, run_id: str) -> str:
        """Return the address of a run in the Airflow UI."""
        return f"{self.url}{_run_path(dag_id, run_id).replace('/dagRuns/', '/runs/')}"

    def wait_for_run(self, dag_id: str, run_id: str, *, timeout: float = 120, interval: float = 0.5) -> str:
        """Wait for the end of a run and return how it ended; ask for it every ``interval`` seconds."""

        def final_state() -> str | None:
            state = self.run_state(dag_id, run_id)
            return state if state in FINISHED_RUN_STATES else None

        try:
            return wait_until(final_state, timeout=timeout, what=f"the end of {dag_id} {run_id}", interval=interval)
        except DeadlineExceededError as error:
            states = {task.label: task.state for task in self.task_instances(dag_id, run_id)}
            raise DeadlineExceededError(f"{error}; task instances: {states}") from None

    def run_dag(
        self, dag_id: str, conf: Mapping[str, Any] | None = None, *, timeout: float = 120, interval: float = 0.5
    ) -> str:
        """Start a run, wait for its success and return its id; raise with the failed tasks' logs otherwise."""
        run_id = self.trigger_dag(dag_id, conf)
        if self.wait_for_run(dag_id, run_id, timeout=timeout, interval=interval) != "success":
            raise DagRunFailedError(self.failure_report(dag_id, run_id))
        return run_id

    def task_instances(self, dag_id: str, run_id: str, task_id: str | None = None) -> list[TaskInstance]:
        """Return the task instances of a run, in order of task id and map index."""
        entries = self.pages(f"{_run_path(dag_id, run_id)}/taskInstances", "task_instances")
        found = [
            TaskInstance(
                task_id=entry["task_id"],
                map_index=entry["map_index"],
                state=entry["state"],
                try_number=entry["try_number"],
                max_tries=entry["max_tries"],
                raw=entry,
            )
            for entry in entries
            if task_id in (None, entry["task_id"])
        ]
        return sorted(found, key=lambda task: (task.task_id, task.map_index, task.raw.get("region_index", -1)))

    def wait_for_task_state(
        self, dag_id: str, run_id: str, task_id: str, *states: str, map_index: int = -1, timeout: float = 60
    ) -> TaskInstance:
        """Wait until one task instance is in one of the states."""

        def in_state() -> TaskInstance | None:
            for task in self.task_instances(dag_id, run_id, task_id):
                if task.map_index == map_index and task.state in states:
                    return task
            return None

        return wait_until(
            in_state, timeout=timeout, what=f"{dag_id} {run_id} {task_id}[{map_index}] {' or '.join(states)}"
        )

    def xcom(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        *,
        key: str = "return_value",
        map_index: int = -1,
        region: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return one XCom value; None when the task instance pushed none under the key."""
        path = f"{_task_path(dag_id, run_id, task_id)}/xcomEntries/{quote(key, safe='')}"
        try:
            params = {"map_index": map_index, **(region or {}), "deserialize": "false"}
            return self.request("GET", path, params=params)["value"]
        except RestApiError as error:
            if error.status == requests.codes.not_found:
                return None
            raise

    def xcoms(self, dag_id: str, run_id: str, task_id: str, *, key: str = "return_value") -> list[Any]:
        """Return the XCom values of every instance of a task, in map order."""
        return [
            self.xcom(dag_id, run_id, task_id, key=key, map_index=task.map_index, region=task.region)
            for task in self.task_instances(dag_id, run_id, task_id)
        ]

    def task_log(self, dag_id: str, run_id: str, task: TaskInstance, *, try_number: int | None = None) -> str:
        """Return the log of one try of a task instance, the last one by default, as lines of text."""
        path = f"{_task_path(dag_id, run_id, task.task_id)}/logs/{try_number or task.try_number}"
        answer = self.request(
            "GET",
            path,
            params={"map_index": task.map_index, **task.region, "full_content": "true"},
            headers={"Accept": "application/json"},
        )
        return log_text(answer["content"])

    def clear(
        self,
        dag_id: str,
        run_id: str,
        tasks: Sequence[str | tuple[str, int]] | None,
        *,
        downstream: bool = False,
        only_failed: bool = False,
        **further: Any,
    ) -> None:
        """Clear task instances as a person does in the UI, so that they run again; ``further`` goes out with it."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            **({"task_ids": list(tasks)} if tasks is not None else {}),
            "include_downstream": downstream,
            "only_failed": only_failed,
            "reset_dag_runs": True,
            **further,
        }
        self.request("POST", f"/dags/{quote(dag_id, safe='')}/clearTaskInstances", json=body)

    def failure_report(self, dag_id: str, run_id: str, *, lines: int = 20, logs: int = 3) -> str:
        """Say how the task instances of a run stand, with the ends of the first failed ones' logs."""
        tasks = self.task_instances(dag_id, run_id)
        labels: dict[str, list[str]] = {}
        for task in tasks:
            labels.setdefault(task.state or "not started", []).append(task.label)
        parts = [f"Dag {dag_id}, run {run_id}:"]
        parts += [f"  {state}: {', '.join(names)}" for state, names in sorted(labels.items())]
        for task in [task for task in tasks if task.state == "failed"][:logs]:
            log = last_lines(self.task_log(dag_id, run_id, task), lines)
            parts.append(f"--- {task.label} failed, try {task.try_number}; the end of its log:\n{log}")
        return "\n".join(parts)

    def _log_in(self) -> None:
        response = self._session.post(f"{self.url}/auth/token", json=self._login, timeout=30)
        if not response.ok:
            raise RestApiError(f"login: HTTP {response.status_code}: {response.text[:200]}", response.status_code)
        self._session.headers["Authorization"] = f"Bearer {response.json()['access_token']}"


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"


def _task_path(dag_id: str, run_id: str, task_id: str) -> str:
    return f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}"
