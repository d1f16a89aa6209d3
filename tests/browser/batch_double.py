"""What a batch looks like from outside, at the test's own pace: a trigger that only says how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async


class ProgressTrigger(BaseTrigger):
    """Pushes XCom ``progress`` step by step, then fires."""

    def __init__(self, *, place: dict[str, Any], total: int, steps: list[list[int]], pause: float) -> None:
        super().__init__()
        self.place = place
        self.total = total
        self.steps = steps
        self.pause = pause

    def serialize(self) -> tuple[str, dict[str, Any]]:
        kwargs = {"place": self.place, "total": self.total, "steps": self.steps, "pause": self.pause}
        return "batch_double.ProgressTrigger", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from airflow.sdk.execution_time.xcom import XCom

        for succeeded, failed in self.steps:
            running = self.total - succeeded - failed
            value = {"total": self.total, "submitted": self.total, "succeeded": succeeded, "failed": failed}
            value |= {"running": running, "updated_at": datetime.now(UTC).isoformat()}
            await sync_to_async(XCom.set)(key="progress", value=value, **self.place)
            await asyncio.sleep(self.pause)
        yield TriggerEvent({"status": "done"})
