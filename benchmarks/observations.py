"""What a server saw of the status checks that it was asked for: how many, how often, how evenly. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

BURST_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen between two moments.

    :param seconds: how long that was.
    :param requests: status requests; one may ask for many image tasks.
    :param checks: image tasks that these asked for, each time counted.
    :param asked: different image tasks among them.
    :param fewest: checks of the image task that was asked for least often; ``most`` likewise.
    :param connections: connections on which the first status request came.
    :param largest_gap: longest time in seconds without a check of an image task, from its last one before the first
        moment up to the last moment.
    :param busiest_second: most status requests within any one second.
    """

    seconds: float
    requests: int
    checks: int
    asked: int
    fewest: int
    most: int
    connections: int
    largest_gap: float
    busiest_second: int


class StatusObserver:
    """Notes each status request as it arrives. Times are Unix seconds, and must not go back."""

    def __init__(self) -> None:
        self._requests: list[float] = []
        self._connections: list[float] = []
        self._checks: dict[str, list[float]] = {}

    def note_connection(self, at: float) -> None:
        """Note that a status request came on a connection that had brought none before."""
        self._connections.append(at)

    def note_request(self, ids: Sequence[str], at: float) -> None:
        """Note a status request for these image tasks."""
        self._requests.append(at)
        for image_task_id in ids:
            self._checks.setdefault(image_task_id, []).append(at)

    def between(self, begin: float, end: float) -> Observation:
        """Return what was seen from ``begin`` to before ``end``."""
        counts = [_count(times, begin, end) for times in self._checks.values()]
        return Observation(
            seconds=end - begin,
            requests=_count(self._requests, begin, end),
            checks=sum(counts),
            asked=sum(1 for count in counts if count),
            fewest=min(counts, default=0),
            most=max(counts, default=0),
            connections=_count(self._connections, begin, end),
            largest_gap=max((largest_gap(times, begin, end) for times in self._checks.values()), default=0.0),
            busiest_second=most_within(self._requests, BURST_SECONDS, begin, end),
        )


def largest_gap(times: Sequence[float], begin: float, end: float) -> float:
    """Return the longest pause between two of ``times``.

    The last one before ``begin`` counts as the start of a pause (else the first one after it), and ``end`` ends one.
    """
    first = max(0, bisect_left(times, begin) - 1)
    seen = [*times[first : bisect_left(times, end)], end]
    return max((later - earlier for earlier, later in pairwise(seen)), default=0.0)


def most_within(times: Sequence[float], seconds: float, begin: float, end: float) -> int:
    """Return how many of ``times`` lie in the fullest window of this length, its end not included."""
    first, last = bisect_left(times, begin), bisect_left(times, end)
    return max(
        (bisect_left(times, times[index] + seconds, index, last) - index for index in range(first, last)), default=0
    )


def _count(times: Sequence[float], begin: float, end: float) -> int:
    return bisect_left(times, end) - bisect_left(times, begin)
