"""What a trigger says when its triggerer stops running it."""

from __future__ import annotations

import asyncio
from types import TracebackType

from airflow.triggers.base import BaseTrigger


class ExplainedCancellation:
    """Tells the task's log why a wait ends, where it is cancelled from outside. Thousands are open at a time.

    Leaving it raises ``asyncio.CancelledError`` without the message that it came with.

    :param trigger: who waits.
    """

    __slots__ = ("_trigger",)

    def __init__(self, trigger: BaseTrigger) -> None:
        self._trigger = trigger

    def __enter__(self) -> None:
        """Begin to wait."""

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the wait.

        :raises asyncio.CancelledError: it was cancelled.
        """
        if not isinstance(error, asyncio.CancelledError):
            return
        self._trigger.log.info(
            "This triggerer stops asking: a callback woke the task, it was ended or cleared, another triggerer took "
            "the wait over, or this one shuts down. What was submitted goes on at the service."
        )
        # By the message of the cancellation Airflow would log a user's action, which it often was not.
        raise asyncio.CancelledError from None
