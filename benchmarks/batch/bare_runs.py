"""Batches without Airflow's components: how near they come to a service's limits, and what memory they take."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import airflow_environment
from dev.local_image_service import LocalImageServiceProcess

CHECKOUT = Path(__file__).resolve().parents[2]
RATE_COUNT, RATE_SECONDS, MOST_ACTIVE, LATENCY = 20, 10, 10, 2
_PATIENCE = 1200.0


@dataclass(frozen=True, kw_only=True)
class RateFigures:
    """A batch at a service that answers 429 beyond its tier.

    :param refused: submissions answered with 429.
    :param moments: of the submissions that were taken, as the service saw them, in order.
    """

    refused: int
    moments: tuple[float, ...]

    @property
    def share_of_allowed(self) -> float:
        """How fast it was, of what the tier allows; the slowest stretch of all but one of the tier's windows.

        Between a submission and the one ``RATE_COUNT`` later the tier wants ``RATE_SECONDS`` at least.
        """
        distance = len(self.moments) - RATE_COUNT
        allowed = distance / RATE_COUNT * RATE_SECONDS
        took = (late - early for early, late in zip(self.moments, self.moments[distance:], strict=False))
        return allowed / max(took)


@dataclass(frozen=True, kw_only=True)
class MemoryFigures:
    """A batch read from a JSONL file, beside a batch of one row.

    :param empty_mb: the largest size of the process with one row; ``peak_mb`` likewise with all rows.
    """

    rows: int
    empty_mb: float
    peak_mb: float
    seconds: float


def measure_rate(pictures: int) -> RateFigures:
    """Run a batch at a limited service."""
    service = LocalImageServiceProcess(
        latency=str(LATENCY),
        folder=CHECKOUT,
        arguments=("--create-limit", f"{RATE_COUNT}/{RATE_SECONDS}s", "--max-active", str(MOST_ACTIVE)),
    )
    with service, tempfile.TemporaryDirectory(prefix="imagetasks-bench-") as folder:
        arguments = {
            "prompts": [f"kite {number}" for number in range(pictures)],
            "options": {"size": "256x256"},
            "submit_rate": f"{RATE_COUNT}/{RATE_SECONDS}s",
            "max_active_tasks": MOST_ACTIVE,
        }
        run_bare(service.connection("local"), folder, arguments)
        stats = service.stats()
    moments = sorted(float(entry["created_at"]) for entry in stats["created"])
    refused = sum(stats["dialects"]["acedatacloud"]["refused"].values())
    return RateFigures(refused=refused, moments=tuple(moments))


def measure_memory(rows: int) -> MemoryFigures:
    """Run a batch of one row and one of many, whose image tasks all fail at once: submission and state, no pictures."""
    figures = []
    for count in (1, rows):
        service = LocalImageServiceProcess(latency="0", folder=CHECKOUT, arguments=("--keep-tasks", str(rows)))
        with service, tempfile.TemporaryDirectory(prefix="imagetasks-bench-") as folder:
            path = Path(folder) / "requests.jsonl"
            with path.open("w") as file:
                for number in range(count):
                    file.write(json.dumps({"id": f"SKU-{number}", "prompt": f"kite {number} [fail]"}) + "\n")
            arguments = {"requests_path": f"file://{path}", "max_failed": 1.0, "row_attempts": 1}
            figures.append(run_bare(service.connection("local"), folder, arguments))
            created = service.stats()["dialects"]["acedatacloud"]["created"]
        if created != count:
            raise RuntimeError(f"{created} submissions instead of {count}")
    empty, full = figures
    return MemoryFigures(rows=rows, empty_mb=empty["peak_mb"], peak_mb=full["peak_mb"], seconds=full["seconds"])


def run_bare(connection: str, folder: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run a batch operator in a process of its own, and return what that took."""
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.batch.bare_task"],
        input=json.dumps({"output_path": f"file://{folder}/pictures", **arguments}),
        stdout=subprocess.PIPE,
        text=True,
        env={**airflow_environment(folder), "AIRFLOW_CONN_IMAGETASKS_DEFAULT": connection},
        timeout=_PATIENCE,
        check=True,
    )
    return dict(json.loads(finished.stdout.splitlines()[-1]))
