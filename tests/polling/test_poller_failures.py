"""What becomes of waits where requests fail or hang, or the poller itself fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from airflow_provider_imagetasks.polling.poller import StatusPoller
from airflow_provider_imagetasks.polling.status_requests import FAILED_READS, MOST_AT_ONCE
from tests.polled_accounts import Records, SpokenLog, account, names, poller_for, reader, watch
from tests.scripted_server import Hang, ReceivedRequest, Reply, ScriptedServer, Step

DOWN = Reply(b"try later", status=503)


pytestmark = pytest.mark.usefixtures("no_proxy")


@pytest.fixture
def serve(records: Records) -> Iterator[Callable[..., ScriptedServer]]:
    """Start a server that takes these steps first, and then answers of the records."""
    running: list[ScriptedServer] = []

    def start(*script: Step, otherwise: Callable[[ReceivedRequest], Step] = records) -> ScriptedServer:
        server = ScriptedServer(*script, otherwise=otherwise)
        running.append(server.__enter__())
        return server

    yield start
    for server in running:
        server.__exit__()


def poller_of(server: ScriptedServer, **fields: Any) -> StatusPoller:
    return poller_for(reader(account(server.url, **fields)))


def broken_queue(now: float, service: object) -> NoReturn:
    raise LookupError("nobody knows what is due")


async def test_five_failed_reads_in_a_row_end_the_wait(serve: Callable[..., ScriptedServer]) -> None:
    server, log = serve(*[DOWN] * FAILED_READS), SpokenLog()

    assert await poller_of(server).wait(watch("a"), first_pause=0, log=log) == "error"

    assert len(server.requests) == FAILED_READS
    assert sum("failed" in line for line in log.said) == FAILED_READS - 1


async def test_fewer_are_forgiven_again_and_again(serve: Callable[..., ScriptedServer]) -> None:
    forgiven: list[Step] = [DOWN] * (FAILED_READS - 1)
    server = serve(*forgiven, Reply({"id": "a"}), *forgiven, Reply({"id": "a"}), *forgiven)

    assert await poller_of(server).wait(watch("a"), first_pause=0) == "done"


async def test_a_moment_s_failure_does_not_end_a_wait_for_many(serve: Callable[..., ScriptedServer]) -> None:
    server = serve(*[DOWN] * 20)

    end = await poller_of(server, service="kie").wait(watch(*names(20), interval=0.2), first_pause=0)

    assert end == "done"


async def test_one_that_fails_for_good_ends_its_wait_although_the_others_can_be_read(
    serve: Callable[..., ScriptedServer], records: Records
) -> None:
    records.finished_after = 100

    def answer(request: ReceivedRequest) -> Step:
        return DOWN if request.query["taskId"] == ["id-1"] else records(request)

    server = serve(otherwise=answer)

    assert await poller_of(server, service="kie").wait(watch(*names(3)), first_pause=0) == "error"

    assert sum(request.query["taskId"] == ["id-1"] for request in server.requests) == FAILED_READS


async def test_a_deadline_strikes_in_time_although_requests_hang(serve: Callable[..., ScriptedServer]) -> None:
    server = serve(otherwise=lambda _request: Hang())
    poller = poller_of(server, service="kie")
    started = time.monotonic()

    ends = await asyncio.gather(*(poller.wait(watch(name, seconds=0.4), first_pause=0) for name in names(40)))

    assert set(ends) == {"deadline"}
    assert 0.35 < time.monotonic() - started < 2
    # No more of them hang at the same time than the poller makes at all.
    assert len(server.requests) <= MOST_AT_ONCE


async def test_a_deadline_that_has_passed_strikes_without_a_question(serve: Callable[..., ScriptedServer]) -> None:
    server = serve()
    poller = poller_of(server)

    ends = await asyncio.gather(
        poller.wait(watch("a", seconds=-1), first_pause=0), poller.wait(watch("b", seconds=0.2), first_pause=60)
    )

    assert (ends, server.requests) == (["deadline", "deadline"], [])


async def test_a_log_that_fails_ends_its_own_wait_alone(serve: Callable[..., ScriptedServer]) -> None:
    class Broken(SpokenLog):
        def read(self, tasks: Any) -> None:
            raise OSError("the log is full")

    poller = poller_of(serve())

    ends = await asyncio.wait_for(
        asyncio.gather(poller.wait(watch("a"), first_pause=0, log=Broken()), poller.wait(watch("b"), first_pause=0)),
        5,
    )

    assert ends == ["error", "done"]


async def test_an_error_of_the_poller_s_own_ends_the_waits_and_the_next_one_works(
    serve: Callable[..., ScriptedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    poller = poller_of(serve())
    with monkeypatch.context() as broken:
        broken.setattr(poller._requests, "take", broken_queue)
        ends = await asyncio.wait_for(
            asyncio.gather(*(poller.wait(watch(name), first_pause=0) for name in names(3))), 5
        )
        assert ends == ["error"] * 3

    assert await asyncio.wait_for(poller.wait(watch("later"), first_pause=0), 5) == "done"


async def test_a_wait_that_comes_while_the_poller_fails_does_not_hang(
    serve: Callable[..., ScriptedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    poller = poller_of(serve())
    closing, may_close = asyncio.Event(), asyncio.Event()

    real = poller._session.close

    async def close() -> None:
        closing.set()
        await may_close.wait()
        await real()

    monkeypatch.setattr(poller._session, "close", close)
    monkeypatch.setattr(poller._requests, "take", broken_queue)
    first = asyncio.create_task(poller.wait(watch("a"), first_pause=0))
    await closing.wait()
    late = asyncio.create_task(poller.wait(watch("b"), first_pause=0))
    await asyncio.sleep(0)
    may_close.set()

    assert await asyncio.wait_for(asyncio.gather(first, late), 5) == ["error", "error"]
