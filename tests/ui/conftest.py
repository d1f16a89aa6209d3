"""Airflow's tables in memory, for what reads and writes them, and places under a root of the gallery."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uuid6
from airflow.models import xcom as stored_xcoms
from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.models.xcom import XComModel
from sqlalchemy import create_engine, insert, select, text, update
from sqlalchemy.orm import Session

from airflow_provider_imagetasks.ui import airflow_records as records
from airflow_provider_imagetasks.ui.gallery import Gallery
from airflow_provider_imagetasks.ui.picture_routes import PictureLinks
from airflow_provider_imagetasks.ui.roots import Location, locate, read_roots
from airflow_provider_imagetasks.ui.xcom_rows import HAS_ATTEMPTS, first_id


def _models() -> tuple[Any, ...]:
    if not HAS_ATTEMPTS:
        return (XComModel,)
    from airflow.models.dynamic_region import DynamicRegion
    from airflow.models.renderedtifields import LegacyRenderedTaskInstanceFields
    from airflow.models.taskinstance import LegacyTaskDataOwner

    stored = (stored_xcoms.XComModelV1, stored_xcoms.XComModelV2)
    return (*stored, DynamicRegion, LegacyRenderedTaskInstanceFields, LegacyTaskDataOwner)


_OF_THIS_AIRFLOW = _models()
NOW = datetime(2026, 3, 1, tzinfo=UTC)
RUN_ID = "manual__2026-03-01T00:00:00+00:00"
"""As Airflow writes them."""
SENSOR_TRIGGER = "airflow_provider_imagetasks.triggers.image_task.ImageTaskTrigger"


class MetadataDatabase:
    """Rows of one run of the Dag ``kites``, whose primary key is 1, unless a test says otherwise."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def add_run(self, key: int = 1, run_id: str = RUN_ID, **columns: Any) -> None:
        row = {"id": key, "dag_id": "kites", "run_id": run_id, "state": "running", "run_type": "manual"}
        row |= {"run_after": NOW, "log_template_id": 1}
        known = {name: value for name, value in row.items() if name in DagRun.__table__.c}
        self.session.execute(insert(DagRun.__table__), {**known, **columns})

    def push(self, task_id: str, value: Any, key: str = "return_value", *, map_index: int = -1, **columns: Any) -> None:
        row = {"dag_run_id": 1, "dag_id": "kites", "run_id": RUN_ID, "task_id": task_id, "map_index": map_index}
        row |= {"key": key, "value": value, "timestamp": NOW, **columns}
        if not HAS_ATTEMPTS:
            self.session.execute(insert(XComModel), row)
            return
        pushed = {name: row.pop(name) for name in ("key", "value", "timestamp")}
        # The tail of an id is drawn at random; its beginning is the moment.
        pushed["id"] = uuid.UUID(int=first_id(pushed["timestamp"]).int | uuid.uuid4().int >> 68)
        run_key = row.pop("dag_run_id")
        if not self._rows(DagRun.__table__, dag_id=row["dag_id"], run_id=row["run_id"]):
            known = [each.id for each in self._rows(DagRun.__table__)]
            self.add_run(max(known) + 1 if run_key in known else run_key, row["run_id"], dag_id=row["dag_id"])
        # Who tells of a failure has failed, as everywhere where no task instance is on record.
        tells = pushed["key"] in ("image_task_failures", "image_task_error")
        pushed["task_instance_id"] = self._instance(**row, first_state="failed" if tells else None)
        self.session.execute(insert(stored_xcoms.XComModelV2.__table__), pushed)

    def write_value(self, task_id: str, stored: str) -> None:
        """Put a text where the value of a task's XComs lies, whether it is JSON or not."""
        of_task = "task_id = :task_id"
        if HAS_ATTEMPTS:
            of_task = f"task_instance_id IN (SELECT id FROM task_instance WHERE {of_task})"
        table = "xcom_v2" if HAS_ATTEMPTS else "xcom"
        wanted = text(f"UPDATE {table} SET value = :stored WHERE {of_task}")
        self.session.execute(wanted, {"stored": stored, "task_id": task_id})

    def add_task(self, task_id: str, *, map_index: int = -1, state: str | None = "success", **columns: Any) -> None:
        row = {"task_id": task_id, "dag_id": "kites", "run_id": RUN_ID, "map_index": map_index, "state": state}
        row |= {"pool": "default_pool", "start_date": NOW, **columns}
        if HAS_ATTEMPTS:
            self._instance(**row)
            return
        # A text before Airflow 3.2.
        kind = TaskInstance.__table__.c.id.type.python_type
        unique = {"id": kind(str(uuid.uuid4())), "dag_version_id": uuid.uuid4()}
        self.session.execute(insert(TaskInstance), {**unique, **row})

    def archive(self, task_id: str, **place: Any) -> None:
        """Begin another attempt of a task instance, as Airflow 3.4 does after a failure and a Clear."""
        table = TaskInstance.__table__
        instance_id = self._instance(task_id=task_id, dag_id="kites", run_id=RUN_ID, **place)
        self.session.execute(update(table).where(table.c.id == instance_id).values(working_set=None))
        self._instance(task_id=task_id, dag_id="kites", run_id=RUN_ID, try_number=2, state="queued", **place)

    def add_region(self, node_id: str, parent: tuple[uuid.UUID, int] | None = None) -> uuid.UUID:
        """Begin a loop, or expand a mapped task, as Airflow 3.4 does; a ``parent`` is a region and an index in it."""
        from airflow.models.dynamic_region import DynamicRegion

        region_id = uuid6.uuid7()
        row = {"id": region_id, "dag_id": "kites", "run_id": RUN_ID, "node_id": node_id}
        row |= dict(zip(("parent_region_id", "parent_region_index"), parent or (None, None), strict=True))
        row |= {"family_root_id": region_id, "path": b"", "created_at": NOW}
        self.session.execute(insert(DynamicRegion.__table__), row)
        return uuid.UUID(str(region_id))

    def render(self, task_id: str, fields: dict[str, Any]) -> None:
        row = {"dag_id": "kites", "run_id": RUN_ID, "task_id": task_id, "map_index": -1}
        rendered: dict[str, Any] = {"rendered_fields": fields}
        if HAS_ATTEMPTS:
            rendered |= {"id": uuid.uuid4(), "task_instance_id": self._instance(**row)}
            self.session.execute(insert(RenderedTaskInstanceFields.__table__), rendered)
        else:
            self.session.execute(insert(RenderedTaskInstanceFields), row | rendered)

    def _instance(
        self,
        *,
        map_index: int = -1,
        region: tuple[uuid.UUID, int] | None = None,
        first_state: str | None = None,
        **columns: Any,
    ) -> Any:
        """Return the id of a task instance's current attempt on Airflow 3.4, which is added where there is none.

        :param first_state: of one that is added, unless ``state`` is given.
        """
        table = TaskInstance.__table__
        region_id, region_index = region or (uuid.UUID(int=0), map_index)
        place = {name: columns.pop(name) for name in ("task_id", "dag_id", "run_id")}
        place |= {"region_id": region_id, "region_index": region_index, "working_set": True}
        for (instance_id,) in self._rows(table, **place):
            if columns:
                self.session.execute(update(table).where(table.c.id == instance_id).values(**columns))
            return instance_id
        row = {"id": uuid.uuid4(), "pool": "default_pool", "dag_version_id": uuid.uuid4(), "state": first_state}
        row |= place | columns
        self.session.execute(insert(table), row)
        return row["id"]

    def _rows(self, table: Any, **values: Any) -> list[Any]:
        return list(self.session.execute(select(table.c.id).filter_by(**values)))

    def defer(
        self,
        task_id: str,
        kwargs: dict[str, Any],
        *,
        seconds_ago: float = 60,
        classpath: str = SENSOR_TRIGGER,
        **columns: Any,
    ) -> None:
        trigger = Trigger(classpath, kwargs, NOW - timedelta(seconds=seconds_ago))
        self.session.add(trigger)
        self.session.flush()
        self.add_task(task_id, **{"state": "deferred", "trigger_id": trigger.id, "next_kwargs": {}, **columns})


def own_folder(folder: Path, task_id: str) -> None:
    """Make the folder of a batch, which says whose it is."""
    folder.mkdir(parents=True, exist_ok=True)
    owner = {"dag_id": "kites", "run_id": RUN_ID, "task_id": task_id, "map_index": -1}
    (folder / "batch.json").write_text(json.dumps({"schema": 1, **owner}))


def place(root: Path, name: str) -> Location:
    """Return where a file lies under a root."""
    location = locate(f"file://{root}/{name}", read_roots(f"file://{root}"))
    assert location is not None
    return location


@pytest.fixture
def database() -> Iterator[MetadataDatabase]:
    """Airflow's tables of runs, task instances, triggers and XComs."""
    # The routes of the plugin read on threads of their own.
    engine = create_engine("sqlite://", connect_args={"check_same_thread": False})
    for model in (DagRun, RenderedTaskInstanceFields, TaskInstance, Trigger, *_OF_THIS_AIRFLOW):
        model.__table__.create(engine)
    with Session(engine) as session:
        yield MetadataDatabase(session)


@pytest.fixture
def gallery(database: MetadataDatabase, tmp_path: Path) -> Gallery:
    """The gallery of somebody who reads the Dag ``kites``, with one root and one run."""
    database.add_run()
    return Gallery(database.session, read_roots(f"file://{tmp_path}"), PictureLinks("secret"))


def a_run(database: MetadataDatabase) -> records.Run:
    """Return the run of the Dag ``kites``."""
    run = records.run_of(database.session, "kites", RUN_ID)
    assert run is not None
    return run
