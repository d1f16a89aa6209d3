"""The XComs in Airflow's metadata database, as rows that look the same on every Airflow.

Before Airflow 3.4 they lie in one table, and a try that begins removes what the one before pushed. Since then each
attempt keeps its own, and a task in a loop has an instance for each iteration.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from airflow.models import xcom as stored_xcoms
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import Text, and_, case, cast, literal, null, or_, select, union_all
from sqlalchemy.orm import aliased

HAS_ATTEMPTS = hasattr(TaskInstance, "region_id")
"""Whether Airflow keeps a task instance for each attempt and each iteration of a loop, as 3.4 does."""
COLUMNS = ("dag_run_id", "dag_id", "run_id", "task_id", "map_index", "key", "value", "timestamp")
PLACE = ("iteration", "region_id", "region_index", "instance_id")
"""Further columns of where an XCom was pushed: minus one or nothing outside of loops and regions, and before 3.4."""
_STORED = ("key", "value", "timestamp")
_LONGEST_ATTEMPT = timedelta(days=2)


def xcom_rows(since: datetime | None = None) -> Any:
    """Return the columns of all XComs that are not of an attempt that is over and was replaced.

    :param since: the moment before which nothing is wanted; spares the reading of most that is older.
    """
    if not HAS_ATTEMPTS:
        absent = {"iteration": literal(-1), "region_id": null(), "region_index": literal(-1), "instance_id": null()}
        named = {name: getattr(stored_xcoms.XComModel, name) for name in COLUMNS}
        return SimpleNamespace(**named, **{name: value.label(name) for name, value in absent.items()})
    return union_all(_of_attempts(since), _of_earlier_airflow(since)).subquery().c


def read_columns(rows: Any) -> list[Any]:
    """Return the columns by which an ``XCom`` is made, in its order.

    The value is the text in JSON, since one that is nested too deeply to be read must not take all others of its page
    along.
    """
    return [cast(rows.value, Text) if name == "value" else getattr(rows, name) for name in (*COLUMNS, *PLACE)]


def order_of(rows: Any, *names: str) -> list[Any]:
    """Return the columns of these names, and what tells apart rows that are alike in them."""
    return [getattr(rows, name) for name in (*names, *(("iteration", "instance_id") if HAS_ATTEMPTS else ()))]


def is_pushed_beside(rows: Any, key: str) -> Any:
    """Return the condition that the task instance that pushed a row also pushed an XCom under a key."""
    if HAS_ATTEMPTS:
        others = xcom_rows()
        return select(others.key).where(others.key == key, others.instance_id == rows.instance_id).exists()
    other = aliased(stored_xcoms.XComModel)
    same = [getattr(other, name) == getattr(rows, name) for name in ("dag_run_id", "task_id", "map_index")]
    return select(other.key).where(other.key == key, *same).exists()


def is_at(rows: Any, map_index: int, region: str = "") -> Any:
    """Return the condition that a row was pushed at a map index, or where a region says.

    :param region: as of ``XCom``.
    """
    if not HAS_ATTEMPTS:
        return rows.map_index == map_index if not region else literal(False)
    if not region:
        return and_(rows.map_index == map_index, rows.iteration == -1)
    region_id, region_index = region_of(region)
    return and_(rows.region_id == region_id, rows.region_index == region_index)


def region_text(region_id: uuid.UUID | None, region_index: int) -> str:
    """Return a region as an ``XCom`` has it; empty for none."""
    return f"{region_id}/{region_index}" if region_id is not None and region_id.int else ""


def region_of(region: str) -> tuple[uuid.UUID, int]:
    """Return what Airflow 3.4 keeps of a region: its id, and the position in it.

    :raises ValueError: it is none.
    """
    region_id, _, region_index = region.partition("/")
    return uuid.UUID(region_id), int(region_index)


def is_instance(dag_id: str, run_id: str, task_id: str, map_index: int, region: str = "") -> Any:
    """Return the condition that a task instance is the one at a map index, or where a region says."""
    same = and_(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.task_id == task_id)
    if not HAS_ATTEMPTS:
        return and_(same, TaskInstance.map_index == map_index) if not region else literal(False)
    if region:
        region_id, region_index = region_of(region)
        return and_(same, TaskInstance.region_id == region_id, TaskInstance.region_index == region_index)
    regions = _regions()
    own = select(regions.c.id).where(_is_own_and_outermost(regions, TaskInstance))
    outside = or_(TaskInstance.region_id == uuid.UUID(int=0), TaskInstance.region_id.in_(own))
    return and_(same, TaskInstance.region_index == map_index, outside)


def first_id(moment: datetime) -> uuid.UUID:
    """Return the least of the ids that Airflow draws from a moment on, which begin with it (UUID version 7)."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62)


def _of_attempts(since: datetime | None) -> Any:
    stored, instances = stored_xcoms.XComModelV2.__table__, TaskInstance.__table__
    columns, joined = _context(instances, stored, stored.c.task_instance_id == instances.c.id)
    found = select(*(stored.c[name] for name in _STORED), *columns).select_from(joined).where(_is_live(instances))
    # No index leads to a moment or a key, but ids grow with time; what is pushed again keeps its id.
    return found if since is None else found.where(stored.c.id >= first_id(since - _LONGEST_ATTEMPT))


def _of_earlier_airflow(since: datetime | None) -> Any:
    """What was pushed before Airflow was brought to 3.4."""
    stored, instances = stored_xcoms.XComModelV1.__table__, TaskInstance.__table__
    owners, newer = (
        import_module(TaskInstance.__module__).LegacyTaskDataOwner.__table__,
        stored_xcoms.XComModelV2.__table__,
    )
    coordinates = ("dag_id", "task_id", "run_id", "map_index")
    same = and_(*(owners.c[name] == stored.c[name] for name in coordinates))
    columns, joined = _context(instances, stored.join(owners, same), owners.c.task_instance_id == instances.c.id)
    again = select(newer.c.id).where(newer.c.task_instance_id == owners.c.task_instance_id, newer.c.key == stored.c.key)
    found = select(*(stored.c[name] for name in _STORED), *columns).select_from(joined)
    found = found.where(_is_live(instances), ~again.exists())
    return found if since is None else found.where(stored.c.timestamp >= since)


def _context(instances: Any, stored: Any, of_instance: Any) -> tuple[list[Any], Any]:
    """Return the columns of where an XCom was pushed, and what it is joined with to know them."""
    runs, regions = DagRun.__table__, _regions()
    is_own = regions.c.node_id == instances.c.task_id
    is_outside = or_(regions.c.id.is_(None), and_(is_own, regions.c.parent_region_id.is_(None)))
    columns: Mapping[str, Any] = {
        "dag_run_id": runs.c.id,
        "dag_id": instances.c.dag_id,
        "run_id": instances.c.run_id,
        "task_id": instances.c.task_id,
        "map_index": case((or_(regions.c.id.is_(None), is_own), instances.c.region_index), else_=-1),
        # The innermost loop's, of a mapped task within it too.
        "iteration": case((is_outside, -1), (is_own, regions.c.parent_region_index), else_=instances.c.region_index),
        "region_id": regions.c.id,
        "region_index": instances.c.region_index,
        "instance_id": instances.c.id,
    }
    joined = (
        stored.join(instances, of_instance)
        .join(runs, and_(runs.c.dag_id == instances.c.dag_id, runs.c.run_id == instances.c.run_id))
        .outerjoin(regions, regions.c.id == instances.c.region_id)
    )
    return [column.label(name) for name, column in columns.items()], joined


def _regions() -> Any:
    return import_module("airflow.models.dynamic_region").DynamicRegion.__table__


def _is_own_and_outermost(regions: Any, instances: Any) -> Any:
    return and_(regions.c.node_id == instances.task_id, regions.c.parent_region_id.is_(None))


def _is_live(instances: Any) -> Any:
    return instances.c.working_set.is_(True)
