"""The pages of the gallery, from Airflow's own tables: what is on them, in which order, and what comes after."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.ui import airflow_records as records
from airflow_provider_imagetasks.ui import task_instances as instances
from airflow_provider_imagetasks.ui.filters import Filter
from airflow_provider_imagetasks.ui.gallery import PAGE, Gallery
from airflow_provider_imagetasks.ui.picture_routes import PictureLinks
from tests.ui.conftest import NOW, RUN_ID, MetadataDatabase, a_run

ALL = Filter()
MANY = PAGE + 5


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
    database.push("other", told("other"), "image_task", dag_id="other_dag", dag_run_id=9, timestamp=now)
    database.push("no_submission", {"files": []}, timestamp=now)


def test_the_newest_come_first_page_by_page(database: MetadataDatabase, gallery: Gallery, recent: None) -> None:
    pages = newest(database, gallery)

    assert [len(page) for page in pages] == [PAGE, MANY - PAGE]
    assert list(chain(*pages)) == [f"it-{number:03}" for number in range(MANY)]
    assert gallery.newest(set(), ALL, None) == {"items": [], "next": None, "looked_at": 0, "total": 0}


def test_a_filter_is_applied_before_a_page_is_full(database: MetadataDatabase, gallery: Gallery, recent: None) -> None:
    pages = newest(database, gallery, wanted=Filter(service="kie"))

    assert [len(page) for page in pages] == [PAGE, MANY - 2 - PAGE]
    assert list(chain(*pages)) == [f"it-{number:03}" for number in range(MANY) if number not in (0, 20)]
    assert newest(database, gallery, wanted=Filter(service="fal")) == [["it-000", "it-020"]]
    assert newest(database, gallery, wanted=Filter(state="failed")) == [[]]


def test_a_run_is_shown_in_the_order_of_its_tasks(database: MetadataDatabase, gallery: Gallery, recent: None) -> None:
    run = a_run(database)

    pages = all_pages(lambda cursor: gallery.of_run(run, ALL, cursor))

    assert list(chain(*pages)) == ["old", *(f"it-{number:03}" for number in range(MANY))]
    assert [len(page) for page in pages] == [PAGE, MANY + 1 - PAGE]


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
        instance = instances.task_instance(database.session, "kites", RUN_ID, task_id, -1)
        assert instance is not None
        return gallery.of_task(a_run(database), task_id, -1, instance, cursor)

    assert (ids(of("submit")), ids(of("read"))) == (["it-1"], ["it-1"])
    assert list(chain(*all_pages(lambda cursor: of("wait", cursor)))) == waits
    known, unknown = of("wait")["items"][:2]
    assert (known["prompt"], known["task_id"], known["state"]) == ("kite it-1", "submit", "ready")
    assert (unknown["prompt"], unknown["task_id"], unknown["state"]) == (None, "wait", "waiting")
    assert (of("wait")["task_state"], of("submit")["task_state"]) == ("deferred", "success")
    assert instances.task_instance(database.session, "kites", RUN_ID, "wait", 5) is None


def test_a_card_has_one_key_wherever_it_stands_so_that_links_to_it_lead_somewhere(
    database: MetadataDatabase, gallery: Gallery
) -> None:
    known = ("it-1", "elsewhere-1", "elsewhere-2")
    database.push("submit", told("it-1"), "image_task")
    database.push("wait", [told(each, state="succeeded", image_count_requested=1) for each in known])
    for task_id in ("submit", "wait"):
        database.add_task(task_id)

    def keys_on_tab_of(task_id: str) -> dict[str, str]:
        instance = instances.task_instance(database.session, "kites", RUN_ID, task_id, -1)
        assert instance is not None
        page = gallery.of_task(a_run(database), task_id, -1, instance, None)
        return {item["image_task_id"]: item["key"] for item in page["items"]}

    run = gallery.of_run(a_run(database), ALL, None)
    of_run = {item["image_task_id"]: item["key"] for item in run["items"]}

    assert len(set(of_run.values())) == 3
    assert keys_on_tab_of("wait") == of_run
    assert keys_on_tab_of("submit") == {"it-1": of_run["it-1"]}


def test_a_page_says_how_many_it_looked_at_of_how_many(
    database: MetadataDatabase, gallery: Gallery, recent: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_imagetasks.ui.paging._MOST_READ", PAGE)
    rare = Filter(search="kite it-064")

    first = gallery.newest({"kites"}, rare, None)
    second = gallery.newest({"kites"}, rare, first["next"])

    assert (ids(first), first["looked_at"], first["total"]) == ([], PAGE, MANY)
    assert (ids(second), second["looked_at"], second["next"]) == (["it-064"], MANY - PAGE, None)
    assert gallery.of_run(a_run(database), ALL, None)["total"] == MANY + 1


def test_time_run_and_order_are_asked_of_the_database(
    database: MetadataDatabase, gallery: Gallery, recent: None
) -> None:
    def found(**wanted: Any) -> list[str]:
        return list(chain(*newest(database, gallery, wanted=Filter(**wanted))))

    everything = [f"it-{number:03}" for number in range(MANY)]
    assert found(order="oldest") == everything[::-1]
    now = datetime.now(UTC)
    recent_ones = found(since=now - timedelta(seconds=10))
    assert recent_ones == everything[: len(recent_ones)]
    assert 0 < len(recent_ones) <= 11
    assert found(until=now - timedelta(seconds=30))[-1] == everything[-1]
    assert found(run_id="another") == []
    assert found(since=now - timedelta(days=400)) == everything


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-03-01T00:00:00"])
def test_a_time_that_no_calendar_has_or_without_a_zone_breaks_nothing(
    database: MetadataDatabase, gallery: Gallery, recent: None, moment: str
) -> None:
    at = datetime.fromisoformat(moment)

    for wanted in (Filter(since=at), Filter(until=at), Filter(since=at, until=at)):
        assert gallery.newest({"kites"}, wanted, None)["total"] <= MANY


ORDERED = {
    # Of those of which nothing is known the order stays.
    "failed": ["it-003", "it-000", "it-001", "it-002", "it-004"],
    "duration": ["it-002", "it-004", "it-000", "it-001", "it-003"],
    "cost": ["it-000", "it-001", "it-002", "it-003", "it-004"],
}


@pytest.mark.parametrize("order", ORDERED)
def test_what_became_of_image_tasks_orders_all_of_them_not_only_those_of_a_page(
    database: MetadataDatabase, gallery: Gallery, monkeypatch: pytest.MonkeyPatch, order: Any
) -> None:
    monkeypatch.setattr("airflow_provider_imagetasks.ui.paging.PAGE", 2)
    now = datetime.now(UTC)
    for number in range(5):
        submitted = told(f"it-{number:03}")
        database.push("submit", submitted, "image_task", map_index=number, timestamp=now - timedelta(seconds=number))
    for number, seconds in ((2, 9.5), (4, 4)):
        record = {**told(f"it-{number:03}"), "state": "succeeded", "duration": seconds, "image_count_requested": 1}
        database.push("wait", record, map_index=number)
    database.push("wait", [{"id": "it-003", "class": "ImageTaskFailedError"}], "image_task_failures", map_index=3)

    wanted = Filter(order=order)
    run = all_pages(lambda cursor: gallery.of_run(a_run(database), wanted, cursor))
    everywhere = newest(database, gallery, wanted=wanted)

    assert run == everywhere == [ORDERED[order][:2], ORDERED[order][2:4], ORDERED[order][4:]]
    assert gallery.of_run(a_run(database), wanted, None)["looked_at"] == 5


def test_batches_and_what_nobody_submitted_have_their_place_in_an_order(
    database: MetadataDatabase, gallery: Gallery
) -> None:
    database.push("submit", told("it-0"), "image_task")
    for index, (cost, failed) in enumerate([(0.5, 0), (2, 3)]):
        database.push("make", {"service": "kie", "total": 9}, "image_batch", map_index=index)
        result = {"manifest": "m", "total": 9, "failed": failed, "cost": cost, "currency": "USD"}
        database.push("make", result, map_index=index)
    database.push("wait", [{"id": "elsewhere", "class": "ImageTaskFailedError"}], "image_task_failures")

    def found(order: Any) -> list[Any]:
        page = gallery.of_run(a_run(database), Filter(order=order), None)
        return [item.get("image_task_id") or item["map_index"] for item in page["items"]]

    assert found("cost") == [1, 0, "elsewhere", "it-0"]
    assert found("failed") == ["elsewhere", 1, 0, "it-0"]


def test_of_more_than_can_be_ordered_it_is_said_how_many_were(
    database: MetadataDatabase, gallery: Gallery, recent: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_imagetasks.ui.gallery.MOST_SORTED", 7)

    page = gallery.newest({"kites"}, Filter(order="failed"), None)

    assert (len(page["items"]), page["looked_at"], page["total"], page["next"]) == (7, 7, MANY, None)


def test_what_was_asked_for_is_shown_and_no_signature_of_an_address(
    database: MetadataDatabase, gallery: Gallery, tmp_path: Path
) -> None:
    images = [f"file://{tmp_path}/before.png", "https://host/a.png?X-Signature=secret", "file:///etc/passwd"]
    fields = {
        "prompt": "a kite " * 90,
        "model": "m",
        "options": {"size": "1x2", "n": 2},
        "images": images,
        "mask": "None",
    }
    database.render("submit", fields)

    asked = gallery.request_of(a_run(database), "submit", -1, None)

    assert (asked["prompt"], asked["model"], asked["options"]) == (fields["prompt"], "m", {"size": "1x2", "n": "2"})
    assert [image["reach"] for image in asked["images"]] == ["ok", "outside", "outside"]
    assert (asked["images"][1]["uri"], asked["mask"]) == ("https://host/a.png", None)
    assert "secret" not in json.dumps(asked)


def test_what_is_ready_is_about_to_be_stored_while_the_run_goes_on_and_not_stored_after_it(
    database: MetadataDatabase, gallery: Gallery
) -> None:
    database.add_run(2, "over", state="failed")
    for key, run_id in ((1, RUN_ID), (2, "over")):
        database.push("submit", told("it-1"), "image_task", dag_run_id=key, run_id=run_id)
        record = told("it-1", state="succeeded", image_count_requested=1)
        database.push("wait", record, dag_run_id=key, run_id=run_id)

    states = []
    for run_id in (RUN_ID, "over"):
        run = records.run_of(database.session, "kites", run_id)
        assert run is not None
        states += [item["state"] for item in gallery.of_run(run, ALL, None)["items"]]

    assert states == ["ready", "not_stored"]


def test_a_failed_download_is_told_where_its_picture_is_missing(
    database: MetadataDatabase, gallery: Gallery, tmp_path: Path
) -> None:
    database.push("submit", told("it-1"), "image_task", map_index=4)
    database.push("wait", told("it-1", state="succeeded", image_count_requested=2), map_index=4)
    failure = {"id": "it-1", "class": "DownloadError", "message": "HTTP 404", "billed": "yes", "advice": "A retry."}
    database.push("save", [failure], "image_task_failures", map_index=4)
    database.push(
        "save", {"files": [{"uri": f"file://{tmp_path}/a", "image_task_id": "it-1"}]}, "image_files", map_index=4
    )
    database.add_task("save", map_index=4, state="failed")
    instance = instances.task_instance(database.session, "kites", RUN_ID, "save", 4)
    assert instance is not None

    (item,) = gallery.of_run(a_run(database), Filter(state="failed"), None)["items"]
    (own,) = gallery.of_task(a_run(database), "save", 4, instance, None)["items"]

    for each in (item, own):
        assert (each["state"], each["error"]["message"], each["advice"]) == ("failed", "HTTP 404", "A retry.")
        assert each["log_at"] == {"task_id": "save", "map_index": 4}
        assert each["clears"] == [{"task_id": "save", "map_index": 4, "pays": "nothing"}]
        assert len(each["pictures"]) == 1


def test_a_failure_after_which_airflow_runs_the_task_again_is_not_final(
    database: MetadataDatabase, gallery: Gallery
) -> None:
    refused = {"prompt": "a kite", "service": "kie", "error": {"class": "RateLimitError", "billed": "no"}}
    # The last three were cleared, and are about to run.
    states = ("up_for_retry", "failed", "queued", "scheduled", None)
    for index, state in enumerate(states):
        database.push("submit", refused, "image_task_refused", map_index=index)
        database.add_task("submit", map_index=index, state=state)

    items = gallery.of_run(a_run(database), ALL, None)["items"]

    assert [item["state"] for item in items] == ["retried", "failed", *["retried"] * 3]
    assert items[1]["advice"] == "A retry asks again."


def test_a_task_that_failed_as_a_whole_says_why(database: MetadataDatabase, gallery: Gallery) -> None:
    error = {"class": "InvalidRequestError", "code": None, "message": "requests_path is not there", "billed": "no"}
    database.push("make", error, "image_task_error")
    database.add_task("make", state="failed")
    instance = instances.task_instance(database.session, "kites", RUN_ID, "make", -1)
    assert instance is not None

    for page in (
        gallery.of_run(a_run(database), ALL, None),
        gallery.of_task(a_run(database), "make", -1, instance, None),
    ):
        (item,) = page["items"]
        assert (item["state"], item["error"]["message"]) == ("failed", "requests_path is not there")


@pytest.mark.parametrize("cursor", ["x", "é", "W10", "WzEsMl0", "²", "9" * 5000, "Ww" * 50_000])
def test_a_made_up_cursor_shows_the_first_page(database: MetadataDatabase, gallery: Gallery, cursor: str) -> None:
    database.push("submit", told("it-1"), "image_task", timestamp=datetime.now(UTC))
    instance = instances.Instance(state="deferred", started_at=NOW, waits_for=("it-2",))

    assert ids(gallery.newest({"kites"}, ALL, cursor)) == ["it-1"]
    assert ids(gallery.of_run(a_run(database), ALL, cursor)) == ["it-1"]
    assert ids(gallery.of_task(a_run(database), "wait", -1, instance, cursor)) == ["it-2"]
