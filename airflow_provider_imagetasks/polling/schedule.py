"""Who is to be asked next, and with whom: a queue by due time whose head takes along those who are nearly due. Pure."""

from __future__ import annotations

import random
from heapq import heappop, heappush
from typing import Generic, TypeVar

Item = TypeVar("Item")

EARLIEST = 0.8
"""Share of the interval after which an item may be asked for, to fill a request; after all of it, it has to be."""


class PollingSchedule(Generic[Item]):
    """Items by the time at which they have to be asked for; the longest overdue come first, so that none starves."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, float, Item]] = []
        self._added = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, item: Item, *, due: float, early: float | None = None) -> None:
        """Put an item in.

        :param due: Unix time at which it has to be asked for.
        :param early: Unix time from which it may be asked for; None means not before ``due``.
        """
        self._added += 1
        heappush(self._heap, (due, self._added, due if early is None else early, item))

    def add_after(self, item: Item, interval: float, *, now: float) -> None:
        """Put an item in that has just been asked for: 0.8 to 1.0 of the interval later, spread at random."""
        self.add(item, due=now + interval * random.uniform(0.9, 1.0), early=now + interval * EARLIEST)

    def next_due(self) -> float | None:
        """Return when the first item has to be asked for."""
        return self._heap[0][0] if self._heap else None

    def take(self, now: float, most: int) -> list[tuple[Item, float]]:
        """Take out what one request asks for: nothing until an item is due, then up to ``most`` with those nearly due.

        :returns: items with the time at which each was due.
        """
        taken: list[tuple[Item, float]] = []
        if self._heap and self._heap[0][0] <= now:
            while self._heap and len(taken) < most and self._heap[0][2] <= now:
                due, _, _, item = heappop(self._heap)
                taken.append((item, due))
        return taken
