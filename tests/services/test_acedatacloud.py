"""AceDataCloud's image APIs beside OpenAI's, by its guides "Flux Images", "Nano Banana Images", "SeeDream Images",
"Qwen Image", "Midjourney Imagine" and "Midjourney Edits", and by the guide of each one's Tasks API.
"""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    ImageTaskFailedError,
    InvalidRequestError,
    QuotaExceededError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services import get_service
from tests.flow_driver import drive, no_response, response
from tests.services.wire_examples import (
    NO_PICTURE,
    NOT_FOUND,
    RUNNING,
    SUCCEEDED,
    TASK_ID,
    A,
    B,
    Meaning,
    account,
    completed,
    finished_record,
    tasks_api_record,
)

SERVICE = get_service("acedatacloud")
APIS = ("flux", "nano-banana", "seedream", "qwen-image", "midjourney")
EACH = pytest.mark.parametrize("api", APIS)
WHOLE, THUMBNAIL = "https://cdn.example/mj.png", "https://cdn.example/mj.png?thumbnail"
PARTS = [f"https://cdn.example/0_{number}.png" for number in range(4)]


def sent(model: str, **fields: Any) -> Any:
    """Return the request that goes out for a model."""
    driven = drive(SERVICE.submit(completed(SERVICE, model=model, **fields)), response({"task_id": TASK_ID}))
    (request,) = driven.requests
    return request


def read(api: str, record: Any) -> Any:
    return drive(SERVICE.get_task(f"{api}.{TASK_ID}"), response(record)).result


GENERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "flux": ("flux/flux-2-pro", "/flux/images", {"action": "generate", "model": "flux-2-pro"}),
    "flux's default": ("flux/", "/flux/images", {"action": "generate", "model": "flux-dev"}),
    "nano-banana": (
        "nano-banana/nano-banana-pro:official",
        "/nano-banana/images",
        {"action": "generate", "model": "nano-banana-pro:official"},
    ),
    "seedream": (
        "seedream/doubao-seedream-4-5-251128",
        "/seedream/images",
        {"model": "doubao-seedream-4-5-251128"},
    ),
    "seedream's default": ("seedream/", "/seedream/images", {"model": "doubao-seedream-5-0-260128"}),
    "qwen-image": ("qwen-image/qwen-image-3.0-pro", "/qwen-image/images", {"model": "qwen-image-3.0-pro"}),
    "midjourney": ("midjourney/", "/midjourney/imagine", {}),
    "a version of midjourney": ("midjourney/8.1", "/midjourney/imagine", {"version": "8.1"}),
    "openai": ("nano-banana-pro", "/openai/images/generations", {"model": "nano-banana-pro"}),
    "no API of that name": ("dream/one", "/openai/images/generations", {"model": "dream/one"}),
}


@pytest.mark.parametrize(("model", "path", "own"), GENERATIONS.values(), ids=GENERATIONS)
def test_a_model_goes_to_its_api_with_the_options_untouched(model: str, path: str, own: dict[str, Any]) -> None:
    request = sent(model, options={"size": "1:1", "odd": [1]}, callback_url="https://me.example", trace_id="mine")

    asked = {"prompt": "make it winter", "async": True, "size": "1:1", "odd": [1]}
    assert (request.method, request.path, request.parts) == ("POST", path, ())
    assert request.body == {**asked, **own, "callback_url": "https://me.example", "trace_id": "mine"}


EDITS: dict[str, tuple[str, list[str], str, dict[str, Any]]] = {
    "flux": ("flux/", [A], "/flux/images", {"action": "edit", "model": "flux-kontext-pro", "image_url": A}),
    "nano-banana": (
        "nano-banana/nano-banana-2",
        [A, B],
        "/nano-banana/images",
        {"action": "edit", "model": "nano-banana-2", "image_urls": [A, B]},
    ),
    "seedream": (
        "seedream/doubao-seedream-4-0-250828",
        [A],
        "/seedream/images",
        {"model": "doubao-seedream-4-0-250828", "image": [A]},
    ),
    "qwen-image": (
        "qwen-image/qwen-image-3.0",
        [A, B],
        "/qwen-image/images",
        {"model": "qwen-image-3.0", "image_urls": [A, B]},
    ),
    "midjourney": ("midjourney/", [A], "/midjourney/edits", {"image_url": A}),
}


@pytest.mark.parametrize(("model", "images", "path", "own"), EDITS.values(), ids=EDITS)
def test_pictures_to_edit_go_where_the_api_takes_them(model, images, path, own) -> None:
    request = sent(model, images=images)

    assert (request.path, request.body) == (path, {"prompt": "make it winter", "async": True, **own})


@EACH
def test_the_answer_is_an_image_task_whose_id_names_its_api(api: str) -> None:
    request = completed(SERVICE, model=f"{api}/")
    driven = drive(SERVICE.submit(request, key="derived"), response({"task_id": TASK_ID, "trace_id": "t-1"}))
    lost = drive(SERVICE.submit(request, key="derived"), no_response(may_have_left=True))
    known = drive(SERVICE.submit(request), response({"task_id": TASK_ID, "success": False, "error": "no paint"}))

    assert (driven.result.id, driven.result.model) == (f"{api}.{TASK_ID}", request.model)
    assert (driven.result.service, driven.result.trace_id) == ("acedatacloud", "t-1")
    assert driven.requests[0].body["trace_id"] == "derived"
    assert (type(lost.error), lost.error.service) == (UnknownOutcomeError, "acedatacloud")
    assert known.result.id == f"{api}.{TASK_ID}"


def finished(api: str, **response_of: Any) -> dict[str, Any]:
    """Return a record as the API finishes it, with one picture unless ``response_of`` says otherwise."""
    picture: dict[str, Any] = {"data": [{"prompt": "a red kite", "image_url": WHOLE}]}
    if api == "midjourney":
        picture = {"image_url": THUMBNAIL, "raw_image_url": WHOLE, "progress": 100}
    return finished_record({"success": True, **(response_of or picture)})


RECORDS: dict[str, tuple[Any, Meaning]] = {
    "unknown": ({}, NOT_FOUND),
    "waiting": (tasks_api_record(finished_at=None), RUNNING),
    "a stub": (tasks_api_record(response={"success": True, "task_id": TASK_ID}), RUNNING),
    "failed": (
        finished_record({"success": False, "error": {"code": "api_error", "message": "fetch failed"}}),
        (ImageTaskFailedError, "api_error"),
    ),
    "refused": (
        finished_record({"success": False, "error": {"code": "forbidden", "message": "no"}}),
        (ContentPolicyError, "forbidden"),
    ),
    "finished without a picture": (finished_record({"success": True, "data": []}), NO_PICTURE),
}


@EACH
@pytest.mark.parametrize(("record", "meaning"), RECORDS.values(), ids=RECORDS)
def test_records_mean_what_those_of_the_main_api_mean(api: str, record: Any, meaning: Meaning) -> None:
    one = read(api, record)
    (alone,) = drive(SERVICE.read_batch([f"{api}.{TASK_ID}"]), response(record)).result.values()

    assert one.id == alone.id == f"{api}.{TASK_ID}"
    if isinstance(meaning, tuple):
        assert (type(one.error), one.error.code, one.error.image_task_id) == (*meaning, one.id)
    else:
        assert (one.state, one.error) == (meaning, None)


@EACH
def test_the_whole_picture_is_taken_and_not_its_thumbnail(api: str) -> None:
    task = read(api, finished(api))

    assert (task.state, [image.url for image in task.images]) == (SUCCEEDED, [WHOLE])
    assert task.as_xcom("mine")["id"] == f"{api}.{TASK_ID}"


ELSEWHERE: dict[str, dict[str, Any]] = {
    "url": {"data": [{"url": WHOLE}]},
    "image_url": {"data": [{"image_url": WHOLE}]},
    "image_urls": {"data": [{"image_urls": [WHOLE]}]},
    "within": {"data": {"data": [{"image_url": WHOLE}]}},
    "alone": {"data": {"image_url": WHOLE}},
    "flat": {"image_url": WHOLE},
    "flat, several": {"image_urls": [WHOLE]},
}


@EACH
@pytest.mark.parametrize("answer", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_picture_counts_under_whichever_name_an_api_of_the_vendor_has_it(api: str, answer: dict[str, Any]) -> None:
    assert [image.url for image in read(api, finished(api, **answer)).images] == [WHOLE]


@EACH
def test_a_submission_that_repeats_its_picture_has_not_made_one(api: str) -> None:
    request = completed(SERVICE, model=f"{api}/", images=[A])
    task = drive(SERVICE.submit(request), response({"task_id": TASK_ID, "image_urls": [A]})).result

    assert (task.state, task.images) == (RUNNING, ())


def test_the_four_parts_of_a_picture_come_behind_it() -> None:
    record = finished("midjourney", image_url=THUMBNAIL, raw_image_url=WHOLE, sub_image_urls=PARTS)
    old = finished("midjourney", image_url=THUMBNAIL)

    assert [(image.index, image.url) for image in read("midjourney", record).images] == list(enumerate([WHOLE, *PARTS]))
    assert [image.url for image in read("midjourney", old).images] == [THUMBNAIL]


def test_what_it_cost_is_part_of_what_was_used() -> None:
    cost = {"amount": 0.322, "currency": "credit", "list_amount": 0.35}
    pictures = {"data": [{"image_url": WHOLE}], "usage": {"output_image_count": 1}}

    assert read("qwen-image", finished("qwen-image", **pictures, cost=cost)).usage == {
        "output_image_count": 1,
        "credits": 0.322,
    }
    assert read("qwen-image", finished("qwen-image", **pictures, cost={"amount": 1, "currency": "EUR"})).usage == {
        "output_image_count": 1,
        "cost": {"amount": 1, "currency": "EUR"},
    }


def test_the_number_of_pictures_is_called_n_or_count() -> None:
    assert [SERVICE.image_count(options) for options in ({"count": 3}, {"n": 2}, {})] == [3, 2, 1]


@pytest.mark.parametrize(
    ("model", "fields", "said"),
    [
        ("flux/", {"images": [A, B]}, "at most 1"),
        ("qwen-image/", {"images": [A] * 4}, "at most 3"),
        ("seedream/", {"images": [A] * 11}, "at most 10"),
        ("flux/", {"images": [A], "prompt": None}, "only with a prompt"),
        ("flux/", {"options": {"count": "many"}}, "count"),
    ],
)
def test_what_an_api_does_not_take_is_refused_before_it_is_asked(model, fields, said) -> None:
    with pytest.raises(InvalidRequestError, match=said) as caught:
        completed(SERVICE, model=model, **fields)

    assert caught.value.billed == "no"


@EACH
def test_a_connection_may_name_the_api_for_requests_that_name_no_model(api: str) -> None:
    model = completed(SERVICE, of=account(default_model=f"{api}/")).model

    assert model is not None
    assert model.startswith(f"{api}/")
    assert completed(SERVICE, of=account(default_model=f"{api}/"), model="gpt-image-2").model == "gpt-image-2"


@EACH
def test_errors_are_those_of_the_vendor(api: str) -> None:
    empty = response({"error": {"code": "used_up", "message": "no balance"}, "trace_id": "t-2"}, status=403)

    driven = drive(SERVICE.submit(completed(SERVICE, model=f"{api}/")), empty)

    assert (type(driven.error), driven.error.billed, driven.error.trace_id) == (QuotaExceededError, "no", "t-2")
