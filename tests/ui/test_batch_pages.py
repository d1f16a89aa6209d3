"""The rows of batches in the gallery: their order, what a filter finds of them, and whose they have to be."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.ui.filters import Filter
from airflow_provider_imagetasks.ui.gallery import Gallery
from tests.ui.conftest import MetadataDatabase, a_run, own_folder

ALL = Filter()
BATCH_TRIGGER = "airflow_provider_imagetasks.triggers.image_batch.ImageBatchTrigger"
REFUSED = {"class": "ContentPolicyError", "code": "p", "message": "refused", "billed": "no"}
BROKEN = {"class": "ImageTaskFailedError", "code": None, "message": "broken", "billed": "unknown"}
ROWS = [
    {"id": "SKU-1", "index": 1, "prompt": "a red  kite", "status": "failed", "error": REFUSED, "image_task_id": None},
    {"id": "SKU-0", "index": 0, "prompt": "a boat", "status": "succeeded", "image_task_id": "it-0", "duration": 4.0},
    {
        "id": None,
        "index": 2,
        "prompt": "a Red kite",
        "status": "succeeded",
        "image_task_id": "it-2",
        "duration": 9.5,
        "cost": 0.04,
        "currency": "USD",
    },
    {"id": "SKU-4", "index": 4, "prompt": "a tree", "status": "failed", "error": BROKEN, "image_task_id": "it-4"},
    {"id": "SKU-3", "index": 3, "prompt": "a hill", "status": "succeeded", "image_task_id": "it-3", "cost": 1},
]


@pytest.fixture
def batches(database: MetadataDatabase, gallery: Gallery, tmp_path: Path) -> None:
    """Batches of the run: one that is over and has failures, one whose manifest is gone, one outside the roots."""
    own_folder(tmp_path, "make")
    own_folder(tmp_path / "gone", "gone")
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    manifest = {"manifest": f"file://{tmp_path}/manifest.jsonl", "total": 5, "succeeded": 3, "failed": 2}
    gone = {"manifest": f"file://{tmp_path}/gone/manifest.jsonl"}
    for task_id, result in (("make", manifest), ("gone", gone), ("outside", None)):
        told = {"folder": "s3://elsewhere/x", "total": 5, "generation": 0, "service": "kie", "model": "m"}
        database.push(task_id, told, "image_batch", timestamp=datetime.now(UTC))
        database.add_task(task_id, state="failed" if task_id == "make" else "success")
        if result:
            database.push(task_id, result)


def rows_of(database: MetadataDatabase, gallery: Gallery, task_id: str = "make", **wanted: Any) -> dict[str, Any]:
    page = gallery.of_batch(a_run(database), task_id, -1, Filter(**wanted), None)
    assert page is not None
    return page


def test_a_batch_shows_its_rows_and_says_where_they_cannot_be_read(
    database: MetadataDatabase, gallery: Gallery, batches: None
) -> None:
    reached = {task_id: rows_of(database, gallery, task_id)["reach"] for task_id in ("make", "gone", "outside")}

    assert reached == {"make": "ok", "gone": "missing", "outside": "outside"}
    assert gallery.of_batch(a_run(database), "submit", -1, ALL, None) is None
    cards = {item["task_id"]: item for item in gallery.of_run(a_run(database), ALL, None)["items"]}
    assert (cards["make"]["state"], cards["make"]["counts"]["succeeded"]) == ("failed", 3)


@pytest.mark.parametrize(
    ("order", "indexes"),
    [
        (None, [0, 1, 2, 3, 4]),
        ("row", [0, 1, 2, 3, 4]),
        ("failed", [1, 4, 0, 2, 3]),
        ("end", [1, 0, 2, 4, 3]),
        ("duration", [2, 0, 1, 3, 4]),
        # Amounts in two currencies cannot be compared.
        ("cost", [3, 2, 0, 1, 4]),
    ],
)
def test_rows_come_in_the_order_of_the_file_as_they_ended_or_by_what_became_of_them(
    database: MetadataDatabase, gallery: Gallery, batches: None, order: Any, indexes: list[int]
) -> None:
    page = rows_of(database, gallery, order=order)

    assert [item["index"] for item in page["items"]] == indexes
    assert page["failures"] == {"ContentPolicyError": 1, "ImageTaskFailedError": 1}
    told = {item["index"]: (item["duration"], item["cost"], item["currency"]) for item in page["items"]}
    assert told[2] == (9.5, 0.04, "USD")
    first, pages = page["items"][0], page["found"]
    assert (pages, [item["row_id"] for item in page["items"] if item["index"] == 4]) == (5, ["SKU-4"])
    assert first["task_id"] == "make"


@pytest.mark.parametrize(
    ("wanted", "indexes"),
    [
        ({"state": "failed"}, [1, 4]),
        ({"state": "failed", "error": "ContentPolicyError"}, [1]),
        ({"search": "RED kite"}, [1, 2]),
        ({"search": "sku-3"}, [3]),
        ({"search": "it-4"}, [4]),
        ({"search": "kite", "state": "failed"}, [1]),
        ({"row": 0}, [0]),
        ({"model": "m", "service": "kie"}, [0, 1, 2, 3, 4]),
        ({"model": "another"}, []),
    ],
)
def test_a_filter_finds_the_rows_of_batches_wherever_one_looks(
    database: MetadataDatabase, gallery: Gallery, batches: None, wanted: dict[str, Any], indexes: list[int]
) -> None:
    assert [item["index"] for item in rows_of(database, gallery, **wanted)["items"]] == indexes
    everywhere = [
        gallery.of_run(a_run(database), Filter(**wanted), None),
        gallery.newest({"kites"}, Filter(**wanted), None),
    ]
    for page in everywhere:
        found = [item.get("matching") for item in page["items"] if item["task_id"] == "make"]
        looked_into = wanted.keys() - {"state", "service"}
        assert found == ([len(indexes) if looked_into else None] if indexes else [])


def test_a_failed_row_is_repeated_by_a_clear_of_its_batch_and_of_no_batch_that_succeeded(
    database: MetadataDatabase, gallery: Gallery, batches: None, tmp_path: Path
) -> None:
    own_folder(tmp_path / "fine", "fine")
    (tmp_path / "fine/manifest.jsonl").write_text(json.dumps(ROWS[0]))
    database.push("fine", {"total": 1}, "image_batch")
    database.push("fine", {"manifest": f"file://{tmp_path}/fine/manifest.jsonl", "total": 1, "failed": 1})
    database.add_task("fine", state="success")

    (failed,) = rows_of(database, gallery, row=1)["items"]
    (tolerated,) = rows_of(database, gallery, "fine")["items"]

    assert failed["clears"] == [{"task_id": "make", "map_index": -1, "pays": "rows"}]
    # The prompt of a row that was refused is the same after a Clear.
    assert failed["advice"].endswith("To change a request, start a new Dag run.")
    assert failed["log_at"] == {"task_id": "make", "map_index": -1}
    assert tolerated["clears"] == []
    assert tolerated["advice"].startswith("Request it in a new Dag run")


def test_the_folder_of_another_dag_s_batch_is_not_shown(
    database: MetadataDatabase, gallery: Gallery, batches: None, tmp_path: Path
) -> None:
    database.push("thief", {"folder": f"file://{tmp_path}", "total": 5}, "image_batch")
    database.push("thief", {"manifest": f"file://{tmp_path}/manifest.jsonl", "total": 5})
    database.add_task("thief")

    assert rows_of(database, gallery, "thief") == {"items": [], "next": None, "reach": "another"}
    cards = {item["task_id"]: item for item in gallery.of_run(a_run(database), ALL, None)["items"]}
    assert cards["thief"]["pictures"] == []


def test_a_row_that_was_written_anew_is_shown_once_as_it_ended_last(
    database: MetadataDatabase, gallery: Gallery, tmp_path: Path
) -> None:
    own_folder(tmp_path / "b", "make")
    for number, row in enumerate((ROWS[0], ROWS[1], {**ROWS[0], "status": "succeeded", "error": None})):
        (tmp_path / f"b/outcomes-0-00000{number}.jsonl").write_text(json.dumps(row))
    database.push("make", {"folder": f"file://{tmp_path}/b", "total": 3, "generation": 0}, "image_batch")
    database.add_task("make", state="deferred")

    page = rows_of(database, gallery, order="end")

    assert [(item["index"], item["state"]) for item in page["items"]] == [(0, "ready"), (1, "ready")]
    assert page["failures"] == {}


def test_a_deferred_batch_tells_what_is_ready_by_the_counts_it_was_deferred_with(
    database: MetadataDatabase, gallery: Gallery
) -> None:
    for index, classpath in enumerate((BATCH_TRIGGER, "somebody.else.Trigger")):
        database.push("make", {"total": 9}, "image_batch", map_index=index)
        told = {"total": 9, "submitted": 9, "succeeded": 6, "failed": 0, "running": 3}
        database.push("make", told, "progress", map_index=index)
        database.defer("make", {"counts": {"succeeded": 2}}, classpath=classpath, map_index=index)

    first, other = gallery.of_run(a_run(database), ALL, None)["items"]

    assert (first["counts"]["succeeded"], first["ready"]) == (2, 4)
    assert (other["counts"]["succeeded"], other["ready"]) == (6, 0)


def test_what_a_row_asked_for_is_read_from_its_batch(
    database: MetadataDatabase, gallery: Gallery, tmp_path: Path
) -> None:
    own_folder(tmp_path / "b", "make")
    rows = [{"index": number, "prompt": f"kite {number}", "options": {"seed": number}} for number in range(3)]
    (tmp_path / "b/requests.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for task_id in ("make", "thief"):
        database.push(task_id, {"folder": f"file://{tmp_path}/b", "total": 3}, "image_batch")

    def asked(task_id: str, row: int) -> tuple[Any, Any]:
        request = gallery.request_of(a_run(database), task_id, -1, row)
        return request["prompt"], request["options"]

    assert asked("make", 2) == ("kite 2", {"seed": "2"})
    assert asked("make", 3) == asked("thief", 2) == asked("nobody", 0) == (None, {})


def test_a_batch_that_failed_as_a_whole_is_found_by_its_failure(database: MetadataDatabase, gallery: Gallery) -> None:
    for index, (name, state) in enumerate([("AuthenticationError", "failed"), ("QuotaExceededError", "failed")]):
        database.push("make", {"service": "kie", "total": 9}, "image_batch", map_index=index)
        database.push("make", {"class": name, "billed": "no"}, "image_task_error", map_index=index)
        database.add_task("make", map_index=index, state=state)

    def found(**wanted: Any) -> list[int]:
        return [item["map_index"] for item in gallery.of_run(a_run(database), Filter(**wanted), None)["items"]]

    assert found(error="AuthenticationError") == found(error="AuthenticationError", state="failed") == [0]
    assert found(error="AuthenticationError", service="fal") == found(error="DownloadError") == []
    assert found(error="AuthenticationError", search="kite") == []
