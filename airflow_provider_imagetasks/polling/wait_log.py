"""What a wait tells the task log: a line when something changes, none for every poll. Pure."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.tasks import ImageTask, TaskState

_NAMED = 3


class Standing(NamedTuple):
    """What is said of an image task in the log, without the rest of its record."""

    id: str
    trace_id: str | None
    state: TaskState
    raw_state: str | None


class WaitLog:
    """Remembers what was said last, so that only news are logged.

    :param log: a standard or Airflow logger.
    """

    __slots__ = ("_log", "_seen", "_stretched")

    def __init__(self, log: Any = None) -> None:
        self._log = log or logging.getLogger(__name__)
        self._seen: tuple[tuple[str, str | None], ...] = ()
        self._stretched = False

    def read(self, tasks: Sequence[ImageTask | Standing]) -> None:
        """Say how the image tasks stand, if that changed."""
        seen = tuple((task.state, task.raw_state) for task in tasks)
        if seen == self._seen:
            return
        self._seen = seen
        if len(tasks) > _NAMED:
            counts = Counter(str(task.state) for task in tasks)
            parts = ", ".join(f"{count} {state}" for state, count in counts.items())
            self._log.info("Of %s image tasks: %s", len(tasks), parts)
            return
        for task in tasks:
            word = f" ({task.raw_state})" if task.raw_state and task.raw_state != task.state else ""
            self._log.info("Image task %s: %s%s", task.id[:80] or task.trace_id, str(task.state), word)

    def failed(self, error: ImageTaskError) -> None:
        """Say that a status request failed; the wait goes on."""
        self._log.warning("A status request failed, the wait goes on: %s", error.message)

    def stretched(self, rate: str, wanted: float, seconds: float) -> None:
        """Say once that waits of the account are asked for less often than was wanted."""
        if not self._stretched:
            self._stretched = True
            self._log.warning(
                "The account is asked at most %s (query_rate), which does not reach for all its waits: this one is "
                "asked for every %.0f s or so instead of every %.0f s",
                rate,
                seconds,
                wanted,
            )
