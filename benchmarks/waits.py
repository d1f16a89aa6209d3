"""Many waits on one event loop: this provider beside others, and this provider alone with ten times as many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.contenders import Contender
from benchmarks.figures import LoadResult, WaitFigures, median_figures, wait_figures
from benchmarks.measuring import made_up_ids, run_idle, run_load
from benchmarks.scale import Scale
from benchmarks.trigger_load import LoadPlan

WAITS = 1_000
MANY_WAITS = 10_000
MANY_QUERY_RATE = "100/s"
INTERVAL = 10.0
_FIRST_CHECK = {Contender.OURS: 12.0}
"""Seconds after its start when a trigger has been checked for the first time; the others check at once."""
_SETTLING = 3.0

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class WaitComparison:
    """What 1,000 waits came to.

    :param idle: idle triggers of each round; the others are medians.
    :param openai: measured in the first round only: it freezes its loop, every time.
    """

    idle: tuple[LoadResult, ...]
    ours: WaitFigures
    http: WaitFigures
    openai: WaitFigures

    @property
    def idle_lag_p99(self) -> float:
        """Milliseconds, the median of the rounds."""
        return sorted(result.lag_p99 for result in self.idle)[len(self.idle) // 2] * 1000


def compare_waits(scale: Scale, say: Say) -> WaitComparison:
    """Measure idle triggers, ours and the others' in turn."""
    idle: list[LoadResult] = []
    rounds: dict[Contender, list[WaitFigures]] = {}
    for number in range(scale.rounds):
        say(f"round {number + 1} of {scale.rounds}: {WAITS:,} idle triggers")
        idle.append(run_idle(_idle_plan(scale, WAITS)))
        for contender in (Contender.OURS, Contender.HTTP, *((Contender.OPENAI,) if number == 0 else ())):
            say(f"round {number + 1} of {scale.rounds}: {WAITS:,} waits, {contender}")
            rounds.setdefault(contender, []).append(_figures(_plan(scale, WAITS, contender), idle[-1]))
    medians = {contender: median_figures(figures) for contender, figures in rounds.items()}
    return WaitComparison(
        idle=tuple(idle), ours=medians[Contender.OURS], http=medians[Contender.HTTP], openai=medians[Contender.OPENAI]
    )


def many_waits(scale: Scale, say: Say) -> WaitFigures:
    """Measure ten times as many waits of ours, net of as many idle triggers."""
    say(f"{MANY_WAITS:,} idle triggers")
    idle = run_idle(_idle_plan(scale, MANY_WAITS))
    say(f"{MANY_WAITS:,} waits, {Contender.OURS}")
    return _figures(replace(_plan(scale, MANY_WAITS, Contender.OURS), query_rate=MANY_QUERY_RATE), idle)


def _figures(plan: LoadPlan, idle: LoadResult) -> WaitFigures:
    measured = run_load(plan)
    return wait_figures(
        measured.result,
        measured.in_cpu_time,
        measured.in_all,
        idle,
        waits=len(plan.image_task_ids),
        interval=plan.interval,
    )


def _plan(scale: Scale, waits: int, contender: Contender) -> LoadPlan:
    return LoadPlan(
        contender=contender,
        image_task_ids=made_up_ids(waits),
        interval=INTERVAL,
        start_seconds=scale.start_seconds,
        warm_up_seconds=_FIRST_CHECK.get(contender, _SETTLING),
        measured_seconds=scale.measured_seconds,
    )


def _idle_plan(scale: Scale, waits: int) -> LoadPlan:
    plan = _plan(scale, waits, Contender.IDLE)
    return replace(plan, start_seconds=2.0, warm_up_seconds=1.0, measured_seconds=scale.idle_seconds)
