"""How often the account of many waits is asked, whatever becomes of the waits and of the session."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_imagetasks.polling.poller import StatusPoller
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.rates import Pace, Rate, Window
from tests.polled_accounts import (
    Records,
    SpokenLog,
    account,
    ends_of,
    names,
    poller_for,
    poller_of,
    reader,
    until,
    watch,
    watches,
)
from tests.scripted_server import Reply, ScriptedServer


def rate(count: int, seconds: float) -> Rate:
    return Rate((Window(count, seconds),))


async def idle(poller: StatusPoller) -> None:
    """Wait until the session is closed after the last wait."""
    await until(lambda: poller._runner is None or poller._runner.done())


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


async def test_a_pause_outlasts_the_wait_that_was_told_of_it_and_is_not_said_to_be_ours(
    records: Records, no_proxy: None
) -> None:
    limited = Reply({"error": {"code": "too_many_requests"}}, status=429, headers={"Retry-After": "0.4"})
    with ScriptedServer(limited, otherwise=records) as server:
        poller, log, later = poller_of(server.url), SpokenLog(), SpokenLog()
        told = asyncio.create_task(poller.wait(watch("a"), first_pause=0, log=log))
        await until(lambda: log.said)
        told.cancel()
        await idle(poller)

        assert await poller.wait(watch("b"), first_pause=0, log=later) == "done"

        assert server.requests[1].at - server.requests[0].at > 0.35
        assert "query_rate" not in "".join(log.said + later.said)


@pytest.mark.parametrize(("service", "count"), [("acedatacloud", 450), ("kie", 9)])
async def test_the_rate_holds_also_where_many_wait_and_the_connection_is_looked_up_slowly(
    server: ScriptedServer, records: Records, left: list[float], service: str, count: int
) -> None:
    async def slowly() -> Account:
        await asyncio.sleep(0.2)
        return account(server.url, service=service, query_rate=rate(5, 0.2))

    records.finished_after = 1

    assert set(await ends_of(poller_for(reader(slowly)), *watches(count))) == {"done"}

    assert len(left) == len(server.requests) >= 18
    assert all(later - earlier >= 0.2 for earlier, later in zip(left, left[5:], strict=False))


async def test_the_rate_holds_from_one_session_to_the_next(server: ScriptedServer, left: list[float]) -> None:
    poller = poller_of(server.url, query_rate=rate(4, 0.4))

    for each in watches(10):
        assert await ends_of(poller, each) == ["done"]
        await idle(poller)

    assert len(left) == len(server.requests) == 10
    assert all(later - earlier >= 0.4 for earlier, later in zip(left, left[4:], strict=False))


async def test_an_interval_that_the_rate_does_not_reach_for_is_said_once(
    server: ScriptedServer, records: Records
) -> None:
    records.finished_after, logs = 2, [SpokenLog() for _ in range(10)]
    poller = poller_of(server.url, service="kie", query_rate=rate(2, 0.05))

    await asyncio.gather(
        *(poller.wait(watch(name), first_pause=0, log=log) for name, log in zip(names(10), logs, strict=True))
    )

    assert [sum("at most 2/0.05s (query_rate)" in line for line in log.said) for log in logs] == [1] * 10
