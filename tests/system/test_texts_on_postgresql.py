"""XComs on a real PostgreSQL, whose JSONB refuses U+0000 and halves of surrogate pairs: all of them are stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg2
import pytest

from dev.postgresql_server import PostgresqlServer
from tests.image_dag import ImageDag
from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer
from tests.task_runner import TaskRunner

pytestmark = pytest.mark.slow
ODD = "a\0b\ud800c\x1b\u202e"
TASK_ID = "11111111-2222-4333-8444-555555555555"


class OnPostgresql(TaskRunner):
    """Keeps what tasks push in a column like that of Airflow's XComs."""

    database: Any

    def _xcom(self, request: httpx.Request, key: tuple[str, str]) -> httpx.Response:
        if request.method != "POST":
            return super()._xcom(request, key)
        with self.database, self.database.cursor() as cursor:
            cursor.execute("INSERT INTO xcom VALUES (%s) RETURNING value", [request.content.decode()])
            self.xcoms[key] = cursor.fetchone()[0]
        return httpx.Response(201, json={"message": "stored"})


@pytest.fixture(scope="module")
def database(orderly_termination: None) -> Iterator[Any]:
    with PostgresqlServer() as server:
        connected = psycopg2.connect(server.url("postgresql"))
        with connected, connected.cursor() as cursor:
            cursor.execute("CREATE TABLE xcom (value JSONB)")
        yield connected
        connected.close()


@pytest.fixture
def service_name() -> str:
    return "acedatacloud"


@pytest.fixture
def dag(database: Any, connection: dict[str, Any], image_service: Any, output_folder: str) -> ImageDag:
    runner = OnPostgresql(connections={"imagetasks_default": connection})
    runner.database = database
    return ImageDag(runner, image_service, output_folder)


def test_it_refuses_what_is_not_cleaned(database: Any) -> None:
    for odd in ("\0", "\ud800"):
        with pytest.raises(psycopg2.DataError), database, database.cursor() as cursor:
            cursor.execute("INSERT INTO xcom VALUES (%s)", [json.dumps({"prompt": odd})])


def test_a_prompt_that_it_refuses_is_refused_before_it_is_paid_for(dag: ImageDag) -> None:
    assert dag.submit("a kite \0").state == "failed"

    assert dag.created == []
    assert "U+0000" in dag.runner.xcoms["submit", "image_task_refused"]["error"]["message"]


@pytest.mark.parametrize("failure", [None, {"code": ODD, "message": ODD}])
def test_whatever_a_service_says_the_picture_is_handed_on(
    dag: ImageDag, no_proxy: None, failure: dict[str, str] | None
) -> None:
    record = {
        "id": TASK_ID,
        "trace_id": ODD,
        "created_at": float("nan"),
        "finished_at": 1,
        "request": {"prompt": ODD, "model": ODD},
        "response": {"data": [{"url": f"https://x.example/{ODD}.png"}], "usage": {ODD: ODD}, "error": failure},
    }

    def answer(request: ReceivedRequest) -> Reply:
        return Reply(record if "tasks" in request.path else {"task_id": TASK_ID, "trace_id": ODD})

    with ScriptedServer(otherwise=answer) as server:
        dag.runner.connections["imagetasks_default"]["host"] = server.url
        assert dag.submit().state == "success"
        assert dag.wait().state == ("failed" if failure else "success")

    told = dag.runner.xcoms["wait", "image_task_error"]["message"] if failure else dag.record["prompt"]
    assert "abc" in told
