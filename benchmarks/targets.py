"""What is to be reached, and whether it was. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.beginnings import MOST_REQUESTS, START_SECONDS, TOGETHER, BeginningFigures
from benchmarks.downloads import DownloadFigures
from benchmarks.figures import WaitFigures
from benchmarks.pictures import PictureKind
from benchmarks.query_rate import RateFigures
from benchmarks.waits import MANY_WAITS, WAITS, WaitComparison

REQUESTS_PER_CHECK = 1 / 40
CPU_PER_CHECK = 1 / 15
LAG_BEYOND_IDLE_MS = 3.0
MEMORY_MB = 3.0
LARGEST_GAP = 1.2
MANY_LAG_MS = 10.0
MANY_MEMORY_MB = 20.0
COST_GROWTH = 1.1
"""Two measurements of the same cost differ by as much."""
DOWNLOAD_SPEED = {0.05: 0.95, 0.0: 0.6}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One target.

    :param what: what is measured, in words.
    :param reached: the figure, in words; ``target`` likewise.
    """

    what: str
    reached: str
    target: str
    met: bool


def wait_verdicts(waits: WaitComparison) -> Iterator[Verdict]:
    """Judge 1,000 waits."""
    ours, http = waits.ours, waits.http
    requests = ours.requests_per_check / http.requests_per_check
    cpu = ours.cpu_ms_per_check / http.cpu_ms_per_check
    yield _at_most("status requests for a check, of those of the http sensor", requests, REQUESTS_PER_CHECK, _fraction)
    yield _at_most("CPU for a check, of that of the http sensor", cpu, CPU_PER_CHECK, _fraction)
    lag = ours.lag_p99 - waits.idle_lag_p99
    yield _at_most("lag of the loop (p99) beyond idle triggers", lag, LAG_BEYOND_IDLE_MS, _milliseconds)
    yield _at_most(f"memory of {WAITS:,} waits beyond idle triggers", ours.memory_mb, MEMORY_MB, _megabytes)
    yield _at_most("longest time without a check", ours.largest_gap, LARGEST_GAP, _intervals)


def growth_verdicts(many: WaitFigures, waits: WaitComparison) -> Iterator[Verdict]:
    """Judge 10,000 waits."""
    of_many = f"{MANY_WAITS:,} waits: "
    growth = many.cpu_ms_per_check / waits.ours.cpu_ms_per_check
    yield _at_most(f"{of_many}lag of the loop (p99)", many.lag_p99, MANY_LAG_MS, _milliseconds)
    yield _at_most(f"{of_many}memory beyond idle triggers", many.memory_mb, MANY_MEMORY_MB, _megabytes)
    yield _at_most(f"{of_many}CPU for a check, of that of {WAITS:,} waits", growth, COST_GROWTH, _times)
    yield _at_most(f"{of_many}longest time without a check", many.largest_gap, LARGEST_GAP, _intervals)


def rate_verdicts(rate: RateFigures) -> Iterator[Verdict]:
    """Judge a service without batch status."""
    yield Verdict(
        what=f"no batch status, {rate.waits} waits: requests in the busiest second",
        reached=str(rate.busiest_second),
        target=f"at most {rate.ceiling}",
        met=rate.busiest_second <= rate.ceiling,
    )
    yield Verdict(
        what=f"no batch status, {rate.waits} waits: checks of each wait",
        reached=f"{rate.fewest} to {rate.most}",
        target="differ by at most one",
        met=rate.fewest >= 1 and rate.most - rate.fewest <= 1,
    )


def beginning_verdict(beginnings: BeginningFigures) -> Verdict:
    """Judge the first questions of waits that begin together."""
    return Verdict(
        what=f"{TOGETHER} waits that begin within {START_SECONDS:.0f} s: requests until each was asked for",
        reached=f"{beginnings.requests}" if beginnings.asked == TOGETHER else f"{beginnings.asked} asked for",
        target=f"at most {MOST_REQUESTS}",
        met=beginnings.asked == TOGETHER and beginnings.requests <= MOST_REQUESTS,
    )


def download_verdicts(downloads: Sequence[DownloadFigures]) -> Iterator[Verdict]:
    """Judge downloads; pictures that cost more to decode have no target."""
    for figures in downloads:
        if figures.pictures is PictureKind.NOISE:
            target = DOWNLOAD_SPEED[figures.latency]
            yield Verdict(
                what=f"downloads, {figures.latency * 1000:.0f} ms to the first byte: speed, of that of curl",
                reached=f"{figures.speed:.2f}",
                target=f"at least {target:.2f}",
                met=figures.speed >= target,
            )


def _at_most(what: str, reached: float, target: float, word: Callable[[float], str]) -> Verdict:
    return Verdict(what=what, reached=word(reached), target=f"at most {word(target)}", met=reached <= target)


def _fraction(value: float) -> str:
    return f"1/{1 / value:.1f}" if value > 0 else f"{value:.2f}"


def _milliseconds(value: float) -> str:
    return f"{value:.1f} ms"


def _megabytes(value: float) -> str:
    return f"{value:.1f} MB"


def _intervals(value: float) -> str:
    return f"{value:.2f} intervals"


def _times(value: float) -> str:
    return f"{value:.2f} x"
