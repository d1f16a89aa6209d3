"""Runs an operator in Airflow's own task runner, against an Execution API that lives in memory: no database."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from unittest import mock
from urllib.parse import unquote

import uuid6
from airflow.sdk import DAG
from airflow.sdk.api import client as airflows_client
from airflow.sdk.api.datamodels._generated import DagRun, TaskInstance
from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor, run_task_in_process

httpx: Any = getattr(airflows_client, "httpx2", None) or airflows_client.httpx  # type: ignore[attr-defined]
"""What Airflow asks its Execution API with; since 3.4 the second major version."""
DAG_ID, RUN_ID = "a_dag", "a_run"
LOOP = uuid.UUID("01980000-0000-7000-8000-000000000000")
HAS_LOOPS = "region_id" in TaskInstance.model_fields
_MOMENT = "2026-03-01T00:00:00Z"
_REFUSED_BY_JSONB = re.compile(r"(?<!\\)(?:\\\\)*\\u0000|[\ud800-\udfff]")


@dataclass
class Outcome:
    """How a task ended: its state, what it told Airflow, the error it raised; and the task as it ran."""

    state: str
    message: Any
    error: BaseException | None
    task: Any


@dataclass
class TaskRunner:
    """Runs tasks of one Dag run; what they push stays for the next."""

    connections: dict[str, dict[str, Any]] = field(default_factory=dict)
    xcoms: dict[tuple[str, str], Any] = field(default_factory=dict)
    states: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    refused_xcoms: set[str] = field(default_factory=set)
    rendered: dict[str, Any] = field(default_factory=dict)
    first_reschedule: str | None = None
    try_id: str | None = None

    def run(
        self,
        make_task: Callable[[], Any],
        *,
        try_number: int = 1,
        max_tries: int = 2,
        next_method: str | None = None,
        next_kwargs: Mapping[str, Any] | None = None,
        iteration: int | None = None,
    ) -> Outcome:
        """Make the task inside a Dag and run it once, or resume it with ``next_method``.

        :param iteration: of the loop that it is in, for Airflow 3.4; None for none.
        """
        with DAG(dag_id=DAG_ID, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
            task = make_task()
        self._task_id = task.task_id
        self._run_context = {
            "dag_run": _dag_run(),
            "task_reschedule_count": int(self.first_reschedule is not None),
            "max_tries": max_tries,
            "variables": [],
            "connections": [],
            "xcom_keys_to_clear": [],
            "should_retry": try_number <= max_tries,
            **({"next_method": next_method, "next_kwargs": _serialized(next_kwargs or {})} if next_method else {}),
        }
        instance = TaskInstance(
            # As Airflow's own: a later try has a greater one.
            id=self.try_id or uuid6.uuid7(),
            task_id=task.task_id,
            dag_id=DAG_ID,
            run_id=RUN_ID,
            try_number=try_number,
            dag_version_id=uuid.uuid4(),
            **({} if iteration is None else {"region_id": LOOP, "region_index": iteration}),
        )
        self._region = "" if iteration is None else str(iteration)
        client = InProcessTestSupervisor._Client(
            base_url="http://airflow.invalid/", token="", transport=httpx.MockTransport(self._answer)
        )
        with mock.patch.object(InProcessTestSupervisor, "_api_client", return_value=client):
            result = run_task_in_process(ti=instance, task=task)
        return Outcome(str(result.state.value), result.msg, result.error, result.ti.task)

    def resume(self, make_task: Callable[[], Any], outcome: Outcome, event: Any) -> Outcome:
        """Resume a task that deferred, with the event that its trigger fired."""
        kwargs = {**outcome.message.next_kwargs, "event": event}
        return self.run(make_task, next_method=outcome.message.next_method, next_kwargs=kwargs)

    def _answer(self, request: Any) -> Any:
        path = unquote(request.url.path)
        if path.endswith("/run"):
            return httpx.Response(200, json=self._run_context)
        if path.endswith("/rtif"):
            self.rendered = json.loads(request.content)
        if "/task-reschedules/" in path:
            return httpx.Response(200, json=self.first_reschedule)
        if match := re.fullmatch(r"/connections/(.+)", path):
            return self._connection(match[1])
        if match := re.fullmatch(rf"/xcoms/{DAG_ID}/{RUN_ID}/([^/]+)/([^/]+)", path):
            return self._xcom(request, (match[1], match[2]))
        if match := re.fullmatch(r"/store/ti/[^/]+/(.+)", path):
            return self._state(request, (self._task_id, self._region, match[1]))
        return httpx.Response(200, json={})

    def _connection(self, conn_id: str) -> Any:
        known = self.connections.get(conn_id)
        if known is None:
            return httpx.Response(404, json={"detail": {"reason": "not_found", "message": f"no {conn_id}"}})
        empty = dict.fromkeys(("host", "login", "password", "schema", "port", "extra"))
        fields = {"conn_id": conn_id, "conn_type": "imagetasks", **empty, **known}
        if isinstance(fields.get("extra"), dict):
            fields["extra"] = json.dumps(fields["extra"])
        return httpx.Response(200, json=fields)

    def _state(self, request: Any, key: tuple[str, str, str]) -> Any:
        """Answer for the task state store, which outlives tries, and Clears unless a test empties ``states``."""
        if request.method == "PUT":
            self.states[key] = json.loads(request.content)["value"]
        elif request.method == "DELETE":
            self.states.pop(key, None)
        elif key not in self.states:
            return httpx.Response(404, json={"detail": {"reason": "not_found", "message": f"no {key}"}})
        else:
            return httpx.Response(200, json={"value": self.states[key]})
        return httpx.Response(204)

    def _xcom(self, request: Any, key: tuple[str, str]) -> Any:
        if request.method == "POST":
            value = json.loads(request.content)
            if key[1] in self.refused_xcoms or _REFUSED_BY_JSONB.search(json.dumps(value, ensure_ascii=False)):
                return httpx.Response(422, json={"detail": "PostgreSQL cannot store this"})
            self.xcoms[key] = value
            return httpx.Response(201, json={"message": "stored"})
        if key not in self.xcoms:
            return httpx.Response(404, json={"detail": {"reason": "not_found", "message": f"no {key}"}})
        return httpx.Response(200, json={"key": key[1], "value": self.xcoms[key]})


def _dag_run() -> dict[str, Any]:
    """Return what every Airflow version wants to know of a run, without what this one forbids."""
    moments = ("logical_date", "data_interval_start", "data_interval_end", "run_after", "start_date")
    every = {
        "dag_id": DAG_ID,
        "run_id": RUN_ID,
        "run_type": "manual",
        "state": "running",
        "conf": {},
        **dict.fromkeys(moments, _MOMENT),
        "end_date": None,
        "clear_number": 0,
        "consumed_asset_events": [],
        "partition_key": None,
    }
    return {name: value for name, value in every.items() if name in DagRun.model_fields}


def _serialized(value: Mapping[str, Any]) -> Any:
    """Serialise what a resumed method gets, as this version of Airflow stores it."""
    try:
        from airflow.sdk.serde import serialize
    except ImportError:
        from airflow.serialization.serialized_objects import BaseSerialization

        return BaseSerialization.serialize(dict(value))
    return serialize(dict(value))
