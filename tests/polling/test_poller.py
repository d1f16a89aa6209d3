"""The waits of one connection together: what is asked for, and what one wait does to the others."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from airflow_provider_imagetasks.polling import session as account_session
from airflow_provider_imagetasks.polling.poller import StatusPoller, status_poller
from airflow_provider_imagetasks.polling.waiting import Progress, WaitLog
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.inline_ids import inline_id
from airflow_provider_imagetasks.services.rates import Pace, Rate, Window
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState
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
    until,
    watch,
    watches,
)
from tests.scripted_server import Reply, ScriptedServer

PICTURE = GeneratedImage(index=0, url="https://x/a")
INLINE = inline_id(ImageTask(id="", service="acedatacloud", state=TaskState.SUCCEEDED, images=(PICTURE,)))


@pytest.fixture
def poller(server: ScriptedServer) -> StatusPoller:
    """A poller of an account with batch status."""
    return poller_of(server.url)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[AiohttpTransport]:
    """The sessions that are opened."""
    opened: list[AiohttpTransport] = []

    class Noted(AiohttpTransport):
        async def __aenter__(self) -> AiohttpTransport:
            opened.append(self)
            return await super().__aenter__()

    monkeypatch.setattr(account_session, "open_async_transport", Noted)
    return opened


def is_closed(session: AiohttpTransport) -> bool:
    return session._session is None or session._session.closed


async def test_a_hundred_and_twenty_waits_are_asked_for_in_groups_of_fifty_again_and_again(
    server: ScriptedServer, records: Records
) -> None:
    reading, records.finished_after = reader(account(server.url)), 3

    assert await ends_of(poller_for(reading), *watches(120, interval=0.3)) == ["done"] * 120

    assert reading.asked == [False]
    assert sorted(map(len, records.groups[:3])) == [20, 50, 50]
    assert sorted(request.body["limit"] for request in server.requests) == sorted(map(len, records.groups))
    assert records.asked == dict.fromkeys(names(120), 4)
    assert len(records.groups) <= 24


@pytest.mark.parametrize(("service", "group"), [("acedatacloud", 50), ("kie", 1)])
async def test_an_id_that_nobody_knows_does_not_hurt_the_others_in_its_group_or_alone(
    server: ScriptedServer, records: Records, service: str, group: int
) -> None:
    records.unknown = {"unknown"}
    poller = poller_of(server.url, service=service)

    unknown = asyncio.create_task(poller.wait(Progress(watch("unknown")), first_pause=0))
    others = await ends_of(poller, *watches(49))

    assert (others, unknown.done()) == (["done"] * 49, False)
    assert max(map(len, records.groups)) == group
    unknown.cancel()


async def test_an_id_that_two_wait_for_is_asked_for_once(poller: StatusPoller, records: Records) -> None:
    assert await ends_of(poller, watch("a", "b"), watch("a", "b")) == ["done", "done"]
    assert records.groups == [["a", "b"]]


async def test_an_id_for_which_the_service_refuses_the_whole_request_hurts_only_itself(
    poller: StatusPoller, records: Records
) -> None:
    records.poisonous = {"id-7"}

    ends = await ends_of(poller, *watches(50))

    assert [ends[7], *set(ends[:7] + ends[8:])] == ["error", "done"]


async def test_who_is_cancelled_does_not_disturb_the_others_and_is_told_nothing_more(
    poller: StatusPoller, records: Records
) -> None:
    records.finished_after, log = 6, SpokenLog()
    cancelled = asyncio.create_task(poller.wait(Progress(watch("id-10"), log), first_pause=0))
    others = asyncio.create_task(ends_of(poller, *watches(10)))
    await until(lambda: log.said)
    cancelled.cancel()
    said = list(log.said)

    assert await others == ["done"] * 10
    assert records.asked["id-10"] < records.asked["id-4"] == 7
    assert log.said == said


async def test_what_a_wait_says_reaches_the_context_that_it_was_begun_in(poller: StatusPoller) -> None:
    context: contextvars.ContextVar[str] = contextvars.ContextVar("context", default="nobody")
    said: dict[str, set[str]] = {}

    class Listening(WaitLog):
        def read(self, tasks: list[ImageTask]) -> None:  # type: ignore[override]
            for task in tasks:
                said.setdefault(task.id, set()).add(context.get())

    async def wait(name: str) -> str:
        context.set(f"the task of {name}")
        return await poller.wait(Progress(watch(name), Listening()), first_pause=0)

    await asyncio.gather(*(wait(name) for name in names(5)))

    assert said == {name: {f"the task of {name}"} for name in names(5)}


async def test_the_session_closes_with_the_last_wait_and_a_later_wait_opens_another(
    server: ScriptedServer, sessions: list[AiohttpTransport], records: Records
) -> None:
    poller, records.finished_after = StatusPoller(reader(account(server.url))), 2
    await ends_of(poller, *watches(20))
    assert len(sessions) == 1
    await until(lambda: is_closed(sessions[0]))

    assert await ends_of(poller, watch("later")) == ["done"]

    assert len(set(sessions)) == 2


async def test_inline_ids_are_not_asked_for(poller: StatusPoller, records: Records) -> None:
    assert await ends_of(poller, watch(INLINE, "a"), watch("b"), watch(INLINE)) == ["done"] * 3
    assert records.groups == [["a", "b"]]


async def test_a_damaged_inline_id_hurts_only_itself(poller: StatusPoller) -> None:
    assert await ends_of(poller, watch("inline:AAAA"), watch("a", INLINE)) == ["error", "done"]


@pytest.mark.parametrize(("service", "end"), [("acedatacloud", "done"), ("kie", "error")])
async def test_a_trace_id_is_looked_up_alone_and_is_an_error_of_its_own_where_there_are_none(
    server: ScriptedServer, service: str, end: str
) -> None:
    poller = poller_of(server.url, service=service)

    assert await ends_of(poller, watch("a"), watch(trace_id="order-17"), watch("b")) == ["done", end, "done"]

    bodies = [request.body for request in server.requests]
    assert ({"action": "retrieve", "trace_id": "order-17"} in bodies) is (end == "done")


async def test_the_state_of_several_is_said_once_all_of_them_were_seen(poller: StatusPoller, records: Records) -> None:
    log, records.unknown = SpokenLog(), {"b"}

    assert await poller.wait(Progress(watch("a", "b", "a", asked=-100), log), first_pause=0) == "done"

    assert [line.partition(" (")[0] for line in log.said] == [
        "Image task a: succeeded",
        "Image task b: no record so far",
    ]


def test_waits_on_two_event_loops_share_nothing(server: ScriptedServer, sessions: list[AiohttpTransport]) -> None:
    pollers: list[StatusPoller] = []
    ends: list[str] = []

    async def wait(name: str) -> None:
        mine = status_poller("mine", reader(account(server.url)))
        assert status_poller("mine", reader()) is mine
        assert status_poller("another", reader()) is not mine
        pollers.append(mine)
        ends.append(await mine.wait(Progress(watch(name)), first_pause=0))

    threads = [threading.Thread(target=lambda name=name: asyncio.run(wait(name))) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert ends == ["done", "done"]
    assert len(set(pollers)) == len(sessions) == 2


# How often the account is asked, whatever becomes of the waits and of the session.


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
        told = asyncio.create_task(poller.wait(Progress(watch("a"), log), first_pause=0))
        await until(lambda: log.said)
        told.cancel()
        await idle(poller)

        assert await poller.wait(Progress(watch("b"), later), first_pause=0) == "done"

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
        *(poller.wait(Progress(watch(name), log), first_pause=0) for name, log in zip(names(10), logs, strict=True))
    )

    assert [sum("query_rate (2/0.05s) is too low" in line for line in log.said) for log in logs] == [1] * 10
