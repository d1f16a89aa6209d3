"""Who waits in the shared status poller, and what is to be asked for them."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from typing import Any

from airflow_provider_imagetasks.polling.waiting import Progress

_log = logging.getLogger(__name__)


class PolledWait:
    """One caller of the poller: what it waits for, and the context that its log lines belong to."""

    __slots__ = ("_context", "end", "progress", "refused")

    def __init__(self, progress: Progress, end: asyncio.Future[str]) -> None:
        self.progress = progress
        self.end = end
        self.refused = False
        """Whether the key was refused since the last answer."""
        self._context = contextvars.copy_context()

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call what may log, in the caller's context."""
        try:
            return self._context.run(function, *arguments)
        except Exception as error:  # noqa: BLE001 - a log that fails must neither hurt others nor leave this one hanging
            _log.error("A wait for image tasks ends, since it cannot be told what was read", exc_info=error)
            self.finish("error")
            return None

    def finish(self, end: str | None) -> None:
        """End the wait, if this is an end and it has not come to one."""
        if end and not self.end.done():
            self.end.set_result(end)


class Question:
    """One image task that is to be asked for.

    :param image_task_id: empty for the trace id of the wait.
    """

    __slots__ = ("alone", "image_task_id", "wait")

    def __init__(self, wait: PolledWait, image_task_id: str) -> None:
        self.wait = wait
        self.image_task_id = image_task_id
        self.alone = not image_task_id
        """Whether it must not be asked for together with others."""
