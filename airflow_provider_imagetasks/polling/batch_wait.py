"""Decides when the triggerer hands a batch back to a worker. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_imagetasks.polling.wait_log import WaitLog
from airflow_provider_imagetasks.polling.waiting import Progress, Watch
from airflow_provider_imagetasks.tasks import ImageTask, TaskState

FEWEST = 50
"""Fewer pictures than these are not worth a worker, except the last ones, or where rows wait for their places."""
OLDEST_READY = 300.0
"""Seconds that a result may lie at the service before a worker fetches it: addresses of results expire."""


def wake_at(count: int, *, rows_wait: bool) -> int:
    """Return how many image tasks have to be over for a worker to come back: half of them.

    :param count: image tasks that run.
    :param rows_wait: whether rows wait to be submitted; where none do, it is all of a few.
    """
    half = (count + 1) // 2
    return half if rows_wait else min(count, max(half, FEWEST))


class BatchProgress(Progress):
    """What a deferred batch has seen so far.

    :param wake_at: ends the wait once so many are over.
    """

    __slots__ = ("_wake_at", "failed_count", "first_ready_at", "succeeded_count")

    def __init__(self, watch: Watch, log: WaitLog, *, wake_at: int) -> None:
        super().__init__(watch, log)
        self._wake_at = wake_at
        self.succeeded_count = 0
        self.failed_count = 0
        self.first_ready_at: float | None = None

    def saw(self, tasks: Mapping[str, ImageTask], now: float) -> str | None:
        """Take in what was read, and return ``"done"`` where enough is over."""
        pending = set(self.pending)
        end = super().saw(tasks, now)
        for image_task_id in pending - self.pending.keys():
            if tasks[image_task_id].state is TaskState.SUCCEEDED:
                self.succeeded_count += 1
            else:
                self.failed_count += 1
        over = self.succeeded_count + self.failed_count
        if over and self.first_ready_at is None:
            self.first_ready_at = now
        return end or ("done" if over >= self._wake_at else None)

    def is_ripe(self, now: float) -> bool:
        """Whether a finished one has been lying there for too long."""
        return self.first_ready_at is not None and now - self.first_ready_at >= OLDEST_READY
