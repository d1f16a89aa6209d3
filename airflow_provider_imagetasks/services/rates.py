"""How often an account may be asked: rates as users write them, and the tiers that services publish."""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_imagetasks.exceptions import InvalidRequestError

_WINDOW = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{1,9}(?:\.\d{1,9})?)?\s*s\s*")


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
    """What a service allows one API key.

    :param submit: ceiling for new image tasks.
    :param query: ceiling for status requests.
    :param active: image tasks that may run at the same time; None where the service gives no number.
    """

    submit: Rate
    query: Rate
    active: int | None


def _tier(per_second: int, per_minute: int, query_second: int, query_minute: int, active: int) -> Tier:
    return Tier(
        submit=Rate((Window(per_second, 1), Window(per_minute, 60))),
        query=Rate((Window(query_second, 1), Window(query_minute, 60))),
        active=active,
    )


TIERS: dict[str, Tier] = {
    "aigptimage:free": _tier(1, 10, 2, 60, 1),
    "aigptimage:basic": _tier(5, 180, 20, 1000, 5),
    "aigptimage:standard": _tier(10, 600, 50, 3000, 15),
    "aigptimage:pro": _tier(20, 1200, 100, 6000, 30),
    "aigptimage:ultra": _tier(50, 3000, 200, 12000, 80),
    "aigptimage:enterprise": _tier(100, 6000, 500, 30000, 300),
    "kie:default": Tier(submit=Rate((Window(20, 10),)), query=Rate((Window(8, 1),)), active=100),
}
"""Limits by name, as AI GPT Image's rate-limit page and kie.ai's start page give them (kie's query ceiling is set
a little below its ten a second)."""


def parse_rate(text: str, *, field: str, kind: str) -> Rate:
    """Read ``"20/10s"`` (several windows with commas) or the name of a tier.

    :param field: what the user filled in, for the message.
    :param kind: ``"submit"`` or ``"query"``: which ceiling of a named tier is meant.
    :raises InvalidRequestError: when it is neither.
    """
    tier = TIERS.get(text.strip())
    if tier is not None:
        return tier.submit if kind == "submit" else tier.query
    windows = []
    for part in text.split(","):
        match = _WINDOW.fullmatch(part)
        window = Window(int(match[1]), float(match[2] or 1)) if match else None
        if window is None or window.count < 1 or window.seconds <= 0:
            raise InvalidRequestError(
                f"{field} is {text!r}; write it as '20/10s' (at most 20 in any 10 seconds) or as one of "
                f"{', '.join(TIERS)}"
            )
        windows.append(window)
    return Rate(tuple(windows))


def active_limit(text: str | None) -> int | None:
    """Return how many image tasks may run at the same time in the tier of that name; None where it is no tier."""
    tier = TIERS.get((text or "").strip())
    return tier.active if tier else None
