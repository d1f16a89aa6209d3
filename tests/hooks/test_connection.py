from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, Connection

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.hooks import connection as connections

FIELDS = {"conn_type": "imagetasks", "password": "key", "extra": {"service": "acedatacloud"}}


@pytest.fixture
def look_ups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connection 'known', and the asynchronous look-ups made of it."""
    monkeypatch.setenv("AIRFLOW_CONN_KNOWN", json.dumps(FIELDS))
    made: list[str] = []
    real = connections.get_async_connection

    async def counted(conn_id: str) -> Any:
        made.append(conn_id)
        return await real(conn_id)

    monkeypatch.setattr(connections, "get_async_connection", counted)
    return made


async def test_one_look_up_serves_all_who_ask_for_five_minutes(
    look_ups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = await asyncio.gather(*(connections.aread_connection("known") for _ in range(10)))

    assert len(set(map(id, accounts))) == 1
    assert look_ups == ["known"]
    real = connections.time.monotonic
    monkeypatch.setattr(connections.time, "monotonic", lambda: real() + 301)
    await connections.aread_connection("known")
    assert len(look_ups) == 2


async def test_a_failure_is_not_remembered(look_ups: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequestError):
        await connections.aread_connection("later")
    monkeypatch.setenv("AIRFLOW_CONN_LATER", json.dumps(FIELDS))

    assert (await connections.aread_connection("later")).key == "key"


async def test_a_connection_that_only_the_blocking_way_finds_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_KNOWN", json.dumps(FIELDS))
    known = BaseHook.get_connection("known")

    async def not_found(conn_id: str) -> Any:
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(connections, "get_async_connection", not_found)
    monkeypatch.setattr(BaseHook, "get_connection", lambda _conn_id: known)
    assert (await connections.aread_connection("known")).key == "key"


async def test_who_is_cancelled_does_not_take_the_look_up_from_the_others(look_ups: list[str]) -> None:
    first = asyncio.create_task(connections.aread_connection("known"))
    second = asyncio.create_task(connections.aread_connection("known"))
    await asyncio.sleep(0)
    first.cancel()

    assert (await second).service == "acedatacloud"
    assert look_ups == ["known"]


@pytest.mark.parametrize("extra", ["{", "[]", '"text"'])
def test_an_extra_that_is_no_object_is_named(extra: str) -> None:
    connection = Connection(conn_id="known", conn_type="imagetasks", extra=extra)

    with pytest.raises(InvalidRequestError, match="Extra"):
        connections.account_from(connection, "known")
