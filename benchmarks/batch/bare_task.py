"""Runs one batch operator in this process, without Airflow's components, and tells what that took.

Reads the operator's arguments and ``limits`` from standard input as JSON, and the connection from the environment.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from pathlib import Path
from typing import Any


class Instance:
    """Stands for the task instance."""

    dag_id, task_id, run_id, map_index = "bench", "batch", "run", -1
    max_tries, try_number = 0, 1

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep nothing."""


def _peak_mb() -> float:
    """Return the largest size of this process; what ``getrusage`` says may be that of the one that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Run the batch and print ``{seconds, cpu_seconds, peak_mb, result}``."""
    from airflow_provider_imagetasks.batch.arguments import BatchLimits
    from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator

    logging.disable(logging.CRITICAL)
    arguments = json.load(sys.stdin)
    limits = BatchLimits(**arguments.pop("limits", {}))
    operator = ImageBatchOperator(task_id="batch", deferrable=False, **arguments)
    operator.limits = limits
    began = time.monotonic()
    result = operator.execute({"ti": Instance()})  # type: ignore[typeddict-item]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {
        "seconds": time.monotonic() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": _peak_mb(),
        "result": result,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
