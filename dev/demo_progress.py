"""What the demo shows while a run is under way: one line that counts pictures, not task instances."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from dev.rest_api import TaskInstance

WAITING_STATES = frozenset({"running", "deferred", "up_for_reschedule"})
TROUBLED_STATES = frozenset({"failed", "upstream_failed", "up_for_retry"})


def progress_text(tasks: Sequence[TaskInstance]) -> str:
    """Count how many pictures were submitted, are waited for and are stored."""
    states: dict[str, list[str | None]] = {"submit": [], "wait": [], "save": []}
    for task in tasks:
        # Index -1 stands for a mapped task whose instances do not exist yet.
        if task.short_id in states and task.map_index >= 0:
            states[task.short_id].append(task.state)
    total = max((len(each) for each in states.values()), default=0)
    waiting = sum(state in WAITING_STATES for state in states["wait"])
    parts = [
        f"submitted {states['submit'].count('success')}/{total}",
        f"waiting {waiting}",
        f"ready {states['wait'].count('success')}/{total}",
        f"downloaded {states['save'].count('success')}/{total}",
    ]
    troubled = [f"{task.label} {task.state}" for task in tasks if task.state in TROUBLED_STATES]
    return "   ".join(parts + troubled)


class ProgressLine:
    """One line that renews itself in a terminal; elsewhere a new line whenever the counts change."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._renews = stream.isatty()
        self._started_at = time.monotonic()
        self._last = ""

    def show(self, text: str) -> None:
        """Show the present counts."""
        line = f"  {time.monotonic() - self._started_at:4.0f} s   {text}"
        if self._renews:
            # A line that wraps would not renew itself.
            self._stream.write(f"\r{line[: shutil.get_terminal_size().columns - 1]}\x1b[K")
        elif text != self._last:
            self._stream.write(f"{line}\n")
        self._stream.flush()
        self._last = text

    def end(self) -> None:
        """Leave the line as it stands."""
        if self._renews and self._last:
            self._stream.write("\n")
            self._stream.flush()
        self._last = ""
