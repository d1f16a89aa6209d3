"""When the next requests of an account may leave, by its sliding windows over all processes. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from airflow_provider_imagetasks.services.rates import Rate, Window

_ANSWERS = 16
LATEST = 5.0
"""Seconds that a request counts later at most, or its window if that is shorter: some services answer only when the
picture is there."""

Latest = Mapping[Window, Mapping[int, float]]
"""The moments of the latest turns of each window, by their rank from the end: 1 is the last turn."""


def with_slack(window: Window) -> float:
    """Return the seconds that a window counts as: a bit more, as requests of several processes arrive less evenly."""
    return window.seconds * 1.01 + min(0.2, 0.15 * window.seconds)


class AnswerTimes:
    """How long the latest answers to one process took, and so how late a request may have reached the service.

    The moment of its arrival is not known, only that it was there by its answer. The slack of each window covers small
    delays.
    """

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=_ANSWERS)

    def seconds_late(self, rate: Rate | None, seconds: float) -> float:
        """Return how many seconds after it left a request counts from, so that it holds a window in which it came late.

        :param seconds: from when it left until it was answered; what the quickest took of late is not late.
        """
        usual = min(self._latest, default=0.0)
        self._latest.append(seconds)
        if rate is None:
            return 0.0
        slack = min(with_slack(window) - window.seconds for window in rate.windows)
        latest = min(LATEST, *(window.seconds for window in rate.windows))
        return min(max(0.0, seconds - usual - slack), latest)


def ranks_for(window: Window, wanted: int) -> range:
    """Return which of the latest turns bound the next ``wanted`` ones; 1 is the last."""
    return range(max(1, window.count - wanted + 1), window.count + 1)


def next_turns(
    wanted: int, windows: tuple[Window, ...], latest: Latest, *, not_before: float, last: float | None
) -> list[float]:
    """Return the moments of the next turns, each no earlier than the one before it.

    :param latest: the turns that bound them, as far as :func:`ranks_for` asks.
    :param not_before: the present moment, or the end of a pause that the service asked for.
    :param last: of the turns that were given out; None where there is none.
    """
    given: list[float] = []
    for position in range(wanted):
        moments = [not_before, given[-1] if given else (last or 0.0)]
        for window in windows:
            rank = window.count - position
            bound = latest[window].get(rank) if rank >= 1 else given[-rank]
            if bound is not None:
                moments.append(bound + with_slack(window))
        given.append(max(moments))
    return given
