"""Downloads beside ``curl --parallel``: the same pictures from the same server, in turn."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.download_load import picture_url
from benchmarks.measuring import airflow_environment
from benchmarks.pictures import PictureKind
from benchmarks.scale import Scale
from benchmarks.server_process import MeasuredServerProcess, pipe

CURL_AT_ONCE = 16
LATENCIES = (0.05, 0.0)
_LONGEST = 120.0
_PATIENCE = 10.0

Download = Callable[[str], float]


@dataclass(frozen=True, kw_only=True)
class DownloadFigures:
    """Medians of the rounds.

    :param latency: seconds before the first byte.
    :param curl_seconds: time that curl took; ``our_seconds`` likewise.
    """

    pictures: PictureKind
    files: int
    latency: float
    curl_seconds: float
    our_seconds: float

    @property
    def speed(self) -> float:
        """Our speed as a share of curl's."""
        return self.curl_seconds / self.our_seconds


def compare_downloads(scale: Scale, say: Callable[[str], None]) -> list[DownloadFigures]:
    """Measure curl and ours in turn, for each kind of picture and each latency."""
    figures = []
    for kind, rounds in ((PictureKind.NOISE, scale.download_rounds), (PictureKind.PHOTO, scale.photo_rounds)):
        for latency in LATENCIES if rounds else ():
            say(f"downloads of {scale.files} pictures ({kind}), {latency * 1000:.0f} ms to the first byte")
            figures.append(_compare(kind, latency, scale.files, rounds))
    return figures


def _compare(kind: PictureKind, latency: float, files: int, rounds: int) -> DownloadFigures:
    seconds: dict[Download, list[float]] = {}
    with (
        MeasuredServerProcess("--pictures", kind, "--picture-latency", str(latency)) as server,
        _our_download(server.url, files) as ours,
    ):
        curl = _curl_download(server.url, files)
        # The first time is not counted: everything is cold.
        for number in range(rounds + 1):
            for download in (curl, ours):
                with tempfile.TemporaryDirectory(prefix="imagetasks-bench-") as folder:
                    took = download(folder)
                if number:
                    seconds.setdefault(download, []).append(took)
    return DownloadFigures(
        pictures=kind,
        files=files,
        latency=latency,
        curl_seconds=statistics.median(seconds[curl]),
        our_seconds=statistics.median(seconds[ours]),
    )


def _curl_download(url: str, files: int) -> Download:
    """Return what fetches the pictures into a folder with curl."""

    def download(folder: str) -> float:
        pairs = ((picture_url(url, number), f"{folder}/{number}.png") for number in range(files))
        list_path = Path(folder) / "list"
        list_path.write_text("".join(f'url = "{address}"\noutput = "{path}"\n' for address, path in pairs))
        options = ["--parallel", "--parallel-max", str(CURL_AT_ONCE), "--fail", "--silent", "--config", str(list_path)]
        began = time.perf_counter()
        subprocess.run(["curl", *options], stderr=subprocess.DEVNULL, timeout=_LONGEST, check=True)
        return time.perf_counter() - began

    return download


@contextlib.contextmanager
def _our_download(url: str, files: int) -> Iterator[Download]:
    """Return what fetches the pictures into a folder with this provider, in a process that is already running."""
    with tempfile.TemporaryDirectory(prefix="imagetasks-bench-") as airflow_folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.download_load", url, str(files)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=airflow_environment(airflow_folder),
        )

        def download(folder: str) -> float:
            pipe(process.stdin).write(f"{folder}/pictures\n")
            pipe(process.stdin).flush()
            return float(pipe(process.stdout).readline())

        try:
            yield download
        finally:
            pipe(process.stdin).close()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            pipe(process.stdout).close()
