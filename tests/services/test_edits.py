"""Edits: what a request with pictures becomes on the wire, and what is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.tasks_api import TasksApiService
from airflow_provider_imagetasks.services.wire import Part, Request
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest
from tests.flow_driver import drive, response
from tests.services.jobs_api_cases import envelope

TASKS_API = ("acedatacloud", "xhuoapi", "local")
JOBS_API = ("aigptimage", "kie")
A, B = "https://pictures.example/a.png", "https://pictures.example/b.png"
PHOTO = ImageFile(name="photo.jpg", media_type="image/jpeg", content=b"\xff\xd8photo")
OTHER = ImageFile(name="other.png", media_type="image/png", content=b"\x89PNGother")
MASK = ImageFile(name="mask.png", media_type="image/png", content=b"\x89PNGmask")


class Sketcher(TasksApiService):
    """Somebody else's service, which can do nothing beyond pictures from text."""

    name = "sketcher"
    title = "Sketcher"
    default_base_url = "https://sketches.example"
    finds_by_trace_id = False
    makes_edits = False
    takes_callback_url = False


def account(**fields: Any) -> Account:
    return Account(conn_id="mine", service="any", base_url="https://api.example", **fields)


def completed(service: str | Service, *, of: Account | None = None, **fields: Any) -> ImageRequest:
    service = get_service(service) if isinstance(service, str) else service
    return service.complete(ImageRequest(**{"prompt": "make it winter", **fields}), of or account())


def sent(service: str, **fields: Any) -> Request:
    """Return the request that an edit becomes."""
    answer = {"task_id": "task-1"} if service in TASKS_API else envelope({"taskId": "task-1"})
    driven = drive(get_service(service).submit(completed(service, **fields)), response(answer))
    assert driven.result.id == "task-1"
    (request,) = driven.requests
    return request


@pytest.mark.parametrize("service", TASKS_API)
@pytest.mark.parametrize("images", [[A], [A, B]])
def test_urls_are_a_list_in_the_body(service: str, images: list[str]) -> None:
    request = sent(service, images=images, options={"n": 2, "input_fidelity": "high"})

    assert (request.method, request.path, request.parts) == ("POST", "/openai/images/edits", ())
    body = dict(request.body or {})
    body.pop("callback_url", None)
    assert body == {
        "model": "gpt-image-2",
        "prompt": "make it winter",
        "image": images,
        "n": 2,
        "input_fidelity": "high",
        "size": "auto",
        "async": True,
    }


@pytest.mark.parametrize("service", TASKS_API)
def test_files_are_parts_of_a_form_and_everything_else_is_text_in_it(service: str) -> None:
    options = {"n": 2, "size": "1024x1024", "style": None, "extra": {"a": [1, "ü"]}, "flag": False}

    request = sent(service, images=[PHOTO, OTHER], mask=MASK, options=options, trace_id="order-17")

    assert request.parts == (
        Part(name="image", file=PHOTO),
        Part(name="image", file=OTHER),
        Part(name="mask", file=MASK),
    )
    form = dict(request.form)
    form.pop("callback_url", None)
    assert form == {
        "model": "gpt-image-2",
        "prompt": "make it winter",
        "n": "2",
        "size": "1024x1024",
        "extra": '{"a": [1, "\\u00fc"]}',
        "flag": "false",
        "async": "true",
        "trace_id": "order-17",
    }


@pytest.mark.parametrize("service", ["acedatacloud", "xhuoapi"])
def test_a_size_of_one_s_own_is_sent_and_none_is_sent_as_auto(service: str) -> None:
    assert (sent(service, images=[A], options={"size": "512x512"}).body or {})["size"] == "512x512"
    assert (sent(service, images=[A]).body or {})["size"] == "auto"
    assert "size" not in (sent(service).body or {})


def test_a_callback_url_goes_into_the_form_too() -> None:
    assert sent("acedatacloud", images=[PHOTO], callback_url="https://me.example").form["callback_url"] == (
        "https://me.example"
    )
    assert sent("xhuoapi", images=[PHOTO]).form["callback_url"] == "https://callback.invalid/"


@pytest.mark.parametrize("service", JOBS_API)
def test_the_jobs_family_takes_urls_in_input_urls(service: str) -> None:
    request = sent(service, images=[A, B], options={"resolution": "2K"})

    assert request.path == "/api/v1/jobs/createTask"
    assert request.body == {
        "model": "gpt-image-2-image-to-image",
        "input": {"prompt": "make it winter", "resolution": "2K", "input_urls": [A, B]},
    }


@pytest.mark.parametrize("service", JOBS_API)
@pytest.mark.parametrize("field", ["image_urls", "image_input", "input_urls"])
@pytest.mark.parametrize("empty", [[], None, ""])
def test_options_name_the_field_in_which_a_model_takes_pictures(service: str, field: str, empty: Any) -> None:
    request = sent(service, images=[A], options={field: empty})

    assert (request.body or {})["input"] == {"prompt": "make it winter", field: [A]}


@pytest.mark.parametrize("service", JOBS_API)
def test_pictures_in_options_alone_are_passed_through(service: str) -> None:
    request = sent(service, options={"image_input": [A]}, model="nano-banana-2")

    assert request.body == {"model": "nano-banana-2", "input": {"prompt": "make it winter", "image_input": [A]}}


@pytest.mark.parametrize("service", JOBS_API)
@pytest.mark.parametrize("field", ["input_urls", "image_urls", "image_input"])
def test_pictures_that_come_twice_are_refused(service: str, field: str) -> None:
    request = completed(service, images=[A], options={field: [B]})

    driven = drive(get_service(service).submit(request))

    assert type(driven.error) is InvalidRequestError
    assert (driven.error.billed, driven.requests) == ("no", [])
    assert field in driven.error.message


@pytest.mark.parametrize(
    ("service", "generate", "edit"),
    [
        *((name, "gpt-image-2", "gpt-image-2") for name in TASKS_API),
        *((name, "gpt-image-2-text-to-image", "gpt-image-2-image-to-image") for name in JOBS_API),
    ],
)
def test_the_model_is_the_request_s_else_the_connection_s_else_the_service_s(
    service: str, generate: str, edit: str
) -> None:
    assert completed(service).model == generate
    assert completed(service, images=[A]).model == edit
    assert completed(service, images=[A], of=account(default_model="of-the-connection")).model == "of-the-connection"
    own = completed(service, images=[A], model="own", of=account(default_model="of-the-connection"))
    assert own.model == "own"


REFUSALS: dict[str, tuple[str | Service, dict[str, Any], str]] = {
    "a callback URL where there are none": ("aigptimage", {"callback_url": "https://me.example"}, "callback_url"),
    "a trace id where there are none": ("kie", {"trace_id": "order-17"}, "trace_id"),
    "an edit where there are none": (Sketcher(), {"images": [A]}, "no edits"),
    "too many pictures": ("acedatacloud", {"images": [A] * 17}, "17 pictures"),
    "too many pictures, jobs": ("kie", {"images": [A] * 17}, "at most 16"),
    "a file where only URLs are taken": ("kie", {"images": [PHOTO]}, "only URLs"),
    "a file among URLs where only URLs are taken": ("aigptimage", {"images": [A, PHOTO]}, "only URLs"),
    "a mask where there are none": ("aigptimage", {"images": [A], "mask": MASK}, "no masks"),
    "files and URLs": ("acedatacloud", {"images": [PHOTO, A]}, "mixes URLs and files"),
    "files and URLs with a mask": ("xhuoapi", {"images": [A, PHOTO], "mask": MASK}, "mixes URLs and files"),
    "a mask for URLs": ("acedatacloud", {"images": [A], "mask": MASK}, "mask must be a file"),
    "the URL of a mask": ("acedatacloud", {"images": [PHOTO], "mask": B}, "mask must be a file"),
}


@pytest.mark.parametrize(
    ("service", "fields", "said"), [pytest.param(*case, id=name) for name, case in REFUSALS.items()]
)
def test_what_the_service_cannot_do_is_refused_before_it_is_asked(
    service: str | Service, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidRequestError, match=said) as caught:
        completed(service, **fields)

    assert (caught.value.billed, caught.value.retryable) == ("no", False)


@pytest.mark.parametrize("service", [*TASKS_API, "kie"])
def test_sixteen_pictures_are_not_too_many(service: str) -> None:
    assert len(completed(service, images=[A] * 16).images) == 16


def test_the_connection_s_callback_url_is_left_out_where_there_are_none() -> None:
    with_callback = account(callback_url="https://me.example")

    assert completed("aigptimage", of=with_callback).callback_url is None
    assert completed(Sketcher(), of=with_callback).callback_url is None
    assert completed("acedatacloud").callback_url is None
