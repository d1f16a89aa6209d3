"""What is read of Airflow's tables: only what is ours, whatever else lies there."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from airflow.models.trigger import Trigger

from airflow_provider_imagetasks.ui import airflow_records as records
from airflow_provider_imagetasks.ui import task_instances as instances
from tests.ui.conftest import NOW, SENSOR_TRIGGER, MetadataDatabase

RECORD = {"id": "it-1", "service": "kie", "image_count_requested": 1}


@pytest.mark.parametrize("stored", [RECORD, json.dumps(RECORD), {"__data__": RECORD, "__version__": 1}])
def test_a_value_is_read_however_it_was_stored(database: MetadataDatabase, stored: Any) -> None:
    database.push("wait", stored, "image_tasks")

    (xcom,) = records.results_of_runs(database.session, [1])

    assert (xcom.value, xcom.place, xcom.dag_id, xcom.timestamp) == (RECORD, (1, "wait", -1, ""), "kites", NOW)


def test_return_values_of_other_tasks_are_not_read(database: MetadataDatabase) -> None:
    database.push("wait", RECORD)
    database.push("save", {"files": [{"image_task_id": "it-1"}]})
    database.push("theirs", {"rows": 7})
    database.push("theirs", RECORD, "a key of their own")
    database.push("mapped", RECORD, map_index=4)

    assert {xcom.task_id for xcom in records.results_of_runs(database.session, [1])} == {"wait", "save", "mapped"}
    assert {xcom.task_id for xcom in records.results_of_runs(database.session, [1], [-1])} == {"wait", "save"}
    assert records.results_of_runs(database.session, [2]) == []


def test_runs_and_states_of_many_are_read_at_once(database: MetadataDatabase) -> None:
    for number in range(1, 202):
        database.add_run(number, f"run_{number}")
        database.push("make", {}, "image_batch", dag_run_id=number, run_id=f"run_{number}")
        database.add_task("make", run_id=f"run_{number}", state="failed" if number == 201 else "running")
    xcoms = [records.submissions_of_task(database.session, number, "make", -1)[0] for number in range(1, 202)]

    states = instances.states_of(database.session, xcoms)

    assert (len(states), states[200, "make", -1, ""], states[201, "make", -1, ""]) == (201, "running", "failed")
    assert records.runs(database.session, range(1, 400))[201] == records.Run(201, "kites", "run_201", "running")


def test_dags_are_known_by_what_was_asked_for_in_them_lately(database: MetadataDatabase) -> None:
    database.push("submit", {}, "image_task")
    database.push("refused", {}, "image_task_refused", dag_id="refused")
    database.push("old", {}, "image_task", dag_id="old", timestamp=NOW - timedelta(days=2))
    database.push("none", RECORD, dag_id="none")

    assert records.dags_with_image_tasks(database.session, NOW - timedelta(days=1)) == {"kites", "refused"}


@pytest.mark.parametrize(
    ("classpath", "ids", "awaited"),
    [
        (SENSOR_TRIGGER, ["a", "b"], ("a", "b")),
        (SENSOR_TRIGGER, ["a", 7, None], ("a",)),
        (SENSOR_TRIGGER, "a", ()),
        (SENSOR_TRIGGER, None, ()),
        ("somebody.else.Trigger", ["a"], ()),
    ],
)
def test_only_triggers_of_ours_tell_what_is_waited_for(classpath: str, ids: Any, awaited: tuple[str, ...]) -> None:
    assert instances.awaited_ids(Trigger(classpath, {"image_task_ids": ids})) == awaited
    assert instances.awaited_ids(None) == ()
