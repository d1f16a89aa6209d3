"""Measures, and prints tables of figures: ``python -m benchmarks``, or ``make bench``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.beginnings import START_SECONDS, TOGETHER, measure_beginnings
from benchmarks.downloads import compare_downloads
from benchmarks.query_rate import measure_query_rate
from benchmarks.report import conditions, download_table, insert, rate_table, verdict_table, wait_table
from benchmarks.scale import FULL, QUICK, Scale
from benchmarks.targets import (
    Verdict,
    beginning_verdict,
    download_verdicts,
    growth_verdicts,
    rate_verdicts,
    wait_verdicts,
)
from benchmarks.waits import compare_waits, many_waits

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
_WHOLE, _QUICK = "python -m benchmarks --write", "python -m benchmarks --quick"
PARTS = ("waits", "beginnings", "rate", "downloads")


def say(what: str) -> None:
    """Tell on standard error what is going on."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def measure(scale: Scale, parts: tuple[str, ...]) -> tuple[list[Verdict], list[str]]:
    """Measure the chosen parts; return how the targets fared, and the tables."""
    verdicts: list[Verdict] = []
    tables: list[str] = []
    if "waits" in parts:
        waits, many = compare_waits(scale, say), many_waits(scale, say)
        verdicts += [*wait_verdicts(waits), *growth_verdicts(many, waits)]
        tables.append(wait_table(waits, many))
    if "beginnings" in parts:
        say(f"{TOGETHER} waits that begin within {START_SECONDS:.0f} s")
        verdicts.append(beginning_verdict(measure_beginnings()))
    if "rate" in parts:
        say(f"{scale.limited_waits} waits at a service without batch status")
        rate = measure_query_rate(scale)
        verdicts += rate_verdicts(rate)
        tables.append(rate_table(rate))
    if "downloads" in parts:
        downloads = compare_downloads(scale, say)
        verdicts += download_verdicts(downloads)
        tables.append(download_table(downloads))
    return verdicts, tables


def _command(arguments: list[str]) -> str:
    command = " ".join(["python -m benchmarks", *arguments])
    return {_WHOLE: "make bench", _QUICK: "make bench QUICK=1"}.get(command, command)


def main() -> None:
    """Measure and print; write into the page where asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a rough look in some two minutes")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part (may be repeated)")
    parser.add_argument("--write", action="store_true", help=f"write the tables into docs/{PAGE.name}")
    chosen = parser.parse_args()
    parts = tuple(chosen.only or PARTS)
    if chosen.write and (chosen.quick or parts != PARTS):
        parser.error("only a whole run is written down: --write goes without --quick and --only")
    verdicts, tables = measure(QUICK if chosen.quick else FULL, parts)
    figures = "\n\n".join([conditions(_command(sys.argv[1:])), verdict_table(verdicts), *tables])
    print(figures)
    if chosen.write:
        insert(PAGE, figures)


if __name__ == "__main__":
    main()
