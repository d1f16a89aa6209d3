"""SIGKILL and SIGSTOP at any moment: the next start goes on, and every row is submitted once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.local import LocalImageService
from tests.system.deployments import manifest_rows, require_intact

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROWS = 80


@contextmanager
def started(arguments: dict[str, Any], connection: dict[str, Any], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the batch in a process of its own, which is killed in the end if it still runs."""
    own = {
        "AIRFLOW_CONN_IMAGETASKS_DEFAULT": json.dumps({"conn_type": "imagetasks", **connection}),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [sys.executable, "-m", "tests.batch.killed_start", json.dumps(arguments)]
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **own})
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def until_made(count: int, made: Callable[[], int], process: subprocess.Popen[bytes], output: Path) -> None:
    """Wait until a start has made so many image tasks."""
    while True:
        # Before they are counted: it may end as the last one is made.
        is_running = process.poll() is None
        if made() >= count:
            return
        assert is_running, output.read_text()[-2000:]
        time.sleep(0.005)


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
@pytest.mark.parametrize("at_its_end", [False, True], ids=["while the other submits", "after its end"])
def test_a_start_that_was_frozen_submits_nothing_of_what_another_took_over(
    image_service: LocalImageService, connection: dict[str, Any], at_its_end: bool, tmp_path: Path
) -> None:
    prompts = [f"kite {number}" for number in range(12)]
    where = {"output_path": f"file://{tmp_path}", "submit_rate": "1/s"}
    arguments = {"prompts": prompts, "options": {"size": "64x64"}, **where}
    old_output, output = tmp_path / "old-output", tmp_path / "output"

    def created() -> int:
        return int(image_service.stats()["dialects"]["acedatacloud"]["created"])

    with started(arguments, connection, old_output) as old:
        until_made(3, created, old, old_output)
        old.send_signal(signal.SIGSTOP)
        # One request of the frozen start may still be on its way.
        of_the_other = created() + 2
        with started(arguments, connection, output) as other:
            until_made(len(prompts) if at_its_end else of_the_other, created, other, output)
            if at_its_end:
                other.wait(300)
            old.send_signal(signal.SIGCONT)
            old.wait(300)
            other.wait(300)

    result = json.loads(output.read_text().splitlines()[-1])
    assert (result["total"], result["succeeded"]) == (12, 12), output.read_text()[-2000:]
    assert sorted(entry["prompt"] for entry in image_service.stats()["created"]) == sorted(prompts)
    assert "Another process of this task works on the batch" in old_output.read_text()
    require_intact(manifest_rows(result["manifest"]))


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
    output = tmp_path / "output"
    # AI GPT Image answers for one image task at a time, and few a minute in its free tier.
    connection = {**connection, "extra": {**connection["extra"], "query_rate": "100/s"}}

    def created() -> int:
        return int(image_service.stats()["dialects"][service_name]["created"])

    for killed_at in (10, 40, 65):
        with started(arguments, connection, output) as process:
            until_made(killed_at, created, process, output)
    with started(arguments, connection, output) as process:
        process.wait(300)

    said = output.read_text()
    result = json.loads(said.splitlines()[-1])
    assert (result["total"], result["succeeded"]) == (ROWS, ROWS), said[-2000:]
    assert image_service.stats()["dialects"][service_name]["created"] == ROWS
    rows = manifest_rows(result["manifest"])
    assert len({row["image_task_id"] for row in rows}) == ROWS
    require_intact(rows)
    assert len(list(tmp_path.glob("*.png"))) == ROWS


MODELS: dict[str, dict[str, str]] = {
    "gpt-image-2": {"size": "64x64"},
    "flux/flux-2-pro": {"size": "64x64"},
    "seedream/doubao-seedream-4-0-250828": {"size": "64x64"},
    "qwen-image/qwen-image-3.0": {"size": "64*64"},
    "nano-banana/nano-banana-2": {"aspect_ratio": "16:9"},
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
def test_rows_of_five_apis_are_submitted_once_and_asked_for_by_the_page(
    image_service: LocalImageService, connection: dict[str, Any], tmp_path: Path
) -> None:
    models = list(MODELS.items()) * 60
    requests = [
        {"prompt": f"kite {number} [latency=90]", "model": model, "options": options}
        for number, (model, options) in enumerate(models)
    ]
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps(request) + "\n" for request in requests))
    arguments = {"requests_path": f"file://{path}", "output_path": f"file://{tmp_path}/pictures"}
    output = tmp_path / "output"
    # Where the ceiling sets the pace, requests are full: of sixty image tasks of an API fifty are asked for at once.
    connection = {**connection, "extra": {**connection["extra"], "query_rate": "1/2s"}}

    def counts(name: str) -> int:
        dialects = image_service.stats()["dialects"]
        return sum(int(counted[name]) for dialect, counted in dialects.items() if dialect.startswith("acedatacloud"))

    with started(arguments, connection, output) as process:
        until_made(100, lambda: counts("created"), process, output)
    with started(arguments, connection, output) as process:
        process.wait(500)

    said = output.read_text()
    result = json.loads(said.splitlines()[-1])
    assert (result["total"], result["succeeded"]) == (300, 300), said[-2000:]
    assert counts("created") == 300
    assert counts("ids_queried") >= 30 * counts("status_queries")
    rows = manifest_rows(result["manifest"])
    assert len({row["image_task_id"] for row in rows}) == 300
    assert {row["image_task_id"].rpartition(".")[0] for row in rows} == {
        *("", "flux", "seedream", "qwen-image", "nano-banana")
    }
    require_intact(rows)
