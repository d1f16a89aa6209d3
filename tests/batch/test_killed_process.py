"""SIGKILL at any moment: the next start goes on, and every row is submitted once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.local import LocalImageService
from tests.system.test_image_batch import manifest_rows, require_intact

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
ROWS = 80


class Starts:
    """Starts of one batch, each in a process of its own."""

    def __init__(self, connection: dict[str, Any], arguments: dict[str, Any], folder: Path) -> None:
        self._environment = {
            **os.environ,
            "AIRFLOW_CONN_IMAGETASKS_DEFAULT": json.dumps({"conn_type": "imagetasks", **connection}),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        self._arguments = folder / "arguments"
        self._arguments.write_text(json.dumps(arguments))
        self.output = folder / "output"

    @contextmanager
    def begin(self) -> Iterator[subprocess.Popen[bytes]]:
        with self._arguments.open("rb") as arguments, self.output.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.batch.killed_start"],
                stdin=arguments,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()


@pytest.mark.parametrize("service_name", ["acedatacloud", "aigptimage"], indirect=True)
def test_killed_three_times_every_row_is_submitted_once(
    image_service: LocalImageService, connection: dict[str, Any], service_name: str, tmp_path: Path
) -> None:
    options = {"size": "64x64"} if service_name == "acedatacloud" else {"resolution": "1K"}
    arguments = {
        "prompts": [f"kite {number}" for number in range(ROWS)],
        "output_path": f"file://{tmp_path}",
        "options": options,
    }
    (tmp_path / "around").mkdir()
    # AI GPT Image answers for one image task at a time, and few a minute in its free tier.
    connection = {**connection, "extra": {**connection["extra"], "query_rate": "100/s"}}
    starts = Starts(connection, arguments, tmp_path / "around")
    for killed_at in (10, 40, 65):
        with starts.begin() as process:
            while image_service.stats()["dialects"][service_name]["created"] < killed_at:
                assert process.poll() is None, starts.output.read_text()[-2000:]
                time.sleep(0.005)
    with starts.begin() as process:
        process.wait(90)

    output = starts.output.read_text()
    result = json.loads(output.splitlines()[-1])
    assert (result["total"], result["succeeded"]) == (ROWS, ROWS), output[-2000:]
    assert image_service.stats()["dialects"][service_name]["created"] == ROWS
    rows = manifest_rows(result["manifest"])
    assert len({row["image_task_id"] for row in rows}) == ROWS
    require_intact(rows)
    assert len(list(tmp_path.glob("*.png"))) == ROWS
