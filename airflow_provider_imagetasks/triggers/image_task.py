"""The wait for image tasks on the triggerer. It only reads; the worker that resumes reads again and decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from airflow.triggers.base import TriggerEvent

from airflow_provider_imagetasks.polling.waiting import WaitLog
from airflow_provider_imagetasks.triggers.base import ExplainedCancellation, ImageTaskTriggerBase

FIRST_PAUSE_WITH_CALLBACKS = 16.0
"""Seconds to the first poll where a callback wakes the task: by then none that came too early can have been missed."""
EVENT_STATUSES = ("done", "deadline", "error")


class ImageTaskTrigger(ImageTaskTriggerBase):
    """Ask for image tasks until all are over, then fire one event ``{status, deadline, asked_at}``.

    :param conn_id: the connection to read with.
    :param image_task_ids: what to wait for; empty where ``trace_id`` is given.
    :param deadline: Unix seconds when waiting ends; survives a restart of the triggerer.
    :param poll_interval: seconds between two status requests.
    :param asked_at: Unix seconds of the submission, else of the first question; "not found" is tolerated for 60 s.
    :param trace_id: looked up where there are no ids yet.
    :param first_pause: seconds before which no status request is made; None takes 0.8 of ``poll_interval``.
    """

    class_path = "airflow_provider_imagetasks.triggers.image_task.ImageTaskTrigger"
    serialized_fields = (
        "conn_id",
        "image_task_ids",
        "deadline",
        "poll_interval",
        "asked_at",
        "trace_id",
        "first_pause",
    )
    left_out_if_none = frozenset({"first_pause"})

    def __init__(
        self,
        *,
        conn_id: str,
        image_task_ids: Sequence[str],
        deadline: float,
        poll_interval: float,
        asked_at: float,
        trace_id: str | None = None,
        first_pause: float | None = None,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.image_task_ids = list(image_task_ids)
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.asked_at = asked_at
        self.trace_id = trace_id
        self.first_pause = first_pause

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire one event whose status is one of ``done``, ``deadline`` and ``error``."""
        with ExplainedCancellation(self):
            status = await self.poller.wait(
                self.watch,
                first_pause=self.first_question_after(self.first_pause),
                log=WaitLog(self.logger()),
            )
        yield TriggerEvent({"status": status, "deadline": self.deadline, "asked_at": self.asked_at})
