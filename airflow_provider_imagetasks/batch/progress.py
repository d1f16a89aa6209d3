"""Progress of a batch, as the log and XCom are told of it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from airflow_provider_imagetasks.polling.batch_wait import Counts

PUSH_SECONDS = 10.0
"""How often XCom is told while a worker works."""
_RATE_SECONDS = 120.0
"""How far back the rate looks."""


class ProgressReport:
    """Tells the log every time, with a rate and the time that is left, and XCom now and then.

    :param log: the task's.
    :param push: pushes a value; None where nothing is to be pushed.
    """

    def __init__(self, log: Any, push: Callable[[dict[str, Any]], None] | None) -> None:
        self._log = log
        self._push = push
        self._pushed_at = 0.0
        self._seen: deque[tuple[float, int]] = deque()
        """Unix times of the latest reports, each with the rows that were over then."""

    def __call__(self, counts: Counts, *, last: bool = False) -> None:
        """Say how far it is.

        :param last: whether XCom must be told too.
        """
        now = time.time()
        self._log.info("%s", self.line(counts, now))
        if self._push is not None and (last or now - self._pushed_at >= PUSH_SECONDS):
            self._pushed_at = now
            self._push(counts.as_xcom(now))

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
