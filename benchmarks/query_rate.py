"""A service without batch status: the ceiling holds in every second, and every wait has its turn."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.contenders import Contender
from benchmarks.measuring import made_up_ids, run_load
from benchmarks.observations import BURST_SECONDS, Observation
from benchmarks.scale import Scale
from benchmarks.trigger_load import LoadPlan

PER_SECOND = 8
INTERVAL = 10.0
SERVICE = "aigptimage"
_START = 2.0
_FIRST_CHECK = 11.0


@dataclass(frozen=True, kw_only=True)
class RateFigures:
    """What the server saw.

    :param waits: how many shared the rate.
    :param ceiling: requests that the rate allows in any second.
    :param busiest_second: most requests in any second.
    :param used: requests made, as a share of what the rate allows.
    :param fewest: checks of the image task that was asked for least often; ``most`` likewise.
    :param reachable_interval: seconds between two checks of an image task that the rate allows at best.
    :param largest_gap: seconds between two checks at worst.
    """

    waits: int
    ceiling: int
    busiest_second: int
    used: float
    fewest: int
    most: int
    reachable_interval: float
    largest_gap: float


def measure_query_rate(scale: Scale) -> RateFigures:
    """Measure more waits than ``query_rate`` reaches for."""
    measured = run_load(
        LoadPlan(
            contender=Contender.OURS,
            image_task_ids=made_up_ids(scale.limited_waits),
            service=SERVICE,
            query_rate=f"{PER_SECOND}/{BURST_SECONDS:g}s",
            interval=INTERVAL,
            start_seconds=_START,
            warm_up_seconds=_FIRST_CHECK,
            measured_seconds=scale.limited_seconds / 2,
        )
    )
    return rate_figures(measured.in_all, waits=scale.limited_waits)


def rate_figures(seen: Observation, *, waits: int) -> RateFigures:
    """Return the figures of what the server saw."""
    return RateFigures(
        waits=waits,
        ceiling=PER_SECOND,
        busiest_second=seen.busiest_second,
        used=seen.requests / (PER_SECOND * seen.seconds),
        fewest=seen.fewest if seen.asked == waits else 0,
        most=seen.most,
        reachable_interval=max(INTERVAL, waits / PER_SECOND),
        largest_gap=seen.largest_gap,
    )
