"""What developers and workflows call exists: the targets of the Makefile."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TARGETS = re.findall(r"^([a-z0-9. -]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_target_of_the_makefile_knows_how_to_make_what_it_needs(target: str) -> None:
    plan = subprocess.run(["make", "--dry-run", *target.split()], cwd=ROOT, capture_output=True, text=True, check=False)

    assert plan.returncode == 0, plan.stderr


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_a_workflow_calls_targets_that_there_are(path: Path) -> None:
    workflow = path.read_text()
    called = set(re.findall(r"\bmake ([a-z][\w.-]*)", workflow))
    called |= {name for names in re.findall(r"target: \[(.*)\]", workflow) for name in names.split(", ")}

    assert called
    assert called <= {name for names in TARGETS for name in names.split()}
