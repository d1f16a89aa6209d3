from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.figures import MEGABYTE, LoadResult, WaitFigures, median_figures, percentile, wait_figures
from benchmarks.loop_lag import lateness
from benchmarks.observations import Observation
from benchmarks.report import insert, marker_lines

SEEN = Observation(
    seconds=10, requests=20, checks=1000, asked=1000, fewest=1, most=1, connections=0, largest_gap=11, busiest_second=2
)
IDLE = LoadResult(
    begin=100, middle=105, end=110, cpu_seconds=0.1, lag_p50=0, lag_p99=0, lag_max=0, memory_bytes=2 * MEGABYTE, ended=0
)
BUSY = replace(IDLE, middle=110, end=120, cpu_seconds=0.3, lag_p99=0.002, memory_bytes=5 * MEGABYTE)


def figures(cpu_ms_per_check: float, largest_gap: float) -> WaitFigures:
    measured = wait_figures(BUSY, SEEN, SEEN, IDLE, waits=1000, interval=10)
    return replace(measured, cpu_ms_per_check=cpu_ms_per_check, largest_gap=largest_gap)


def test_what_idling_costs_in_the_same_time_is_taken_off() -> None:
    measured = wait_figures(BUSY, SEEN, SEEN, IDLE, waits=1000, interval=10)

    assert measured.cpu_ms_per_check == pytest.approx(0.1)
    assert measured.memory_mb == 3
    assert measured.lag_p99 == 2


def test_checks_are_compared_with_those_that_were_due() -> None:
    measured = wait_figures(BUSY, SEEN, SEEN, IDLE, waits=2000, interval=10)

    assert measured.done == 0.5
    assert measured.requests_per_check == 0.02
    assert measured.largest_gap == 1.1


def test_of_the_rounds_the_median_counts_and_the_largest_gap() -> None:
    together = median_figures([figures(1, 1.0), figures(5, 1.3), figures(2, 1.1)])

    assert (together.cpu_ms_per_check, together.largest_gap) == (2, 1.3)


def test_a_percentile_is_one_of_the_samples() -> None:
    samples = [float(number) for number in range(1, 101)]

    assert [percentile(samples, percent) for percent in (50, 99, 100)] == [50, 99, 100]
    assert percentile([7.0], 99) == 7
    assert percentile([], 99) == 0


def test_each_moment_that_a_loop_missed_counts() -> None:
    assert lateness(1.0, 1.25, tick=0.1) == pytest.approx([0.25, 0.15, 0.05])
    assert lateness(1.0, 0.99, tick=0.1) == []


def test_figures_replace_those_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    begin, end = marker_lines("make bench")
    page.write_text(f"before\n\n{begin}\nold\n{end}\n\nafter\n")

    insert(page, "new")

    assert page.read_text() == f"before\n\n{begin}\n\nnew\n\n{end}\n\nafter\n"


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no markers")

    with pytest.raises(ValueError, match="has no lines"):
        insert(page, "new")
    assert page.read_text() == "no markers"
