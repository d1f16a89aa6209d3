"""How far a batch is, for the log and for XCom."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_imagetasks.tasks import iso_time

PUSH_SECONDS = 10.0
"""How often XCom is told while a worker works."""
_RATE_SECONDS = 120.0
"""How far back the rate looks."""


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
        return {name: value for name, value in vars(self).items() if isinstance(value, int)}

    @property
    def done(self) -> int:
        """Rows that are over."""
        return self.succeeded + self.failed

    @property
    def running(self) -> int:
        """Rows that were submitted and are not over."""
        return max(0, self.submitted - self.done)

    def with_finished(self, succeeded: int, failed: int) -> Counts:
        """Return the counts with more rows over."""
        return replace(self, succeeded=self.succeeded + succeeded, failed=self.failed + failed)

    def as_xcom(self, now: float) -> dict[str, Any]:
        """Return ``{total, submitted, succeeded, failed, running, updated_at}``.

        :param now: Unix seconds.
        """
        return {
            "total": self.total,
            "submitted": self.submitted,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "running": self.running,
            "updated_at": iso_time(now),
        }


class ProgressReport:
    """Tells the log every time, and XCom now and then.

    :param log: the task's.
    :param push: pushes a value; None where nothing is to be pushed.
    """

    def __init__(self, log: Any, push: Callable[[dict[str, Any]], None] | None) -> None:
        self._log = log
        self._push = push
        self._line = ProgressLine()
        self._pushed_at = 0.0

    def __call__(self, counts: Counts, *, last: bool = False) -> None:
        """Say how far it is.

        :param last: whether XCom must be told too.
        """
        now = time.time()
        self._log.info("%s", self._line.line(counts, now))
        if self._push is not None and (last or now - self._pushed_at >= PUSH_SECONDS):
            self._pushed_at = now
            self._push(counts.as_xcom(now))


class ProgressLine:
    """Makes log lines with a rate and the time that is left."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def line(self, counts: Counts, now: float) -> str:
        """Return how far it is, in words.

        :param now: Unix seconds.
        """
        self._seen.append((now, counts.done))
        while len(self._seen) > 2 and self._seen[1][0] < now - _RATE_SECONDS:
            self._seen.popleft()
        parts = [
            f"{counts.done:,} of {counts.total:,} done",
            f"{counts.failed:,} failed",
            f"{counts.running:,} running",
        ]
        since, before = self._seen[0]
        rate = (counts.done - before) / (now - since) if now > since else 0.0
        if rate > 0:
            parts.append(f"{rate * 60:,.0f} a minute")
            if counts.done < counts.total:
                parts.append(f"some {_duration((counts.total - counts.done) / rate)} left")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
