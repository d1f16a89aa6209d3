"""Pages in an order that goes by what became of the image tasks: made once, and the same from page to page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.ui import airflow_records as records
from airflow_provider_imagetasks.ui.filters import Filter
from airflow_provider_imagetasks.ui.gallery import Gallery
from airflow_provider_imagetasks.ui.orders import Orders
from airflow_provider_imagetasks.ui.picture_routes import PictureLinks
from tests.ui.conftest import MetadataDatabase, a_run, own_folder

FAILED_FIRST = Filter(order="failed")
COUNT = 7


@pytest.fixture
def orders() -> Orders:
    return Orders()


@pytest.fixture
def submitted(database: MetadataDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_imagetasks.ui.paging.PAGE", 3)
    database.add_run()
    now = datetime.now(UTC)
    for number in range(COUNT):
        told = {"id": f"it-{number}", "service": "kie", "prompt": f"kite {number}"}
        moment = now - timedelta(seconds=number)
        database.push("submit", told, "image_task", map_index=number, timestamp=moment)


def ids(page: dict[str, Any]) -> list[str]:
    return [item["image_task_id"] for item in page["items"]]


def fail(database: MetadataDatabase, number: int) -> None:
    failure = {"id": f"it-{number}", "class": "ImageTaskFailedError", "billed": "no"}
    database.push("wait", [failure], "image_task_failures", map_index=number)


def pages(database: MetadataDatabase, orders: Orders, place: str, wanted: Filter, cursor: str | None) -> dict[str, Any]:
    """Return a page as one of many requests does."""
    gallery = Gallery(database.session, (), PictureLinks("secret"), orders)
    if place == "run":
        return gallery.of_run(a_run(database), wanted, cursor)
    return gallery.newest({"kites"} if place == "all" else {"kites", "boats"}, wanted, cursor)


@pytest.mark.parametrize("place", ["run", "all"])
def test_what_fails_between_two_pages_is_neither_left_out_nor_shown_twice(
    database: MetadataDatabase, orders: Orders, submitted: None, place: str
) -> None:
    fail(database, 4)
    first = pages(database, orders, place, FAILED_FIRST, None)
    fail(database, 6)
    second = pages(database, orders, place, FAILED_FIRST, first["next"])
    third = pages(database, orders, place, FAILED_FIRST, second["next"])

    assert [ids(each) for each in (first, second, third)] == [
        ["it-4", "it-0", "it-1"],
        ["it-2", "it-3", "it-5"],
        ["it-6"],
    ]
    # The card is made anew.
    assert (third["items"][0]["state"], third["next"]) == ("failed", None)
    assert ids(pages(database, orders, place, FAILED_FIRST, None))[:2] == ["it-4", "it-6"]


@pytest.mark.parametrize("place", ["run", "all"])
def test_a_further_page_reads_only_what_is_on_it(
    database: MetadataDatabase, orders: Orders, submitted: None, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pages(database, orders, place, FAILED_FIRST, None)

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("all submissions were read again")

    for name in ("newest_submissions", "submissions_of_run"):
        monkeypatch.setattr(records, name, refuse)
    second = pages(database, orders, place, FAILED_FIRST, first["next"])

    assert (ids(second), second["looked_at"], first["looked_at"]) == (["it-3", "it-4", "it-5"], 0, COUNT)


def test_an_order_that_is_gone_is_made_again(database: MetadataDatabase, orders: Orders, submitted: None) -> None:
    first = pages(database, orders, "all", FAILED_FIRST, None)

    for elsewhere in (Orders(), Orders()):
        assert ids(pages(database, elsewhere, "all", FAILED_FIRST, first["next"])) == ["it-3", "it-4", "it-5"]


def test_an_order_of_other_dags_or_of_another_question_is_not_gone_on_with(
    database: MetadataDatabase, orders: Orders, submitted: None
) -> None:
    database.push("submit", {"id": "boat", "service": "kie"}, "image_task", dag_id="boats", dag_run_id=2, run_id="b")
    theirs = pages(database, orders, "both", FAILED_FIRST, None)
    only = Filter(order="failed", search="kite 6")

    assert "boat" not in ids(pages(database, orders, "all", FAILED_FIRST, theirs["next"]))
    assert ids(pages(database, orders, "all", only, None)) == ["it-6"]
    assert ids(pages(database, orders, "all", only, theirs["next"])) == []


def test_a_batch_in_an_order_still_says_how_many_of_its_rows_match(
    database: MetadataDatabase, tmp_path: Path, gallery: Gallery
) -> None:
    own_folder(tmp_path / "b", "make")
    (tmp_path / "b/manifest.jsonl").write_text('{"index": 0, "prompt": "a kite"}\n{"index": 1, "prompt": "a boat"}\n')
    database.push("make", {"folder": f"file://{tmp_path}/b", "total": 2}, "image_batch")
    database.push("make", {"manifest": f"file://{tmp_path}/b/manifest.jsonl", "total": 2, "succeeded": 2})

    (item,) = gallery.of_run(a_run(database), Filter(order="cost", search="kite"), None)["items"]

    assert (item["kind"], item["matching"]) == ("batch", 1)
