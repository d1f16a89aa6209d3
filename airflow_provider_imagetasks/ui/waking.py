"""The waking of deferred task instances whose image task a service has called about.

Airflow's tables are no public interface: see ``airflow_records``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger, handle_event_submit
from airflow.triggers.base import TriggerEvent
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from airflow_provider_imagetasks.services.fields import mapping
from airflow_provider_imagetasks.submissions.callback_urls import CallbackPlace
from airflow_provider_imagetasks.ui.airflow_records import decoded
from airflow_provider_imagetasks.ui.task_instances import awaited_ids
from airflow_provider_imagetasks.ui.xcom_rows import is_at, region_of, xcom_rows

SHORTEST_DEFERRAL = 15.0
"""Seconds for which a deferred task instance is left alone."""
_MOST_DEFERRED = 1_000
_SENSOR_TRIGGER = "airflow_provider_imagetasks.triggers.image_task.ImageTaskTrigger"
_BATCH_TRIGGER = "airflow_provider_imagetasks.triggers.image_batch.ImageBatchTrigger"


def wake(place: CallbackPlace, only: str | None) -> int:
    """Resume the task instances that wait for a submission, in a session of its own; see ``resume_waiting``."""
    with create_session(scoped=False) as session:
        return resume_waiting(session, place, only, now=datetime.now(UTC))


def resume_waiting(session: Session, place: CallbackPlace, only: str | None, *, now: datetime) -> int:
    """Resume the deferred task instances of the run that wait for what a submission came to, and return how many.

    One that was deferred less than 15 s ago is left to its first status request: an event that comes while Airflow
    still writes down the deferral can make it fail the task.

    :param place: which submission, or which account.
    :param only: the image task that it has to be about; None takes the one that the submission came to.
    """
    waiting = (_waiting_anywhere if place.is_of_account else _waiting_in_run)(session, place, only)
    oldest = now - timedelta(seconds=SHORTEST_DEFERRAL)
    return sum(
        _resumed(session, task_instance, [only] if only and trigger.classpath == _BATCH_TRIGGER else [])
        for task_instance, trigger in waiting
        if trigger.created_date < oldest
    )


def _waiting_in_run(session: Session, place: CallbackPlace, only: str | None) -> list[tuple[TaskInstance, Trigger]]:
    """Return who waits in the run of a submission for what it came to."""
    submitted = _submitted(session, place)
    image_task_id, trace_id = submitted.get("id"), submitted.get("trace_id")
    # A service signs its own id, which stands behind the name of its API where it has several.
    if not isinstance(image_task_id, str) or not (only is None or f".{image_task_id}".endswith(f".{only}")):
        return []
    waiting: list[tuple[TaskInstance, Trigger]] = []
    # In a mapped group, and in a loop, the one that waits has the same index; then others need not be looked at.
    for in_group in (True, False):
        waiting = waiting or [
            (task_instance, trigger)
            for task_instance, trigger in _deferred_in_run(session, place, in_group=in_group)
            if _waits_for(trigger, image_task_id, trace_id)
        ]
    return waiting


def _waiting_anywhere(session: Session, place: CallbackPlace, only: str | None) -> list[tuple[TaskInstance, Trigger]]:
    """Return who waits with the connection for an image task, among the oldest thousand that wait.

    A batch is among them where a worker is worth it for each one that ends, as for a provider's own batch.
    """
    if only is None:
        return []
    return [
        (task_instance, trigger)
        for task_instance, trigger in _deferred(session, of_batches=True)
        if trigger.kwargs.get("conn_id") == place.conn_id
        and trigger.kwargs.get("wake_at", 1) == 1
        and _waits_for(trigger, only, None)
    ]


def _submitted(session: Session, place: CallbackPlace) -> Mapping[str, Any]:
    rows = xcom_rows()
    wanted = select(rows.value).where(
        rows.dag_id == place.dag_id,
        rows.run_id == place.run_id,
        rows.task_id == place.task_id,
        is_at(rows, place.map_index, place.region),
        rows.key == "image_task",
    )
    return mapping(decoded(session.scalar(wanted)))


def _deferred_in_run(session: Session, place: CallbackPlace, *, in_group: bool) -> list[tuple[TaskInstance, Trigger]]:
    same = TaskInstance.map_index == (region_of(place.region)[1] if place.region else place.map_index)
    is_in_run = (TaskInstance.dag_id == place.dag_id, TaskInstance.run_id == place.run_id)
    return _deferred(session, *is_in_run, same if in_group else ~same)


def _deferred(session: Session, *conditions: Any, of_batches: bool = False) -> list[tuple[TaskInstance, Trigger]]:
    triggers = (_SENSOR_TRIGGER, _BATCH_TRIGGER) if of_batches else (_SENSOR_TRIGGER,)
    wanted = (
        select(TaskInstance, Trigger)
        .join(Trigger, TaskInstance.trigger_id == Trigger.id)
        .where(TaskInstance.state == TaskInstanceState.DEFERRED, Trigger.classpath.in_(triggers), *conditions)
        .order_by(Trigger.id)
        .limit(_MOST_DEFERRED)
    )
    return [(row[0], row[1]) for row in session.execute(wanted)]


def _waits_for(trigger: Trigger, image_task_id: str, trace_id: Any) -> bool:
    awaited = trigger.kwargs.get("trace_id")
    return image_task_id in awaited_ids(trigger) or (awaited is not None and awaited == trace_id)


def _resumed(session: Session, task_instance: TaskInstance, over: list[str]) -> bool:
    """Hand a task instance back to the scheduler, unless somebody else just did.

    :param over: what it is told of, as by the trigger of a batch.
    """
    # A change that changes nothing takes the row's lock on every database, SQLite's included, and tells who was first.
    claimed: Any = session.execute(
        update(TaskInstance)
        .where(
            TaskInstance.id == task_instance.id,
            TaskInstance.state == TaskInstanceState.DEFERRED,
            TaskInstance.trigger_id == task_instance.trigger_id,
        )
        .values(trigger_id=task_instance.trigger_id)
        .execution_options(synchronize_session=False)
    )
    if claimed.rowcount != 1:
        return False
    session.refresh(task_instance)
    event = TriggerEvent({"status": "done", **({"over": over} if over else {})})  # type: ignore[no-untyped-call]
    handle_event_submit(event, task_instance=task_instance, session=session)
    return True
