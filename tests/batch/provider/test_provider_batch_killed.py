"""SIGKILL at any moment while provider batches are created, waited for and delivered: every row is paid for once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.local import LocalImageService
from tests.system.deployments import manifest_rows, require_intact

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ROWS, KILLS = 60, 5
LIMITS = {"look": 0.3, "not_found_grace": 0.5, "provider_rows": 13, "provider_interval": 0.2, "flush_rows": 5}


@pytest.fixture
def service() -> Iterator[LocalImageService]:
    """A service whose provider batches take a while."""
    with LocalImageService(latency=0, batch_latency=1) as service:
        yield service


@pytest.mark.parametrize(
    "rounds", [pytest.param(1), pytest.param(10, marks=pytest.mark.long)], ids=["five kills", "fifty kills"]
)
def test_killed_at_random_moments_every_row_is_paid_for_once(
    service: LocalImageService, tmp_path: Path, rounds: int
) -> None:
    batches: list[dict[str, Any]] = [
        {
            "prompts": [f"kite {number} {row}" for row in range(ROWS)],
            "output_path": f"file://{tmp_path}/{number}",
            "mode": "provider_batch",
            "options": {"size": "64x64"},
        }
        for number in range(2 * rounds + 4)
    ]
    undisturbed, *killed = batches
    given = {"undisturbed": undisturbed, "batches": killed, "rounds": rounds, "limits": LIMITS}
    given |= {"kills": KILLS, "seed": rounds}
    environment = {
        "AIRFLOW_CONN_IMAGETASKS_DEFAULT": service.connection("openai"),
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }

    finished = subprocess.run(
        [sys.executable, "-m", "tests.batch.provider.forked_starts"],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=1100,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr[-3000:]
    told = json.loads(finished.stdout.splitlines()[-1])
    assert told["killed"] >= 3 * rounds
    begun = len(told["results"])
    assert [result["succeeded"] for result in told["results"]] == [ROWS] * begun
    assert service.stats()["dialects"]["openai/batches"]["created"] == ROWS * (1 + begun)
    wanted = sorted(prompt for batch in batches[: 1 + begun] for prompt in batch["prompts"])
    assert sorted(entry["prompt"] for entry in service.stats()["created"]) == wanted
    for number, result in enumerate(told["results"], 1):
        require_intact(manifest_rows(result["manifest"]))
        assert len(list((tmp_path / str(number)).glob("*.png"))) == ROWS
