"""Runs one load after another, each in a fresh process beside a fresh server."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace

from benchmarks.contenders import Contender
from benchmarks.figures import LoadResult
from benchmarks.observations import Observation
from benchmarks.server_process import MeasuredServerProcess
from benchmarks.trigger_load import LoadPlan

SERVER_LATENCY = 0.1
"""Seconds before a status request is answered."""
_START_UP = 60.0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came of a load.

    :param result: what the process measured of itself.
    :param in_cpu_time: what the server saw while the CPU was measured.
    :param in_all: what it saw until the end of the measurement.
    """

    result: LoadResult
    in_cpu_time: Observation
    in_all: Observation


def run_idle(plan: LoadPlan) -> LoadResult:
    """Run idle triggers instead of those of a plan, and return what they cost."""
    return _run(replace(plan, contender=Contender.IDLE))


def run_load(plan: LoadPlan) -> Measured:
    """Run a plan against a server of its own. The ids of the plan only say how many image tasks there are."""
    with MeasuredServerProcess("--latency", str(SERVER_LATENCY)) as server:
        ids = plan.image_task_ids
        if plan.contender is Contender.OURS:
            ids = server.submit(plan.service, len(ids))
        result = _run(replace(plan, url=server.url, image_task_ids=ids))
        if result.ended and plan.contender is Contender.OURS:
            raise RuntimeError(f"{result.ended} of our triggers ended, and none should have")
        return Measured(
            result=result,
            in_cpu_time=server.observed(result.begin, result.middle),
            in_all=server.observed(result.begin, result.end),
        )


def made_up_ids(count: int) -> tuple[str, ...]:
    """Return ids of the length that services give."""
    return tuple(f"00000000-0000-4000-8000-{number:012d}" for number in range(count))


def airflow_environment(folder: str) -> dict[str, str]:
    """Return an environment for a process that uses Airflow, without the user's own settings.

    What triggers log is not compared, so it is left out for all.

    :param folder: for Airflow's files.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {**environment, "AIRFLOW_HOME": folder, "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL"}


def _run(plan: LoadPlan) -> LoadResult:
    with tempfile.TemporaryDirectory(prefix="imagetasks-bench-") as folder:
        finished = subprocess.run(
            [sys.executable, "-m", "benchmarks.trigger_load"],
            input=json.dumps(dataclasses.asdict(plan)),
            stdout=subprocess.PIPE,
            text=True,
            env=airflow_environment(folder),
            timeout=plan.seconds + _START_UP,
            check=True,
        )
    return LoadResult(**json.loads(finished.stdout.splitlines()[-1]))
