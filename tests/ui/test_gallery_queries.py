"""The gallery beside 100,000 XComs on PostgreSQL: no query reads what grows from end to end, and none is slow."""

from __future__ import annotations

import importlib
import math
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.models.base import Base
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import Connection, create_engine, event, func, insert, select, text
from sqlalchemy.orm import Session

from airflow_provider_imagetasks.submissions.callback_urls import CallbackPlace
from airflow_provider_imagetasks.ui import airflow_records as records
from airflow_provider_imagetasks.ui import task_instances as instances
from airflow_provider_imagetasks.ui.filters import Filter
from airflow_provider_imagetasks.ui.gallery import DAYS, Gallery
from airflow_provider_imagetasks.ui.picture_routes import PictureLinks
from airflow_provider_imagetasks.ui.totals import totals_of
from airflow_provider_imagetasks.ui.waking import resume_waiting
from airflow_provider_imagetasks.ui.xcom_rows import HAS_ATTEMPTS, first_id
from dev.postgresql_server import PostgresqlServer
from tests.ui.conftest import _OF_THIS_AIRFLOW

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

RUNS, DAGS, MAPPED = 6_500, 20, 1_000
"""Runs, one every two hours, one Dag after the other; the last one of ``pictures`` is of so many mapped pictures."""
OTHERS = 8
"""Tasks of each run that make no pictures."""
LONGEST_MS = 200.0
MOST_TRIES = 5
MOST_ROWS = 25_000
"""A query may read so many rows of a table that grows: a quarter of the XComs, of which a month is less."""
GROWING = {
    "xcom",
    "xcom_v1",
    "xcom_v2",
    "task_instance",
    "dag_run",
    "rtif_v1",
    "rtif_v2",
    "rendered_task_instance_fields",
}
NOW = datetime.now(UTC).replace(microsecond=0)
LAST = "run_0"
ALL = Filter()


def dag_of(number: int) -> str:
    """Return whose the run of a number is; of twenty Dags one makes pictures."""
    return "pictures" if number % DAGS == 0 else f"dag_{number % DAGS}"


def fill(connection: Connection) -> None:
    """Write the runs, their task instances and XComs."""
    runs, tasks, xcoms = [], [], []
    for number in range(RUNS):
        dag_id, moment = dag_of(number), NOW - timedelta(hours=2 * number)
        run = {"dag_id": dag_id, "run_id": f"run_{number}"}
        runs.append({"id": number + 1, **run, "state": "success", "run_type": "manual", "run_after": moment})
        pictures = (MAPPED if number == 0 else 1) if dag_id == "pictures" else 0
        asked = [(task_id, index) for task_id in ("submit", "wait", "save") for index in range(pictures)]
        for task_id, position in [*asked, *((f"task_{other}", -1) for other in range(OTHERS))]:
            index = position if pictures > 1 else -1
            place = {**run, "task_id": task_id, "map_index": index}
            # Each second attempt of all was retried; Airflow 3.4 keeps what the first one pushed.
            for is_live in (False, True) if HAS_ATTEMPTS and number % 2 else (True,):
                instance_id = uuid.uuid4()
                tasks.append(_instance(instance_id, place, moment, is_live=is_live))
                for key, value in _pushed(task_id, f"it-{number}-{index}"):
                    xcoms.append(_xcom(instance_id, place, number, moment, key, value))
    for table, rows in ((DagRun.__table__, runs), (TaskInstance.__table__, tasks), (_xcom_table(), xcoms)):
        for start in range(0, len(rows), 5_000):
            connection.execute(insert(table), rows[start : start + 5_000])
    connection.commit()
    # What autovacuum does within minutes.
    connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))


def _xcom_table() -> Any:
    return _OF_THIS_AIRFLOW[1 if HAS_ATTEMPTS else 0].__table__


def _instance(instance_id: uuid.UUID, place: dict[str, Any], moment: datetime, *, is_live: bool) -> dict[str, Any]:
    kind = TaskInstance.__table__.c.id.type.python_type
    row = {"id": kind(str(instance_id)), "state": "success", "pool": "default_pool", "start_date": moment}
    if not HAS_ATTEMPTS:
        return {**row, **place}
    row |= {"region_index": place["map_index"], "working_set": is_live or None, "try_number": 2 if is_live else 1}
    return {**row, **{name: place[name] for name in ("dag_id", "run_id", "task_id")}}


def _pushed(task_id: str, image_task_id: str) -> list[tuple[str, Any]]:
    told = {"id": image_task_id, "service": "kie", "prompt": "a kite", "image_count_requested": 1}
    files = {"files": [{"uri": "file:///a.png", "image_task_id": image_task_id}]}
    result = {"submit": image_task_id, "wait": told, "save": files}.get(task_id, {"rows": list(range(20))})
    link = ("_link_imagetasks_pictures" if task_id in ("submit", "wait", "save") else "another", "https://airflow")
    return [("return_value", result), link, *([("image_task", told)] if task_id == "submit" else [])]


def _xcom(
    instance_id: uuid.UUID, place: dict[str, Any], number: int, moment: datetime, key: str, value: Any
) -> dict[str, Any]:
    row = {"key": key, "value": value, "timestamp": moment}
    if not HAS_ATTEMPTS:
        return {**row, **place, "dag_run_id": number + 1}
    drawn = uuid.UUID(int=first_id(moment).int | uuid.uuid4().int >> 68)
    return {**row, "id": drawn, "task_instance_id": instance_id}


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    from airflow import models

    models.import_all_models()
    # Not among the models, but some of their tables refer to its own.
    importlib.import_module("airflow.jobs.job")
    with PostgresqlServer() as server:
        engine = create_engine(server.url())
        with engine.connect() as connection:
            Base.metadata.create_all(connection)
            fill(connection)
        with engine.connect() as connection:
            yield connection
        engine.dispose()


def run_of(session: Session, run_id: str = LAST) -> records.Run:
    run = records.run_of(session, "pictures", run_id)
    assert run is not None
    return run


def of_task(session: Session, task_id: str, map_index: int, run_id: str = LAST) -> Any:
    instance = instances.task_instance(session, "pictures", run_id, task_id, map_index)
    assert instance is not None
    return gallery(session).of_task(run_of(session, run_id), task_id, map_index, instance, None)


def gallery(session: Session) -> Gallery:
    return Gallery(session, (), PictureLinks("secret"))


def newest(session: Session, **wanted: Any) -> Any:
    first = gallery(session).newest({"pictures"}, Filter(**wanted), None)
    return first, gallery(session).newest({"pictures"}, Filter(**wanted), first["next"])


def of_run(session: Session, run_id: str = LAST, **wanted: Any) -> Any:
    first = gallery(session).of_run(run_of(session, run_id), Filter(**wanted), None)
    return first, gallery(session).of_run(run_of(session, run_id), Filter(**wanted), first["next"])


def wake(session: Session) -> Any:
    place = CallbackPlace(conn_id="kie", dag_id="pictures", run_id=LAST, task_id="submit", map_index=500)
    return resume_waiting(session, place, None, now=NOW)


SINCE = NOW - timedelta(days=DAYS)
READS: dict[str, Callable[[Session], Any]] = {
    "which Dags have pictures": lambda session: records.dags_with_image_tasks(session, SINCE),
    "the page of all Dags": newest,
    "the oldest first": lambda session: newest(session, order="oldest"),
    "one run on the page of all Dags": lambda session: newest(session, run_id="run_40"),
    "words on the page of all Dags": lambda session: newest(session, search="nowhere"),
    "totals": lambda session: totals_of(session, records.Scope(dag_ids=["pictures"], since=SINCE)),
    "a run of many": of_run,
    "a run of many, filtered": lambda session: of_run(session, state="failed"),
    "a run of one": lambda session: of_run(session, "run_40"),
    "a submission": lambda session: of_task(session, "submit", 500),
    "a wait": lambda session: of_task(session, "wait", 500),
    "a download": lambda session: of_task(session, "save", 500),
    "a wait of long ago": lambda session: of_task(session, "wait", -1, f"run_{RUNS - DAGS}"),
    "what was asked for": lambda session: gallery(session).request_of(run_of(session), "submit", 500, None),
    "a callback": wake,
}


def test_there_are_as_many_xcoms_as_it_says(connection: Connection) -> None:
    assert connection.scalar(select(func.count()).select_from(_xcom_table())) > 100_000


@pytest.mark.parametrize("name", READS)
def test_no_query_reads_a_table_that_grows_from_end_to_end_or_takes_long(connection: Connection, name: str) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    with Session(connection) as session:
        READS[name](session)
    event.remove(connection, "before_cursor_execute", note)

    plans = [_explained(connection, *each) for each in asked if each[0].lstrip().startswith(("SELECT", "WITH"))]
    assert plans
    for statement, plan in plans:
        assert _faults(plan) == [], f"{statement}\n{plan}"


def _explained(connection: Connection, statement: str, parameters: Any) -> tuple[str, Any]:
    """Return a statement and how it was carried out: the fastest of a few times, since the machine may be busy."""
    fastest: dict[str, Any] = {"Execution Time": math.inf}
    for _ in range(MOST_TRIES):
        if fastest["Execution Time"] > LONGEST_MS:
            explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
            ((plans,),) = explained.fetchall()
            fastest = min(fastest, plans[0], key=lambda plan: plan["Execution Time"])
    return statement, fastest


def _faults(plan: dict[str, Any]) -> list[str]:
    found = [f"{plan['Execution Time']} ms"] if plan["Execution Time"] > LONGEST_MS else []
    for node in _nodes(plan["Plan"]):
        if node.get("Relation Name") not in GROWING:
            continue
        read = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        # A table without rows is read in no other way.
        if (node["Node Type"] == "Seq Scan" and read) or read > MOST_ROWS:
            found.append(f"{node['Node Type']} of {node['Relation Name']}: {read} rows")
    return found


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", []):
        yield from _nodes(below)
