"""Runs the tests in one environment after another, and ends with a table of what came out.

Usage: ``python -m dev.version_matrix 3.1-py3.11 3.3-py3.13``; ``make test-matrix`` builds the environments first. Needs
nothing but Python's own library, since it belongs to none of them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
SUITES = {
    # Flows, both transports, operators in Airflow's own task runner, and all else that starts no Airflow. They mostly
    # wait, so several files run at a time.
    "unit and task runner": ("-m", "not system", "-n", "4", "--dist", "loadfile"),
    # A whole Airflow runs every example Dag against the local image service.
    "example Dags": ("tests/system/test_example_dags.py",),
}


@dataclass(frozen=True)
class Outcome:
    """What one run of pytest came to; a run that ended before it could say so counts as failed."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    broken: bool = False

    @property
    def is_good(self) -> bool:
        """Whether tests ran, and all of them passed or were skipped."""
        return not self.broken and not self.failed and self.passed > 0

    def __str__(self) -> str:
        if self.broken:
            return "BROKEN"
        counts = [f"{self.passed} passed"]
        counts += [f"{self.failed} FAILED"] if self.failed else []
        counts += [f"{self.skipped} skipped"] if self.skipped else []
        return ", ".join(counts)


@dataclass(frozen=True)
class Row:
    """One environment: the versions it really has, what came out, how long it took in seconds."""

    environment: str
    versions: str
    outcomes: Sequence[Outcome]
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether the versions were right and every suite was."""
        return len(self.outcomes) == len(SUITES) and all(outcome.is_good for outcome in self.outcomes)


def read_outcome(report: Path, return_code: int) -> Outcome:
    """Read pytest's JUnit report.

    :param return_code: pytest's own; 1 (some failed) must agree with the report, anything but 0 and 1 is a broken run.
    """
    if return_code not in (0, 1) or not report.exists():
        return Outcome(broken=True)
    suite = next(xml.etree.ElementTree.parse(report).iter("testsuite"))
    total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    return Outcome(total - failed - skipped, failed, skipped, broken=bool(return_code) and not failed)


def run_row(environment: str) -> Row:
    """Assert the versions of one environment and run every suite in it; the output goes where this program's does."""
    airflow, _, python_version = environment.partition("-py")
    begun = time.monotonic()
    python = CHECKOUT / f".venv-{environment}" / "bin" / "python"
    constraints = CHECKOUT / f"constraints-airflow-{airflow}.txt"
    checked = subprocess.run(
        [
            *(python, "-m", "dev.installed_versions", "--airflow", airflow, "--python", python_version),
            constraints if constraints.exists() else CHECKOUT / "constraints.txt",
        ],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"\n=== {environment}: {checked.stdout.strip() or checked.stderr.strip()}", flush=True)
    if checked.returncode != 0:
        return Row(environment, "WRONG VERSIONS", (), time.monotonic() - begun)
    outcomes = [_run_suite(python, arguments) for arguments in SUITES.values()]
    return Row(environment, checked.stdout.strip(), outcomes, time.monotonic() - begun)


def _run_suite(python: Path, arguments: Iterable[str]) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        report = Path(folder) / "report.xml"
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml", str(report), *arguments]
        return read_outcome(report, subprocess.run(command, cwd=CHECKOUT, check=False).returncode)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text, and below them how many were good."""
    lines = [("environment", "installed", *SUITES, "seconds")]
    for row in rows:
        outcomes = [str(outcome) for outcome in row.outcomes] or ["not run"] * len(SUITES)
        lines.append((row.environment, row.versions, *outcomes, f"{row.seconds:.0f}"))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    good = sum(row.is_good for row in rows)
    return "\n".join([*texts, f"environments: {good} passed, {len(rows) - good} failed"])


def main() -> None:
    """Run the rows named on the command line; exit 1 unless each of them is good."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    rows = [run_row(environment) for environment in sys.argv[1:]]
    print(f"\n{table(rows)}")
    sys.exit(not all(row.is_good for row in rows))


if __name__ == "__main__":
    main()
