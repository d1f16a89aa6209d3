"""The wait of a deferred batch: how far it is, and when the triggerer hands it back to a worker. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.polling.waiting import Progress, WaitLog, Watch
from airflow_provider_imagetasks.tasks import ImageTask, TaskState, iso_time

FEWEST = 50
"""Fewer pictures than these are not worth a worker, except the last ones, or where rows wait for their places."""
OLDEST_READY = 300.0
"""Seconds that a result may lie at the service before a worker fetches it: addresses of results expire."""
SHARE_OF_LIFE = 1 / 240
"""The same as a share of the time for which a service keeps results: 15 s of an hour. A full pool may take more."""
SHORTEST_READY = 10.0


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Rows of a batch by what became of them.

    :param submitted: in this generation, whatever became of them.
    """

    total: int
    submitted: int = 0
    succeeded: int = 0
    failed: int = 0

    def as_numbers(self) -> dict[str, int]:
        """Return ``{total, submitted, succeeded, failed}``."""
        return asdict(self)

    @property
    def done(self) -> int:
        """Rows that are over."""
        return self.succeeded + self.failed

    @property
    def running(self) -> int:
        """Rows that were submitted and are not over."""
        return max(0, self.submitted - self.done)

    def with_ready(self, succeeded: int) -> Counts:
        """Return the counts with more pictures that the service has ready, of what was running."""
        return replace(self, succeeded=self.succeeded + max(0, min(succeeded, self.running)))

    def as_xcom(self, now: float) -> dict[str, Any]:
        """Return ``{total, submitted, succeeded, failed, running, updated_at}`` as of ``now`` in Unix seconds."""
        return {**self.as_numbers(), "running": self.running, "updated_at": iso_time(now)}


def wake_at(count: int, *, rows_wait: bool) -> int:
    """Return how many image tasks have to be over for a worker to come back: half of them.

    :param count: image tasks that run.
    :param rows_wait: whether rows wait to be submitted; where none do, it is all of a few.
    """
    half = (count + 1) // 2
    return half if rows_wait else min(count, max(half, FEWEST))


def longest_ready(life: float | None) -> float | None:
    """Return the seconds that a result may lie at a service that deletes it; None for the usual ones.

    :param life: seconds for which the service keeps it; None where it does not say.
    """
    seconds = OLDEST_READY if life is None else max(SHORTEST_READY, life * SHARE_OF_LIFE)
    return seconds if seconds < OLDEST_READY else None


class BatchProgress(Progress):
    """What a deferred batch has seen so far; the wait ends once ``wake_at`` image tasks are over.

    :param longest_ready: seconds that a result may lie at the service.
    """

    __slots__ = ("_longest_ready", "_rows_ready", "_wake_at", "failed_count", "first_ready_at", "succeeded_count")

    def __init__(self, watch: Watch, log: WaitLog, *, wake_at: int, longest_ready: float | None = None) -> None:
        super().__init__(watch, log)
        self._wake_at = wake_at
        self._longest_ready = longest_ready or OLDEST_READY
        self.succeeded_count = 0
        self.failed_count = 0
        self.first_ready_at: float | None = None
        self._rows_ready: dict[str, int] = {}

    def saw(self, tasks: Mapping[str, ImageTask], now: float) -> str | None:
        """Note what was read, and return ``"done"`` where enough is over."""
        self._rows_ready |= {each: task.rows_ready for each, task in tasks.items() if task.rows_ready is not None}
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

    @property
    def ready_count(self) -> int:
        """Rows that are ready at the service: an image task each, unless they go out many in one."""
        return sum(self._rows_ready.values()) if self._rows_ready else self.succeeded_count

    def gave_up(self, error: ImageTaskError) -> str | None:
        """Go on unless the account is refused: what cannot be read is paid for, and no reason to hold up the others."""
        if error.concerns_account:
            return "error"
        self.log.failed(error)
        return None

    def has_old_result(self, now: float) -> bool:
        """Whether a result has been lying at the service for too long."""
        return self.first_ready_at is not None and now - self.first_ready_at >= self._longest_ready
