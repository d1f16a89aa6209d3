"""The connection behind the waits of one account: how often it is read, and what happens when it cannot be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from airflow_provider_imagetasks.exceptions import AuthenticationError, ImageTaskError, InvalidRequestError
from airflow_provider_imagetasks.polling import session as account_session
from airflow_provider_imagetasks.polling.poller import StatusPoller
from airflow_provider_imagetasks.services.account import Account
from tests.polled_accounts import Records, SpokenLog, account, names, poller_for, reader, until, watch
from tests.scripted_server import ScriptedServer

pytestmark = pytest.mark.usefixtures("no_proxy")


@pytest.fixture
def server(records: Records) -> Iterator[ScriptedServer]:
    with ScriptedServer(otherwise=records) as running:
        yield running


async def ends_of(poller: StatusPoller, count: int = 3, **fields: float) -> set[str]:
    return set(await asyncio.gather(*(poller.wait(watch(name, **fields), first_pause=0) for name in names(count))))


async def test_it_is_read_once_for_all_waits(server: ScriptedServer, records: Records) -> None:
    reading, records.finished_after = reader(account(server.url)), 5

    assert await ends_of(poller_for(reading), 120) == {"done"}

    assert reading.asked == [False]


async def test_a_key_that_was_changed_meanwhile_is_found_out(server: ScriptedServer, records: Records) -> None:
    old, new = account(server.url, key="sk-old"), account(server.url, key="sk-new")
    reading, records.keys = reader(old, new), {"sk-new"}

    assert await ends_of(poller_for(reading)) == {"done"}

    assert reading.asked == [False, True]
    assert [request.headers["Authorization"] for request in server.requests] == ["Bearer sk-old", "Bearer sk-new"]


async def test_a_key_that_is_refused_in_the_middle_is_found_out_too(server: ScriptedServer, records: Records) -> None:
    old, new = account(server.url, key="sk-old"), account(server.url, key="sk-new")
    reading, records.finished_after = reader(old, new), 4
    poller = poller_for(reading)

    waits = asyncio.create_task(ends_of(poller, 60))
    await until(lambda: records.asked.total() >= 120)
    records.keys = {"sk-new"}

    assert await waits == {"done"}
    assert reading.asked[:2] == [False, True]


async def test_a_key_that_stays_wrong_ends_the_waits(server: ScriptedServer, records: Records) -> None:
    reading, records.keys = reader(account(server.url)), {"sk-another"}

    assert await ends_of(poller_for(reading)) == {"error"}

    assert reading.asked == [False, True]
    assert len(server.requests) == 2


async def test_a_key_that_was_refused_once_and_then_accepted_may_be_refused_again(
    server: ScriptedServer, records: Records
) -> None:
    keys = ["sk-1", "sk-2", "sk-3"]
    reading = reader(*(account(server.url, key=key) for key in keys))
    records.keys, records.finished_after = {"sk-1"}, 8
    poller = poller_for(reading)

    waits = asyncio.create_task(ends_of(poller))
    for key in keys[1:]:
        enough = records.asked.total() + 6
        await until(lambda enough=enough: records.asked.total() >= enough)
        records.keys = {key}

    assert await waits == {"done"}
    assert reading.asked == [False, True, True]


async def test_it_is_read_again_after_five_minutes(
    server: ScriptedServer, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account_session.ACCOUNT_SECONDS == 300
    monkeypatch.setattr(account_session, "ACCOUNT_SECONDS", 0.2)
    reading, records.finished_after = reader(account(server.url)), 9
    started = time.monotonic()

    assert await ends_of(poller_for(reading)) == {"done"}

    assert 2 <= len(reading.asked) <= (time.monotonic() - started) / 0.2 + 1
    assert reading.asked[0] is False
    assert set(reading.asked[1:]) == {True}


async def test_what_has_changed_then_holds_from_then_on(
    server: ScriptedServer, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_session, "ACCOUNT_SECONDS", 0.1)
    old = account(server.url, key="sk-old")
    records.finished_after = 8

    assert await ends_of(poller_for(reader(old, replace(old, key="sk-new")))) == {"done"}

    sent = [request.headers["Authorization"] for request in server.requests]
    assert sent == sorted(sent, key=["Bearer sk-old", "Bearer sk-new"].index)
    assert len(set(sent)) == 2


async def test_a_connection_that_cannot_be_looked_up_for_a_while_costs_nothing(server: ScriptedServer) -> None:
    away = [ConnectionError("the API server restarts")] * 8
    reading, log = reader(*away, account(server.url)), SpokenLog()

    end = await poller_for(reading).wait(watch(*names(20)), first_pause=0, log=log)

    assert end == "done"
    assert len(reading.asked) == 9
    complaints = [line for line in log.said if "the API server restarts" in line]
    assert len(complaints) == 8


async def test_a_look_up_that_failed_does_not_forget_that_the_key_was_refused(
    server: ScriptedServer, records: Records
) -> None:
    old, new = account(server.url, key="sk-old"), account(server.url, key="sk-new")
    reading, records.keys = reader(old, ConnectionError("away"), new), {"sk-new"}

    assert await ends_of(poller_for(reading)) == {"done"}

    assert reading.asked == [False, True, True]


@pytest.mark.parametrize("problem", [InvalidRequestError("no service"), AuthenticationError("no key")])
async def test_a_connection_that_is_wrong_ends_the_waits(problem: Exception) -> None:
    log = SpokenLog()

    end = await poller_for(reader(problem)).wait(watch("a", "b"), first_pause=0, log=log)

    assert end == "error"


async def test_a_ca_bundle_that_is_not_there_ends_the_waits(server: ScriptedServer) -> None:
    assert await ends_of(poller_for(reader(account(server.url, verify="/nowhere/ca.pem")))) == {"error"}


async def test_a_deadline_strikes_although_the_look_up_hangs(server: ScriptedServer) -> None:
    answered = asyncio.Event()

    async def hang() -> Account:
        await answered.wait()
        return account(server.url)

    poller = poller_for(reader(hang))
    started = time.monotonic()
    patient = asyncio.create_task(poller.wait(watch("b"), first_pause=0))

    assert await asyncio.wait_for(poller.wait(watch("a", seconds=0.3), first_pause=0), 5) == "deadline"

    assert time.monotonic() - started < 2
    answered.set()
    assert await asyncio.wait_for(patient, 5) == "done"


async def test_a_log_that_fails_meanwhile_ends_its_own_wait_alone(server: ScriptedServer) -> None:
    class Broken(SpokenLog):
        def failed(self, error: ImageTaskError) -> None:
            raise OSError("the log is full")

    poller = poller_for(reader(ConnectionError("away"), account(server.url)))

    ends = await asyncio.wait_for(
        asyncio.gather(poller.wait(watch("a"), first_pause=0, log=Broken()), poller.wait(watch("b"), first_pause=0)), 5
    )

    assert ends == ["error", "done"]


async def test_who_is_cancelled_is_told_nothing_more(server: ScriptedServer) -> None:
    reading, log = reader(*[ConnectionError("away")] * 3, account(server.url)), SpokenLog()
    poller = poller_for(reading)
    other = asyncio.create_task(poller.wait(watch("b"), first_pause=0))
    cancelled = asyncio.create_task(poller.wait(watch("a"), first_pause=0, log=log))
    await until(lambda: log.said)
    cancelled.cancel()
    said = list(log.said)

    assert await other == "done"
    assert log.said == said
