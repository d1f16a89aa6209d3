"""The rows of a batch, from its manifest or from the segments that lie there before, a page at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.ui.batch_rows import read_rows
from airflow_provider_imagetasks.ui.roots import Location, read_roots
from airflow_provider_imagetasks.ui.stored_files import OutOfReachError


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Location, ...]:
    return read_roots(f"file://{tmp_path}")


def write(path: Path, *numbers: int, end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps({"id": f"r{number}", "index": number}) for number in numbers) + end)


def begun(folder: Path, generation: int = 0) -> dict[str, Any]:
    return {"folder": f"file://{folder}", "generation": generation}


def ended(folder: Path) -> dict[str, Any]:
    return {"manifest": f"file://{folder}/manifest.jsonl"}


def pages(batch: dict[str, Any], summary: dict[str, Any] | None, roots: Any, most: int) -> list[list[int]]:
    found, cursor = [], None
    while True:
        rows, cursor = read_rows(batch, summary, roots, cursor=cursor, most=most)
        found.append([row["index"] for row in rows])
        if cursor is None:
            return found


def test_a_manifest_is_read_page_by_page(tmp_path: Path, roots: Any) -> None:
    write(tmp_path / "manifest.jsonl", *range(7))

    assert pages({}, ended(tmp_path), roots, 3) == [[0, 1, 2], [3, 4, 5], [6]]


def test_before_there_is_a_manifest_the_segments_of_its_generation_are_read_in_their_order(
    tmp_path: Path, roots: Any
) -> None:
    folder = tmp_path / "batch"
    write(folder / "outcomes-1-000010.jsonl", 4, 5)
    write(folder / "outcomes-1-000002.jsonl", 0, 1, 2, 3)
    write(folder / "outcomes-0-000001.jsonl", 99)
    write(folder / "intents-1-000001.jsonl", 98)

    assert pages(begun(folder, 1), None, roots, 3) == [[0, 1, 2], [3, 4, 5]]


def test_what_comes_later_is_found_from_the_same_cursor(tmp_path: Path, roots: Any) -> None:
    folder, batch = tmp_path / "batch", {"folder": f"file://{tmp_path}/batch/", "generation": 0}
    write(folder / "outcomes-0-000001.jsonl", 0, 1)
    _, first = read_rows(batch, None, roots, cursor=None, most=2)
    write(folder / "outcomes-0-000002.jsonl", 2, 3)

    _, again = read_rows(batch, None, roots, cursor=None, most=2)

    assert (first, again) == (None, "1.0")


def test_a_line_that_is_still_being_written_is_left_out_and_nothing_is_no_row(tmp_path: Path, roots: Any) -> None:
    write(tmp_path / "batch/outcomes-0-000001.jsonl", 0, 1, end='\n{"id": "r2", "ind')

    assert pages(begun(tmp_path / "batch"), None, roots, 10) == [[0, 1]]
    assert pages(begun(tmp_path / "none"), None, roots, 10) == [[]]


@pytest.mark.parametrize("folder", ["file:///etc", "/etc", None, 7, "file:///", "s3://bucket/x"])
def test_what_lies_outside_the_roots_is_not_read(roots: Any, folder: Any) -> None:
    for batch, summary in (({"folder": folder}, None), ({}, {"manifest": f"{folder}/passwd"})):
        with pytest.raises(OutOfReachError, match="outside"):
            read_rows(batch, summary, roots, cursor=None, most=5)


def test_a_manifest_that_is_gone_is_said_to_be(tmp_path: Path, roots: Any) -> None:
    with pytest.raises(OutOfReachError, match="missing"):
        read_rows({}, ended(tmp_path / "gone"), roots, cursor=None, most=5)


@pytest.mark.parametrize("cursor", ["", "x", "-1.0", "0.-5", "9.9", "1e9.0"])
def test_a_made_up_cursor_breaks_nothing(tmp_path: Path, roots: Any, cursor: str) -> None:
    write(tmp_path / "manifest.jsonl", 0)

    rows, _ = read_rows({}, ended(tmp_path), roots, cursor=cursor, most=5)

    assert [row["index"] for row in rows] == ([] if cursor == "9.9" else [0])
