"""Checks of the rows of sections 1.7 and 1.8: several records in one answer, and where the pictures are."""

from __future__ import annotations

from typing import Any

from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.services.tasks_api import FILTERS
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.tasks import ImageRequest, TaskState
from tests.flow_driver import DrivenFlow, drive, response
from tests.services.row_cases import Rules
from tests.services.tasks_api_cases import PICTURE, TASK_ID, finished, record

SERVICE = AceDataCloud()
RULES = Rules()
SUBMISSION = ImageRequest(prompt="a red kite", model="gpt-image-2")


def batch(items: list[Any], **fields: Any) -> Response:
    return response({"items": items, "count": len(items)} | fields)


def names(count: int, first: int = 0) -> list[str]:
    return [f"id-{number}" for number in range(first, first + count)]


def asked(driven: DrivenFlow, field: str) -> list[Any]:
    return [(request.body or {}).get(field) for request in driven.requests]


@RULES.row("1.7-limit")
def as_many_records_may_come_as_were_asked_for() -> None:
    driven = drive(SERVICE.get_tasks(names(30)), batch([record(id=name) for name in names(30)]))

    assert asked(driven, "limit") == [30]
    assert {task.state for task in driven.result.values()} == {TaskState.RUNNING}


@RULES.row("1.7-limit")
def a_list_names_its_limit_too() -> None:
    driven = drive(SERVICE.list_tasks(type="images"), batch([]))

    assert asked(driven, "limit") == [50]


@RULES.row("1.7-order")
def records_are_told_apart_by_their_id() -> None:
    items = [finished({"data": [PICTURE]}, id="c"), record(id="a"), finished({"error": "no luck"}, id="b")]

    tasks = drive(SERVICE.get_tasks(["a", "b", "c"]), batch(items)).result

    states = {name: (task.id, task.state) for name, task in tasks.items()}
    assert list(states.items()) == [
        ("a", ("a", TaskState.RUNNING)),
        ("b", ("b", TaskState.FAILED)),
        ("c", ("c", TaskState.SUCCEEDED)),
    ]


@RULES.row("1.7-order")
def a_record_that_nobody_asked_for_is_left_alone() -> None:
    tasks = drive(SERVICE.get_tasks(["a", "b"]), batch([record(id="a stranger"), record(id="a")])).result

    assert list(tasks) == ["a", "b"]
    assert tasks["b"].state is TaskState.NOT_FOUND


@RULES.row("1.7-missing")
def what_is_missing_is_not_found_and_has_not_failed() -> None:
    tasks = drive(SERVICE.get_tasks(["a", "b"]), batch([finished({"data": [PICTURE]}, id="b")])).result

    assert (tasks["a"].id, tasks["a"].state, tasks["a"].error) == ("a", TaskState.NOT_FOUND, None)
    assert tasks["b"].state is TaskState.SUCCEEDED


@RULES.row("1.7-missing")
def records_that_are_none_are_as_good_as_missing() -> None:
    tasks = drive(SERVICE.get_tasks(["a", "b"]), batch([None, {}, {"id": ""}, [], "a", record(id="b")])).result

    assert [task.state for task in tasks.values()] == [TaskState.NOT_FOUND, TaskState.RUNNING]


@RULES.row("1.7-groups")
def fifty_are_asked_for_at_once() -> None:
    groups = [names(50), names(50, 50), names(20, 100)]

    driven = drive(SERVICE.get_tasks(names(120)), *(batch([record(id=name) for name in group]) for group in groups))

    assert asked(driven, "ids") == groups
    assert asked(driven, "limit") == [50, 50, 20]
    assert asked(driven, "action") == ["retrieve_batch"] * 3
    assert list(driven.result) == names(120)


@RULES.row("1.7-groups")
def a_group_that_fails_is_asked_for_again_alone() -> None:
    groups = [names(50), names(10, 50)]
    down = response({"error": {"code": "api_error"}}, status=500)

    driven = drive(SERVICE.get_tasks(names(60)), batch([]), down, batch([record(id="id-55")]))

    assert asked(driven, "ids") == [groups[0], groups[1], groups[1]]
    assert driven.result["id-55"].state is TaskState.RUNNING


@RULES.row("1.7-count")
def the_count_does_not_say_how_many_records_there_are() -> None:
    for count in (0, 1, 900, None, "2"):
        tasks = drive(SERVICE.get_tasks(["a", "b"]), batch([record(id="a"), record(id="b")], count=count)).result

        assert [task.state for task in tasks.values()] == [TaskState.RUNNING] * 2


@RULES.row("1.7-count")
def a_list_is_read_page_by_page_until_one_is_not_full() -> None:
    pages = [names(50), names(50, 50), names(7, 100)]

    driven = drive(
        SERVICE.list_tasks(type="images"), *(batch([record(id=name) for name in page], count=107) for page in pages)
    )

    assert asked(driven, "offset") == [0, 50, 100]
    assert [task.id for task in driven.result] == names(107)


@RULES.row("1.7-count")
def a_list_ends_where_the_service_does_not_page() -> None:
    same = batch([record(id=name) for name in names(50)], count=900)

    driven = drive(SERVICE.list_tasks(), same, same)

    assert [task.id for task in driven.result] == names(50)


@RULES.row("1.7-count")
def a_limited_list_asks_for_no_more_than_that() -> None:
    pages = [names(50, 10), names(25, 60)]

    driven = drive(
        SERVICE.list_tasks(limit=75, offset=10), *(batch([record(id=name) for name in page]) for page in pages)
    )

    assert (asked(driven, "offset"), asked(driven, "limit")) == ([10, 60], [50, 25])
    assert len(driven.result) == 75


@RULES.row("1.7-filters")
def every_filter_is_passed_on_by_its_name() -> None:
    filters: dict[str, Any] = {
        "ids": ["a"],
        "trace_ids": ["t-1", "t-2"],
        "application_id": "app",
        "user_id": "user",
        "type": "images_edits",
        "offset": 24,
        "limit": 12,
        "created_at_min": 1790000000.5,
        "created_at_max": 1790003600,
    }

    (request,) = drive(SERVICE.list_tasks(**filters), batch([])).requests

    assert set(filters) == set(FILTERS)
    assert (request.method, request.path) == ("POST", "/openai/tasks")
    assert request.body == {"action": "retrieve_batch", **filters}


@RULES.row("1.8-flat")
def pictures_stand_in_data() -> None:
    task = drive(SERVICE.get_task(TASK_ID), response(finished({"success": True, "data": [PICTURE, PICTURE]}))).result

    assert [(image.index, image.url) for image in task.images] == [(0, PICTURE["url"]), (1, PICTURE["url"])]


@RULES.row("1.8-flat")
def an_answer_at_once_has_them_in_data_too() -> None:
    answer = {"success": True, "task_id": TASK_ID, "trace_id": "t-1", "data": [PICTURE]}

    task = drive(SERVICE.submit(SUBMISSION), response(answer)).result

    assert (task.id, task.trace_id, [image.url for image in task.images]) == (TASK_ID, "t-1", [PICTURE["url"]])


@RULES.row("1.8-nested")
def pictures_stand_one_level_deeper() -> None:
    nested = finished({"success": True, "data": {"created": 1790000041, "data": [PICTURE, {"b64_json": "aGVsbG8="}]}})

    task = drive(SERVICE.get_task(TASK_ID), response(nested)).result

    assert [(image.url, image.data) for image in task.images] == [(PICTURE["url"], None), (None, "aGVsbG8=")]


@RULES.row("1.8-nested")
def an_answer_at_once_may_have_them_there_too() -> None:
    answer = {"success": True, "task_id": TASK_ID, "data": {"created": 1790000041, "data": [PICTURE]}}

    task = drive(SERVICE.submit(SUBMISSION), response(answer)).result

    assert (task.state, [image.url for image in task.images]) == (TaskState.SUCCEEDED, [PICTURE["url"]])
