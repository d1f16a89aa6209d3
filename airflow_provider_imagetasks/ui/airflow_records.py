"""Reads of Airflow's metadata database: in bulk, columns rather than objects, bounded.

Airflow's tables are no public interface. Only this file and ``waking`` use them, on Airflow 3.1, 3.2 and 3.3.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import Text, and_, cast, func, or_, select
from sqlalchemy.orm import Session, aliased

from airflow_provider_imagetasks.ui.xcom_backend import BackendValues, xcom_backend

SUBMISSION_KEYS = ("image_task", "image_task_refused", "image_batch")
"""Keys of the XComs that say that pictures were asked for."""
_RESULT_KEYS = ("image_tasks", "image_task_failures", "image_task_error", "image_files", "progress")
_RESULT_SHAPES = ('%"image_task_id"%', '%"image_count_requested"%', '%"manifest"%')
"""What tells our own return values from other tasks', so that those are not even read."""
_LINK_KEY = "_link_imagetasks_pictures"
"""Of an XCom that every task of ours pushes, and no other."""
_BATCH_TRIGGER = "airflow_provider_imagetasks.triggers.image_batch.ImageBatchTrigger"
_backend_values = BackendValues()
MOST_RESULTS = 20_000
_GROUP = 200
_INSTANCE_COLUMNS = (TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index)
_RUNS: Any = select(DagRun.id, DagRun.dag_id, DagRun.run_id, DagRun.state)
_XCOM_COLUMNS = ("dag_run_id", "dag_id", "run_id", "task_id", "map_index", "key", "timestamp")
# As text, since a value that is nested too deeply to be read must not take all others of its page along.
_XCOMS: Any = select(*(getattr(XComModel, name) for name in _XCOM_COLUMNS), cast(XComModel.value, Text))


@dataclass(frozen=True)
class XCom:
    """An XCom.

    :param run_key: primary key of the run.
    :param map_index: of the task instance that pushed it; -1 for a task that is not mapped.
    """

    run_key: int
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    key: str
    value: Any
    timestamp: datetime

    @property
    def place(self) -> tuple[int, str, int]:
        """The task instance that pushed it: run key, task id and map index."""
        return self.run_key, self.task_id, self.map_index


@dataclass(frozen=True)
class Run:
    """A Dag run; ``key`` is its primary key."""

    key: int
    dag_id: str
    run_id: str
    state: str


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A task instance.

    :param started_at: now, where it has not started.
    :param waits_for: the image task ids that its trigger waits for, while it is deferred.
    """

    state: str | None
    started_at: datetime
    waits_for: tuple[str, ...] = ()


Position = tuple[datetime, int, str, int]
"""Where a page ends: timestamp, run key, task id, map index."""


reading = partial(create_session, scoped=False)
"""Makes a session of one's own, which is closed after the block."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What the page of all Dags is about.

    :param since: time of the submission; likewise ``until``.
    """

    dag_ids: Collection[str]
    run_id: str | None = None
    since: datetime
    until: datetime | None = None
    oldest_first: bool = False

    def conditions(self) -> list[Any]:
        """Return what holds of its XComs."""
        found = [XComModel.dag_id.in_(sorted(self.dag_ids)), XComModel.timestamp >= self.since]
        if self.run_id:
            found.append(XComModel.run_id == self.run_id)
        if self.until is not None:
            found.append(XComModel.timestamp <= self.until)
        return found


def newest_submissions(session: Session, scope: Scope, *, after: Position | None, most: int) -> list[XCom]:
    """Return what was asked for in these Dags, newest first unless the scope says otherwise.

    :param after: the last one of the page before.
    """
    wanted = _submissions(*scope.conditions())
    order = (XComModel.timestamp, XComModel.dag_run_id, XComModel.task_id, XComModel.map_index)
    if after is not None:
        wanted = wanted.where(_comes_after(order, after, is_ascending=scope.oldest_first))
    ordered = (column.asc() if scope.oldest_first else column.desc() for column in order)
    return _read(session, wanted.order_by(*ordered).limit(most))


def count_submissions(session: Session, scope: Scope) -> int:
    """Return how many submissions and batches a scope holds."""
    return _count(session, *scope.conditions())


def count_submissions_of_run(session: Session, run_key: int) -> int:
    """Return how many submissions and batches a run holds."""
    return _count(session, XComModel.dag_run_id == run_key)


def places_of_submissions(session: Session, run_key: int) -> set[tuple[int, str, int]]:
    """Return the task instances of a run that asked for something, by run key, task id and map index."""
    columns = (XComModel.dag_run_id, XComModel.task_id, XComModel.map_index)
    wanted = _submissions(XComModel.dag_run_id == run_key).with_only_columns(*columns).limit(MOST_RESULTS)
    return {(row[0], row[1], row[2]) for row in session.execute(wanted)}


def submissions_of_run(session: Session, run_key: int, *, after: tuple[str, int] | None, most: int) -> list[XCom]:
    """Return what was asked for in a run, in order of task id and map index.

    :param after: the last one of the page before.
    """
    task_id, map_index = XComModel.task_id, XComModel.map_index
    wanted = _submissions(XComModel.dag_run_id == run_key)
    if after is not None:
        wanted = wanted.where(or_(task_id > after[0], and_(task_id == after[0], map_index > after[1])))
    return _read(session, wanted.order_by(task_id, map_index).limit(most))


def submissions_of_task(session: Session, run_key: int, task_id: str, map_index: int) -> list[XCom]:
    """Return what one task instance asked for."""
    own = (XComModel.dag_run_id == run_key, XComModel.task_id == task_id, XComModel.map_index == map_index)
    return _read(session, _submissions(*own))


def results_of_runs(
    session: Session, run_keys: Iterable[int], map_indexes: Collection[int] | None = None
) -> list[XCom]:
    """Return what sensors, downloads and batches of these runs pushed; at most 20,000 XComs.

    :param map_indexes: only of task instances with these; None for all.
    """
    xcom = XComModel
    text = cast(xcom.value, Text)
    is_result = or_(*(text.like(shape) for shape in _RESULT_SHAPES))
    if xcom_backend() is not None:
        # A text may stand for what the backend keeps elsewhere; other tasks' are not even read.
        is_result = or_(is_result, and_(text.like('"%'), _is_pushed_by_ours()))
    is_ours = or_(xcom.key.in_(_RESULT_KEYS), and_(xcom.key == "return_value", is_result))
    found: list[XCom] = []
    for group in _groups(sorted(set(run_keys))):
        wanted = _XCOMS.where(xcom.dag_run_id.in_(group), is_ours).limit(MOST_RESULTS - len(found))
        if map_indexes is not None:
            wanted = wanted.where(xcom.map_index.in_(sorted(map_indexes)))
        found += _read(session, wanted)
    return found


def runs(session: Session, run_keys: Iterable[int]) -> dict[int, Run]:
    """Return runs by their primary key."""
    groups = _groups(sorted(set(run_keys)))
    found = (row for group in groups for row in session.execute(_RUNS.where(DagRun.id.in_(group))))
    return {row[0]: _run(row) for row in found}


def run_of(session: Session, dag_id: str, run_id: str) -> Run | None:
    """Return one run."""
    row = session.execute(_RUNS.where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).first()
    return _run(row) if row else None


def dags_with_image_tasks(session: Session, since: datetime) -> set[str]:
    """Return the ids of the Dags in which something was asked for since then."""
    wanted = _submissions(XComModel.timestamp >= since).with_only_columns(XComModel.dag_id).distinct()
    return set(session.scalars(wanted))


def task_instance(session: Session, dag_id: str, run_id: str, task_id: str, map_index: int) -> Instance | None:
    """Return a task instance, and what its trigger waits for."""
    columns = select(TaskInstance.state, TaskInstance.start_date, TaskInstance.trigger_id)
    row = session.execute(columns.where(_is_instance(dag_id, run_id, task_id, map_index))).first()
    if row is None:
        return None
    trigger = session.get(Trigger, row[2]) if row[2] is not None else None
    return Instance(state=_word(row[0]), started_at=row[1] or datetime.now(UTC), waits_for=awaited_ids(trigger))


def rendered_fields(session: Session, dag_id: str, run_id: str, task_id: str, map_index: int) -> Mapping[str, Any]:
    """Return the arguments of a task instance as they were rendered; none where Airflow does not keep them any more."""
    fields = RenderedTaskInstanceFields
    wanted = select(fields.rendered_fields).where(
        fields.dag_id == dag_id, fields.run_id == run_id, fields.task_id == task_id, fields.map_index == map_index
    )
    found = session.scalars(wanted).first()
    return found if isinstance(found, Mapping) else {}


def states_of(session: Session, xcoms: Iterable[XCom]) -> dict[tuple[int, str, int], str | None]:
    """Return the states of the task instances that pushed these, by run key, task id and map index."""
    places = {(xcom.dag_id, xcom.run_id, xcom.task_id, xcom.map_index): xcom.run_key for xcom in xcoms}
    found = {}
    for group in _groups(sorted(places)):
        wanted = select(*_INSTANCE_COLUMNS, TaskInstance.state).where(or_(*(_is_instance(*each) for each in group)))
        for dag_id, run_id, task_id, map_index, state in session.execute(wanted):
            found[places[dag_id, run_id, task_id, map_index], task_id, map_index] = _word(state)
    return found


def counts_at_deferral(session: Session, xcoms: Iterable[XCom]) -> dict[tuple[int, str, int], Mapping[str, Any]]:
    """Return the counts with which batches that are deferred were, by run key, task id and map index of the batch."""
    places = {(xcom.dag_id, xcom.run_id, xcom.task_id, xcom.map_index): xcom.place for xcom in xcoms}
    found = {}
    for group in _groups(sorted(places)):
        wanted = (
            select(*_INSTANCE_COLUMNS, Trigger)
            .join(Trigger, TaskInstance.trigger_id == Trigger.id)
            .where(Trigger.classpath == _BATCH_TRIGGER, or_(*(_is_instance(*each) for each in group)))
        )
        for dag_id, run_id, task_id, map_index, trigger in session.execute(wanted):
            counts = trigger.kwargs.get("counts")
            if isinstance(counts, Mapping):
                found[places[dag_id, run_id, task_id, map_index]] = counts
    return found


def awaited_ids(trigger: Trigger | None) -> tuple[str, ...]:
    """Return the image task ids that a trigger of ours waits for; none for others."""
    if trigger is None or not trigger.classpath.startswith("airflow_provider_imagetasks."):
        return ()
    ids = trigger.kwargs.get("image_task_ids")
    return tuple(each for each in ids if isinstance(each, str)) if isinstance(ids, list | tuple) else ()


def decoded(value: Any) -> Any:
    """Return an XCom's value; some writers store JSON as text within JSON."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        return _loaded(value, value)
    if isinstance(value, Mapping) and "__data__" in value:
        return value["__data__"]
    return value


def _loaded(text: str | None, otherwise: Any = None) -> Any:
    """Return what a text in JSON says, or something else where nobody can read it."""
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return otherwise


def _is_instance(*place: str | int) -> Any:
    return and_(*(column == value for column, value in zip(_INSTANCE_COLUMNS, place, strict=True)))


def _word(state: Any) -> Any:
    return getattr(state, "value", state)


def _run(row: Sequence[Any]) -> Run:
    return Run(row[0], row[1], row[2], str(_word(row[3])))


def _submissions(*conditions: Any) -> Any:
    return _XCOMS.where(XComModel.key.in_(SUBMISSION_KEYS), *conditions)


def _read(session: Session, wanted: Any) -> list[XCom]:
    xcoms = [XCom(*(*row[:6], decoded(_loaded(row[7])), row[6])) for row in session.execute(wanted)]
    if xcom_backend() is None:
        return xcoms
    kept_elsewhere = [position for position, xcom in enumerate(xcoms) if isinstance(xcom.value, str)]
    references = [(xcoms[each].dag_id, xcoms[each].value, xcoms[each].timestamp) for each in kept_elsewhere]
    for position, value in zip(kept_elsewhere, _backend_values.resolved(references), strict=True):
        if value is not None:
            xcoms[position] = replace(xcoms[position], value=value)
    return xcoms


def _is_pushed_by_ours() -> Any:
    link = aliased(XComModel)
    place = ("dag_run_id", "task_id", "map_index")
    same = [getattr(link, name) == getattr(XComModel, name) for name in place]
    return select(link.key).where(link.key == _LINK_KEY, *same).exists()


def _count(session: Session, *conditions: Any) -> int:
    return (
        session.scalar(
            select(func.count()).select_from(XComModel).where(XComModel.key.in_(SUBMISSION_KEYS), *conditions)
        )
        or 0
    )


def _comes_after(columns: Sequence[Any], position: Position, *, is_ascending: bool) -> Any:
    """Return the condition that a row comes after a position in an order, written without row values."""
    alternatives = []
    for index, column in enumerate(columns):
        same = [columns[earlier] == position[earlier] for earlier in range(index)]
        further = column > position[index] if is_ascending else column < position[index]
        alternatives.append(and_(*same, further))
    return or_(*alternatives)


def _groups(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _GROUP):
        yield items[start : start + _GROUP]
