"""How long and how often everything is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The size of a run.

    :param rounds: how often this provider, the http sensor and idling take turns.
    :param start_seconds: how long the start of all triggers is spread over.
    :param measured_seconds: how long the CPU is measured, and after that the lag.
    :param idle_seconds: the same for idle triggers.
    :param limited_waits: waits at a service without batch status.
    :param limited_seconds: how long they are watched.
    :param files: pictures to download.
    :param download_rounds: how often curl and this provider take turns at them.
    :param photo_rounds: likewise for pictures that cost more to decode; 0 leaves them out.
    """

    rounds: int
    start_seconds: float
    measured_seconds: float
    idle_seconds: float
    limited_waits: int
    limited_seconds: float
    files: int
    download_rounds: int
    photo_rounds: int


FULL = Scale(
    rounds=3,
    start_seconds=10,
    measured_seconds=15,
    idle_seconds=10,
    limited_waits=200,
    limited_seconds=60,
    files=500,
    download_rounds=5,
    photo_rounds=3,
)
QUICK = Scale(
    rounds=1,
    start_seconds=5,
    measured_seconds=6,
    idle_seconds=4,
    limited_waits=60,
    limited_seconds=16,
    files=150,
    download_rounds=3,
    photo_rounds=0,
)
