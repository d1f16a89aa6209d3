"""The ways to wait that are compared: this provider's trigger, those of installed official providers, and idling."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from enum import StrEnum
from typing import Any

import aiohttp  # noqa: F401 - loaded by all alike, so that its size is not counted for one
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_imagetasks.triggers.image_task import ImageTaskTrigger

CONN_ID = "measured"
_LONG = 3600.0
MakeTrigger = Callable[[str], BaseTrigger]


class Contender(StrEnum):
    """A way to wait."""

    IDLE = "idle"
    OURS = "ours"
    HTTP = "http"
    OPENAI = "openai"


class IdleTrigger(BaseTrigger):
    """Waits for something that does not come: what any trigger costs before it does anything."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path; there are no arguments."""
        return (f"{type(self).__module__}.{type(self).__qualname__}", {})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for ever."""
        await asyncio.Event().wait()
        yield TriggerEvent({})


def prepare(contender: Contender, *, url: str, interval: float, service: str, query_rate: str | None) -> MakeTrigger:
    """Set the contender's connection in this process's environment, and return what makes its trigger for an id.

    :param url: the server's.
    :param interval: seconds between two checks of an image task.
    :param service: whose dialect ours speaks.
    :param query_rate: ceiling for ours; None takes the service's.
    """
    if contender is Contender.OURS:
        extra = {"service": service, **({"query_rate": query_rate} if query_rate else {})}
        _connect(conn_type="imagetasks", host=f"{url}/{service}", password="measured-key", extra=extra)
        now = time.time()
        return lambda image_task_id: ImageTaskTrigger(
            conn_id=CONN_ID, image_task_ids=[image_task_id], deadline=now + _LONG, poll_interval=interval, asked_at=now
        )
    if contender is Contender.HTTP:
        from airflow.providers.http.triggers.http import HttpSensorTrigger

        _connect(conn_type="http", host=url)
        return lambda image_task_id: HttpSensorTrigger(
            endpoint=f"pending/{image_task_id}", http_conn_id=CONN_ID, poke_interval=interval
        )
    if contender is Contender.OPENAI:
        from airflow.providers.openai.triggers.openai import OpenAIBatchTrigger

        _connect(conn_type="openai", host=f"{url}/v1", password="measured-key")
        return lambda image_task_id: OpenAIBatchTrigger(
            conn_id=CONN_ID, batch_id=image_task_id, poll_interval=interval, timeout=_LONG
        )
    _connect(conn_type="generic")
    return lambda _image_task_id: IdleTrigger()


def _connect(**connection: str | Mapping[str, Any]) -> None:
    os.environ[f"AIRFLOW_CONN_{CONN_ID.upper()}"] = json.dumps(connection)
