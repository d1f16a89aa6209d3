"""Waits that begin within seconds of each other: their first questions go out in full requests, whatever the rate."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.contenders import Contender
from benchmarks.measuring import made_up_ids, run_load
from benchmarks.trigger_load import LoadPlan

TOGETHER = 500
START_SECONDS = 2.0
INTERVAL = 10.0
QUERY_RATE = "1000/1s"
MOST_REQUESTS = 15
_FIRST_AFTER, _SECOND_AFTER = 8.0, 17.0
"""Between these seconds after the first trigger every wait is asked for once, and none twice."""


@dataclass(frozen=True, kw_only=True)
class BeginningFigures:
    """What the server saw of the first questions.

    :param requests: status requests until every wait was asked for once.
    :param asked: image tasks among them.
    """

    requests: int
    asked: int


def measure_beginnings() -> BeginningFigures:
    """Measure the first interval of many waits at a rate that would allow a request for each."""
    measured = run_load(
        LoadPlan(
            contender=Contender.OURS,
            image_task_ids=made_up_ids(TOGETHER),
            query_rate=QUERY_RATE,
            interval=INTERVAL,
            start_seconds=START_SECONDS,
            warm_up_seconds=_FIRST_AFTER - START_SECONDS,
            measured_seconds=(_SECOND_AFTER - _FIRST_AFTER) / 2,
        )
    )
    return BeginningFigures(requests=measured.in_all.requests, asked=measured.in_all.asked)
