"""What is done to a cluster while pictures are made, and a log of it for the reader of the test run."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import requests

from dev.airflow_cluster import AirflowCluster
from dev.rest_api import FINISHED_RUN_STATES, RestApiError, wait_until

OUTAGE = 5
"""Seconds that PostgreSQL is away."""
FREEZE = 30
"""Seconds that a triggerer hangs: twice as long as Airflow waits before another takes its waits over."""

AWAKE = 5
"""Seconds for which it is then watched."""


class Director:
    """Intervenes in a cluster, restarts what ended by itself, and notes both."""

    def __init__(self, cluster: AirflowCluster) -> None:
        self.cluster = cluster
        self.kills = 0
        self.ended: list[str] = []
        self._begun = time.monotonic()

    def note(self, text: str) -> None:
        """Say what happened, and when."""
        print(f"{time.monotonic() - self._begun:6.1f} s  {text}", flush=True)

    def wait_for(self, what: str, look: Callable[[], Any], *, timeout: float = 180) -> Any:
        """Wait for something, while a supervisor starts again whatever ended."""

        def looked() -> Any:
            for name, said in self.cluster.revive().items():
                self.ended.append(name)
                self.note(f"{name} had ended by itself, and is started again; it said last: {said[:200]}")
            return look()

        return wait_until(looked, timeout=timeout, what=what)

    def kill_worker(self, short_id: str) -> str:
        """Kill whichever worker runs a task of that name, in the middle of it, and return the worker's name."""

        def running() -> tuple[str, list[str]] | None:
            for name in self.cluster.workers:
                tasks = self.cluster.running_tasks(name)
                if any(task["task_id"].rpartition(".")[2] == short_id for task in tasks):
                    return name, [f"{task['task_id']}[{task['map_index']}]" for task in tasks]
            return None

        name, labels = self.wait_for(f"a worker runs {short_id}", running)
        self._kill(name)
        self.note(f"SIGKILL {name}, which ran {', '.join(labels)}")
        self.cluster.airflow.launch(name)
        return name

    def kill_triggerer(self, *, holding: int) -> None:
        """Kill whichever triggerer holds at least so many waits."""
        name, held = self._triggerer(holding)
        self._kill(name)
        self.note(f"SIGKILL {name}, which held {held} waits")
        self.cluster.airflow.launch(name)

    def freeze_triggerer(self) -> tuple[str, float]:
        """Stop a triggerer that holds a wait, and return its name and the moment when it is to go on."""
        name, held = self._triggerer(1)
        self.cluster.airflow.component(name).send_signal(signal.SIGSTOP)
        self.note(f"SIGSTOP {name}, which held {held} waits")
        return name, time.monotonic() + FREEZE

    def thaw_triggerer(self, name: str, moment: float) -> None:
        """Let a triggerer go on."""
        self.wait_for(f"{FREEZE} s of freezing", lambda: time.monotonic() >= moment)
        held = self.cluster.held_triggers(name)
        self.cluster.airflow.component(name).send_signal(signal.SIGCONT)
        self.note(f"SIGCONT {name}; by now others had taken over all but {held} of its waits")
        started_at, awake_until = self.cluster.airflow.started_at(name), time.monotonic() + AWAKE
        self.wait_for(f"{AWAKE} s of {name} awake", lambda: time.monotonic() >= awake_until)
        if self.cluster.airflow.started_at(name) == started_at:
            self.note(f"{name} goes on as if nothing had happened")

    def restart_postgresql(self) -> None:
        """Take PostgreSQL away for a while, and every connection to it."""
        self.cluster.postgresql.stop()
        self.note("PostgreSQL stopped")
        time.sleep(OUTAGE)
        self.cluster.postgresql.start()
        self.note("PostgreSQL started again")

    def wait_for_runs(self, runs: list[tuple[str, str]], *, timeout: float) -> None:
        """Wait for the end of every run, and fail with the log of the first that did not succeed."""
        api = self.cluster.airflow.api
        for dag_id, run_id in runs:

            def state(dag_id: str = dag_id, run_id: str = run_id) -> str | None:
                try:
                    found = api.run_state(dag_id, run_id)
                except (RestApiError, requests.RequestException):
                    return None
                return found if found in FINISHED_RUN_STATES else None

            ended = self.wait_for(f"the end of {dag_id} {run_id}", state, timeout=timeout)
            self.note(f"{dag_id} {run_id}: {ended}")
            assert ended == "success", api.failure_report(dag_id, run_id)

    def _triggerer(self, holding: int) -> tuple[str, int]:
        def holder() -> tuple[str, int] | None:
            held = {name: self.cluster.held_triggers(name) for name in self.cluster.triggerers}
            name = max(held, key=lambda each: held[each])
            return (name, held[name]) if held[name] >= holding else None

        found: tuple[str, int] = self.wait_for(f"a triggerer holds {holding} waits", holder)
        return found

    def _kill(self, name: str) -> None:
        self.cluster.airflow.kill(name)
        self.kills += 1
