"""Measures batches, and prints tables: ``python -m benchmarks.batch``, or ``make bench-batch``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.batch.bare_runs import (
    LATENCY,
    MOST_ACTIVE,
    RATE_COUNT,
    RATE_SECONDS,
    MemoryFigures,
    RateFigures,
    measure_memory,
    measure_rate,
)
from benchmarks.batch.pipelines import PipelineComparison, compare_pipelines
from benchmarks.batch.worker_starts import StartFigures, measure_starts
from benchmarks.report import conditions, insert, table, verdict_table
from benchmarks.targets import Verdict

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
MARK = "make bench-batch"
PARTS = ("pipelines", "rate", "memory", "starts")
BATCH, MAPPED, LIMITED, ROWS, WAIT = 1000, 100, 120, 100_000, 600.0
COST_RATIO, SHARE_OF_ALLOWED, MEMORY_MB, STARTS = 1 / 150, 0.95, 150.0, 5

Part = tuple[list[Verdict], str]


def say(what: str) -> None:
    """Tell on standard error what is going on."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def _pipelines(folder: Path) -> Part:
    figures: PipelineComparison = compare_pipelines(folder, say, batch=BATCH, mapped=MAPPED)
    batch, mapped = figures.batch, figures.mapped
    ratio = batch.cpu_per_picture / mapped.cpu_per_picture
    verdict = Verdict(
        what="CPU for a picture by batch, of that through mapped tasks",
        reached=f"1/{1 / ratio:,.0f}",
        target=f"at most 1/{1 / COST_RATIO:.0f}",
        met=ratio <= COST_RATIO,
    )
    rows = [
        (
            name,
            f"{one.pictures:,}",
            f"{one.cpu_seconds:,.1f} s",
            f"{one.cpu_per_picture * 1000:,.1f} ms",
            f"{one.seconds:,.0f} s",
        )
        for name, one in (("one batch", batch), ("mapped submit / HttpSensor / download", mapped))
    ]
    head = ("through a real Airflow", "pictures", "CPU of all its processes", "for a picture", "took")
    note = f"The same Airflow with nothing to do uses {figures.idle_cpu:.2f} s of CPU a second; it is not taken off."
    return [verdict], f"{table(head, rows)}\n\n{note}"


def _rate(_folder: Path) -> Part:
    say(f"{LIMITED} pictures at a service that takes {RATE_COUNT} in {RATE_SECONDS} s")
    figures: RateFigures = measure_rate(LIMITED)
    what = f"service with {RATE_COUNT} in {RATE_SECONDS} s, {MOST_ACTIVE} active, {LATENCY} s each: "
    verdicts = [
        Verdict(what=f"{what}refused", reached=str(figures.refused), target="0", met=figures.refused == 0),
        Verdict(
            what=f"{what}of the allowed rate",
            reached=f"{figures.share_of_allowed:.1%}",
            target=f"at least {SHARE_OF_ALLOWED:.0%}",
            met=figures.share_of_allowed >= SHARE_OF_ALLOWED,
        ),
    ]
    seconds = figures.moments[-1] - figures.moments[0]
    return verdicts, f"{len(figures.moments)} submissions at the limited service, within {seconds:.1f} s."


def _memory(_folder: Path) -> Part:
    say(f"{ROWS:,} rows from a JSONL file")
    figures: MemoryFigures = measure_memory(ROWS)
    grown = figures.peak_mb - figures.empty_mb
    verdict = Verdict(
        what=f"memory of {figures.rows:,} rows beyond a batch of one",
        reached=f"{grown:.0f} MB",
        target=f"at most {MEMORY_MB:.0f} MB",
        met=grown <= MEMORY_MB,
    )
    each = figures.seconds / figures.rows * 1000
    return [verdict], (
        f"{figures.rows:,} rows whose image tasks fail at once: {figures.peak_mb:.0f} MB at most, "
        f"{figures.empty_mb:.0f} MB with one row; {figures.seconds:.0f} s, {each:.1f} ms a row, the service beside it."
    )


def _starts(folder: Path) -> Part:
    say(f"a batch over a wait of {WAIT / 60:.0f} minutes")
    figures: StartFigures = measure_starts(folder, seconds=WAIT)
    verdict = Verdict(
        what=f"worker starts for {figures.pictures} pictures over {figures.seconds / 60:.0f} minutes",
        reached=str(figures.starts),
        target=f"at most {STARTS}",
        met=figures.starts <= STARTS,
    )
    return [verdict], ""


MEASURES: dict[str, Callable[[Path], Part]] = {
    "pipelines": _pipelines,
    "rate": _rate,
    "memory": _memory,
    "starts": _starts,
}


def main() -> None:
    """Measure and print; write into the page where asked to.

    Parts may be measured at different times: each keeps its result in a file, and what is written down is made of all.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part (may be repeated)")
    parser.add_argument("--keep", type=Path, help="a folder for the results of parts, to be put together later")
    parser.add_argument("--put-together", action="store_true", help="measure nothing, only put together what was kept")
    parser.add_argument("--write", action="store_true", help=f"write the tables into docs/{PAGE.name}")
    chosen = parser.parse_args()
    results: dict[str, Part] = {}
    for name in [] if chosen.put_together else chosen.only or PARTS:
        with tempfile.TemporaryDirectory(prefix="imagetasks-bench-") as folder:
            results[name] = MEASURES[name](Path(folder))
        if chosen.keep:
            judged, text = results[name]
            (chosen.keep / f"{name}.json").write_text(json.dumps([[vars(one) for one in judged], text]))
    if chosen.keep:
        results = {name: _kept(path) for name in PARTS if (path := chosen.keep / f"{name}.json").exists()}
    verdicts = [verdict for part in PARTS if part in results for verdict in results[part][0]]
    texts = [results[part][1] for part in PARTS if part in results and results[part][1]]
    missing = [part for part in PARTS if part not in results]
    notes = ["The parts were measured at different times, on a machine with other work."] if chosen.keep else []
    notes += [f"Not measured: {', '.join(missing)}."] if missing else []
    figures = "\n\n".join([" ".join([conditions(MARK), *notes]), verdict_table(verdicts), *texts])
    print(figures)
    if chosen.write:
        if missing and not chosen.keep:
            parser.error("only a whole measurement is written down, or one that was kept part by part")
        insert(PAGE, figures, mark=MARK)


def _kept(path: Path) -> Part:
    verdicts, text = json.loads(path.read_text())
    return [Verdict(**verdict) for verdict in verdicts], text


if __name__ == "__main__":
    main()
