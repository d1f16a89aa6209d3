"""What a request is completed with, and what is refused before anything is sent, for every service."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services import get_service, known_services
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.tasks_api import TasksApiService
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest
from tests.services.wire_examples import A, B, account, completed

FILE = ImageFile(name="a.png", media_type="image/png", content=b"\x89PNGa")


class Sketcher(TasksApiService):
    """Somebody else's service, which can do nothing beyond pictures from text."""

    name = title = "sketcher"
    default_base_url = "https://sketches.example"
    default_model = "sketch-1"
    default_edit_model = "sketch-edit-1"
    finds_by_trace_id = makes_edits = takes_callback_url = False


class Painter(Sketcher):
    """Another one, which can do more."""

    makes_edits = takes_callback_url = True


@pytest.mark.parametrize(
    ("service", "generate", "edit"),
    [
        *((name, "gpt-image-2", "gpt-image-2") for name in ("acedatacloud", "xhuoapi", "local")),
        *((name, "gpt-image-2-text-to-image", "gpt-image-2-image-to-image") for name in ("aigptimage", "kie")),
        (Painter(), "sketch-1", "sketch-edit-1"),
    ],
)
def test_the_model_is_the_request_s_else_the_connection_s_else_the_service_s(service, generate, edit) -> None:
    connection = account(default_model="of-the-connection")

    assert (completed(service).model, completed(service, images=[A]).model) == (generate, edit)
    for images in ([], [A]):
        assert completed(service, images=images, of=connection).model == "of-the-connection"
        assert completed(service, images=images, model="own", of=connection).model == "own"


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({}, 1),
        ({"n": None}, 1),
        ({"n": "3"}, 3),
        ({"n": 3.0, "size": "auto"}, 3),
        ({"num_images": 2, "max_images": "3"}, 6),
        *(({name: 3}, 3) for name in ("num_outputs", "number_of_images", "numberOfImages", "batch_size", "num-images")),
        ({"sequential_image_generation_options": {"max_images": 4}, "n": 2}, 8),
        ({"parameters": {"generation": {"numberOfImages": "4"}}}, 4),
        ({"a": {"b": {"c": {"n": 9}}}, "names": ["n", 9], "notes": {"number": 9}}, 1),
        *(({"n": garbage}, 1) for garbage in (0, -2, True, "x", 1.5, [2], 10**30)),
    ],
)
def test_one_picture_is_expected_unless_a_request_or_what_a_record_repeats_of_it_says_otherwise(asked, count) -> None:
    assert get_service("kie").image_count(asked) == count


def test_each_service_has_its_own_names_for_the_number_of_pictures() -> None:
    counts = [get_service(name).image_count({"num_images": 4}) for name in ("gpt_image_mcp", "acedatacloud")]

    assert counts == [1, 4]


def test_the_callback_url_is_the_request_s_else_the_connection_s_and_none_where_there_are_none() -> None:
    of, own = account(callback_url="https://me.example"), "https://own.example"

    assert completed("acedatacloud", of=of).callback_url == "https://me.example"
    assert completed("acedatacloud", of=of, callback_url=own).callback_url == own
    assert completed("acedatacloud").callback_url is None
    assert completed("aigptimage", of=of).callback_url is completed(Sketcher(), of=of).callback_url is None


REFUSALS: dict[str, tuple[str | Service, dict[str, Any], str]] = {
    "a callback URL where there are none": ("aigptimage", {"callback_url": "https://me.example"}, "callback_url"),
    "a trace id where there are none": ("kie", {"trace_id": "order-17"}, "trace_id"),
    "a trace id where there are none either": ("aigptimage", {"trace_id": "order-17"}, "trace_id"),
    "an edit where there are none": (Sketcher(), {"images": [A]}, "does not support edits"),
    "too many pictures": ("acedatacloud", {"images": [A] * 17}, "17 pictures"),
    "too many pictures, jobs": ("kie", {"images": [A] * 17}, "at most 16"),
    "a file where only URLs are taken": ("kie", {"images": [FILE]}, "only accepts URLs"),
    "a file among URLs where only URLs are taken": ("aigptimage", {"images": [A, FILE]}, "only accepts URLs"),
    "a mask where there are none": ("aigptimage", {"images": [A], "mask": FILE}, "does not support masks"),
    "files and URLs": ("acedatacloud", {"images": [FILE, A]}, "mixes URLs and files"),
    "files and URLs with a mask": ("xhuoapi", {"images": [A, FILE], "mask": FILE}, "mixes URLs and files"),
    "a mask for URLs": ("acedatacloud", {"images": [A], "mask": FILE}, "mask must be a file"),
    "pictures given twice": ("acedatacloud", {"images": [A], "options": {"image": B}}, "given twice"),
    "files given twice": ("xhuoapi", {"images": [FILE], "options": {"image": [B]}}, "given twice"),
    "pictures given twice to an API beside": (
        *("acedatacloud", {"images": [A], "model": "flux/", "options": {"image_url": B}}, "given twice"),
    ),
    "the URL of a mask": ("acedatacloud", {"images": [FILE], "mask": B}, "mask must be a file"),
    "a file for tools that take URLs": ("acedatacloud_mcp", {"images": [FILE]}, "only accepts URLs"),
    "a mask for tools that take none": ("acedatacloud_mcp", {"images": [A], "mask": FILE}, "does not support masks"),
    "a trace id that would be dropped unseen": ("acedatacloud_mcp", {"trace_id": "mine"}, "does not support trace ids"),
}


@pytest.mark.parametrize(("service", "fields", "said"), REFUSALS.values(), ids=REFUSALS)
def test_what_the_service_cannot_do_is_refused_before_it_is_asked(service, fields, said) -> None:
    with pytest.raises(InvalidRequestError, match=said) as caught:
        completed(service, **fields)

    assert (caught.value.billed, caught.value.retryable) == ("no", False)


def test_sixteen_pictures_are_not_too_many() -> None:
    for service in ("acedatacloud", "xhuoapi", "local", "kie"):
        assert len(completed(service, images=[A] * 16).images) == 16


def test_a_status_question_makes_one_request_except_where_status_and_result_are_two() -> None:
    costs = {name: get_service(name).requests_per_read for name in known_services()}

    assert [costs.pop(name) for name in ("gpt_image_mcp", "fal")] == [2, 2]
    assert set(costs.values()) == {1}


@pytest.mark.parametrize(
    ("service", "options"), [("kie", {"n": "x" * 100_000}), ("replicate", {"Cancel-After": "x" * 100_000})]
)
def test_a_refusal_repeats_no_more_than_the_beginning_of_an_option(service: str, options: dict[str, Any]) -> None:
    request = ImageRequest(prompt="a kite", model="owner/model", options=options)
    of_service = Account(conn_id="c", service=service, base_url="https://x.example", key="a-key")

    with pytest.raises(InvalidRequestError) as raised:
        get_service(service).complete(request, of_service)

    assert len(str(raised.value)) < 600
