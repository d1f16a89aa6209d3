"""Values that an XCom backend keeps on object storage are read like those in the database, and only the Dag's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.io.xcom import backend as object_storage

from airflow_provider_imagetasks.ui import airflow_records as records
from airflow_provider_imagetasks.ui import xcom_backend
from tests.ui.conftest import MetadataDatabase

RECORD = {"id": "it-1", "service": "kie", "image_count_requested": 1}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Where Airflow's backend for object storage keeps values."""
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH", f"file://{tmp_path}/xcom")
    caches = (object_storage._get_base_path, xcom_backend._folder_of_backend)
    for each in caches:
        each.cache_clear()
    monkeypatch.setattr(records, "xcom_backend", lambda: object_storage.XComObjectStorageBackend)
    monkeypatch.setattr(xcom_backend, "xcom_backend", lambda: object_storage.XComObjectStorageBackend)
    yield tmp_path / "xcom"
    for each in caches:
        each.cache_clear()


def kept(folder: Path, value: Any, dag_id: str = "kites", name: str = "value") -> str:
    path = folder / dag_id / "a_run" / "wait" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return f"file://{path}"


def test_what_is_kept_on_object_storage_is_read_as_if_it_were_in_the_database(
    database: MetadataDatabase, folder: Path
) -> None:
    database.push("submit", kept(folder, RECORD, name="submitted"), "image_task")
    database.push("wait", kept(folder, RECORD))
    database.push("wait", "https://airflow/dags/kites", "_link_imagetasks_pictures")
    database.push("theirs", kept(folder, RECORD, name="theirs"))
    database.push("small", RECORD)

    (submitted,) = records.submissions_of_run(database.session, 1, after=None, most=9)
    results = records.results_of_runs(database.session, [1])

    assert submitted.value == RECORD
    assert {xcom.task_id: xcom.value for xcom in results} == {"wait": RECORD, "small": RECORD}


def test_what_another_dag_pushed_is_not_read(database: MetadataDatabase, folder: Path) -> None:
    secret = kept(folder, RECORD, dag_id="secret")
    for number, reference in enumerate((secret, f"file://{folder}/kites/../secret/a_run/wait/value")):
        database.push(f"task_{number}", reference, "image_task")

    values = [xcom.value for xcom in records.submissions_of_run(database.session, 1, after=None, most=9)]

    assert all(isinstance(value, str) for value in values)


def test_what_cannot_be_read_stays_unknown_and_breaks_nothing(database: MetadataDatabase, folder: Path) -> None:
    gone = f"file://{folder}/kites/a_run/wait/gone"
    damaged = kept(folder, RECORD)
    Path(damaged.removeprefix("file://")).write_text("{")
    for number, reference in enumerate((gone, damaged, "inline:eyJ", "s3://elsewhere/x", "it-1")):
        database.push(f"task_{number}", reference, "image_task")

    values = [xcom.value for xcom in records.submissions_of_run(database.session, 1, after=None, most=9)]

    assert values == [gone, damaged, "inline:eyJ", "s3://elsewhere/x", "it-1"]
