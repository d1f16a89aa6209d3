from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.tasks import ImageRequest, TaskState
from tests.flow_driver import NOW, drive, response
from tests.services.tasks_api_cases import PICTURE, TASK_ID, finished, record

SERVICE = AceDataCloud()


def submitted(answer: Any, *, key: str | None = None, **fields: Any) -> Any:
    request = ImageRequest(**{"prompt": "a red kite", "model": "gpt-image-2", **fields})
    return drive(SERVICE.submit(request, key=key), response(answer))


def read(answer: Any) -> Any:
    return drive(SERVICE.get_task(TASK_ID), response(answer)).result


def test_a_submission_asks_to_be_answered_at_once() -> None:
    driven = submitted({"task_id": TASK_ID}, options={"size": "1024x1024", "n": 2})

    (request,) = driven.requests
    assert (request.method, request.path) == ("POST", "/openai/images/generations")
    assert request.body == {
        "model": "gpt-image-2",
        "prompt": "a red kite",
        "size": "1024x1024",
        "n": 2,
        "async": True,
    }


def test_a_submitted_image_task_runs_and_remembers_what_was_asked() -> None:
    task = submitted({"success": True, "task_id": TASK_ID, "trace_id": "t-1"}, options={"n": 2}).result

    assert (task.id, task.state, task.trace_id) == (TASK_ID, TaskState.RUNNING, "t-1")
    assert (task.model, task.prompt, task.image_count_requested) == ("gpt-image-2", "a red kite", 2)
    assert (task.created_at, task.finished_at) == (NOW, None)


def test_callback_and_trace_id_go_along() -> None:
    driven = submitted({"task_id": TASK_ID}, callback_url="https://me.example/done", trace_id="mine", key="derived")

    assert driven.requests[0].body["callback_url"] == "https://me.example/done"
    assert driven.requests[0].body["trace_id"] == "mine"
    assert driven.result.trace_id == "mine"


def test_the_submission_key_is_the_trace_id_of_a_request_without_one() -> None:
    driven = submitted({"task_id": TASK_ID}, key="derived")

    assert driven.requests[0].body["trace_id"] == "derived"
    assert driven.result.trace_id == "derived"


def test_an_error_at_submit_names_the_trace_id_that_was_sent() -> None:
    driven = submitted(b"<html>", key="derived")

    assert type(driven.error) is UnknownOutcomeError
    assert driven.error.trace_id == "derived"


def test_an_answer_with_id_and_pictures_is_finished() -> None:
    answer = {"success": True, "task_id": TASK_ID, "data": [PICTURE, PICTURE], "usage": {"total_tokens": 10}}

    task = submitted(answer).result

    assert (task.id, task.state, len(task.images)) == (TASK_ID, TaskState.SUCCEEDED, 2)
    assert (task.usage, task.finished_at) == ({"total_tokens": 10}, NOW)


def test_an_answer_with_pictures_but_no_id_gets_an_id_that_is_the_record() -> None:
    task = submitted({"created": 1790000000, "data": [PICTURE]}, options={"n": 2}, key="derived").result

    assert task.id.startswith("inline:")
    again = drive(SERVICE.get_task(task.id))
    assert again.requests == []
    assert again.result.id == task.id
    assert again.result.as_xcom("c")["images"] == task.as_xcom("c")["images"]
    assert (again.result.state, again.result.model, again.result.prompt) == (task.state, task.model, task.prompt)
    assert (again.result.image_count_requested, again.result.finished_at) == (2, NOW)
    assert again.result.trace_id == "derived"


def test_base64_without_an_id_is_an_error_that_says_it_was_billed() -> None:
    error = submitted({"created": 1790000000, "data": [{"b64_json": "aGVsbG8="}]}).error

    assert type(error) is ImageTaskError
    assert (error.billed, error.retryable) == ("yes", False)
    assert "response_format" in error.message


def test_base64_with_an_id_can_be_read_again() -> None:
    task = submitted({"task_id": TASK_ID, "data": [{"b64_json": "aGVsbG8="}]}).result

    assert (task.id, task.state) == (TASK_ID, TaskState.SUCCEEDED)
    assert task.images[0].content() == b"hello"


@pytest.mark.parametrize("answer", [{}, {"success": True}, {"task_id": None}, {"data": []}, [], None, "accepted"])
def test_an_answer_without_id_and_pictures_leaves_the_outcome_unknown(answer: Any) -> None:
    driven = submitted(answer)

    assert type(driven.error) is UnknownOutcomeError
    assert (driven.error.billed, driven.error.retryable) == ("unknown", False)


def test_a_refusal_inside_http_200_is_that_refusal() -> None:
    error = submitted({"success": False, "error": {"code": "used_up", "message": "no balance"}}).error

    assert type(error).__name__ == "QuotaExceededError"


@pytest.mark.parametrize("name", ["elapsed", "duration"])
def test_the_duration_has_an_old_and_a_new_name(name: str) -> None:
    old = record(finished_at=1790000041.75, response={"data": [PICTURE]})

    assert read({**old, name: 41.25}).duration == 41.25


def test_a_missing_duration_is_worked_out() -> None:
    assert read(record(started_at=1790000000.5, finished_at=1790000041.75, response={})).duration == 41.25
    assert read(record(finished_at=1790000041.75, response={})).duration is None


def test_a_finished_record_becomes_plain_data() -> None:
    answer = {"success": True, "data": [PICTURE, {"b64_json": "aGVsbG8="}], "usage": {"total_tokens": 10}}

    task = read(finished(answer))

    assert task.as_xcom("mine") == {
        "id": TASK_ID,
        "service": "acedatacloud",
        "conn_id": "mine",
        "trace_id": "t-1",
        "state": "succeeded",
        "model": "gpt-image-2",
        "prompt": "a red kite",
        "images": [
            {"index": 0, "url": PICTURE["url"], "path": None, "inline": False},
            {"index": 1, "url": None, "path": None, "inline": True},
        ],
        "image_count_requested": 1,
        "created_at": "2026-09-21T14:13:20.250000+00:00",
        "finished_at": "2026-09-21T14:14:01.750000+00:00",
        "duration": 41.25,
        "usage": {"total_tokens": 10},
    }


def test_a_data_url_is_an_inline_picture() -> None:
    (image,) = read(finished({"data": [{"url": "data:image/png;base64,aGVsbG8="}]})).images

    assert (image.url, image.content()) == (None, b"hello")


def test_the_whole_record_is_kept_for_the_hook() -> None:
    whole = finished({"data": [PICTURE]}, _id="6a0f", application_id="app")

    assert read(whole).raw == whole


def test_an_error_inside_a_status_answer_is_no_record() -> None:
    driven = drive(SERVICE.get_task(TASK_ID), response({"error": {"code": "invalid_token", "message": "who?"}}))

    assert type(driven.error).__name__ == "AuthenticationError"


def test_a_trace_id_is_looked_up_alone() -> None:
    driven = drive(SERVICE.get_task_by_trace_id("mine"), response(record(trace_id=None)))

    assert driven.requests[0].body == {"action": "retrieve", "trace_id": "mine"}
    assert (driven.result.id, driven.result.trace_id) == (TASK_ID, "mine")


def test_a_trace_id_that_nobody_knows_is_not_found_but_named() -> None:
    task = drive(SERVICE.get_task_by_trace_id("mine"), response({})).result

    assert (task.state, task.id, task.trace_id) == (TaskState.NOT_FOUND, "", "mine")


def test_several_are_asked_for_with_a_limit_and_matched_by_id() -> None:
    items = [record(id="c"), record(id="a"), record(id="a stranger")]

    driven = drive(SERVICE.get_tasks(["a", "b", "c"]), response({"items": items, "count": 3}))

    assert driven.requests[0].body == {"action": "retrieve_batch", "ids": ["a", "b", "c"], "limit": 3}
    assert list(driven.result) == ["a", "b", "c"]
    assert [task.state for task in driven.result.values()] == [
        TaskState.RUNNING,
        TaskState.NOT_FOUND,
        TaskState.RUNNING,
    ]
    assert driven.result["c"].id == "c"


def test_one_alone_is_not_asked_for_as_a_batch() -> None:
    driven = drive(SERVICE.get_tasks(["a"]), response(record(id="a")))

    assert driven.requests[0].body == {"action": "retrieve", "id": "a"}


def test_many_are_asked_for_in_groups_of_fifty_each_once() -> None:
    ids = [f"id-{number}" for number in range(120)]

    driven = drive(SERVICE.get_tasks(ids + ids[:5]), *[response({"items": [], "count": 0})] * 3)

    assert [request.body["limit"] for request in driven.requests] == [50, 50, 20]
    assert [image_task_id for request in driven.requests for image_task_id in request.body["ids"]] == ids
    assert list(driven.result) == ids


def test_an_inline_id_among_others_is_not_asked_for() -> None:
    inline = submitted({"data": [PICTURE]}).result.id

    driven = drive(SERVICE.get_tasks([inline, "a"]), response(record(id="a")))

    assert driven.requests[0].body == {"action": "retrieve", "id": "a"}
    assert [task.id for task in driven.result.values()] == [inline, "a"]


@pytest.mark.parametrize("answer", [{}, {"items": None}, {"items": {}}, {"count": 3}])
def test_a_batch_without_items_is_a_protocol_error(answer: dict[str, Any]) -> None:
    driven = drive(SERVICE.get_tasks(["a", "b"]), *[response(answer)] * 5)

    assert type(driven.error) is ProtocolError


def test_a_list_passes_its_filters_on() -> None:
    flow = SERVICE.list_tasks(type="images", limit=3, created_at_min=1.5, ids=None)

    driven = drive(flow, response({"items": [record(id="a")], "count": 90}))

    assert driven.requests[0].body == {
        "action": "retrieve_batch",
        "type": "images",
        "offset": 0,
        "limit": 3,
        "created_at_min": 1.5,
    }
    assert [task.id for task in driven.result] == ["a"]


def test_a_list_refuses_a_filter_that_does_not_exist() -> None:
    error = drive(SERVICE.list_tasks(state="failed")).error

    assert type(error) is InvalidRequestError
    assert "state" in str(error)
    assert "created_at_min" in str(error)


def test_the_connection_is_checked_with_an_empty_batch() -> None:
    driven = drive(SERVICE.check_connection(), response({"items": [], "count": 0}))

    assert driven.requests[0].body == {"action": "retrieve_batch", "ids": [], "limit": 1}
    assert "balance" in driven.result
