"""What runs at GitHub: pinned, with no more rights than it needs, and without a key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

WORKFLOWS = sorted((Path(__file__).parents[1] / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"uses: (\S+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)$")


def uses(path: Path) -> list[str]:
    return [line.strip(" -") for line in path.read_text().splitlines() if "uses:" in line]


def jobs(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text())["jobs"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_each_action_is_pinned_by_its_commit_and_says_its_version(path: Path) -> None:
    assert uses(path)
    assert [line for line in uses(path) if not PINNED.search(line)] == []


def test_an_action_is_the_same_everywhere() -> None:
    pins = {found.groups() for path in WORKFLOWS for line in uses(path) if (found := PINNED.search(line))}

    assert len({name for name, _, _ in pins}) == len(pins)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_rights_are_given_job_by_job_and_nothing_is_kept(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())

    assert workflow["permissions"] in ({}, {"contents": "read"})
    assert "secrets." not in path.read_text()
    for job in jobs(path).values():
        assert "timeout-minutes" in job
        for step in job["steps"]:
            if "checkout@" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
            assert "${{" not in step.get("run", "")


def test_only_a_person_s_approval_publishes_what_was_built_attested_and_rehearsed() -> None:
    release = jobs(next(path for path in WORKFLOWS if path.name == "release.yml"))
    chain = [name for name in release if "needs" not in release[name]]
    while following := [name for name, job in release.items() if job.get("needs") == chain[-1]]:
        chain += following

    assert chain == ["build", "attest", "rehearse", "publish", "announce"]
    assert release["publish"]["environment"]["name"] == "pypi"
    publishing = [name for name, job in release.items() if "gh-action-pypi-publish" in str(job)]
    assert publishing == ["rehearse", "publish"]
    assert all(release[name]["permissions"] == {"id-token": "write"} for name in publishing)
