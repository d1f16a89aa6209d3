"""The rows of a batch, from its manifest or before that from its segments, a page at a time or all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.ui import batch_rows
from airflow_provider_imagetasks.ui.airflow_records import XCom
from airflow_provider_imagetasks.ui.batch_rows import files_of, read_all, read_page
from airflow_provider_imagetasks.ui.roots import Location, read_roots
from airflow_provider_imagetasks.ui.stored_files import OutOfReachError
from tests.ui.conftest import NOW, RUN_ID, own_folder


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Location, ...]:
    return read_roots(f"file://{tmp_path}")


def write(path: Path, *numbers: int, end: str = "\n") -> None:
    own_folder(path.parent, "make")
    path.write_text("\n".join(json.dumps({"id": f"r{number}", "index": number}) for number in numbers) + end)


def batch(folder: Any = None, generation: int = 0, **place: Any) -> XCom:
    told = {"folder": f"file://{folder}" if isinstance(folder, Path) else folder, "generation": generation}
    where = {"run_key": 1, "dag_id": "kites", "run_id": RUN_ID, "task_id": "make", "map_index": -1, **place}
    return XCom(**where, key="image_batch", value=told, timestamp=NOW)


def ended(folder: Path) -> dict[str, Any]:
    return {"manifest": f"file://{folder}/manifest.jsonl"}


def pages(of: XCom, summary: dict[str, Any] | None, roots: Any, most: int) -> list[list[int]]:
    found, cursor = [], None
    while True:
        rows, cursor = read_page(files_of(of, summary, roots), cursor, most)
        found.append([row["index"] for row in rows])
        if cursor is None:
            return found


def test_a_manifest_is_read_page_by_page(tmp_path: Path, roots: Any) -> None:
    write(tmp_path / "manifest.jsonl", *range(7))

    assert pages(batch(), ended(tmp_path), roots, 3) == [[0, 1, 2], [3, 4, 5], [6]]
    rows = read_all(files_of(batch(), ended(tmp_path), roots))
    assert [row["index"] for row in rows or ()] == list(range(7))


def test_before_there_is_a_manifest_the_segments_of_its_generation_are_read_in_their_order(
    tmp_path: Path, roots: Any
) -> None:
    folder = tmp_path / "batch"
    write(folder / "outcomes-1-000010.jsonl", 4, 5)
    write(folder / "outcomes-1-000002.jsonl", 0, 1, 2, 3)
    write(folder / "outcomes-0-000001.jsonl", 99)
    write(folder / "intents-1-000001.jsonl", 98)

    assert pages(batch(folder, 1), None, roots, 3) == [[0, 1, 2], [3, 4, 5]]
    assert [row["index"] for row in read_all(files_of(batch(folder, 1), None, roots)) or ()] == list(range(6))


def test_what_comes_later_is_found_from_the_same_cursor(tmp_path: Path, roots: Any) -> None:
    folder = tmp_path / "batch"
    write(folder / "outcomes-0-000001.jsonl", 0, 1)
    _, first = read_page(files_of(batch(folder), None, roots), None, 2)
    write(folder / "outcomes-0-000002.jsonl", 2, 3)

    _, again = read_page(files_of(batch(folder), None, roots), None, 2)

    assert (first, again) == (None, "1.0")


@pytest.mark.parametrize("end", ['\n{"id": "r2", "ind', "\n7\n", f"\n{'[' * 100_000}", f'\n{{"a": "{"x" * 300_000}"}}'])
def test_a_line_that_is_no_row_is_left_out(tmp_path: Path, roots: Any, end: str) -> None:
    write(tmp_path / "batch/outcomes-0-000001.jsonl", 0, 1, end=end)

    assert pages(batch(tmp_path / "batch"), None, roots, 10) == [[0, 1]]
    rows = read_all(files_of(batch(tmp_path / "batch"), None, roots))
    assert [row["index"] for row in rows or ()] == [0, 1]


def test_a_batch_without_outcomes_has_no_rows(tmp_path: Path, roots: Any) -> None:
    own_folder(tmp_path / "new", "make")

    assert pages(batch(tmp_path / "new"), None, roots, 10) == [[]]
    assert read_all(files_of(batch(tmp_path / "new"), None, roots)) == []


def test_more_than_can_be_sorted_at_once_is_said(tmp_path: Path, roots: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_rows, "MOST_BYTES", 100)
    write(tmp_path / "manifest.jsonl", *range(9))

    assert read_all(files_of(batch(), ended(tmp_path), roots)) is None


@pytest.mark.parametrize("folder", ["file:///etc", "/etc", None, 7, "file:///", "s3://bucket/x"])
def test_what_lies_outside_the_roots_is_not_read(roots: Any, folder: Any) -> None:
    for summary in (None, {"manifest": f"{folder}/passwd"}):
        with pytest.raises(OutOfReachError, match="outside"):
            files_of(batch(folder), summary, roots)


@pytest.mark.parametrize(
    "place", [{"dag_id": "boats"}, {"task_id": "other"}, {"run_id": "another_run"}, {"map_index": 3}]
)
def test_the_rows_of_another_batch_are_not_read(tmp_path: Path, roots: Any, place: dict[str, Any]) -> None:
    folder = tmp_path / "batch"
    write(folder / "manifest.jsonl", 0)

    for summary in (None, ended(folder)):
        with pytest.raises(OutOfReachError, match="another"):
            files_of(batch(folder, **place), summary, roots)


def test_a_folder_that_does_not_say_whose_it_is_is_not_read(tmp_path: Path, roots: Any) -> None:
    write(tmp_path / "manifest.jsonl", 0)
    for content, word in (("{", "unreadable"), ("[" * 100_000, "unreadable"), ("[]", "another")):
        (tmp_path / "batch.json").write_text(content)
        with pytest.raises(OutOfReachError, match=word):
            files_of(batch(), ended(tmp_path), roots)
    (tmp_path / "batch.json").unlink()
    with pytest.raises(OutOfReachError, match="missing"):
        files_of(batch(), ended(tmp_path), roots)


def test_a_manifest_that_is_gone_is_said_to_be(tmp_path: Path, roots: Any) -> None:
    own_folder(tmp_path / "gone", "make")

    for read in (read_all, lambda files: read_page(files, None, 5)):
        with pytest.raises(OutOfReachError, match="missing"):
            read(files_of(batch(), ended(tmp_path / "gone"), roots))


@pytest.mark.parametrize("cursor", ["", "x", "-1.0", "0.-5", "9.9", "1e9.0"])
def test_a_made_up_cursor_breaks_nothing(tmp_path: Path, roots: Any, cursor: str) -> None:
    write(tmp_path / "manifest.jsonl", 0)

    rows, _ = read_page(files_of(batch(), ended(tmp_path), roots), cursor, 5)

    assert [row["index"] for row in rows] == ([] if cursor == "9.9" else [0])
