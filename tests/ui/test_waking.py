"""The waking of task instances: those that wait for the submission, long enough, once."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import select

from airflow_provider_imagetasks.submissions.callback_urls import CallbackPlace
from airflow_provider_imagetasks.ui.waking import resume_waiting
from airflow_provider_imagetasks.ui.xcom_rows import HAS_ATTEMPTS
from tests.ui.conftest import NOW, RUN_ID, SENSOR_TRIGGER, MetadataDatabase

IDS = {"image_task_ids": ["it-1"]}


def place(map_index: int = -1, run_id: str = RUN_ID, region: str = "") -> CallbackPlace:
    where = {"dag_id": "kites", "run_id": run_id, "task_id": "submit", "map_index": map_index, "region": region}
    return CallbackPlace(conn_id="kie", **where)  # type: ignore[arg-type]


def wake(database: MetadataDatabase, where: CallbackPlace | None = None, only: str | None = None) -> int:
    return resume_waiting(database.session, where or place(), only, now=NOW)


def waiting(database: MetadataDatabase) -> set[tuple[str, int]]:
    """Return what is still deferred."""
    columns = select(TaskInstance.task_id, TaskInstance.map_index)
    rows = database.session.execute(columns.where(TaskInstance.state == "deferred"))
    return {(row[0], row[1]) for row in rows}


@pytest.fixture(autouse=True)
def submitted(database: MetadataDatabase) -> None:
    database.add_run()
    database.add_run(2, "another_run")
    database.add_run(3, dag_id="other_kites")
    database.push("submit", {"id": "it-1", "trace_id": "trace-1"}, "image_task")


@pytest.mark.parametrize(
    "kwargs", [IDS, {"image_task_ids": ["it-0", "it-1"]}, {"image_task_ids": [], "trace_id": "trace-1"}]
)
def test_who_waits_for_the_image_task_is_handed_to_the_scheduler_to_read_it(
    database: MetadataDatabase, kwargs: dict[str, Any]
) -> None:
    database.defer("wait", kwargs, next_method="resume")

    assert wake(database) == 1

    task = database.session.scalars(select(TaskInstance).where(TaskInstance.task_id == "wait")).one()
    assert (task.state, task.trigger_id, task.next_method) == ("scheduled", None, "resume")
    assert "done" in str(task.next_kwargs)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"kwargs": {"image_task_ids": ["it-2"]}}, id="another id"),
        pytest.param({"kwargs": {"image_task_ids": [], "trace_id": "trace-2"}}, id="another trace id"),
        pytest.param({"kwargs": {"image_task_ids": "it-1"}}, id="odd"),
        pytest.param({"run_id": "another_run"}, id="run"),
        pytest.param({"dag_id": "other_kites"}, id="Dag"),
        pytest.param({"state": "running"}, id="running"),
        pytest.param(
            {"classpath": SENSOR_TRIGGER.replace("image_task.ImageTask", "image_batch.ImageBatch")}, id="batch"
        ),
        pytest.param({"classpath": "somebody.else.Trigger"}, id="not ours"),
        pytest.param({"seconds_ago": 14}, id="only just deferred"),
    ],
)
def test_nobody_else_is_woken(database: MetadataDatabase, other: dict[str, Any]) -> None:
    database.defer("wait", **{"kwargs": IDS, **other})

    assert wake(database) == 0


def test_in_a_mapped_group_only_its_own_instance_is_woken(database: MetadataDatabase) -> None:
    for index in (0, 1):
        database.push("submit", {"id": f"it-{index}"}, "image_task", map_index=index)
        database.defer("wait", {"image_task_ids": [f"it-{index}"]}, map_index=index)

    assert wake(database, place(map_index=1)) == 1
    assert waiting(database) == {("wait", 0)}


@pytest.mark.skipif(not HAS_ATTEMPTS, reason="Airflow has no loops before 3.4")
def test_in_a_loop_only_its_own_iteration_is_woken(database: MetadataDatabase) -> None:
    region = database.add_region("make")
    for index in range(3):
        database.push("submit", {"id": f"it-{index}"}, "image_task", region=(region, index))
        database.defer("wait", {"image_task_ids": [f"it-{index}"]}, region=(region, index))

    assert wake(database, place(region=f"{region}/1")) == 1
    assert waiting(database) == {("wait", 0), ("wait", 2)}


@pytest.mark.skipif(not HAS_ATTEMPTS, reason="Airflow keeps no attempts before 3.4")
def test_a_call_about_a_submission_that_was_cleared_wakes_nobody(database: MetadataDatabase) -> None:
    database.defer("wait", IDS)
    database.archive("submit")

    assert wake(database) == 0


def test_one_sensor_of_many_submissions_is_woken_by_each(database: MetadataDatabase) -> None:
    database.push("submit", {"id": "it-7"}, "image_task", map_index=7)
    database.defer("wait", {"image_task_ids": ["it-1", "it-7"]})

    assert wake(database, place(map_index=7)) == 1


def test_a_signed_call_wakes_once_and_only_who_waits_for_the_image_task_it_is_about(database: MetadataDatabase) -> None:
    database.defer("wait", IDS)

    assert [wake(database, only="it-2"), wake(database, only="it-1"), wake(database)] == [0, 1, 0]


@pytest.mark.parametrize("value", [None, "it-1", {}, {"id": 7}, {"id": ["it-1"]}])
def test_without_a_submission_there_is_nobody_to_wake(database: MetadataDatabase, value: Any) -> None:
    database.push("submit", value, "image_task", map_index=3)
    database.defer("wait", IDS)

    assert wake(database, place(map_index=3)) == wake(database, place(run_id="another_run")) == 0


@pytest.mark.parametrize(("signed", "woken"), [("it-1", 1), ("mj.it-1", 1), ("t-1", 0), ("it-2", 0)])
def test_a_signature_holds_the_service_s_own_id_without_the_name_of_its_api(
    database: MetadataDatabase, signed: str, woken: int
) -> None:
    database.push("submit", {"id": "mj.it-1", "trace_id": None}, "image_task", map_index=7)
    database.defer("wait", {"image_task_ids": ["mj.it-1"]}, next_method="resume", map_index=7)

    assert wake(database, place(map_index=7), only=signed) == woken


ACCOUNT = CallbackPlace(conn_id="openai", dag_id="", run_id="", task_id="", map_index=-1)


def test_a_call_about_an_account_wakes_who_waits_for_what_is_signed_in_whatever_run(database: MetadataDatabase) -> None:
    ids = {"conn_id": "openai", "image_task_ids": ["resp_1"]}
    database.defer("wait", ids)
    database.defer("wait", ids, run_id="another_run")
    database.defer("wait", ids, dag_id="other_kites")
    for name, other in (("late", {"image_task_ids": ["resp_2"]}), ("elsewhere", {"conn_id": "another"})):
        database.defer(name, {**ids, **other})
    database.defer("fresh", ids, seconds_ago=14)

    assert wake(database, ACCOUNT, only=None) == wake(database, ACCOUNT, only="resp") == 0
    assert wake(database, ACCOUNT, only="resp_1") == 3
    assert {name for name, _ in waiting(database)} == {"late", "elsewhere", "fresh"}


def test_a_call_about_a_provider_batch_wakes_the_batch_that_waits_for_it_and_none_that_waits_for_several_to_end(
    database: MetadataDatabase,
) -> None:
    trigger = SENSOR_TRIGGER.replace("image_task.ImageTask", "image_batch.ImageBatch")
    ids = {"conn_id": "openai", "image_task_ids": ["batch_1", "batch_2"]}
    database.defer("catalogue", {**ids, "wake_at": 1}, classpath=trigger, next_method="execute_complete")
    database.defer("rows", {**ids, "wake_at": 2}, classpath=trigger)
    database.defer("elsewhere", {**ids, "wake_at": 1, "conn_id": "another"}, classpath=trigger)
    database.defer("fresh", {**ids, "wake_at": 1}, classpath=trigger, seconds_ago=14)

    assert wake(database, ACCOUNT, only="batch_3") == 0
    assert wake(database, ACCOUNT, only="batch_2") == 1
    assert {name for name, _ in waiting(database)} == {"rows", "elsewhere", "fresh"}
