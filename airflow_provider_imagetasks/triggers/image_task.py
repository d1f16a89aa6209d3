"""The wait for image tasks on the triggerer. It only reads; the worker that resumes reads again and decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_imagetasks.hooks.connection import connection_poller
from airflow_provider_imagetasks.polling.wait_log import WaitLog
from airflow_provider_imagetasks.polling.waiting import Watch
from airflow_provider_imagetasks.triggers.cancellation import ExplainedCancellation

SHORTEST_FIRST_PAUSE = 10.0
"""Seconds between deferral and first poll: an event that comes while Airflow still writes down the deferral can make
it fail the task."""
FIRST_PAUSE_WITH_CALLBACKS = 16.0
"""Seconds to the first poll where a callback wakes the task: by then none that came too early can have been missed."""
EVENT_STATUSES = ("done", "deadline", "error")


class ImageTaskTrigger(BaseTrigger):
    """Ask for image tasks until all are over, then fire one event ``{status, deadline, asked_at}``.

    Its arguments are stored in clear in Airflow's database, and rows of older versions must stay readable: ids,
    names and numbers only.

    :param conn_id: the connection to read with.
    :param image_task_ids: what to wait for; empty where ``trace_id`` is given.
    :param deadline: Unix seconds when waiting ends; survives a restart of the triggerer.
    :param poll_interval: seconds between two status requests.
    :param asked_at: Unix seconds of the submission, else of the first question; "not found" is tolerated for 60 s.
    :param trace_id: looked up where there are no ids yet.
    :param first_pause: seconds before the first status request; None takes ``poll_interval``.
    """

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

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as plain JSON."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "conn_id": self.conn_id,
                "image_task_ids": self.image_task_ids,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "asked_at": self.asked_at,
                "trace_id": self.trace_id,
                **({} if self.first_pause is None else {"first_pause": self.first_pause}),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire one event whose status is one of ``done``, ``deadline`` and ``error``."""
        watch = Watch(
            image_task_ids=tuple(self.image_task_ids),
            trace_id=self.trace_id,
            asked_at=self.asked_at,
            deadline=self.deadline,
            poll_interval=self.poll_interval,
        )
        with ExplainedCancellation(self):
            status = await connection_poller(self.conn_id).wait(
                watch,
                first_pause=max(self.first_pause or self.poll_interval, SHORTEST_FIRST_PAUSE),
                log=WaitLog(self.logger()),
            )
        yield TriggerEvent({"status": status, "deadline": self.deadline, "asked_at": self.asked_at})
