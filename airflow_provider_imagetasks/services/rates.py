"""Rates of an account: as users write them, as services publish them, and the pace that they set."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.wire import Flow, Result
from airflow_provider_imagetasks.tasks import ImageTask

_WINDOW = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{1,9}(?:\.\d{1,9})?)?\s*s\s*")
_NEARLY = re.compile(r"[\d\s./,s-]{0,40}")
_MARGIN = 1.02
"""Windows are taken a little longer than they are, since requests do not arrive as evenly as they leave."""


@dataclass(frozen=True)
class Window:
    """At most ``count`` requests in any ``seconds``."""

    count: int
    seconds: float


@dataclass(frozen=True)
class Rate:
    """A ceiling made of one or more windows, all of which hold."""

    windows: tuple[Window, ...]

    def __str__(self) -> str:
        return ",".join(f"{window.count}/{window.seconds:g}s" for window in self.windows)


@dataclass(frozen=True)
class Tier:
    """The rates that a service allows one API key.

    :param submit: ceiling for new image tasks.
    :param query: ceiling for status requests.
    :param active: image tasks that may run at the same time; None where the service gives no number.
    """

    submit: Rate
    query: Rate
    active: int | None


NO_TIERS: Mapping[str, Tier] = MappingProxyType({})


def parse_rate(text: str, *, field: str, kind: str, tiers: Mapping[str, Tier] = NO_TIERS) -> Rate:
    """Read ``"20/10s"`` (several windows with commas) or the name of a tier.

    :param field: what the user filled in, for the message.
    :param kind: ``"submit"`` or ``"query"``: which ceiling of a named tier is meant.
    :param tiers: those that may be named.
    :raises InvalidRequestError: when it is neither.
    """
    tier = tiers.get(text.strip())
    if tier is not None:
        return tier.submit if kind == "submit" else tier.query
    windows = []
    for part in text.split(","):
        match = _WINDOW.fullmatch(part)
        window = Window(int(match[1]), float(match[2] or 1)) if match else None
        if window is None or window.count < 1 or window.seconds <= 0:
            # Letters may be a key in the wrong field.
            told = repr(text) if _NEARLY.fullmatch(text) else f"a text of {len(text)} characters that is no rate"
            named = f", or as one of {', '.join(tiers)}" if tiers else ""
            raise InvalidRequestError(f"{field} is {told}; write it as '20/10s' (at most 20 in any 10 seconds){named}")
        windows.append(window)
    return Rate(tuple(windows))


def active_limit(text: str | None, tiers: Mapping[str, Tier]) -> int | None:
    """Return how many image tasks may run at the same time in the tier of that name; None where it is no tier."""
    tier = tiers.get((text or "").strip())
    return tier.active if tier else None


class Pace:
    """A hard ceiling for requests, and the pauses that the service asks for. Pure: told the time, it tells the wait.

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

    def in_turn(self, requests: int, reading: Flow[Result]) -> Flow[Result]:
        """Run a read of so many requests once other processes leave room; this one alone has nothing to wait for.

        :param reading: not begun.
        """
        return (yield from reading)

    def refused(self, seconds: float) -> Flow[None]:
        """Have other processes pause for so many seconds as well."""
        yield from ()

    def answered(self, tasks: Iterable[ImageTask]) -> Flow[None]:
        """Tell other processes which image tasks are over."""
        yield from ()
