"""How often the account of many waits is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.polling.poller import StatusPoller
from airflow_provider_imagetasks.polling.status_requests import FAILED_READS
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.rates import Pace, Rate, Window
from tests.polled_accounts import Records, SpokenLog, account, names, poller_for, reader, until, watch
from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer, Step

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


def limited(retry_after: str | None = None) -> Reply:
    headers = {"Retry-After": retry_after} if retry_after else {}
    return Reply({"error": {"code": "too_many_requests"}}, status=429, headers=headers)


def rate(count: int, seconds: float) -> Rate:
    return Rate((Window(count, seconds),))


def poller_of(server: ScriptedServer, **fields: Any) -> StatusPoller:
    return poller_for(reader(account(server.url, **fields)))


def busiest(moments: list[float], seconds: float) -> int:
    return max(sum(start <= moment < start + seconds for moment in moments) for start in moments)


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each request was sent off; when it arrives is also up to how busy the machine is."""
    moments: list[float] = []
    real = Pace.count

    def count(self: Pace, now: float) -> None:
        moments.append(now)
        real(self, now)

    monkeypatch.setattr(Pace, "count", count)
    return moments


def check_rate(left: list[float], server: ScriptedServer, count: int, seconds: float) -> None:
    assert len(left) == len(server.requests)
    assert busiest(left, seconds) <= count


async def test_a_rate_limit_pauses_the_whole_account(serve: Callable[..., ScriptedServer]) -> None:
    server = serve(limited("0.4"))
    poller = poller_of(server)
    first = asyncio.create_task(poller.wait(watch("a"), first_pause=0))
    await until(lambda: server.requests)

    ends = await asyncio.gather(first, *(poller.wait(watch(name), first_pause=0.05) for name in names(5)))

    assert set(ends) == {"done"}
    assert server.requests[1].at - server.requests[0].at > 0.35
    assert len(server.requests) == 2


async def test_rate_limits_cost_no_failures_and_are_not_said_to_be_ours(serve: Callable[..., ScriptedServer]) -> None:
    server, log = serve(*[limited("0.06")] * (2 * FAILED_READS)), SpokenLog()

    assert await poller_of(server).wait(watch("a"), first_pause=0, log=log) == "done"

    assert len(server.requests) == 2 * FAILED_READS + 1
    assert not [line for line in log.said if "query_rate" in line]


async def test_a_pause_outlasts_the_wait_that_was_told_of_it(serve: Callable[..., ScriptedServer]) -> None:
    server, log = serve(limited("0.4")), SpokenLog()
    poller = poller_of(server)
    told = asyncio.create_task(poller.wait(watch("a"), first_pause=0, log=log))
    await until(lambda: log.said)
    told.cancel()
    await until(lambda: poller._runner is None or poller._runner.done())

    assert await poller.wait(watch("b"), first_pause=0) == "done"

    assert server.requests[1].at - server.requests[0].at > 0.35


@pytest.mark.parametrize("service", ["acedatacloud", "kie"])
async def test_the_rate_is_never_exceeded(
    serve: Callable[..., ScriptedServer], records: Records, service: str, left: list[float]
) -> None:
    records.finished_after = 2
    server = serve()
    poller = poller_of(server, service=service, query_rate=rate(8, 0.3))
    count = 9 if service == "kie" else 450

    ends = await asyncio.gather(*(poller.wait(watch(name), first_pause=0) for name in names(count)))

    assert set(ends) == {"done"}
    assert len(server.requests) >= 27
    check_rate(left, server, 8, 0.3)


async def test_the_rate_holds_from_one_session_to_the_next(
    serve: Callable[..., ScriptedServer], left: list[float]
) -> None:
    server = serve()
    poller = poller_of(server, query_rate=rate(4, 0.4))

    for name in names(10):
        assert await poller.wait(watch(name), first_pause=0) == "done"
        await until(lambda: poller._runner is None or poller._runner.done())

    assert len(server.requests) == 10
    check_rate(left, server, 4, 0.4)


async def test_the_rate_holds_although_the_connection_is_looked_up_slowly(
    serve: Callable[..., ScriptedServer], left: list[float]
) -> None:
    server = serve()

    async def slowly() -> Account:
        await asyncio.sleep(0.25)
        return account(server.url, service="kie", query_rate=rate(2, 0.25))

    poller = poller_for(reader(slowly))

    await asyncio.gather(*(poller.wait(watch(name), first_pause=0) for name in names(4)))

    assert len(server.requests) == 4
    check_rate(left, server, 2, 0.25)


async def test_the_local_service_s_own_limit_is_not_hit() -> None:
    with LocalImageService(latency=0, query_limit="5/0.3s", record_delay=0) as service:
        fields = {"service": "aigptimage", "query_rate": rate(5, 0.45)}
        poller = poller_for(reader(account(f"{service.url}/aigptimage", **fields)))
        await asyncio.gather(*(poller.wait(watch(name, seconds=1, interval=0.2), first_pause=0) for name in names(12)))
        counts = service.stats()["dialects"]["aigptimage"]

    assert counts["queries_refused"] == {}
    assert counts["status_queries"] >= 10


async def test_an_interval_that_the_rate_does_not_reach_for_is_said_once(
    serve: Callable[..., ScriptedServer], records: Records
) -> None:
    records.finished_after = 2
    server, logs = serve(), [SpokenLog() for _ in range(10)]
    poller = poller_of(server, service="kie", query_rate=rate(2, 0.05))

    ends = await asyncio.gather(
        *(poller.wait(watch(name), first_pause=0, log=log) for name, log in zip(names(10), logs, strict=True))
    )

    assert set(ends) == {"done"}
    for log in logs:
        assert sum("at most 2/0.05s (query_rate)" in line for line in log.said) == 1


async def test_nobody_starves_where_the_rate_does_not_reach(
    serve: Callable[..., ScriptedServer], records: Records
) -> None:
    records.finished_after = 1_000
    server = serve()
    poller = poller_of(server, service="kie", query_rate=rate(5, 0.05))

    await asyncio.gather(*(poller.wait(watch(name, seconds=0.6), first_pause=0) for name in names(20)))

    assert len(records.asked) == 20
    assert max(records.asked.values()) - min(records.asked.values()) <= 2
