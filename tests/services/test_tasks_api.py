"""Submissions, status requests and lists by AceDataCloud's "OpenAI Images" guides and its "OpenAI Tasks API"."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    InvalidRequestError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.polling.reads import read_all
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.services.tasks_api import FILTERS
from airflow_provider_imagetasks.services.wire import Part, Request
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest
from tests.flow_driver import NOW, DrivenFlow, drive, response
from tests.services.wire_examples import (
    NOT_FOUND,
    PICTURE,
    RUNNING,
    SUCCEEDED,
    TASK_ID,
    URL,
    A,
    B,
    completed,
    finished_record,
    items,
    tasks_api_record,
)

SERVICE = get_service("acedatacloud")
FAMILY = pytest.mark.parametrize("service", ["acedatacloud", "xhuoapi", "local"])
PHOTO = ImageFile(name="photo.jpg", media_type="image/jpeg", content=b"\xff\xd8photo")
OTHER = ImageFile(name="other.png", media_type="image/png", content=b"\x89PNGother")
MASK = ImageFile(name="mask.png", media_type="image/png", content=b"\x89PNGmask")


def submitted(answer: Any, *, service: str = "acedatacloud", key: str | None = None, **fields: Any) -> Any:
    request = ImageRequest(**{"prompt": "a red kite", "model": "gpt-image-2", **fields})
    return drive(get_service(service).submit(request, key=key), response(answer))


def edited(service: str, **fields: Any) -> Request:
    """Return the request that is sent for pictures and a prompt."""
    request = completed(service, **fields)
    driven = drive(get_service(service).submit(request), response({"task_id": TASK_ID}))
    (sent,) = driven.requests
    assert (sent.method, sent.path) == ("POST", "/openai/images/edits")
    return sent


def running(*names: str) -> list[dict[str, Any]]:
    return [tasks_api_record(id=name) for name in names]


def names(count: int, first: int = 0) -> list[str]:
    return [f"id-{number}" for number in range(first, first + count)]


def asked(driven: DrivenFlow, field: str) -> list[Any]:
    return [request.body.get(field) for request in driven.requests]


def states(driven: DrivenFlow) -> dict[str, Any]:
    assert all(name == task.id for name, task in driven.result.items())
    return {name: task.state for name, task in driven.result.items()}


def test_a_submission_asks_to_be_answered_at_once_and_remembers_what_was_asked() -> None:
    answer = {"success": True, "task_id": TASK_ID, "trace_id": "t-1"}

    driven = submitted(answer, options={"size": "1024x1024", "n": 2})

    (request,) = driven.requests
    body = {"model": "gpt-image-2", "prompt": "a red kite", "size": "1024x1024", "n": 2, "async": True}
    assert (request.method, request.path, request.body) == ("POST", "/openai/images/generations", body)
    task = driven.result
    assert (task.id, task.state, task.trace_id) == (TASK_ID, RUNNING, "t-1")
    assert (task.model, task.prompt, task.image_count_requested) == ("gpt-image-2", "a red kite", 2)
    assert (task.created_at, task.finished_at) == (NOW, None)


@pytest.mark.parametrize(("fields", "sent"), [({"trace_id": "mine"}, "mine"), ({}, "derived")])
def test_the_trace_id_is_the_request_s_or_else_the_submission_key(fields: dict[str, str], sent: str) -> None:
    driven = submitted({"task_id": TASK_ID}, callback_url="https://me.example/done", key="derived", **fields)
    lost = submitted(b"<html>", key="derived", **fields)

    assert driven.requests[0].body["callback_url"] == "https://me.example/done"
    assert driven.requests[0].body["trace_id"] == driven.result.trace_id == sent
    assert (type(lost.error), lost.error.trace_id) == (UnknownOutcomeError, sent)


@pytest.mark.parametrize("data", [[PICTURE, PICTURE], {"created": 1790000041, "data": [PICTURE, PICTURE]}])
def test_an_answer_with_id_and_pictures_is_finished(data: Any) -> None:
    usage = {"total_tokens": 10}

    task = submitted({"success": True, "task_id": TASK_ID, "trace_id": "t-1", "data": data, "usage": usage}).result

    assert (task.id, task.trace_id, task.state) == (TASK_ID, "t-1", SUCCEEDED)
    assert ([image.url for image in task.images], task.usage, task.finished_at) == ([URL, URL], usage, NOW)


@pytest.mark.parametrize(
    ("service", "task_id"), [("acedatacloud", {}), ("xhuoapi", {}), ("xhuoapi", {"task_id": TASK_ID})]
)
def test_an_answer_with_pictures_that_no_id_leads_to_gets_an_id_that_is_the_record(service, task_id) -> None:
    answer = {"success": True, "created": 1790000000, "data": [PICTURE], **task_id}
    task = submitted(answer, service=service, options={"n": 2}, key="derived").result
    again = drive(get_service(service).get_task(task.id))

    assert task.state is SUCCEEDED
    assert task.id.startswith("inline:")
    assert again.requests == []
    assert again.result.as_xcom("c") == task.as_xcom("c") | {"created_at": None}
    assert (again.result.image_count_requested, again.result.finished_at, again.result.trace_id) == (2, NOW, "derived")


def test_base64_can_be_read_again_by_its_id_and_without_one_is_an_error_that_says_it_was_billed() -> None:
    data = [{"b64_json": "aGVsbG8="}]
    task = submitted({"task_id": TASK_ID, "data": data}).result

    assert (task.id, task.state, task.images[0].content()) == (TASK_ID, SUCCEEDED, b"hello")
    for answer, service in (({"data": data}, "acedatacloud"), ({"task_id": TASK_ID, "data": data}, "xhuoapi")):
        error = submitted(answer, service=service).error
        assert (type(error), error.billed, error.retryable) == (ImageTaskError, "yes", False)
        assert "response_format" in error.message


@FAMILY
def test_an_answer_without_id_and_pictures_leaves_the_outcome_unknown(service: str) -> None:
    for answer in ({}, {"success": True}, {"task_id": None}, {"data": []}, [], None, "accepted"):
        error = submitted(answer, service=service).error
        assert (type(error), error.billed, error.retryable) == (UnknownOutcomeError, "unknown", False)


def test_the_urls_of_an_edit_are_a_list_in_the_body() -> None:
    usual = {"model": "gpt-image-2", "prompt": "make it winter", "async": True}
    for service in ("acedatacloud", "xhuoapi", "local"):
        for images in ([A], [A, B]):
            request = edited(service, images=images, options={"n": 2, "input_fidelity": "high"})
            body = {**(request.body or {}), "callback_url": None}
            more = {"image": images, "n": 2, "input_fidelity": "high", "size": "auto", "callback_url": None}
            assert (request.parts, body) == ((), {**usual, **more})


@FAMILY
def test_the_files_of_an_edit_are_parts_of_a_form_and_everything_else_is_text_in_it(service: str) -> None:
    options = {"n": 2, "size": "1024x1024", "style": None, "extra": {"a": [1, "ü"]}, "flag": False}
    url = "https://me.example"

    request = edited(service, images=[PHOTO, OTHER], mask=MASK, options=options, trace_id="order-17", callback_url=url)

    images = [Part(name="image", file=file) for file in (PHOTO, OTHER)]
    texts = {"n": "2", "size": "1024x1024", "extra": '{"a": [1, "\\u00fc"]}', "flag": "false", "async": "true"}
    ours = {"model": "gpt-image-2", "prompt": "make it winter", "trace_id": "order-17", "callback_url": url}
    assert request.parts == (*images, Part(name="mask", file=MASK))
    assert request.form == {**ours, **texts}


@pytest.mark.parametrize("service", ["acedatacloud", "xhuoapi"])
def test_a_size_of_one_s_own_is_sent_and_none_is_sent_as_auto_for_an_edit_alone(service: str) -> None:
    generated = drive(get_service(service).submit(completed(service)), response({"task_id": TASK_ID})).requests[0]

    assert (edited(service, images=[A], options={"size": "512x512"}).body or {})["size"] == "512x512"
    assert "size" not in generated.body


def test_a_trace_id_is_looked_up_alone_and_named_where_nobody_knows_it() -> None:
    for answer, task_id, state in ((tasks_api_record(trace_id=None), TASK_ID, RUNNING), ({}, "", NOT_FOUND)):
        driven = drive(SERVICE.get_task_by_trace_id("mine"), response(answer))
        assert asked(driven, "action") + asked(driven, "trace_id") == ["retrieve", "mine"]
        assert (driven.result.id, driven.result.trace_id, driven.result.state) == (task_id, "mine", state)


def test_items_and_not_the_count_say_which_records_there_are() -> None:
    for count in (0, 1, 900, None, "2"):
        driven = drive(read_all(SERVICE, Pace(None), ["a", "b"]), items(*running("a", "b"), count=count))
        assert states(driven) == {"a": RUNNING, "b": RUNNING}
    for answer in ({}, {"items": None}, {"items": {}}, {"count": 3}):
        driven = drive(read_all(SERVICE, Pace(None), ["a", "b"]), otherwise=response(answer))
        # No answer to a question for several; to one for a single record it means that there is none.
        assert [request.body["action"] for request in driven.requests] == ["retrieve_batch"] * 5 + ["retrieve"] * 2
        assert states(driven) == {"a": NOT_FOUND, "b": NOT_FOUND}


def test_one_alone_is_not_asked_for_as_a_batch_and_an_inline_id_not_at_all() -> None:
    inline = submitted({"data": [PICTURE]}).result.id

    driven = drive(read_all(SERVICE, Pace(None), [inline, "a"]), response(tasks_api_record(id="a")))

    (request,) = driven.requests
    assert (request.path, request.body) == ("/openai/tasks", {"action": "retrieve", "id": "a"})
    assert states(driven) == {inline: SUCCEEDED, "a": RUNNING}


def test_many_are_asked_for_in_groups_of_fifty_each_once_and_only_a_group_that_fails_again() -> None:
    groups = [names(50), names(50, 50), names(20, 100)]
    down = response({"error": {"code": "api_error"}}, status=500)

    driven = drive(read_all(SERVICE, Pace(None), names(120) + names(5)), *(items(*running(*group)) for group in groups))
    repeated = drive(read_all(SERVICE, Pace(None), names(60)), items(), down, items(*running("id-55")))

    assert (asked(driven, "ids"), asked(driven, "limit")) == (groups, [50, 50, 20])
    assert asked(driven, "action") == ["retrieve_batch"] * 3
    assert list(states(driven).items()) == [(name, RUNNING) for name in names(120)]
    assert asked(repeated, "ids") == [names(50), names(10, 50), names(10, 50)]
    assert states(repeated)["id-55"] is RUNNING


def test_every_filter_of_a_list_is_passed_on_by_its_name() -> None:
    names: dict[str, Any] = {"ids": ["a"], "trace_ids": ["t-1", "t-2"], "application_id": "app", "user_id": "user"}
    page = {"type": "images_edits", "offset": 24, "limit": 12}
    filters = {**names, **page, "created_at_min": 1790000000.5, "created_at_max": 1790003600}

    (request,) = drive(SERVICE.list_tasks(**filters), items()).requests
    (without,) = drive(SERVICE.list_tasks(type="images", ids=None), items()).requests

    assert set(filters) == set(FILTERS)
    assert (request.method, request.path) == ("POST", "/openai/tasks")
    assert request.body == {"action": "retrieve_batch", **filters}
    assert without.body == {"action": "retrieve_batch", "type": "images", "offset": 0, "limit": 50}


@pytest.mark.parametrize(
    ("filters", "pages", "offsets", "limits"),
    [
        ({}, [names(50), names(50, 50), names(7, 100)], [0, 50, 100], [50, 50, 50]),
        ({"limit": 75, "offset": 10}, [names(50), names(25, 50)], [10, 60], [50, 25]),
        ({"limit": 1}, [names(1)], [0], [1]),
    ],
    ids=["until not full", "limited", "limited to a page"],
)
def test_a_list_is_read_page_by_page(filters, pages, offsets, limits) -> None:
    driven = drive(SERVICE.list_tasks(**filters), *(items(*running(*page), count=900) for page in pages))

    assert (asked(driven, "offset"), asked(driven, "limit")) == (offsets, limits)
    assert [task.id for task in driven.result] == [name for page in pages for name in page]


def test_a_list_has_an_end_where_the_service_ignores_what_is_asked_for() -> None:
    endless = (items(*running(*names(50, 50 * page)), count=10**9) for page in range(200))
    by_ids = drive(SERVICE.list_tasks(ids=["a", "b"]), items(*running(*names(50))))
    by_trace_ids = drive(SERVICE.list_tasks(trace_ids=["t"]), *endless)

    assert len(by_ids.result) == 2
    assert type(by_trace_ids.error) is InvalidRequestError
    assert "set limit and offset" in by_trace_ids.error.message
    assert len(by_trace_ids.requests) == 200
    assert drive(SERVICE.list_tasks(limit=0)).result == []
    assert len(drive(SERVICE.list_tasks(limit=10), items(*running(*names(50)))).result) == 10


def test_a_list_ends_where_the_service_does_not_page_and_refuses_a_filter_that_does_not_exist() -> None:
    driven = drive(SERVICE.list_tasks(), *[items(*running(*names(50)), count=900)] * 2)
    error = drive(SERVICE.list_tasks(state="failed")).error

    assert [task.id for task in driven.result] == names(50)
    assert type(error) is InvalidRequestError
    assert all(name in str(error) for name in ("state", "created_at_min"))


def test_the_connection_is_checked_with_an_empty_batch() -> None:
    driven = drive(SERVICE.check_connection(), items())

    assert driven.requests[0].body == {"action": "retrieve_batch", "ids": [], "limit": 1}
    assert "balance" in driven.result


def test_several_are_asked_for_with_a_limit_and_told_apart_by_their_id_among_what_is_no_record() -> None:
    failed = finished_record({"error": "no luck"}, id="b")
    none = [None, {}, {"id": ""}, [], "d"]
    answer = items(finished_record({"data": [PICTURE]}, id="c"), *none, *running("a", "a stranger"), failed)

    driven = drive(read_all(SERVICE, Pace(None), ["a", "b", "c", "d"]), answer)

    (request,) = driven.requests
    assert request.body == {"action": "retrieve_batch", "ids": ["a", "b", "c", "d"], "limit": 4}
    assert list(states(driven).items()) == [("a", RUNNING), ("b", "failed"), ("c", SUCCEEDED), ("d", NOT_FOUND)]
    assert driven.result["d"].error is None
