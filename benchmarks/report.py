"""Writes the figures down, as Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.downloads import CURL_AT_ONCE, DownloadFigures
from benchmarks.figures import WaitFigures
from benchmarks.pictures import PictureKind
from benchmarks.query_rate import INTERVAL, RateFigures
from benchmarks.targets import Verdict
from benchmarks.waits import MANY_WAITS, WAITS, WaitComparison

_COMPARED = ("apache-airflow", "apache-airflow-providers-http", "apache-airflow-providers-openai", "aiohttp", "Pillow")
_KINDS = {PictureKind.NOISE: "noise, cheap to decode", PictureKind.PHOTO: "1024 x 1024, grainy"}

Row = Sequence[str]


def conditions(command: str, packages: Sequence[str] = _COMPARED) -> str:
    """Return what was run, and on what.

    :param packages: distributions whose versions matter.
    """
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"`{command}` on {os.cpu_count()} CPUs ({platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}; {versions})."
    )


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Return a row for each target."""
    rows = [(verdict.what, verdict.reached, verdict.target, "yes" if verdict.met else "**no**") for verdict in verdicts]
    return table(("", "reached", "target", "met"), rows)


def wait_table(waits: WaitComparison, many: WaitFigures | None) -> str:
    """Return a column for each way to wait."""
    columns = [
        (f"this provider, {WAITS:,}", waits.ours),
        (f"http sensor's trigger, {WAITS:,}", waits.http),
        (f"openai's batch trigger, {WAITS:,}", waits.openai),
        *([(f"this provider, {MANY_WAITS:,}", many)] if many else []),
    ]
    figures = [figures for _title, figures in columns]
    rows = [
        ("checks done, of those due", *(f"{one.done:.0%}" for one in figures)),
        ("status requests for 1,000 checks", *(f"{one.requests_per_check * 1000:,.0f}" for one in figures)),
        ("TCP connections opened for 1,000 checks", *(f"{one.connections_per_check * 1000:,.0f}" for one in figures)),
        ("CPU for a check, net of idle triggers", *(f"{one.cpu_ms_per_check:.3f} ms" for one in figures)),
        ("lag of the loop, p50", *(f"{one.lag_p50:,.1f} ms" for one in figures)),
        ("lag of the loop, p99", *(f"{one.lag_p99:,.1f} ms" for one in figures)),
        ("lag of the loop, largest", *(f"{one.lag_max:,.1f} ms" for one in figures)),
        ("memory, net of idle triggers", *(f"{one.memory_mb:.1f} MB" for one in figures)),
        ("longest time without a check, in intervals", *(f"{one.largest_gap:.2f}" for one in figures)),
    ]
    return table(("", *(title for title, _figures in columns)), rows)


def rate_table(rate: RateFigures) -> str:
    """Return what the server saw of a limited account."""
    rows = [
        ("waits, and seconds between two checks that were asked for", f"{rate.waits}, {INTERVAL:.0f} s"),
        ("seconds that the rate allows at best", f"{rate.reachable_interval:.1f} s"),
        ("longest time without a check", f"{rate.largest_gap:.1f} s"),
        ("requests in the busiest second, and the ceiling", f"{rate.busiest_second}, {rate.ceiling}"),
        ("requests, of those that the rate allows", f"{rate.used:.0%}"),
        ("checks of each wait", f"{rate.fewest} to {rate.most}"),
    ]
    return table(("a service without batch status", ""), rows)


def download_table(downloads: Sequence[DownloadFigures]) -> str:
    """Return a row for each kind of picture and latency."""
    rows = [
        (
            f"{figures.files} x 1 MB, {_KINDS[figures.pictures]}",
            f"{figures.latency * 1000:.0f} ms",
            f"{figures.curl_seconds:.2f} s",
            f"{figures.our_seconds:.2f} s",
            f"{figures.speed:.2f}",
        )
        for figures in downloads
    ]
    curl = f"`curl --parallel --parallel-max {CURL_AT_ONCE}`"
    return table(("pictures", "to the first byte", curl, "this provider", "speed, of curl's"), rows)


def insert(path: Path, figures: str, *, mark: str = "make bench") -> None:
    """Put the figures between the two marker lines of a page.

    :param mark: the command that measures them, which both lines name.
    :raises ValueError: it has no such lines.
    """
    begin_line, end_line = marker_lines(mark)
    page = path.read_text(encoding="utf-8")
    head, begin, rest = page.partition(begin_line)
    _old, end, tail = rest.partition(end_line)
    if not begin or not end:
        raise ValueError(f"{path.name} has no lines {begin_line!r} and {end_line!r}")
    path.write_text(f"{head}{begin_line}\n\n{figures}\n\n{end_line}{tail}", encoding="utf-8")


def marker_lines(mark: str) -> tuple[str, str]:
    """Return the lines between which the figures of a command stand."""
    return f"<!-- figures of `{mark}`: begin -->", f"<!-- figures of `{mark}`: end -->"


def table(head: Row, rows: Sequence[Row]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
