"""How late an event loop gets round to a timer: what every other coroutine on it feels."""

from __future__ import annotations

import asyncio
import math
import time

TICK = 0.005
"""Seconds between two moments at which the loop should come by."""


def lateness(due: float, now: float, tick: float = TICK) -> list[float]:
    """Return how late ``now`` is for each moment that has come since ``due``, one every ``tick``.

    A loop that was held up for a second has missed two hundred moments; to count only one of them would hide it.
    """
    missed = math.floor((now - due) / tick) + 1
    return [now - due - number * tick for number in range(max(0, missed))]


class LagSampler:
    """Watches an event loop from a moment on, and is asked from another thread what it saw.

    :param due: the first moment, on the monotonic clock, which is the loop's.
    """

    def __init__(self, due: float) -> None:
        self._due = due
        self._samples: list[float] = []

    async def run(self) -> None:
        """Sample in the running loop until cancelled."""
        while True:
            late = lateness(self._due, time.monotonic())
            self._samples.extend(late)
            self._due += len(late) * TICK
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))

    def seconds_late(self) -> list[float]:
        """Return the samples so far; moments that the loop has not come by yet are as late as they are now."""
        return [*self._samples, *lateness(self._due, time.monotonic())]
