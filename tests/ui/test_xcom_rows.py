"""XComs as rows: those of today's attempts only, with the iteration of a loop, page by page, on every Airflow."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_imagetasks.ui import airflow_records as records
from airflow_provider_imagetasks.ui import task_instances as instances
from airflow_provider_imagetasks.ui.filters import Filter
from airflow_provider_imagetasks.ui.gallery import PAGE, Gallery
from airflow_provider_imagetasks.ui.xcom_rows import HAS_ATTEMPTS, first_id
from tests.ui.conftest import NOW, RUN_ID, MetadataDatabase, a_run

WITH_ATTEMPTS = pytest.mark.skipif(not HAS_ATTEMPTS, reason="Airflow keeps no attempts and has no loops before 3.4")
ALL = Filter()


def told(image_task_id: str) -> dict[str, Any]:
    return {"id": image_task_id, "service": "kie", "prompt": f"kite {image_task_id}"}


def stored(image_task_id: str) -> dict[str, Any]:
    return {"files": [{"uri": f"file:///{image_task_id}.png", "image_task_id": image_task_id}]}


def loop_of(database: MetadataDatabase, iterations: int) -> uuid.UUID:
    """Push what the tasks of a loop do in each iteration, and return its region."""
    region = database.add_region("make")
    for index in reversed(range(iterations)):
        at = {"region": (region, index)}
        database.push("make.submit", told(f"it-{index}"), "image_task", **at)
        database.push("make.save", stored(f"it-{index}"), **at)
        for task_id in ("make.submit", "make.save"):
            database.add_task(task_id, **at)
    return region


@pytest.mark.parametrize("moment", [NOW, datetime(2039, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)])
def test_ids_from_a_moment_on_are_told_from_earlier_ones(moment: datetime) -> None:
    first = first_id(moment)

    assert (first.version, first.variant) == (7, uuid.RFC_4122)
    assert first.int >> 80 == int(moment.timestamp() * 1000)
    assert first > first_id(moment - timedelta(milliseconds=1))


@WITH_ATTEMPTS
@pytest.mark.parametrize("key", records.SUBMISSION_KEYS)
def test_what_an_attempt_pushed_that_was_cleared_is_not_shown_for_today_s(
    database: MetadataDatabase, gallery: Gallery, key: str
) -> None:
    database.push("submit", told("old"), key, timestamp=datetime.now(UTC))
    database.push("save", stored("old"))
    database.archive("submit")
    database.archive("save")

    run = a_run(database)
    assert gallery.of_run(run, ALL, None)["items"] == gallery.newest({"kites"}, ALL, None)["items"] == []
    assert gallery.of_run(run, ALL, None)["total"] == 0
    assert records.dags_with_image_tasks(database.session, NOW) == set()
    assert records.places_of_submissions(database.session, 1) == set()

    database.push("submit", told("new"), "image_task", timestamp=datetime.now(UTC))
    instance = instances.task_instance(database.session, "kites", RUN_ID, "submit", -1)
    assert instance is not None
    pages = (gallery.of_run(run, ALL, None), gallery.newest({"kites"}, ALL, None))
    for page in (*pages, gallery.of_task(run, "submit", -1, instance, None)):
        assert [(item["image_task_id"], item["pictures"]) for item in page["items"]] == [("new", [])]


@WITH_ATTEMPTS
def test_iterations_of_a_loop_stand_side_by_side_and_each_has_its_own_pictures(
    database: MetadataDatabase, gallery: Gallery
) -> None:
    region = loop_of(database, 3)

    items = gallery.of_run(a_run(database), ALL, None)["items"]

    assert [(item["iteration"], item["map_index"], item["image_task_id"]) for item in items] == [
        (index, -1, f"it-{index}") for index in range(3)
    ]
    assert [[picture["uri"] for picture in item["pictures"]] for item in items] == [
        [f"file:///it-{index}.png"] for index in range(3)
    ]
    assert len({item["key"] for item in items}) == 3
    assert {(item["region_id"], item["region_index"]) for item in items} == {(str(region), i) for i in range(3)}


@WITH_ATTEMPTS
def test_the_tab_of_an_iteration_shows_what_it_submitted_or_stored_and_no_other_s(
    database: MetadataDatabase, gallery: Gallery
) -> None:
    region = loop_of(database, 3)

    for task_id in ("make.submit", "make.save"):
        for index in range(3):
            place = f"{region}/{index}"
            instance = instances.task_instance(database.session, "kites", RUN_ID, task_id, -1, place)
            assert instance is not None
            page = gallery.of_task(a_run(database), task_id, -1, instance, None)
            assert [item["image_task_id"] for item in page["items"]] == [f"it-{index}"]
        assert instances.task_instance(database.session, "kites", RUN_ID, task_id, -1) is None


@WITH_ATTEMPTS
def test_a_failure_in_a_loop_offers_the_clear_of_its_own_iteration(
    database: MetadataDatabase, gallery: Gallery
) -> None:
    region = database.add_region("make")
    for index, state in enumerate(("success", "failed")):
        at = {"region": (region, index)}
        refused = {"prompt": "a kite", "service": "kie", "error": {"class": "ContentPolicyError", "billed": "no"}}
        database.push("make.submit", refused, "image_task_refused", **at)
        database.add_task("make.submit", state=state, **at)

    items = gallery.of_run(a_run(database), ALL, None)["items"]

    clears = [item["clears"][0] for item in items]
    assert [(clear["iteration"], clear["region_index"]) for clear in clears] == [(0, 0), (1, 1)]
    assert len({clear["instance_id"] for clear in clears}) == 2
    assert [item["log_at"]["region_index"] for item in items] == [0, 1]


@WITH_ATTEMPTS
def test_a_mapped_task_within_a_loop_has_both_its_index_and_its_iteration(
    database: MetadataDatabase, gallery: Gallery
) -> None:
    loop = database.add_region("make")
    for iteration in range(2):
        expansion = database.add_region("make.submit", parent=(loop, iteration))
        for index in range(2):
            database.push("make.submit", told(f"it-{index}-{iteration}"), "image_task", region=(expansion, index))

    items = gallery.of_run(a_run(database), ALL, None)["items"]

    places = [(item["map_index"], item["iteration"], item["image_task_id"]) for item in items]
    assert places == [(index, round_, f"it-{index}-{round_}") for index in range(2) for round_ in range(2)]


@WITH_ATTEMPTS
def test_a_mapped_task_is_found_by_its_index_as_by_its_region(database: MetadataDatabase, gallery: Gallery) -> None:
    expansion = database.add_region("submit")
    for index in range(2):
        at = {"region": (expansion, index)}
        database.push("submit", told(f"it-{index}"), "image_task", **at)
        database.add_task("submit", **at)

    for region in ("", f"{expansion}/1"):
        instance = instances.task_instance(database.session, "kites", RUN_ID, "submit", 1, region)
        assert instance is not None
        (item,) = gallery.of_task(a_run(database), "submit", 1, instance, None)["items"]
        assert (item["image_task_id"], item["map_index"], "iteration" in item) == ("it-1", 1, False)


@WITH_ATTEMPTS
def test_pages_of_a_loop_leave_nothing_out_and_show_nothing_twice(database: MetadataDatabase, gallery: Gallery) -> None:
    count, region, moment = PAGE + 5, database.add_region("make"), datetime.now(UTC)
    for index in range(count):
        # All at the same moment, as far as the clock tells.
        database.push("make.submit", told(f"it-{index}"), "image_task", region=(region, index), timestamp=moment)

    of_run = lambda cursor: gallery.of_run(a_run(database), ALL, cursor)  # noqa: E731
    newest = lambda cursor: gallery.newest({"kites"}, ALL, cursor)  # noqa: E731
    for read in (of_run, newest):
        first = read(None)
        second = read(first["next"])
        found = [item["image_task_id"] for page in (first, second) for item in page["items"]]
        assert (len(found), len(set(found)), second["next"]) == (count, count, None)
