"""How the image tasks of a running batch are asked for: trouble slows it down, and ends it only when it lasts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from airflow_provider_imagetasks.batch.asking import StatusQuestions
from airflow_provider_imagetasks.exceptions import AuthenticationError, ImageTaskError, ServiceUnavailableError
from airflow_provider_imagetasks.polling.status_requests import FAILED_READS
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.inline_ids import inline_id
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState
from airflow_provider_imagetasks.transports.selection import open_async_transport
from tests.polled_accounts import Records, account, names, until
from tests.scripted_server import Reply, ScriptedServer, Step

DOWN = Reply(b"try later", status=503)
INTERVAL = 0.02


pytestmark = pytest.mark.usefixtures("no_proxy")


class Asking:
    """Questions for a batch of which each row has the id of its position, at a server."""

    def __init__(self, server: ScriptedServer, **fields: object) -> None:
        self.account = account(server.url, **fields)
        self.read: dict[int, ImageTask] = {}
        self.failed: dict[int, ImageTaskError] = {}
        self.questions = StatusQuestions(
            get_service(self.account.service),
            self.account,
            INTERVAL,
            on_read=self._on_read,
            on_failed=self._on_failed,
            log=logging.getLogger(__name__),
        )

    async def run(self, *ids: str) -> None:
        """Ask for these, one row each, until every row was read to its end or failed."""
        for row, image_task_id in enumerate(ids):
            self.questions.add(row, image_task_id, time.time())
        async with open_async_transport(self.account) as transport:
            asking = asyncio.create_task(self.questions.run(transport))
            over = asyncio.create_task(until(lambda: len(self.read) + len(self.failed) == len(ids)))
            await asyncio.wait({asking, over}, return_when=asyncio.FIRST_COMPLETED)
            over.cancel()
            if asking.done():
                return asking.result()
            asking.cancel()

    def _on_read(self, row: int, task: ImageTask) -> None:
        if task.state.is_final:
            self.read[row] = task
            self.questions.drop(row)

    def _on_failed(self, row: int, error: ImageTaskError) -> None:
        self.failed[row] = error
        self.questions.drop(row)


@pytest.fixture
def server(records: Records, request: pytest.FixtureRequest) -> Iterator[ScriptedServer]:
    script: list[Step] = getattr(request, "param", [])
    with ScriptedServer(*script, otherwise=records) as running:
        yield running


async def test_rows_are_asked_for_together_and_again_until_they_are_over(
    server: ScriptedServer, records: Records
) -> None:
    records.finished_after = 2
    asking = Asking(server)

    await asking.run(*names(60))

    assert len(asking.read) == 60
    assert {len(group) for group in records.groups} <= set(range(1, 51))
    assert len(records.groups) <= 8


@pytest.mark.parametrize("server", [[DOWN] * (FAILED_READS - 1)], indirect=True)
async def test_a_service_that_is_away_for_a_while_does_not_end_the_start(server: ScriptedServer) -> None:
    asking = Asking(server)

    await asking.run("a", "b")

    assert len(asking.read) == 2
    assert len(server.requests) == FAILED_READS


@pytest.mark.parametrize("server", [[DOWN] * FAILED_READS], indirect=True)
async def test_one_that_stays_away_does(server: ScriptedServer) -> None:
    with pytest.raises(ServiceUnavailableError):
        await Asking(server).run("a", "b")

    assert len(server.requests) == FAILED_READS


@pytest.mark.parametrize(
    "server",
    [
        [Reply({"error": {"code": "too_many_requests"}}, status=429, headers={"Retry-After": "0.15"})]
        * (FAILED_READS + 1)
    ],
    indirect=True,
)
async def test_refusals_by_rate_pause_the_account_and_never_end_the_start(server: ScriptedServer) -> None:
    asking = Asking(server)

    await asking.run("a", "b")

    assert len(asking.read) == 2
    pauses = [later.at - earlier.at for earlier, later in pairwise(server.requests)]
    assert len(pauses) == FAILED_READS + 1
    assert min(pauses) > 0.1


async def test_a_row_that_the_service_does_not_like_does_not_hurt_the_others(
    server: ScriptedServer, records: Records
) -> None:
    records.poisonous = {"b"}
    asking = Asking(server)

    await asking.run("a", "b", "c")

    assert sorted(asking.read) == [0, 2]
    assert not asking.failed[1].retryable


async def test_a_refused_key_ends_the_start_at_once(server: ScriptedServer, records: Records) -> None:
    records.keys = {"another"}

    with pytest.raises(AuthenticationError):
        await Asking(server).run("a")

    assert len(server.requests) == 1


async def test_what_came_with_the_answer_of_its_submission_is_not_asked_for(server: ScriptedServer) -> None:
    asking = Asking(server)
    images = (GeneratedImage(index=0, url="https://pictures.example/a.png"),)
    finished = ImageTask(id="", service="acedatacloud", state=TaskState.SUCCEEDED, images=images)

    await asking.run(inline_id(finished))

    assert asking.read[0].images == images
    assert server.requests == []
