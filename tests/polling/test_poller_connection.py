"""The connection behind the waits of one account: how often it is read, and what happens when it cannot be."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from airflow_provider_imagetasks.exceptions import AuthenticationError, InvalidRequestError
from airflow_provider_imagetasks.polling import session as account_session
from airflow_provider_imagetasks.polling.waiting import Progress
from airflow_provider_imagetasks.services.account import Account
from tests.polled_accounts import Records, SpokenLog, account, ends_of, names, poller_for, reader, until, watch, watches
from tests.scripted_server import ScriptedServer

AWAY = ConnectionError("the API server restarts")


@pytest.mark.parametrize("meanwhile", [[], [AWAY]], ids=["read", "read in vain at first"])
async def test_a_key_that_was_changed_meanwhile_is_found_out(
    server: ScriptedServer, records: Records, meanwhile: list[Exception]
) -> None:
    old, new = account(server.url, key="sk-old"), account(server.url, key="sk-new")
    reading, records.keys = reader(old, *meanwhile, new), {"sk-new"}

    assert await ends_of(poller_for(reading), *watches(3)) == ["done"] * 3

    assert reading.asked == [False, True, *(True for _ in meanwhile)]
    assert [request.headers["Authorization"] for request in server.requests] == ["Bearer sk-old", "Bearer sk-new"]


async def test_a_key_that_stays_wrong_ends_the_waits(server: ScriptedServer, records: Records) -> None:
    reading, records.keys = reader(account(server.url)), {"sk-another"}

    assert await ends_of(poller_for(reading), *watches(3)) == ["error"] * 3

    assert reading.asked == [False, True]
    assert len(server.requests) == 2


async def test_a_key_that_was_refused_once_and_then_accepted_may_be_refused_again(
    server: ScriptedServer, records: Records
) -> None:
    keys = ["sk-1", "sk-2", "sk-3"]
    reading = reader(*(account(server.url, key=key) for key in keys))
    records.keys, records.finished_after = {"sk-1"}, 8

    waits = asyncio.create_task(ends_of(poller_for(reading), *watches(3)))
    for key in keys[1:]:
        enough = records.asked.total() + 6
        await until(lambda enough=enough: records.asked.total() >= enough)
        records.keys = {key}

    assert await waits == ["done"] * 3
    assert reading.asked == [False, True, True]


async def test_it_is_read_again_after_five_minutes_and_what_has_changed_holds_from_then_on(
    server: ScriptedServer, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert account_session.ACCOUNT_SECONDS == 300
    monkeypatch.setattr(account_session, "ACCOUNT_SECONDS", 0.2)
    old = account(server.url, key="sk-old")
    reading, records.finished_after = reader(old, replace(old, key="sk-new")), 9
    started = time.monotonic()

    assert await ends_of(poller_for(reading), *watches(3)) == ["done"] * 3

    assert 2 <= len(reading.asked) <= (time.monotonic() - started) / 0.2 + 1
    assert (reading.asked[0], set(reading.asked[1:])) == (False, {True})
    sent = [request.headers["Authorization"] for request in server.requests]
    assert sent == sorted(sent, reverse=True)
    assert set(sent) == {"Bearer sk-old", "Bearer sk-new"}


async def test_a_connection_that_cannot_be_looked_up_for_a_while_costs_nothing(server: ScriptedServer) -> None:
    reading, log = reader(*[AWAY] * 8, account(server.url)), SpokenLog()

    assert await poller_for(reading).wait(Progress(watch(*names(20)), log), first_pause=0) == "done"

    assert len(reading.asked) == 9
    assert sum("the API server restarts" in line for line in log.said) == 1


@pytest.mark.parametrize(
    "found",
    [
        InvalidRequestError("no service"),
        AuthenticationError("no key"),
        account("http://127.0.0.1:9", verify="/nowhere/ca.pem"),
    ],
    ids=["no service", "no key", "no such CA bundle"],
)
async def test_a_connection_that_is_wrong_ends_the_waits(found: Exception | Account) -> None:
    assert await ends_of(poller_for(reader(found)), watch("a", "b"), watch("c")) == ["error", "error"]


async def test_a_deadline_strikes_although_the_look_up_hangs(server: ScriptedServer) -> None:
    answered = asyncio.Event()

    async def hang() -> Account:
        await answered.wait()
        return account(server.url)

    poller = poller_for(reader(hang))
    started = time.monotonic()
    patient = asyncio.create_task(ends_of(poller, watch("b")))

    assert await ends_of(poller, watch("a", seconds=0.3)) == ["deadline"]

    assert time.monotonic() - started < 40
    answered.set()
    assert await patient == ["done"]


async def test_who_is_cancelled_is_not_told_that_the_look_up_fails(server: ScriptedServer) -> None:
    poller, log = poller_for(reader(*[AWAY] * 3, account(server.url))), SpokenLog()
    other = asyncio.create_task(ends_of(poller, watch("b")))
    cancelled = asyncio.create_task(poller.wait(Progress(watch("a"), log), first_pause=0))
    await until(lambda: log.said)
    cancelled.cancel()
    said = list(log.said)

    assert await other == ["done"]
    assert log.said == said
