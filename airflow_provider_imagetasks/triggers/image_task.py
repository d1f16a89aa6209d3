"""The wait for image tasks on the triggerer. It only reads; the worker that resumes reads again and decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_imagetasks.polling.waiting import Progress, WaitLog
from airflow_provider_imagetasks.triggers.base import ImageTaskTriggerBase

FIRST_PAUSE_WITH_CALLBACKS = 16.0
"""Seconds to the first poll where a callback wakes the task: by then none that came too early can have been missed."""
EVENT_STATUSES = ("done", "deadline", "error")


class ImageTaskTrigger(ImageTaskTriggerBase):
    """Ask for image tasks until all are over, then fire one event ``{status, deadline, asked_at}``.

    :param trace_id: looked up where there are no ids yet.
    :param first_pause: seconds before which no status request is made; None takes 0.8 of ``poll_interval``.
    :param wait: arguments of :class:`ImageTaskTriggerBase`; no ids where ``trace_id`` is given.
    """

    class_path = "airflow_provider_imagetasks.triggers.image_task.ImageTaskTrigger"
    serialized_fields = (*ImageTaskTriggerBase.serialized_fields, "trace_id", "first_pause")
    left_out_if_none = ImageTaskTriggerBase.left_out_if_none | {"first_pause"}

    def __init__(self, *, trace_id: str | None = None, first_pause: float | None = None, **wait: Any) -> None:
        super().__init__(**wait)
        self.trace_id = trace_id
        self.first_pause = first_pause

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire one event whose status is one of ``done``, ``deadline`` and ``error``."""
        first_pause = self.first_question_after(self.first_pause)
        try:
            status = await self.poller.wait(Progress(self.watch, WaitLog(self.logger())), first_pause=first_pause)
        except asyncio.CancelledError as cancelled:
            raise self.explained_cancellation(cancelled) from None
        yield TriggerEvent({"status": status, "deadline": self.deadline, "asked_at": self.asked_at})
