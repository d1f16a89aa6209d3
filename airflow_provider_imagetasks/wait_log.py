"""What a wait tells the task log: a line when something changes, none for every poll."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.tasks import ImageTask

_NAMED = 3


class WaitLog:
    """Remembers what was said last, so that only news are logged.

    :param log: a standard or Airflow logger.
    """

    def __init__(self, log: Any = None) -> None:
        self._log = log or logging.getLogger(__name__)
        self._said: str | None = None

    def read(self, tasks: Sequence[ImageTask]) -> None:
        """Say how the image tasks stand, if that changed."""
        if len(tasks) <= _NAMED:
            said = "; ".join(
                f"image task {task.id[:80] or task.trace_id}: {task.state!s}"
                + (f" ({task.raw_state})" if task.raw_state and task.raw_state != task.state else "")
                for task in tasks
            )
        else:
            counts = Counter(str(task.state) for task in tasks)
            said = f"of {len(tasks)} image tasks: " + ", ".join(f"{count} {state}" for state, count in counts.items())
        if said != self._said:
            self._log.info("%s", said[:1].upper() + said[1:])
            self._said = said

    def failed(self, error: ImageTaskError) -> None:
        """Say that a status request failed; the wait goes on."""
        self._log.warning("A status request failed, the wait goes on: %s", error.message)
