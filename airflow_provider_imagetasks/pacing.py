"""Keeps requests of one account under a rate. Pure: told the time, it says how long to wait."""

from __future__ import annotations

from collections import deque

from airflow_provider_imagetasks.rates import Rate

_MARGIN = 1.02
"""Windows are taken a little longer than they are, since requests do not arrive as evenly as they leave."""


class Pace:
    """A hard ceiling for requests, and the pauses that the service asks for.

    :param rate: None sets no ceiling.
    """

    def __init__(self, rate: Rate | None) -> None:
        windows = rate.windows if rate else ()
        self._windows = [(window.seconds * _MARGIN, deque[float](maxlen=window.count)) for window in windows]
        self._paused_until = 0.0

    def next_at(self) -> float:
        """Return the Unix time from which the next request may be made; it may lie in the past."""
        free = (made[0] + seconds for seconds, made in self._windows if len(made) == made.maxlen)
        return max(self._paused_until, *free, 0.0)

    def count(self, now: float) -> None:
        """Note that a request is made."""
        for _, made in self._windows:
            made.append(now)

    def pause_until(self, moment: float) -> None:
        """Make no request before ``moment``, which a service asked for."""
        self._paused_until = max(self._paused_until, moment)
