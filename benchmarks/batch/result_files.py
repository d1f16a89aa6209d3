"""Delivery of a provider batch out of one large file of results, beside curl, which only saves that file.

``python -m benchmarks.batch.result_files`` prints the largest size of the process beyond that of a batch of one row,
and how fast it was beside curl. The local image service makes the file while it is read.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from benchmarks.batch.bare_runs import run_bare
from dev.local_image_service import LocalImageServiceProcess

CHECKOUT = Path(__file__).resolve().parents[2]
ROWS, LINE_KB = 2000, 1500
MEMORY_MB, SHARE_OF_CURL = 250.0, 0.6
SIZE = "64x64"
_INTERVAL = 1.0
"""Seconds between two questions for a provider batch."""


@dataclass(frozen=True, kw_only=True)
class ResultFileFigures:
    """What a batch took, beside curl.

    :param seconds: of the delivery alone.
    :param memory_mb: beyond a batch of one row.
    """

    megabytes: float
    seconds: float
    curl_seconds: float
    memory_mb: float
    pictures: int

    @property
    def share_of_curl(self) -> float:
        """How fast it was, of what curl reaches."""
        return self.curl_seconds / self.seconds


def measure(rows: int, line_kb: int, folder: Path) -> ResultFileFigures:
    """Let curl save a file of results, and run a batch of one row, and one of as many as that file has."""
    service = LocalImageServiceProcess(folder=CHECKOUT, arguments=("--batch-latency", "0"))
    with service:
        url, saved = _result_file(service, rows, line_kb), folder / "saved.jsonl"
        for _ in range(2):
            # The first time pictures are drawn, which whoever comes later is spared.
            began = time.monotonic()
            subprocess.run(["curl", "--silent", "--fail", "--output", str(saved), url], check=True)
            curl_seconds = time.monotonic() - began
        size = saved.stat().st_size
        saved.unlink()
        one, many = (
            _delivered(service, folder / str(count), count, line_kb if count > 1 else 1) for count in (1, rows)
        )
    return ResultFileFigures(
        megabytes=size / 1e6,
        seconds=many["seconds"] - one["seconds"],
        curl_seconds=curl_seconds,
        memory_mb=many["peak_mb"] - one["peak_mb"],
        pictures=len(list((folder / str(rows) / "pictures").glob("*.png"))),
    )


def _prompt(number: int, line_kb: int) -> str:
    return f"shot {number} [line-kb={line_kb}]"


def _result_file(service: LocalImageServiceProcess, rows: int, line_kb: int) -> str:
    """Have the pictures made by hand, and return the address of the file that holds them."""
    api, endpoint = f"{service.url}/openai/v1", "/v1/images/generations"
    bodies = ({"model": "gpt-image-2", "prompt": _prompt(number, line_kb), "size": SIZE} for number in range(rows))
    lines = (
        json.dumps({"custom_id": str(number), "method": "POST", "url": endpoint, "body": body})
        for number, body in enumerate(bodies)
    )
    content = {"file": ("requests.jsonl", "\n".join(lines))}
    uploaded = requests.post(f"{api}/files", data={"purpose": "batch"}, files=content, timeout=60).json()
    creation = {"input_file_id": uploaded["id"], "endpoint": endpoint, "completion_window": "24h"}
    created = requests.post(f"{api}/batches", json=creation, timeout=60).json()
    made = requests.get(f"{api}/batches/{created['id']}", timeout=60).json()
    return f"{api}/files/{made['output_file_id']}/content"


def _delivered(service: LocalImageServiceProcess, folder: Path, rows: int, line_kb: int) -> dict[str, Any]:
    folder.mkdir()
    path = folder / "requests.jsonl"
    lines = (json.dumps({"prompt": _prompt(number, line_kb)}) + "\n" for number in range(rows))
    path.write_text("".join(lines))
    arguments = {
        "mode": "provider_batch",
        "requests_path": f"file://{path}",
        "options": {"size": SIZE},
        "limits": {"provider_interval": _INTERVAL},
    }
    return run_bare(service.connection("openai"), str(folder), arguments)


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--line-kb", type=int, default=LINE_KB)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagetasks-bench-", dir=os.environ.get("TMPDIR")) as folder:
        figures = measure(given.rows, given.line_kb, Path(folder))
    print(f"{figures.pictures:,} pictures out of a file of {figures.megabytes:,.0f} MB in {figures.seconds:,.1f} s")
    print(f"memory beyond a batch of one: {figures.memory_mb:,.0f} MB (at most {MEMORY_MB:,.0f})")
    print(f"speed: {figures.share_of_curl:.0%} of curl, which took {figures.curl_seconds:,.1f} s ({SHARE_OF_CURL:.0%})")


if __name__ == "__main__":
    main()
