"""Airflow's tables in memory, for what reads and writes them, and places under a root of the gallery."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.models.xcom import XComModel
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

from airflow_provider_imagetasks.ui import airflow_records as records
from airflow_provider_imagetasks.ui.gallery import Gallery
from airflow_provider_imagetasks.ui.picture_routes import PictureLinks
from airflow_provider_imagetasks.ui.roots import Location, locate, read_roots

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
        self.session.execute(insert(DagRun.__table__), {**row, "run_after": NOW, "log_template_id": 1, **columns})

    def push(self, task_id: str, value: Any, key: str = "return_value", *, map_index: int = -1, **columns: Any) -> None:
        row = {"dag_run_id": 1, "dag_id": "kites", "run_id": RUN_ID, "task_id": task_id, "map_index": map_index}
        self.session.execute(insert(XComModel), {**row, "key": key, "value": value, "timestamp": NOW, **columns})

    def add_task(self, task_id: str, *, map_index: int = -1, state: str = "success", **columns: Any) -> None:
        # A text before Airflow 3.2.
        kind = TaskInstance.__table__.c.id.type.python_type
        row = {"id": kind(str(uuid.uuid4())), "task_id": task_id, "dag_id": "kites", "run_id": RUN_ID}
        row |= {"map_index": map_index, "state": state, "pool": "default_pool", "start_date": NOW}
        self.session.execute(insert(TaskInstance), {**row, "dag_version_id": uuid.uuid4(), **columns})

    def render(self, task_id: str, fields: dict[str, Any]) -> None:
        row = {"dag_id": "kites", "run_id": RUN_ID, "task_id": task_id, "map_index": -1, "rendered_fields": fields}
        self.session.execute(insert(RenderedTaskInstanceFields), row)

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
    for model in (DagRun, RenderedTaskInstanceFields, TaskInstance, Trigger, XComModel):
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
