"""How the image tasks of a running batch are asked for: trouble slows it down, and ends it only when it lasts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_imagetasks.batch.row_questions import Answered, RowQuestion, RowQuestions
from airflow_provider_imagetasks.exceptions import QuotaExceededError
from airflow_provider_imagetasks.polling.status_requests import FAILED_READS
from airflow_provider_imagetasks.services.inline_ids import inline_id
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState
from airflow_provider_imagetasks.transports import open_async_transport
from tests.batch.batches import arguments
from tests.polled_accounts import Records, account, names, until
from tests.scripted_server import Reply, ScriptedServer, Step

DOWN = Reply(b"try later", status=503)
INTERVAL = 0.02


pytestmark = pytest.mark.usefixtures("no_proxy")


class Asking:
    """Questions for a batch of which each row has the id of its position, at a server."""

    def __init__(self, server: ScriptedServer, path: Path) -> None:
        self.read: dict[int, ImageTask] = {}
        self.states: list[TaskState] = []
        self._news = asyncio.Event()
        given = arguments(path, account=account(server.url), poll_interval=INTERVAL)
        self._transport = open_async_transport(given.account)
        self.questions = RowQuestions(given, self._transport.run, news=self._news, log=logging.getLogger(__name__))

    async def run(self, *ids: str) -> None:
        """Ask for these, one row each, until every row was read to its end."""
        for row, image_task_id in enumerate(ids):
            self.questions.add(row, image_task_id, time.time())
        async with self._transport:
            try:
                while True:
                    self.questions.start()
                    for outcome in self.questions.outcomes():
                        self._note(outcome)
                    if len(self.read) >= len(ids):
                        break
                    await self._wait()
            finally:
                await self.questions.stop()

    def _note(self, outcome: Answered) -> None:
        self.states.append(outcome.task.state)
        if outcome.task.state.is_final:
            self.read[outcome.row] = outcome.task
            self.questions.drop(outcome.row)

    async def _wait(self) -> None:
        moment = self.questions.next_at()
        try:
            async with asyncio.timeout(None if moment is None else max(0.0, moment - time.time())):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()


@pytest.fixture
def server(records: Records, request: pytest.FixtureRequest) -> Iterator[ScriptedServer]:
    script: list[Step] = getattr(request, "param", [])
    with ScriptedServer(*script, otherwise=records) as running:
        yield running


@pytest.fixture
async def asking(server: ScriptedServer, tmp_path: Path) -> Asking:
    return Asking(server, tmp_path)


async def test_rows_are_asked_for_together_and_again_until_they_are_over(
    asking: Asking, records: Records, server: ScriptedServer
) -> None:
    records.finished_after = 2
    await asking.run(*names(60))

    assert len(asking.read) == 60
    assert {len(group) for group in records.groups} <= set(range(1, 51))
    assert len(records.groups) <= 8


@pytest.mark.parametrize("server", [[DOWN] * (FAILED_READS + 3)], indirect=True)
async def test_a_service_that_stays_away_is_asked_until_it_is_back(asking: Asking, server: ScriptedServer) -> None:
    await asking.run("a", "b")

    assert sorted(asking.read) == [0, 1]
    assert len(server.requests) >= FAILED_READS + 4


@pytest.mark.parametrize("server", [[Reply({"error": {"code": "used_up"}}, status=403)]], indirect=True)
async def test_a_balance_that_is_used_up_ends_the_start_and_not_the_rows(
    asking: Asking, server: ScriptedServer
) -> None:
    with pytest.raises(QuotaExceededError) as refused:
        await asking.run("a", "b")

    assert asking.read == {}
    assert refused.value.billed == "unknown"


async def test_what_came_with_the_answer_of_its_submission_is_not_asked_for(
    asking: Asking, server: ScriptedServer
) -> None:
    images = (GeneratedImage(index=0, url="https://pictures.example/a.png"),)
    finished = ImageTask(id="", service="acedatacloud", state=TaskState.SUCCEEDED, images=images)

    await asking.run(inline_id(finished))

    assert asking.read[0].images == images
    assert server.requests == []


@pytest.mark.parametrize(("age", "failures", "seconds"), [(0, 0, 1.0), (20, 0, 5.0), (400, 0, 30.0), (0, 1, 30.0)])
def test_young_image_tasks_are_asked_for_often_and_after_a_failure_none_is(
    age: float, failures: int, seconds: float
) -> None:
    question = RowQuestion(0, "a", 1000.0, 30.0)
    question.failures = failures

    assert question.interval_at(1000.0 + age) == seconds


@pytest.mark.parametrize("server", [[], [DOWN] * 9999], indirect=True, ids=["read", "never read"])
async def test_only_rows_that_were_asked_for_are_overdue(
    asking: Asking, records: Records, server: ScriptedServer
) -> None:
    records.finished_after = 10**6
    asking.questions.add(7, "not-asked", time.time() + 999)
    assert asking.questions.overdue(-9999) == []

    running = asyncio.create_task(asking.run("never"))
    found: list[RowQuestion] = []
    await until(lambda: found.extend(asking.questions.overdue(-1)) or found)
    running.cancel()

    assert [one.row for one in found] == [0]
    assert (found[0].unread is not None) is bool(server.requests and not records.groups)


async def test_all_that_is_open_is_asked_for_once_more_before_it_counts_as_asked(
    asking: Asking, server: ScriptedServer
) -> None:
    asking.questions.add(0, "a", time.time() - 9999)
    moment = time.time()
    asking.questions.ask_all_now()
    assert not asking.questions.is_answered_since(time.time())

    await asking.run("a")

    assert asking.questions.is_answered_since(moment)


RUNNING = Reply({"id": "a", "created_at": 1795182366.0, "request": {"prompt": "a kite"}})


@pytest.mark.parametrize("server", [[*[Reply({})] * 3, RUNNING, *[Reply({})] * 4]], indirect=True)
async def test_that_there_is_none_is_believed_when_it_is_said_again_and_never_once_its_record_was_read(
    asking: Asking, server: ScriptedServer
) -> None:
    await asking.run("a")

    assert asking.states == [TaskState.NOT_FOUND, TaskState.RUNNING, TaskState.SUCCEEDED]
    assert len(server.requests) == 9


@pytest.mark.parametrize("server", [[Reply({})]], indirect=True)
async def test_a_row_in_doubt_is_not_handed_over(asking: Asking, server: ScriptedServer) -> None:
    running = asyncio.create_task(asking.run("a"))
    await until(lambda: any(one.is_in_doubt for one in asking.questions._questions.values()))

    assert not asking.questions.is_answered_since(time.time() - 999)
    await running
