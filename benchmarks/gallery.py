"""Measures the gallery with 10,000 pictures in one run: ``python -m benchmarks.gallery``, or ``make bench-gallery``.

A real Airflow on SQLite, of which only the api-server is left running, and a Chromium without a window. While that
scrolls, the api-server has the lowest priority.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psutil
import requests

from benchmarks.figures import percentile
from benchmarks.report import conditions, insert, table, verdict_table
from benchmarks.targets import Verdict
from dev.airflow_deployment import AirflowDeployment
from dev.browser import chromium, log_in
from dev.finished_pictures import sample_pictures, write_finished_pictures

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
MARK = "make bench-gallery"
DAG_ID, RUN_ID = "pictures", "manual__2026-03-01T00:00:00+00:00"
PICTURES, SAMPLES, ROUNDS = 10_000, 24, 20
FIRST_PAGE_MS, STALL_MS = 150.0, 100.0
_COMPARED = ("apache-airflow", "playwright", "Pillow")
_DAG = f"""
from airflow.sdk import DAG, task

with DAG("{DAG_ID}", schedule=None):
    @task
    def save():
        return None

    save()
"""
_SCROLL = """async () => {
    const place = document.querySelector('.it-page');
    const found = { stall: 0, cards: 0, steps: 0 };
    new PerformanceObserver(list => {
        for (const entry of list.getEntries()) found.stall = Math.max(found.stall, entry.duration);
    }).observe({ type: 'longtask' });
    const frame = () => new Promise(requestAnimationFrame);
    const isLeft = () => place.scrollTop + place.clientHeight < place.scrollHeight - 1;
    const isOver = () => !isLeft() && !document.querySelector('.it-sentinel');
    for (; found.steps < 100_000 && !isOver(); found.steps += 1) {
        place.scrollBy(0, 240);
        await frame();
        if (found.steps % 20 === 0) found.cards = Math.max(found.cards, document.querySelectorAll('.it-card').length);
    }
    // The last cards take a moment.
    for (let frames = 0; frames < 60; frames += 1) await frame();
    return { ...found, last: [...document.querySelectorAll('.it-prompt')].at(-1).textContent };
}"""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long the api-server takes for a request, in milliseconds: the median of some, and the 95th percentile."""

    what: str
    median: float
    p95: float


def say(what: str) -> None:
    """Tell on standard error what is going on."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def time_routes(ask: Callable[..., dict[str, Any]]) -> list[Timing]:
    """Ask for the pages that people see first, and for those that cost most."""
    run = f"dags/{DAG_ID}/runs/{quote(RUN_ID)}/pictures"
    asked: list[tuple[str, str, dict[str, str]]] = [
        ("first page of the run", run, {}),
        ("first page of all Dags", "pictures", {}),
        ("one picture by its prompt", run, {"search": f"number {PICTURES - 1} of"}),
        ("failures first, of the first 5,000", run, {"order": "failed"}),
        ("a further page in that order", run, {"order": "failed", "cursor": ask(run, order="failed")["next"]}),
        ("totals of the latest 5,000", "totals", {}),
    ]
    found = []
    for what, path, query in asked:
        rounds = ROUNDS if "5,000" not in what else 5
        seconds = []
        for _ in range(rounds + 2):
            began = time.perf_counter()
            ask(path, **query)
            seconds.append((time.perf_counter() - began) * 1000)
        # The first ones load what is kept from then on.
        kept = seconds[2:]
        found.append(Timing(what=what, median=statistics.median(kept), p95=percentile(kept, 95)))
        say(f"{what}: {found[-1].median:.0f} ms")
    return found


def scroll_through(page: Page) -> dict[str, Any]:
    """Scroll from the first picture to the last, and return the longest stall and what was seen."""
    page.set_default_timeout(600_000)
    page.goto(f"/dags/{DAG_ID}/runs/{RUN_ID}/plugin/image-tasks-run")
    page.locator(".it-card img").first.wait_for()
    return dict(page.evaluate(_SCROLL))


def yield_to_the_browser(airflow: AirflowDeployment) -> None:
    """Let the api-server, which makes the thumbnails, take only what the browser leaves: people have it elsewhere."""
    for pid in airflow.component("api-server").remaining_processes():
        for thread in psutil.Process(pid).threads():
            os.setpriority(os.PRIO_PROCESS, thread.id, 19)
        # Linux may share the processors by session first, and the api-server has one of its own.
        with suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text("19")


def measure() -> tuple[list[Verdict], str]:
    """Start everything, measure, and return how the targets fared, and the table."""
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="imagetasks-bench-"))).resolve()
        roots = {"AIRFLOW__IMAGETASKS__GALLERY_ROOTS": f"file://{folder}"}
        airflow = running.enter_context(AirflowDeployment(environment=roots))
        airflow.write_dag(DAG_ID, _DAG)
        airflow.api.trigger_dag(DAG_ID, run_id=RUN_ID)
        airflow.api.wait_for_run(DAG_ID, RUN_ID, timeout=240)
        samples = sample_pictures(folder / "samples", SAMPLES)
        write_finished_pictures(airflow, DAG_ID, RUN_ID, samples, folder / "pictures", PICTURES)
        for name in set(airflow.components) - {"api-server"}:
            airflow.stop_component(name)
        browser = running.enter_context(chromium())
        state = log_in(browser, airflow)
        session = requests.Session()
        session.cookies.update({cookie["name"]: cookie["value"] for cookie in state["cookies"]})

        def ask(path: str, **query: str) -> dict[str, Any]:
            answer = session.get(f"{airflow.url}/imagetasks/api/{path}", params=query, timeout=60)
            answer.raise_for_status()
            return dict(answer.json())

        timings = time_routes(ask)
        yield_to_the_browser(airflow)
        say(f"scrolling through {PICTURES:,} pictures")
        context = browser.new_context(
            base_url=airflow.url, storage_state=state, viewport={"width": 1440, "height": 900}
        )
        seen = scroll_through(context.new_page())
        context.close()
    return verdicts(timings[0], seen), table(
        ("the api-server, on SQLite", "median", "p95"),
        [(one.what, f"{one.median:.0f} ms", f"{one.p95:.0f} ms") for one in timings],
    )


def verdicts(first: Timing, seen: dict[str, Any]) -> list[Verdict]:
    """Judge what people notice."""
    last = f"number {PICTURES - 1} of {PICTURES:,}"
    return [
        Verdict(
            what=f"first page of a run with {PICTURES:,} pictures",
            reached=f"{first.median:.0f} ms",
            target=f"at most {FIRST_PAGE_MS:.0f} ms",
            met=first.median <= FIRST_PAGE_MS,
        ),
        Verdict(
            what=f"scrolling through {PICTURES:,} pictures: longest time in which the page answers to nothing",
            reached=f"{seen['stall']:.0f} ms" if seen["stall"] else "below 50 ms",
            target=f"at most {STALL_MS:.0f} ms",
            met=seen["stall"] <= STALL_MS,
        ),
        Verdict(
            what="the last one that was seen, and the most cards in the page at a time",
            reached=f"{seen['last']}, {seen['cards']}",
            target=last,
            met=seen["last"] == last,
        ),
    ]


def main() -> None:
    """Measure and print; write into the page where asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gallery", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write the tables into docs/{PAGE.name}")
    chosen = parser.parse_args()
    judged, timings = measure()
    figures = "\n\n".join([conditions(MARK, _COMPARED), verdict_table(judged), timings])
    print(figures)
    if chosen.write:
        insert(PAGE, figures, mark=MARK)


if __name__ == "__main__":
    main()
