"""A service that wants to be left alone beyond all sense: what is paid for ends by its own time limit, and says so."""

from __future__ import annotations

import itertools
import time

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskTimeoutError
from tests.image_batch import ImageBatch
from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer, Step

pytestmark = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)


@pytest.mark.parametrize("pause", ["999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
@pytest.mark.parametrize("deferrable", [False, True])
def test_the_rows_of_a_batch_end_by_their_time_although_nobody_may_be_asked(
    batch: ImageBatch, pause: str, deferrable: bool
) -> None:
    numbers = itertools.count()

    def answers(request: ReceivedRequest) -> Step:
        if request.path.endswith("/generations"):
            return Reply({"task_id": f"task-{next(numbers)}"})
        return Reply({"error": {"code": "too_many_requests"}}, status=429, headers={"Retry-After": pause})

    with ScriptedServer(otherwise=answers) as server:
        connection = batch.runner.connections["imagetasks_default"]
        key = f"left-alone-{len(pause)}-{deferrable}"
        batch.runner.connections["imagetasks_default"] = {**connection, "host": server.url, "password": key}
        began = time.monotonic()
        outcome = batch.start("a kite", "a boat", timeout=3, deferrable=deferrable)
        while outcome.state == "deferred":
            assert outcome.message.trigger_kwargs["deadline"] < time.time() + 4
            time.sleep(0.5)
            outcome = batch.start("a kite", "a boat", resume=outcome, event={"status": "deadline"}, timeout=3)

    assert time.monotonic() - began < 60
    assert isinstance(outcome.error, ImageTaskTimeoutError)
    assert [row["error"]["billed"] for row in batch.rows] == ["unknown"] * 2


@pytest.mark.parametrize("deferrable", [False, True])
def test_nor_does_a_slow_query_rate_keep_them_beyond_it(batch: ImageBatch, deferrable: bool) -> None:
    connection = batch.runner.connections["imagetasks_default"]
    extra = {**connection["extra"], "query_rate": "1/600s"}
    key = f"rarely-asked-{deferrable}"
    batch.runner.connections["imagetasks_default"] = {**connection, "password": key, "extra": extra}
    began = time.monotonic()

    outcome = batch.start("a kite [never]", "a boat [never]", timeout=3, deferrable=deferrable)
    while outcome.state == "deferred":
        time.sleep(0.5)
        given = {"resume": outcome, "event": {"status": "deadline"}, "timeout": 3}
        outcome = batch.start("a kite [never]", "a boat [never]", **given)

    assert time.monotonic() - began < 60
    assert isinstance(outcome.error, ImageTaskTimeoutError)
    assert [row["error"]["billed"] for row in batch.rows] == ["unknown"] * 2
