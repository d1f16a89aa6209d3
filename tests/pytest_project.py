"""A project of somebody else's, with nothing but what the documentation says, in which pytest runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

TESTING = Path(__file__).parents[1] / "docs" / "testing.md"


def documented_files() -> dict[str, str]:
    """Return the files that docs/testing.md shows, by their names."""
    return dict(re.findall(r"```python\n# (\S+)\n(.*?)```", TESTING.read_text(), re.DOTALL))


def pytest_in(folder: Path) -> str:
    """Run pytest in a folder, with nothing of this test run's own settings, and return what it says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "PYTEST_"))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    finished = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return finished.stdout + finished.stderr
