"""One account with several APIs: which of them is asked, and what its image tasks are called."""

from __future__ import annotations

import pytest

from airflow_provider_imagetasks.exceptions import InvalidRequestError, ServiceUnavailableError
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.local_service import LocalService
from tests.flow_driver import drive, no_response, response
from tests.services.wire_examples import PICTURE, TASK_ID, completed, finished_record, items, tasks_api_record

SERVICE = get_service("acedatacloud")


def paths(driven):
    return [request.path for request in driven.requests]


def test_image_tasks_are_asked_for_at_their_api_and_several_at_once() -> None:
    ids = ["plain", "flux.a", "midjourney.b", "flux.c"]
    plain, flux = tasks_api_record(id="plain"), items(tasks_api_record(id="c"), tasks_api_record(id="a"))

    driven = drive(SERVICE.read_tasks_once(ids), response(plain), flux, response(tasks_api_record(id="b")))

    assert paths(driven) == ["/openai/tasks", "/flux/tasks", "/midjourney/tasks"]
    assert driven.requests[1].body["ids"] == ["a", "c"]
    assert [(name, task.id) for name, task in driven.result.items()] == [(name, name) for name in ids]


@pytest.mark.parametrize(
    ("image_task_id", "api"),
    [("flux.a", "flux"), ("a", ""), ("dream.a", ""), ("flux", ""), (".flux", ""), ("nano-banana.a.b", "nano-banana")],
)
def test_an_id_says_which_api_it_is_of(image_task_id: str, api: str) -> None:
    assert SERVICE.api_of(image_task_id) == api
    assert get_service("xhuoapi").api_of(image_task_id) == ""


@pytest.mark.parametrize(
    ("model", "api"), [("flux/a", "flux"), ("flux/", "flux"), ("flux", ""), ("a/b", ""), (None, "")]
)
def test_a_model_says_which_api_it_is_at(model: str | None, api: str) -> None:
    assert SERVICE.api_of_model(model) == api


def test_a_trace_id_is_looked_for_in_one_api() -> None:
    record = tasks_api_record(trace_id="mine")
    main = drive(SERVICE.get_task_by_trace_id("mine"), response(record))
    flux = drive(SERVICE.get_task_by_trace_id("flux.mine"), response(record))
    none = drive(SERVICE.get_task_by_trace_id("flux.mine"), response({}))
    lost = drive(SERVICE.find_in_api("seedream", ["mine"]), items(record))

    assert (paths(main), paths(flux), paths(lost)) == (["/openai/tasks"], ["/flux/tasks"], ["/seedream/tasks"])
    assert flux.requests[0].body["trace_id"] == "mine"
    assert (main.result.id, flux.result.id, none.result.id) == (TASK_ID, f"flux.{TASK_ID}", "")
    assert [task.id for task in lost.result] == [f"seedream.{TASK_ID}"]
    assert lost.result[0].trace_id == "mine"


def test_the_list_is_of_the_api_that_is_named() -> None:
    driven = drive(SERVICE.list_tasks(api="qwen-image", type="images"), items(tasks_api_record()))

    assert (paths(driven), driven.result[0].id) == (["/qwen-image/tasks"], f"qwen-image.{TASK_ID}")
    assert paths(drive(SERVICE.list_tasks(), items())) == ["/openai/tasks"]
    with pytest.raises(InvalidRequestError, match="flux, nano-banana"):
        SERVICE.list_tasks(api="dream")


def test_an_answer_at_once_is_an_image_task_of_the_whole_service() -> None:
    submission = SERVICE.submit(completed(SERVICE, model="flux/flux-2-pro"))
    task = drive(submission, response({"data": [{"image_url": PICTURE["url"]}]})).result

    again = drive(SERVICE.get_task(task.id)).result

    assert task.id.startswith("inline:")
    assert (again.id, again.model, again.service) == (task.id, "flux/flux-2-pro", "acedatacloud")


def test_a_service_that_is_another_by_name_is_so_in_all_its_apis() -> None:
    service = LocalService()
    request = completed(service, model="flux/flux-dev")
    task = drive(service.submit(request), response({"task_id": TASK_ID})).result
    record = finished_record({"success": False, "error": "no"})
    error = drive(service.get_task(f"flux.{TASK_ID}"), response(record)).result.error
    lost = drive(service.submit(request), no_response(may_have_left=True)).error

    assert (task.service, error.service, lost.service, service.price_of(request)) == ("local", "local", "local", 0.0)
    assert "http://127.0.0.1:8750" in lost.message


def test_an_api_that_cannot_be_read_says_so_of_the_id_that_is_known() -> None:
    with_id = drive(SERVICE.read_one("flux.a"), response(status=503)).error

    assert type(with_id) is ServiceUnavailableError
    assert with_id.image_task_id in (None, "flux.a")


def test_what_cannot_be_stopped_is_refused_by_its_whole_id() -> None:
    error = drive(SERVICE.cancel("flux.a")).error

    assert (type(error), error.image_task_id) == (InvalidRequestError, "flux.a")
