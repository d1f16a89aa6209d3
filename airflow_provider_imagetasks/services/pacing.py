"""Keeps requests of one account under a rate. Pure: told the time, it says how long to wait."""

from __future__ import annotations

from collections import deque

from airflow_provider_imagetasks.services.rates import Rate

_MARGIN = 1.02
"""Windows are taken a little longer than they are, since requests do not arrive as evenly as they leave."""


class Pace:
    """A hard ceiling for requests, and the pauses that the service asks for.

    :param rate: None sets no ceiling.
    :param paused_until: make no request before this Unix time.
    """

    def __init__(self, rate: Rate | None, *, paused_until: float = 0.0) -> None:
        self.rate = rate
        self.paused_until = paused_until
        windows = rate.windows if rate else ()
        self._windows = [(window.seconds * _MARGIN, deque[float](maxlen=window.count)) for window in windows]

    def next_at(self) -> float:
        """Return the Unix time from which the next request may be made; it may lie in the past."""
        return max(self.paused_until, self.free_at())

    def free_at(self) -> float:
        """Return the Unix time from which the rate alone allows the next request; it may lie in the past."""
        free = (made[0] + seconds for seconds, made in self._windows if len(made) == made.maxlen)
        return max(free, default=0.0)

    def count(self, now: float) -> None:
        """Note that a request is made."""
        for _, made in self._windows:
            made.append(now)

    def pause_until(self, moment: float) -> None:
        """Make no request before ``moment``, which a service asked for."""
        self.paused_until = max(self.paused_until, moment)

    def seconds_for(self, requests: float) -> float:
        """Return how long so many requests take at least, in seconds."""
        return max((requests / made.maxlen * seconds for seconds, made in self._windows if made.maxlen), default=0.0)
