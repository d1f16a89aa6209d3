"""What becomes of waits where requests fail or hang, their log does, or the poller itself."""

from __future__ import annotations

import asyncio
import time
from typing import Any, NoReturn

import pytest

from airflow_provider_imagetasks.polling import session as account_session
from airflow_provider_imagetasks.polling.status_requests import FAILED_READS, MOST_AT_ONCE
from airflow_provider_imagetasks.polling.waiting import Progress
from airflow_provider_imagetasks.transports.http import AiohttpTransport
from tests.polled_accounts import (
    Records,
    SpokenLog,
    account,
    ends_of,
    names,
    poller_for,
    poller_of,
    reader,
    watch,
    watches,
)
from tests.scripted_server import Hang, ReceivedRequest, Reply, ScriptedServer, Step


async def test_an_image_task_that_cannot_be_read_ends_its_wait_although_the_others_can(
    server: ScriptedServer, records: Records
) -> None:
    def answer(request: ReceivedRequest) -> Step:
        return Reply(b"try later", status=503) if request.query["taskId"] == ["id-1"] else records(request)

    server.otherwise, records.finished_after, log = answer, 100, SpokenLog()

    assert await poller_of(server.url, service="kie").wait(Progress(watch(*names(3)), log), first_pause=0) == "error"

    assert sum(request.query["taskId"] == ["id-1"] for request in server.requests) == FAILED_READS
    assert sum("failed" in line for line in log.said) == 1


async def test_a_deadline_strikes_in_time_although_requests_hang(server: ScriptedServer) -> None:
    server.otherwise = lambda _request: Hang()
    started = time.monotonic()

    assert set(await ends_of(poller_of(server.url, service="kie"), *watches(40, seconds=0.4))) == {"deadline"}

    assert 0.35 < time.monotonic() - started < 40
    # No more of them hang at the same time than the poller makes at all.
    assert len(server.requests) <= MOST_AT_ONCE


async def test_a_deadline_that_has_passed_strikes_without_a_question(server: ScriptedServer) -> None:
    poller = poller_of(server.url)

    late, patient = (
        poller.wait(Progress(watch("a", seconds=-1)), first_pause=0),
        poller.wait(Progress(watch("b", seconds=0.2)), first_pause=60),
    )

    assert (await asyncio.gather(late, patient), server.requests) == (["deadline", "deadline"], [])


@pytest.mark.parametrize("away", [[], [ConnectionError("away")]], ids=["of what is read", "of what fails"])
async def test_a_log_that_cannot_be_written_ends_its_own_wait_alone(
    server: ScriptedServer, away: list[Exception]
) -> None:
    class Full(SpokenLog):
        def info(self, *_: Any) -> NoReturn:
            raise OSError("the log is full")

        warning = info

    poller = poller_for(reader(*away, account(server.url)))

    ends = asyncio.gather(poller.wait(Progress(watch("a"), Full()), first_pause=0), ends_of(poller, watch("b")))

    assert await asyncio.wait_for(ends, 40) == ["error", ["done"]]


def fail(*_: Any) -> NoReturn:
    raise LookupError("nobody knows what is due")


async def test_an_error_of_the_poller_s_own_ends_the_waits_and_the_next_one_works(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    poller = poller_of(server.url)
    with monkeypatch.context() as broken:
        broken.setattr(poller._requests, "take", fail)
        assert await ends_of(poller, *watches(3)) == ["error"] * 3

    assert await ends_of(poller, watch("later")) == ["done"]


@pytest.mark.parametrize(("breaks", "end"), [(False, "done"), (True, "error")])
async def test_a_wait_that_comes_while_the_session_closes_does_not_hang(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, breaks: bool, end: str
) -> None:
    closing, may_close = asyncio.Event(), asyncio.Event()

    class Slow(AiohttpTransport):
        async def __aexit__(self, *exception: object) -> None:
            closing.set()
            await may_close.wait()
            await super().__aexit__(*exception)

    monkeypatch.setattr(account_session, "open_async_transport", Slow)
    poller = poller_of(server.url)
    if breaks:
        monkeypatch.setattr(poller._requests, "take", fail)
    first = asyncio.create_task(ends_of(poller, watch("a")))
    await closing.wait()
    late = asyncio.create_task(ends_of(poller, watch("b")))
    await asyncio.sleep(0)
    may_close.set()

    assert await asyncio.gather(first, late) == [[end], [end]]
