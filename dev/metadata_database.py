"""The metadata of a scratch Airflow: read by tests, and as an SQLite file made once and copied for the next one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, inspect, text


def copy_database(source: Path, target: Path) -> None:
    """Copy a database that may still have a write-ahead log beside it."""
    with closing(sqlite3.connect(source)) as reader, closing(sqlite3.connect(target)) as writer:
        reader.backup(writer)


class MetadataDatabase:
    """What tests read straight from the tables, because no API shows it.

    :param url: as Airflow's own setting has it.
    """

    def __init__(self, url: str) -> None:
        # A connection that is kept would be cut when a test starts the server anew.
        self._engine = create_engine(url, poolclass=NullPool)

    def query(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Run one reading statement, with ``:name`` for each parameter, and return its rows."""
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(statement), parameters).mappings()]

    def trigger_rows(self, dag_id: str | None = None, run_id: str | None = None) -> list[dict[str, Any]]:
        """Return the triggers that deferred task instances wait for, their ``kwargs`` decoded, in map order."""
        columns = {column["name"] for column in inspect(self._engine).get_columns("task_instance")}
        # As Airflow names it since 3.4.
        index = "region_index" if "region_index" in columns else "map_index"
        rows = self.query(
            "SELECT trigger.id, trigger.classpath, trigger.kwargs, trigger.created_date, trigger.triggerer_id,"
            f" task_instance.dag_id, task_instance.run_id, task_instance.task_id, task_instance.{index} AS map_index,"
            " task_instance.state, task_instance.try_number, task_instance.trigger_timeout"
            " FROM trigger JOIN task_instance ON task_instance.trigger_id = trigger.id"
            " WHERE (:dag_id IS NULL OR task_instance.dag_id = :dag_id)"
            " AND (:run_id IS NULL OR task_instance.run_id = :run_id)"
            f" ORDER BY task_instance.task_id, task_instance.{index}",
            {"dag_id": dag_id, "run_id": run_id},
        )
        for row in rows:
            row["kwargs"] = _decoded(row["kwargs"])
        return rows


def _decoded(kwargs: str) -> Any:
    try:
        value = json.loads(kwargs)
    except ValueError:
        return kwargs
    # Airflow wraps a mapping it serialised itself.
    if isinstance(value, dict) and value.keys() == {"__type", "__var"}:
        return value["__var"]
    return value
