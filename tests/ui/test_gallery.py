"""The pages of the gallery, from Airflow's own tables: what is on them, in which order, and what comes after."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.ui import airflow_records as records
from airflow_provider_imagetasks.ui.gallery import PAGE, Filter, Gallery
from airflow_provider_imagetasks.ui.picture_routes import PictureLinks
from airflow_provider_imagetasks.ui.roots import read_roots
from tests.ui.conftest import NOW, MetadataDatabase

ALL = Filter()
MANY = PAGE + 5


@pytest.fixture
def gallery(database: MetadataDatabase, tmp_path: Path) -> Gallery:
    database.add_run()
    return Gallery(database.session, read_roots(f"file://{tmp_path}"), PictureLinks("secret"))


def a_run(database: MetadataDatabase) -> records.Run:
    run = records.run_of(database.session, "kites", "a_run")
    assert run is not None
    return run


def told(image_task_id: str, **others: Any) -> dict[str, Any]:
    return {"id": image_task_id, "service": "kie", "prompt": f"kite {image_task_id}", **others}


def ids(page: dict[str, Any]) -> list[str]:
    return [item["image_task_id"] for item in page["items"]]


def all_pages(read: Callable[[str | None], dict[str, Any]]) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        page = read(cursor)
        pages.append(ids(page))
        cursor = page["next"]
        if cursor is None:
            return pages


def newest(database: MetadataDatabase, gallery: Gallery, *, wanted: Filter = ALL) -> list[list[str]]:
    return all_pages(lambda cursor: gallery.newest({"kites"}, wanted, cursor))


@pytest.fixture
def recent(database: MetadataDatabase) -> None:
    """Many mapped submissions of the last minutes, and what is not to be shown."""
    now = datetime.now(UTC)
    for number in range(MANY):
        value = told(f"it-{number:03}", service="fal" if number in (0, 20) else "kie")
        database.push("submit", value, "image_task", map_index=number, timestamp=now - timedelta(seconds=number))
    database.push("old", told("old"), "image_task", timestamp=now - timedelta(days=31))
    database.push("other", told("other"), "image_task", dag_id="other_dag", timestamp=now)
    database.push("no_submission", {"files": []}, timestamp=now)


def test_the_newest_come_first_page_by_page(database: MetadataDatabase, gallery: Gallery, recent: None) -> None:
    pages = newest(database, gallery)

    assert [len(page) for page in pages] == [PAGE, MANY - PAGE]
    assert list(chain(*pages)) == [f"it-{number:03}" for number in range(MANY)]
    assert gallery.newest(set(), ALL, None) == {"items": [], "next": None}


def test_a_filter_is_applied_before_a_page_is_full(database: MetadataDatabase, gallery: Gallery, recent: None) -> None:
    pages = newest(database, gallery, wanted=Filter(service="kie"))

    assert [len(page) for page in pages] == [PAGE, MANY - 2 - PAGE]
    assert list(chain(*pages)) == [f"it-{number:03}" for number in range(MANY) if number not in (0, 20)]
    assert newest(database, gallery, wanted=Filter(service="fal")) == [["it-000", "it-020"]]
    assert newest(database, gallery, wanted=Filter(state="failed")) == [[]]


def test_a_run_is_shown_in_the_order_of_its_tasks(database: MetadataDatabase, gallery: Gallery, recent: None) -> None:
    run = a_run(database)

    pages = all_pages(lambda cursor: gallery.of_run(run, ALL, cursor))

    assert list(chain(*pages)) == ["old", "other", *(f"it-{number:03}" for number in range(MANY))]
    assert [len(page) for page in pages] == [PAGE, MANY + 2 - PAGE]


def test_what_came_back_is_on_the_card_with_a_link_only_for_what_lies_under_a_root(
    database: MetadataDatabase, gallery: Gallery, tmp_path: Path
) -> None:
    files = [{"uri": uri, "image_task_id": "it-1"} for uri in (f"file://{tmp_path}/a.png", "file:///etc/passwd")]
    database.push("submit", told("it-1"), "image_task")
    database.push("save", {"files": files})
    database.push("somebody_s_own", {"files": "of another kind"})

    (item,) = gallery.of_run(a_run(database), ALL, None)["items"]

    assert (item["state"], [picture["reach"] for picture in item["pictures"]]) == ("stored", ["ok", "outside"])
    assert item["pictures"][0]["link"].startswith("dags/kites/pictures/")
    assert item["pictures"][1]["link"] is None
    other = Gallery(database.session, (), PictureLinks("secret")).of_run(a_run(database), ALL, None)
    assert other["items"][0]["pictures"][0]["reach"] == "no_roots"


def test_what_only_a_sensor_knows_is_shown_after_what_the_run_submitted(
    database: MetadataDatabase, gallery: Gallery
) -> None:
    database.push("submit", told("it-1"), "image_task")
    database.push("wait", [told(each, state="succeeded", image_count_requested=1) for each in ("it-1", "it-2")])

    assert ids(gallery.of_run(a_run(database), ALL, None)) == ["it-1", "it-2"]


def test_a_task_shows_what_it_submitted_read_or_waits_for(database: MetadataDatabase, gallery: Gallery) -> None:
    database.push("submit", told("it-1"), "image_task")
    database.add_task("submit")
    database.push("read", [told("it-1", state="succeeded", image_count_requested=1)])
    database.add_task("read")
    waits = ["it-1", "elsewhere", *(f"it-{number:03}" for number in range(MANY))]
    database.defer("wait", {"image_task_ids": waits})

    def of(task_id: str, cursor: str | None = None) -> dict[str, Any]:
        instance = records.task_instance(database.session, "kites", "a_run", task_id, -1)
        assert instance is not None
        return gallery.of_task(a_run(database), task_id, -1, instance, cursor)

    assert (ids(of("submit")), ids(of("read"))) == (["it-1"], ["it-1"])
    assert list(chain(*all_pages(lambda cursor: of("wait", cursor)))) == waits
    known, unknown = of("wait")["items"][:2]
    assert (known["prompt"], known["task_id"], known["state"]) == ("kite it-1", "submit", "ready")
    assert (unknown["prompt"], unknown["task_id"], unknown["state"]) == (None, "wait", "waiting")
    assert (of("wait")["task_state"], of("submit")["task_state"]) == ("deferred", "success")
    assert records.task_instance(database.session, "kites", "a_run", "wait", 5) is None


def test_a_batch_shows_its_rows_and_says_where_they_cannot_be_read(
    database: MetadataDatabase, gallery: Gallery, tmp_path: Path
) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"id": "r0", "status": "succeeded"}\n{"id": "r1", "status": "failed"}\n')
    manifest = {"manifest": f"file://{tmp_path}/manifest.jsonl", "total": 2, "succeeded": 1, "failed": 1}
    for task_id, result in (("make", manifest), ("gone", {"manifest": f"file://{tmp_path}/x"}), ("outside", None)):
        database.push(task_id, {"folder": "s3://elsewhere/x", "total": 2, "generation": 0}, "image_batch")
        database.add_task(task_id, state="success")
        if result:
            database.push(task_id, result)
    run = a_run(database)

    def of(task_id: str, wanted: Filter = ALL) -> dict[str, Any]:
        page = gallery.of_batch(run, task_id, -1, wanted, None)
        assert page is not None
        return page

    assert [item["state"] for item in of("make")["items"]] == ["ready", "failed"]
    assert [item["key"] for item in of("make", Filter(state="failed"))["items"]] == ["1/make/-1/r1"]
    assert [of(task_id)["reach"] for task_id in ("make", "gone", "outside")] == ["ok", "missing", "outside"]
    assert gallery.of_batch(run, "submit", -1, ALL, None) is None
    cards = {item["task_id"]: item for item in gallery.of_run(run, ALL, None)["items"]}
    assert (cards["make"]["state"], cards["make"]["counts"]["succeeded"]) == ("stored", 1)


@pytest.mark.parametrize("cursor", ["x", "é", "W10", "WzEsMl0", "²", "9" * 5000, "Ww" * 50_000])
def test_a_made_up_cursor_shows_the_first_page(database: MetadataDatabase, gallery: Gallery, cursor: str) -> None:
    database.push("submit", told("it-1"), "image_task", timestamp=datetime.now(UTC))
    instance = records.Instance(state="deferred", started_at=NOW, waits_for=("it-2",))

    assert ids(gallery.newest({"kites"}, ALL, cursor)) == ["it-1"]
    assert ids(gallery.of_run(a_run(database), ALL, cursor)) == ["it-1"]
    assert ids(gallery.of_task(a_run(database), "wait", -1, instance, cursor)) == ["it-2"]
