"""Base of both triggers: how they are stored, what they wait for, and what they log when they are stopped."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from airflow.triggers.base import BaseTrigger

from airflow_provider_imagetasks.hooks.cancel_on_kill import cancel_where_killed
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.polling.poller import StatusPoller
from airflow_provider_imagetasks.polling.status_requests import EARLIEST
from airflow_provider_imagetasks.polling.waiting import Watch

SHORTEST_FIRST_PAUSE = 10.0
"""Seconds between deferral and first poll: an event that comes while Airflow still writes down the deferral can make
it fail the task."""


class ImageTaskTriggerBase(BaseTrigger):
    """A wait for image tasks of one connection on the triggerer. It only reads, and cancels if a person ends the task.

    Arguments are stored in clear in Airflow's database, and rows of older versions must stay readable: ids, names and
    numbers only, and a class path that never changes.

    :param conn_id: the connection to read with.
    :param image_task_ids: what to wait for.
    :param deadline: Unix seconds when waiting ends; survives a restart of the triggerer.
    :param poll_interval: seconds between two status requests.
    :param asked_at: Unix seconds of the submission, else of the first question; "not found" is tolerated for 60 s.
    :param cancel_on_kill: whether the image tasks are cancelled where a person ends the task; None for not.
    """

    class_path: ClassVar[str]
    """What Airflow's database names the trigger by."""
    serialized_fields: ClassVar[Sequence[str]] = (
        *("conn_id", "image_task_ids", "deadline", "poll_interval", "asked_at"),
        "cancel_on_kill",
    )
    """The arguments, which are attributes of the same names."""
    left_out_if_none: ClassVar[frozenset[str]] = frozenset({"cancel_on_kill"})
    """Arguments that older versions do not know, stored only where they say something."""

    trace_id: str | None = None

    def __init__(
        self,
        *,
        conn_id: str,
        image_task_ids: Sequence[str],
        deadline: float,
        poll_interval: float,
        asked_at: float,
        cancel_on_kill: bool | None = None,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.image_task_ids = list(image_task_ids)
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.asked_at = asked_at
        self.cancel_on_kill = cancel_on_kill or None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as plain JSON."""
        values = {name: getattr(self, name) for name in self.serialized_fields}
        return self.class_path, {
            name: value for name, value in values.items() if value is not None or name not in self.left_out_if_none
        }

    @property
    def watch(self) -> Watch:
        """What is waited for, and until when."""
        return Watch(
            image_task_ids=tuple(self.image_task_ids),
            trace_id=self.trace_id,
            asked_at=self.asked_at,
            deadline=self.deadline,
            poll_interval=self.poll_interval,
        )

    @property
    def poller(self) -> StatusPoller:
        """The status poller that all waits of the connection share in this triggerer."""
        return ImageTaskHook(self.conn_id).poller()

    def first_question_after(self, seconds: float | None = None) -> float:
        """Return the seconds until the first question has to be asked; the poller may ask at 0.8 of it.

        :param seconds: before which it must not be asked; None takes what ``poll_interval`` allows.
        """
        earliest = self.poll_interval * EARLIEST if seconds is None else seconds
        return max(earliest, SHORTEST_FIRST_PAUSE) / EARLIEST

    async def on_kill(self) -> None:
        """Cancel the image tasks, once, if a person ended the task; Airflow since 3.3 calls it in other cases, too."""
        instance, wanted = getattr(self, "task_instance", None), self.cancel_on_kill
        self.cancel_on_kill = None
        # What failed by itself after its time is not a person's doing.
        if wanted and instance is not None and time.time() < self.deadline:
            await cancel_where_killed(instance, self.conn_id, self.image_task_ids, self.log)

    def explained_cancellation(self, cancelled: asyncio.CancelledError) -> asyncio.CancelledError:
        """Log why a cancelled wait ends, in the task's log, and return what is to be raised instead.

        That lacks the message of the cancellation, from which Airflow would log a user's action, though it often was
        none; except where the message makes Airflow call :meth:`on_kill`, which finds out what it was.

        :param cancelled: as Airflow cancelled it; since 3.4 its message tells what happened.
        """
        if self.cancel_on_kill:
            self.log.info("This triggerer stops asking: %s.", _why_cancelled(cancelled))
            return asyncio.CancelledError(*cancelled.args)
        self.log.info(
            "This triggerer stops asking: %s. What was submitted goes on at the service.", _why_cancelled(cancelled)
        )
        return asyncio.CancelledError()


def _why_cancelled(cancelled: asyncio.CancelledError) -> str:
    ended, reassigned = (
        "a callback woke the task, or the task was ended or cleared",
        "another triggerer took the wait over",
    )
    # Loaded wherever triggers run, and too much to be loaded for this.
    runner = sys.modules.get("airflow.jobs.triggerer_job_runner")
    known = {
        getattr(runner, "_REASSIGNED_CANCEL_MSG", None): reassigned,
        getattr(runner, "_USER_ACTION_CANCEL_MSG", None): ended,
    }
    if len(known) == 2 and None not in known:
        message = cancelled.args[0] if cancelled.args else None
        return known.get(message, "this triggerer shuts down")
    # Before Airflow 3.4 the same message stood for two of them.
    return f"{ended}, {reassigned}, or this one shuts down"
