"""Many finished image tasks in the database of an Airflow, as if as many mapped tasks had pushed them."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uuid6
from PIL import Image

from dev.airflow_deployment import AirflowDeployment
from dev.airflow_settings import database_file


def sample_pictures(folder: Path, count: int) -> list[Path]:
    """Draw pictures of 1024 x 1024 in as many colours, and return where they are."""
    folder.mkdir(parents=True)
    paths = [folder / f"{number:02}.png" for number in range(count)]
    for number, path in enumerate(paths):
        shades = Image.linear_gradient("L").rotate(number * 15, expand=False).resize((1024, 1024))
        hue = Image.new("L", (1024, 1024), number * 255 // count)
        bands = (hue, hue.point(lambda _: 150), shades.point(lambda value: 120 + value // 2))
        Image.merge("HSV", bands).convert("RGB").save(path)
    return paths


def write_finished_pictures(
    deployment: AirflowDeployment, dag_id: str, run_id: str, samples: Sequence[Path], folder: Path, count: int
) -> None:
    """Write down that a run of a Dag submitted, waited for and stored so many pictures, two days ago.

    :param samples: what the pictures look like, in turn.
    :param folder: where the pictures are put; made anew, and to lie under a gallery root.
    """
    folder.mkdir()
    with closing(sqlite3.connect(database_file(deployment.home), timeout=60)) as connection, connection:
        connection.row_factory = sqlite3.Row
        of_run = "SELECT * FROM task_instance WHERE dag_id = ? AND run_id = ?"
        task_instance = dict(connection.execute(of_run, (dag_id, run_id)).fetchone())
        # Older than what else there is, so that the page of all Dags begins with that.
        moment = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%d %H:%M:%S.%f")
        for number in range(count):
            path = folder / f"{number}.png"
            os.link(samples[number % len(samples)], path)
            told = {"id": f"it-{number}", "service": "local", "conn_id": "imagetasks_default", "model": "gpt-image-2"}
            told["prompt"] = f"number {number} of {count:,}"
            record = {**told, "state": "succeeded", "image_count_requested": 1, "duration": 2.0, "images": []}
            file = {"uri": f"file://{path}", "sha256": str(number), "width": 1024, "height": 1024}
            files = {"files": [{**file, "image_task_id": told["id"], "index": 0}]}
            for task_id, key, value in (
                ("submit", "image_task", told),
                ("wait", "return_value", record),
                ("save", "return_value", files),
            ):
                pushed = {"key": key, "value": json.dumps(value), "timestamp": moment}
                _push(connection, {**task_instance, "task_id": task_id}, number, pushed)


def _push(connection: sqlite3.Connection, instance: dict[str, Any], index: int, pushed: dict[str, Any]) -> None:
    """Write an XCom as a mapped task's; since Airflow 3.4 beside a task instance of its own."""
    if "region_index" in instance:
        own = {**instance, "id": uuid.uuid4().hex, "region_index": index}
        _insert(connection, "task_instance", own)
        _insert(connection, "xcom_v2", {**pushed, "id": uuid6.uuid7().hex, "task_instance_id": own["id"]})
        return
    place = {name: instance[name] for name in ("dag_id", "run_id", "task_id")}
    run_key = "(SELECT id FROM dag_run WHERE dag_id = :dag_id AND run_id = :run_id)"
    _insert(connection, "xcom", {**place, "map_index": index, **pushed}, dag_run_id=run_key)


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any], **computed: str) -> None:
    values = [*(f":{name}" for name in row), *computed.values()]
    connection.execute(f"INSERT INTO {table} ({', '.join([*row, *computed])}) VALUES ({', '.join(values)})", row)
