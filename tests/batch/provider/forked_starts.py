"""Starts of a batch that are killed at random moments, and one that is not, forked from what has imported everything.

Reads ``{undisturbed, batches, rounds, limits, kills, seed}`` from standard input, and prints what came of it. How long
a start lives goes by how long the undisturbed batch takes. Where starts were faster than that, and ended before they
were killed, further batches are begun, until three in a round were killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from airflow_provider_imagetasks.batch.arguments import BatchLimits
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from tests.batch.killed_start import Instance


def start_of(folder: Path) -> str:
    """Return which start works on the batch, or did so last."""
    for path in folder.glob(".imagetasks/*/life.json"):
        return str(json.loads(path.read_text())["start"])
    return ""


def executed(arguments: dict[str, Any], limits: dict[str, Any]) -> Any:
    operator = ImageBatchOperator(task_id="batch", deferrable=False, **arguments)
    operator.limits = BatchLimits(**limits)
    return operator.execute({"ti": Instance()})  # type: ignore[typeddict-item]


def forked(arguments: dict[str, Any], limits: dict[str, Any]) -> int:
    """Return the process id of a start."""
    child = os.fork()
    if not child:
        executed(arguments, limits)
        os._exit(0)
    return child


def main() -> None:
    given = json.load(sys.stdin)
    moments, limits = random.Random(given["seed"]), given["limits"]
    began = time.monotonic()
    os.waitpid(forked(given["undisturbed"], limits), 0)
    longest = (time.monotonic() - began) / given["kills"]
    killed, results = 0, []
    for number, arguments in enumerate(given["batches"]):
        if number >= given["rounds"] and killed >= 3 * given["rounds"]:
            break
        folder = Path(arguments["output_path"].removeprefix("file://"))
        for _ in range(given["kills"]):
            before = start_of(folder)
            child, is_over = forked(arguments, limits), False
            while start_of(folder) == before and not is_over:
                is_over = os.waitpid(child, os.WNOHANG) != (0, 0)
                time.sleep(0.002)
            time.sleep(moments.uniform(0, longest))
            if not is_over:
                os.kill(child, signal.SIGKILL)
                killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        results.append(executed(arguments, limits))
    sys.stdout.write(json.dumps({"killed": killed, "results": results}) + "\n")


if __name__ == "__main__":
    main()
