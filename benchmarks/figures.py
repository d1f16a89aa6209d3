"""The arithmetic of the figures: percentiles, medians of rounds, what is left beyond idling. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, fields

from benchmarks.observations import Observation

MEGABYTE = 1024 * 1024


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the smallest sample that ``percent`` of the samples do not exceed; 0 where there are none."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What a process that ran many triggers measured of itself.

    :param begin: Unix seconds when the CPU measurement began.
    :param middle: when it ended and the measurement of the lag began.
    :param end: when that ended.
    :param cpu_seconds: user and system time of the process from ``begin`` to ``middle``, without the lag sampler.
    :param lag_p50: seconds late; ``lag_p99`` and ``lag_max`` likewise.
    :param memory_bytes: growth of the process from before the first trigger to its largest afterwards.
    :param ended: triggers that fired or failed, which none should.
    """

    begin: float
    middle: float
    end: float
    cpu_seconds: float
    lag_p50: float
    lag_p99: float
    lag_max: float
    memory_bytes: int
    ended: int


@dataclass(frozen=True, kw_only=True)
class WaitFigures:
    """What waiting came to, beyond what as many idle triggers cost in the same run.

    :param done: checks done, as a share of those that were due.
    :param requests_per_check: status requests for one check of one image task.
    :param cpu_ms_per_check: milliseconds of CPU.
    :param lag_p50: milliseconds; ``lag_p99`` and ``lag_max`` likewise. Not net of idling.
    :param memory_mb: megabytes.
    :param connections_per_check: TCP connections opened for one check.
    :param largest_gap: longest time without a check of an image task, in intervals.
    """

    done: float
    requests_per_check: float
    cpu_ms_per_check: float
    lag_p50: float
    lag_p99: float
    lag_max: float
    memory_mb: float
    connections_per_check: float
    largest_gap: float


def wait_figures(
    result: LoadResult, in_cpu_time: Observation, in_all: Observation, idle: LoadResult, *, waits: int, interval: float
) -> WaitFigures:
    """Return the figures of one process.

    :param in_cpu_time: what the server saw while the CPU was measured.
    :param in_all: what it saw until the end of the measurement.
    :param idle: what as many idle triggers cost.
    """
    idle_cpu = idle.cpu_seconds / (idle.middle - idle.begin) * (result.middle - result.begin)
    checks = max(1, in_all.checks)
    return WaitFigures(
        done=in_all.checks / (waits * in_all.seconds / interval),
        requests_per_check=in_all.requests / checks,
        cpu_ms_per_check=(result.cpu_seconds - idle_cpu) * 1000 / max(1, in_cpu_time.checks),
        lag_p50=result.lag_p50 * 1000,
        lag_p99=result.lag_p99 * 1000,
        lag_max=result.lag_max * 1000,
        memory_mb=(result.memory_bytes - idle.memory_bytes) / MEGABYTE,
        connections_per_check=in_all.connections / checks,
        largest_gap=in_all.largest_gap / interval,
    )


def median_figures(rounds: Sequence[WaitFigures]) -> WaitFigures:
    """Return the median of each figure; of the largest gap the largest."""
    medians = {
        field.name: statistics.median(getattr(figures, field.name) for figures in rounds)
        for field in fields(WaitFigures)
    }
    return WaitFigures(**{**medians, "largest_gap": max(figures.largest_gap for figures in rounds)})
