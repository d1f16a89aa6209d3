"""All that the plugin asks Airflow's metadata database: in bulk, columns rather than objects, bounded.

The only place that uses Airflow's tables, which are no public interface; works on Airflow 3.1, 3.2 and 3.3.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger, handle_event_submit
from airflow.models.xcom import XComModel
from airflow.triggers.base import TriggerEvent
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import Text, and_, cast, or_, select, update
from sqlalchemy.orm import Session

from airflow_provider_imagetasks.submissions.callback_urls import CallbackPlace

ANNOUNCEMENTS = ("image_task", "image_task_refused", "image_batch")
"""The XComs that say that pictures were asked for."""
_OUTCOMES = ("image_tasks", "image_task_failures", "progress")
_OUTCOME_SHAPES = ('%"image_task_id"%', '%"image_count_requested"%', '%"manifest"%')
"""What tells our own results from other tasks', so that those are not even read."""
MOST_OUTCOMES = 20_000
MOST_DEFERRED = 1_000
SHORTEST_DEFERRAL = 15.0
"""Seconds for which a deferred task instance is left alone."""
_WAITING_TRIGGER = "airflow_provider_imagetasks.triggers.image_task.ImageTaskTrigger"
_GROUP = 200


@dataclass(frozen=True, kw_only=True)
class XCom:
    """One XCom entry; ``run_key`` is the run's primary key."""

    run_key: int
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    key: str
    value: Any
    timestamp: datetime


@dataclass(frozen=True, kw_only=True)
class Run:
    """One Dag run; ``key`` is its primary key."""

    key: int
    dag_id: str
    run_id: str
    state: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a task instance stands.

    :param waits_for: ids that its trigger waits for, while it is deferred.
    """

    task_id: str
    map_index: int
    state: str | None
    started_at: datetime
    waits_for: tuple[str, ...] = ()


Position = tuple[datetime, int, str, int]
"""Where a page ends: timestamp, run key, task id, map index."""


@contextmanager
def reading() -> Iterator[Session]:
    """Yield a session of its own, which is closed after the block."""
    with create_session(scoped=False) as session:
        yield session


def newest_announcements(
    session: Session, *, dag_ids: Collection[str], since: datetime, before: Position | None, most: int
) -> list[XCom]:
    """Return what was asked for in these Dags, newest first.

    :param before: the last one of the page before.
    """
    entry = XComModel
    wanted = _columns().where(entry.key.in_(ANNOUNCEMENTS), entry.dag_id.in_(sorted(dag_ids)), entry.timestamp >= since)
    order = (entry.timestamp, entry.dag_run_id, entry.task_id, entry.map_index)
    if before is not None:
        wanted = wanted.where(_comes_before(order, before))
    return _entries(session.execute(wanted.order_by(*(column.desc() for column in order)).limit(most)))


def announcements_of_run(session: Session, run_key: int, *, after: tuple[str, int] | None, most: int) -> list[XCom]:
    """Return what was asked for in a run, in order of task id and map index.

    :param after: the last one of the page before.
    """
    entry = XComModel
    wanted = _columns().where(entry.dag_run_id == run_key, entry.key.in_(ANNOUNCEMENTS))
    if after is not None:
        task_id, map_index = after
        wanted = wanted.where(or_(entry.task_id > task_id, and_(entry.task_id == task_id, entry.map_index > map_index)))
    return _entries(session.execute(wanted.order_by(entry.task_id, entry.map_index).limit(most)))


def announcements_by_task(session: Session, run_key: int, task_id: str, map_index: int) -> list[XCom]:
    """Return what one task instance asked for."""
    entry = XComModel
    wanted = _columns().where(
        entry.dag_run_id == run_key,
        entry.key.in_(ANNOUNCEMENTS),
        entry.task_id == task_id,
        entry.map_index == map_index,
    )
    return _entries(session.execute(wanted))


def outcomes(session: Session, run_keys: Iterable[int], map_indexes: Collection[int] | None = None) -> list[XCom]:
    """Return what sensors, downloads and batches of these runs say; at most 20,000 entries.

    :param map_indexes: only what task instances with these say; None for all.
    """
    entry = XComModel
    text = cast(entry.value, Text)
    is_ours = or_(
        entry.key.in_(_OUTCOMES),
        and_(entry.key == "return_value", or_(*(text.like(shape) for shape in _OUTCOME_SHAPES))),
    )
    found: list[XCom] = []
    for group in _groups(sorted(set(run_keys))):
        wanted = _columns().where(entry.dag_run_id.in_(group), is_ours).limit(MOST_OUTCOMES - len(found))
        if map_indexes is not None:
            wanted = wanted.where(entry.map_index.in_(sorted(map_indexes)))
        found += _entries(session.execute(wanted))
    return found


def runs(session: Session, run_keys: Iterable[int]) -> dict[int, Run]:
    """Return runs by their primary key."""
    found = {}
    for group in _groups(sorted(set(run_keys))):
        for row in session.execute(_run_columns().where(DagRun.id.in_(group))):
            found[row[0]] = _run(row)
    return found


def run_of(session: Session, dag_id: str, run_id: str) -> Run | None:
    """Return one run."""
    row = session.execute(_run_columns().where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).first()
    return _run(row) if row else None


def dags_with_image_tasks(session: Session, since: datetime) -> set[str]:
    """Return the ids of the Dags in which something was asked for since then."""
    entry = XComModel
    wanted = select(entry.dag_id).where(entry.key.in_(ANNOUNCEMENTS), entry.timestamp >= since).distinct()
    return set(session.scalars(wanted))


def task_instance_state(session: Session, dag_id: str, run_id: str, task_id: str, map_index: int) -> Standing | None:
    """Return how a task instance stands, and what its trigger waits for."""
    row = session.execute(
        select(TaskInstance.state, TaskInstance.start_date, TaskInstance.trigger_id).where(
            TaskInstance.dag_id == dag_id,
            TaskInstance.run_id == run_id,
            TaskInstance.task_id == task_id,
            TaskInstance.map_index == map_index,
        )
    ).first()
    if row is None:
        return None
    state = getattr(row[0], "value", row[0])
    trigger = session.get(Trigger, row[2]) if row[2] is not None else None
    return Standing(
        task_id=task_id,
        map_index=map_index,
        state=state,
        started_at=row[1] or datetime.now(UTC),
        waits_for=awaited_ids(trigger),
    )


def states_of(session: Session, entries: Iterable[XCom]) -> dict[tuple[int, str, int], str | None]:
    """Return the states of the task instances that pushed these, by run key, task id and map index."""
    found = {}
    places = {(entry.run_key, entry.dag_id, entry.run_id, entry.task_id, entry.map_index) for entry in entries}
    for group in _groups(sorted(places)):
        is_one = or_(
            *(
                and_(
                    TaskInstance.dag_id == dag_id,
                    TaskInstance.run_id == run_id,
                    TaskInstance.task_id == task_id,
                    TaskInstance.map_index == map_index,
                )
                for _, dag_id, run_id, task_id, map_index in group
            )
        )
        keys = {(dag_id, run_id): run_key for run_key, dag_id, run_id, _, _ in group}
        columns = (
            TaskInstance.dag_id,
            TaskInstance.run_id,
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.state,
        )
        for dag_id, run_id, task_id, map_index, state in session.execute(select(*columns).where(is_one)):
            found[keys[dag_id, run_id], task_id, map_index] = getattr(state, "value", state)
    return found


def awaited_ids(trigger: Trigger | None) -> tuple[str, ...]:
    """Return the image task ids that a trigger of ours waits for; none for others."""
    if trigger is None or not trigger.classpath.startswith("airflow_provider_imagetasks."):
        return ()
    ids = trigger.kwargs.get("image_task_ids")
    return tuple(each for each in ids if isinstance(each, str)) if isinstance(ids, list | tuple) else ()


def wake(place: CallbackPlace, *, only: str | None = None) -> int:
    """Resume the deferred task instances of the run that wait for what a submission came to, and return how many.

    One that was deferred less than 15 s ago is left to its first status request: an event that comes while Airflow
    still writes down the deferral can make it fail the task.

    :param place: which submission.
    :param only: the image task that it has to be about; None takes the one that the submission came to.
    """
    with create_session(scoped=False) as session:
        submitted = _submitted(session, place)
        image_task_id, trace_id = submitted.get("id"), submitted.get("trace_id")
        if not isinstance(image_task_id, str) or only not in (None, image_task_id):
            return 0
        waiting: list[tuple[TaskInstance, Trigger]] = []
        # In a mapped group the one that waits has the same map index; then the others need not be looked at.
        for in_group in (True, False):
            waiting = waiting or [
                (task_instance, trigger)
                for task_instance, trigger in _deferred(session, place, in_group=in_group)
                if _waits_for(trigger, image_task_id, trace_id)
            ]
        oldest = datetime.now(UTC) - timedelta(seconds=SHORTEST_DEFERRAL)
        return sum(
            _resumed(session, task_instance) for task_instance, trigger in waiting if trigger.created_date < oldest
        )


def _submitted(session: Session, place: CallbackPlace) -> Mapping[str, Any]:
    entry = XComModel
    value = session.scalar(
        select(entry.value).where(
            entry.dag_id == place.dag_id,
            entry.run_id == place.run_id,
            entry.task_id == place.task_id,
            entry.map_index == place.map_index,
            entry.key == "image_task",
        )
    )
    decoded = _decoded(value)
    return decoded if isinstance(decoded, Mapping) else {}


def _deferred(session: Session, place: CallbackPlace, *, in_group: bool) -> list[tuple[TaskInstance, Trigger]]:
    same = TaskInstance.map_index == place.map_index
    wanted = (
        select(TaskInstance, Trigger)
        .join(Trigger, TaskInstance.trigger_id == Trigger.id)
        .where(
            TaskInstance.dag_id == place.dag_id,
            TaskInstance.run_id == place.run_id,
            TaskInstance.state == TaskInstanceState.DEFERRED,
            Trigger.classpath == _WAITING_TRIGGER,
            same if in_group else ~same,
        )
        .limit(MOST_DEFERRED)
    )
    return [(row[0], row[1]) for row in session.execute(wanted)]


def _waits_for(trigger: Trigger, image_task_id: str, trace_id: Any) -> bool:
    awaited = trigger.kwargs.get("trace_id")
    return image_task_id in awaited_ids(trigger) or (awaited is not None and awaited == trace_id)


def _resumed(session: Session, task_instance: TaskInstance) -> bool:
    """Hand a task instance back to the scheduler, unless somebody else just did."""
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
    event = TriggerEvent({"status": "done"})  # type: ignore[no-untyped-call]
    handle_event_submit(event, task_instance=task_instance, session=session)
    return True


def _run_columns() -> Any:
    return select(DagRun.id, DagRun.dag_id, DagRun.run_id, DagRun.state)


def _run(row: Sequence[Any]) -> Run:
    return Run(key=row[0], dag_id=row[1], run_id=row[2], state=str(getattr(row[3], "value", row[3])))


def _columns() -> Any:
    entry = XComModel
    return select(
        entry.dag_run_id,
        entry.dag_id,
        entry.run_id,
        entry.task_id,
        entry.map_index,
        entry.key,
        entry.value,
        entry.timestamp,
    )


def _entries(rows: Iterable[Sequence[Any]]) -> list[XCom]:
    return [
        XCom(
            run_key=row[0],
            dag_id=row[1],
            run_id=row[2],
            task_id=row[3],
            map_index=row[4],
            key=row[5],
            value=_decoded(row[6]),
            timestamp=row[7],
        )
        for row in rows
    ]


def _decoded(value: Any) -> Any:
    """Return an XCom's value; some writers store JSON as text within JSON."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    if isinstance(value, Mapping) and "__data__" in value:
        return value["__data__"]
    return value


def _comes_before(columns: Sequence[Any], position: Position) -> Any:
    """Return the condition that a row comes after a position in descending order, written without row values."""
    alternatives = []
    for index, column in enumerate(columns):
        same = [columns[earlier] == position[earlier] for earlier in range(index)]
        alternatives.append(and_(*same, column < position[index]))
    return or_(*alternatives)


def _groups(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _GROUP):
        yield items[start : start + _GROUP]
