"""Says which Airflow and Python an environment has, and fails where they are not those that were meant.

Usage, with the environment's own interpreter: ``python -m dev.installed_versions CONSTRAINTS --airflow 3.2``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

AIRFLOW = "apache-airflow"


def read_pins(constraints: Path) -> dict[str, str]:
    """Return the pinned version of each distribution that a constraints file names."""
    return dict(line.strip().split("==", 1) for line in constraints.read_text().splitlines() if "==" in line)


def deviations(pins: dict[str, str], *, airflow: str, python: str | None = None) -> Iterator[str]:
    """Yield a sentence for whatever differs from what was meant.

    :param pins: what the constraints file says; what is installed must have just these versions.
    :param airflow: the minor version of Airflow, as ``3.2``.
    :param python: that of Python, None where any will do.
    """
    if _minor(pins[AIRFLOW]) != airflow:
        yield f"Airflow {airflow} was asked for, but the constraints pin {pins[AIRFLOW]}"
    if python is not None and _minor(platform.python_version()) != python:
        yield f"Python {python} was asked for, but this is {platform.python_version()}"
    installed = {found.name: found.version for found in importlib.metadata.distributions()}
    if AIRFLOW not in installed:
        yield "Airflow is not installed"
    for name, version in sorted(installed.items()):
        pin = pins.get(name.lower().replace("_", "-").replace(".", "-"), version)
        if pin != version:
            yield f"{name} {version} is installed, but the constraints pin {pin}"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the versions, or end with what is wrong with them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("constraints", type=Path)
    parser.add_argument("--airflow", required=True, help="the minor version that must be installed")
    parser.add_argument("--python", help="the minor version that must run this")
    options = parser.parse_args(arguments)
    wrong = list(deviations(read_pins(options.constraints), airflow=options.airflow, python=options.python))
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"Airflow {importlib.metadata.version(AIRFLOW)}, Python {platform.python_version()}")


if __name__ == "__main__":
    main()
