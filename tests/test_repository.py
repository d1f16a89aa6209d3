"""What a public repository is judged by: workflows that may do nothing but test, and that call what developers call."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z0-9. -]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One workflow."""
    return dict(yaml.safe_load(request.param.read_text()))


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_there_are_workflows() -> None:
    assert WORKFLOWS


def test_a_workflow_may_read_and_nothing_else(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in workflow["jobs"].values())


def test_a_workflow_leaves_no_credentials_in_the_checkout(workflow: dict[str, Any]) -> None:
    checkouts = [step for step in steps(workflow) if step.get("uses", "").startswith("actions/checkout@")]

    assert len(checkouts) == len(workflow["jobs"])
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_actions_are_pinned_to_a_version(workflow: dict[str, Any]) -> None:
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", step["uses"]), step["uses"]


def test_every_job_ends_by_itself(workflow: dict[str, Any]) -> None:
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())


def test_a_workflow_calls_targets_of_the_makefile(workflow: dict[str, Any]) -> None:
    targets = {name for names in TARGETS for name in names.split()}
    called = set()
    for job in workflow["jobs"].values():
        commands = " ".join(step.get("run", "") for step in job["steps"])
        found = set(re.findall(r"\bmake ([a-z][\w.-]*)", commands))
        called |= found | set(job.get("strategy", {}).get("matrix", {}).get("target", ()))

    assert called
    assert called <= targets


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_target_of_the_makefile_knows_how_to_make_what_it_needs(target: str) -> None:
    plan = subprocess.run(["make", "--dry-run", *target.split()], cwd=ROOT, capture_output=True, text=True, check=False)

    assert plan.returncode == 0, plan.stderr


def test_the_versions_are_those_that_have_constraints() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    matrix = workflow["jobs"]["versions"]["strategy"]["matrix"]
    pinned = re.findall(r"^apache-airflow==(\d+\.\d+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    pinned += [path.stem.removeprefix("constraints-airflow-") for path in ROOT.glob("constraints-airflow-*.txt")]
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())

    assert sorted(matrix["airflow"]) == sorted(pinned)
    assert sorted(matrix["python"]) == sorted(classifiers)


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*_*.yml")), ids=lambda path: path.name
)
def test_an_issue_form_asks_for_what_it_needs(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    fields = [field for field in form["body"] if field["type"] != "markdown"]

    assert {"name", "description", "labels", "body"} == form.keys()
    assert any(field.get("validations", {}).get("required") for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)
