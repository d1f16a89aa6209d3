"""Reads of Airflow's metadata database: in bulk, columns rather than objects, bounded.

Airflow's tables are no public interface. Only this file, ``xcom_rows``, ``task_instances`` and ``waking`` use them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import Text, and_, cast, func, or_, select
from sqlalchemy.orm import Session

from airflow_provider_imagetasks.ui.xcom_backend import BackendValues, xcom_backend
from airflow_provider_imagetasks.ui.xcom_rows import (
    is_at,
    is_pushed_beside,
    order_of,
    read_columns,
    region_text,
    xcom_rows,
)

SUBMISSION_KEYS = ("image_task", "image_task_refused", "image_batch")
"""Keys of the XComs that say that pictures were asked for."""
_RESULT_KEYS = ("image_tasks", "image_task_failures", "image_task_error", "image_files", "progress")
_RESULT_SHAPES = ('%"image_task_id"%', '%"image_count_requested"%', '%"manifest"%')
"""What tells our own return values from other tasks', so that those are not even read."""
_LINK_KEY = "_link_imagetasks_pictures"
"""Of an XCom that every task of ours pushes, and no other."""
_backend_values = BackendValues()
MOST_RESULTS = 20_000
_GROUP = 200
_RUNS: Any = select(DagRun.id, DagRun.dag_id, DagRun.run_id, DagRun.state)
Place = tuple[int, str, int, str]
"""A task instance: run key, task id, map index and region."""


@dataclass(frozen=True)
class XCom:
    """An XCom.

    :param run_key: primary key of the run.
    :param map_index: of the task instance that pushed it; -1 for a task that is not mapped.
    :param iteration: of the loop that the task is in, the innermost of several; -1 outside of loops.
    :param region: where Airflow 3.4 keeps an iteration of a loop or an expansion of a mapped task, ``<id of the
        region>/<position in it>``; empty for what is neither, and before 3.4.
    :param instance_id: Airflow's id of the task instance's attempt; empty before Airflow 3.4.
    """

    run_key: int
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    key: str
    value: Any
    timestamp: datetime
    iteration: int = -1
    region: str = ""
    instance_id: str = ""

    @property
    def place(self) -> Place:
        """The task instance that pushed it."""
        return self.run_key, self.task_id, self.map_index, self.region

    @property
    def coordinates(self) -> dict[str, Any]:
        """How Airflow tells the task instance from others of the task: by map index, since 3.4 by its region too."""
        if not self.region:
            return {"map_index": self.map_index}
        region_id, _, region_index = self.region.partition("/")
        iteration = {"iteration": self.iteration} if self.iteration >= 0 else {}
        return {
            "map_index": self.map_index,
            **iteration,
            "region_id": region_id,
            "region_index": int(region_index),
        }


@dataclass(frozen=True)
class Run:
    """A Dag run; ``key`` is its primary key."""

    key: int
    dag_id: str
    run_id: str
    state: str


Position = tuple[datetime, int, str, int, int, str]
"""Where a page of all Dags ends: timestamp, run key, task id, map index, iteration, id of the instance."""
RunPosition = tuple[str, int, int, str]
"""Where a page of a run ends: task id, map index, iteration, id of the instance."""


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

    def submissions(self) -> tuple[Any, Any]:
        """Return the rows of XComs that it is about, and the condition that one is a submission of it."""
        rows = xcom_rows(self.since)
        found = [rows.dag_id.in_(sorted(self.dag_ids)), rows.timestamp >= self.since]
        if self.run_id:
            found.append(rows.run_id == self.run_id)
        if self.until is not None:
            found.append(rows.timestamp <= self.until)
        return rows, and_(_is_submission(rows), *found)


def newest_submissions(session: Session, scope: Scope, *, after: Position | None, most: int) -> list[XCom]:
    """Return what was asked for in these Dags, newest first unless the scope says otherwise.

    :param after: the last one of the page before.
    """
    rows, are_wanted = scope.submissions()
    wanted = select(*read_columns(rows)).where(are_wanted)
    order = order_of(rows, "timestamp", "dag_run_id", "task_id", "map_index")
    if after is not None:
        wanted = wanted.where(_comes_after(order, after, is_ascending=scope.oldest_first))
    ordered = (column.asc() if scope.oldest_first else column.desc() for column in order)
    return _read(session, wanted.order_by(*ordered).limit(most))


def count_submissions(session: Session, scope: Scope) -> int:
    """Return how many submissions and batches a scope holds."""
    rows, are_wanted = scope.submissions()
    return session.scalar(select(func.count(rows.key)).where(are_wanted)) or 0


def count_submissions_of_run(session: Session, run_key: int) -> int:
    """Return how many submissions and batches a run holds."""
    rows = xcom_rows()
    return session.scalar(select(func.count(rows.key)).where(rows.dag_run_id == run_key, _is_submission(rows))) or 0


def places_of_submissions(session: Session, run_key: int) -> set[Place]:
    """Return the task instances of a run that asked for something."""
    rows = xcom_rows()
    columns = (rows.dag_run_id, rows.task_id, rows.map_index, rows.region_id, rows.region_index)
    wanted = select(*columns).where(rows.dag_run_id == run_key, _is_submission(rows)).limit(MOST_RESULTS)
    return {(row[0], row[1], row[2], region_text(row[3], row[4])) for row in session.execute(wanted)}


def submissions_of_run(session: Session, run_key: int, *, after: RunPosition | None, most: int) -> list[XCom]:
    """Return what was asked for in a run, in order of task id, map index and iteration.

    :param after: the last one of the page before.
    """
    rows = xcom_rows()
    wanted = select(*read_columns(rows)).where(rows.dag_run_id == run_key, _is_submission(rows))
    order = order_of(rows, "task_id", "map_index")
    if after is not None:
        wanted = wanted.where(_comes_after(order, after, is_ascending=True))
    return _read(session, wanted.order_by(*order).limit(most))


def submissions_of_task(session: Session, run_key: int, task_id: str, map_index: int, region: str = "") -> list[XCom]:
    """Return what one task instance asked for."""
    rows = xcom_rows()
    own = (rows.dag_run_id == run_key, rows.task_id == task_id, is_at(rows, map_index, region))
    return _read(session, select(*read_columns(rows)).where(_is_submission(rows), *own))


def results_of_runs(
    session: Session, run_keys: Iterable[int], map_indexes: Collection[int] | None = None
) -> list[XCom]:
    """Return what sensors, downloads and batches of these runs pushed; at most 20,000 XComs.

    :param map_indexes: only of task instances with these; None for all.
    """
    xcom = xcom_rows()
    text = cast(xcom.value, Text)
    is_result = or_(*(text.like(shape) for shape in _RESULT_SHAPES))
    if xcom_backend() is not None:
        # A text may stand for what the backend keeps elsewhere; other tasks' are not even read.
        is_result = or_(is_result, and_(text.like('"%'), is_pushed_beside(xcom, _LINK_KEY)))
    is_ours = or_(xcom.key.in_(_RESULT_KEYS), and_(xcom.key == "return_value", is_result))
    found: list[XCom] = []
    for group in groups(sorted(set(run_keys))):
        wanted = select(*read_columns(xcom)).where(xcom.dag_run_id.in_(group), is_ours).limit(MOST_RESULTS - len(found))
        if map_indexes is not None:
            wanted = wanted.where(xcom.map_index.in_(sorted(map_indexes)))
        found += _read(session, wanted)
    return found


def runs(session: Session, run_keys: Iterable[int]) -> dict[int, Run]:
    """Return runs by their primary key."""
    parts = groups(sorted(set(run_keys)))
    found = (row for group in parts for row in session.execute(_RUNS.where(DagRun.id.in_(group))))
    return {row[0]: _run(row) for row in found}


def run_of(session: Session, dag_id: str, run_id: str) -> Run | None:
    """Return one run."""
    row = session.execute(_RUNS.where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).first()
    return _run(row) if row else None


def dags_with_image_tasks(session: Session, since: datetime) -> set[str]:
    """Return the ids of the Dags in which something was asked for since then."""
    rows = xcom_rows(since)
    return set(session.scalars(select(rows.dag_id).where(_is_submission(rows), rows.timestamp >= since).distinct()))


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


def word(state: Any) -> Any:
    """Return a state of Airflow as text."""
    return getattr(state, "value", state)


def _run(row: Sequence[Any]) -> Run:
    return Run(row[0], row[1], row[2], str(word(row[3])))


def _is_submission(rows: Any) -> Any:
    return rows.key.in_(SUBMISSION_KEYS)


def _read(session: Session, wanted: Any) -> list[XCom]:
    xcoms = [
        XCom(*(*row[:6], decoded(_loaded(row[6])), *row[7:9], region_text(row[9], row[10]), str(row[11] or "")))
        for row in session.execute(wanted)
    ]
    if xcom_backend() is None:
        return xcoms
    kept_elsewhere = [position for position, xcom in enumerate(xcoms) if isinstance(xcom.value, str)]
    references = [(xcoms[each].dag_id, xcoms[each].value, xcoms[each].timestamp) for each in kept_elsewhere]
    for position, value in zip(kept_elsewhere, _backend_values.resolved(references), strict=True):
        if value is not None:
            xcoms[position] = replace(xcoms[position], value=value)
    return xcoms


def _comes_after(columns: Sequence[Any], position: Sequence[Any], *, is_ascending: bool) -> Any:
    """Return the condition that a row comes after a position in an order, written without row values."""
    alternatives = []
    # Before Airflow 3.4 the columns are fewer.
    pairs = zip(columns, position, strict=False)
    values = [_instance_id(value) if column.key == "instance_id" else value for column, value in pairs]
    for index, column in enumerate(columns):
        same = [columns[earlier] == values[earlier] for earlier in range(index)]
        further = column > values[index] if is_ascending else column < values[index]
        alternatives.append(and_(*same, further))
    return or_(*alternatives)


def _instance_id(text: str) -> uuid.UUID:
    return uuid.UUID(text) if text else uuid.UUID(int=0)


def groups(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield some of the items at a time, as many as one question to the database may name."""
    for start in range(0, len(items), _GROUP):
        yield items[start : start + _GROUP]
