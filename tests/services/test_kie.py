"""kie.ai's models beside GPT Image: its market pages, and its 4o Image, Flux Kontext and Midjourney APIs."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskFailedError,
    InvalidRequestError,
    ProtocolError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services import get_service
from tests.flow_driver import DrivenFlow, drive, no_response, response
from tests.services.wire_examples import (
    NO_PICTURE,
    NOT_FOUND,
    REQUEST,
    RUNNING,
    SUCCEEDED,
    TASK_ID,
    URL,
    A,
    B,
    Meaning,
    account,
    completed,
    envelope,
)

FAMILIES = ("4o-image", "flux-kontext", "mj")
EACH = pytest.mark.parametrize("family", FAMILIES)
ROUTES = {"4o-image": "/api/v1/gpt4o-image", "flux-kontext": "/api/v1/flux/kontext", "mj": "/api/v1/mj"}
MANY = [f"https://pictures.example/{number}.png" for number in range(4)]
SERVICE = get_service("kie")
CREATED = response(envelope({"taskId": TASK_ID}))


def sent(model: str | None, **fields: Any) -> Any:
    """Return the request that goes out for a model."""
    request = completed(SERVICE, model=model, **fields)
    driven = drive(SERVICE.submit(request), response(envelope({"taskId": TASK_ID})))
    assert driven.result.model == request.model
    return driven.requests[0]


FIELDS = {
    "gpt-image-2-image-to-image": ("input_urls", [A]),
    "flux-2/pro-image-to-image": ("input_urls", [A]),
    "nano-banana-pro": ("image_input", [A]),
    "google/nano-banana-edit": ("image_urls", [A]),
    "bytedance/seedream-v4-edit": ("image_urls", [A]),
    "seedream/5-lite-image-to-image": ("image_urls", [A]),
    "grok-imagine/image-to-image": ("image_urls", [A]),
    "qwen/image-edit": ("image_url", A),
    "ideogram/character-edit": ("image_url", A),
    "somebody/new-model": ("input_urls", [A]),
}


@pytest.mark.parametrize(("model", "field", "value"), [(model, *field) for model, field in FIELDS.items()], ids=FIELDS)
def test_pictures_go_into_the_field_that_the_model_takes(model: str, field: str, value: Any) -> None:
    body = sent(model, images=[A], options={"seed": 7}).body

    assert body == {"model": model, "input": {"prompt": "make it winter", "seed": 7, field: value}}


@pytest.mark.parametrize(
    ("model", "field", "options"),
    [
        ("recraft/remove-background", "image", {}),
        ("recraft/crisp-upscale", "image", {}),
        ("topaz/image-upscale", "image_url", {"upscale_factor": "2"}),
        ("ideogram/v3-reframe", "image_url", {"image_size": "square_hd"}),
    ],
)
def test_a_model_that_takes_no_text_is_sent_none(model: str, field: str, options: dict[str, Any]) -> None:
    body = sent(model, prompt=None, images=[A], options=options).body

    assert body == {"model": model, "input": {field: A, **options}}


@pytest.mark.parametrize("field", ["input_urls", "image_urls", "image_input", "image_url", "image"])
def test_an_option_that_is_left_empty_picks_another_field(field: str) -> None:
    asked = sent("somebody/new-model", images=[A], options={field: None}).body["input"]

    assert asked == {"prompt": "make it winter", field: A if field in ("image_url", "image") else [A]}


BODIES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "4o image": ("4o-image/", {"options": {"size": "1:1", "nVariants": 2}}, {"size": "1:1", "nVariants": 2}),
    "4o image from pictures": ("4o-image/", {"images": [A, B]}, {"filesUrl": [A, B]}),
    "flux kontext": ("flux-kontext/flux-kontext-max", {}, {"model": "flux-kontext-max"}),
    "flux kontext from a picture": (
        "flux-kontext/",
        {"images": [A], "options": {"aspectRatio": "1:1"}},
        {"model": "flux-kontext-pro", "inputImage": A, "aspectRatio": "1:1"},
    ),
    "midjourney": ("mj/", {"options": {"speed": "fast"}}, {"taskType": "mj_txt2img", "speed": "fast"}),
    "a version of midjourney": ("mj/7", {}, {"taskType": "mj_txt2img", "version": "7"}),
    "midjourney from pictures": ("mj/", {"images": [A, B]}, {"taskType": "mj_img2img", "fileUrls": [A, B]}),
    "another kind of task": (
        "mj/",
        {"images": [A], "options": {"taskType": "mj_style_reference"}},
        {"taskType": "mj_style_reference", "fileUrls": [A]},
    ),
}


@pytest.mark.parametrize(("model", "fields", "own"), BODIES.values(), ids=BODIES)
def test_a_family_has_routes_and_fields_of_its_own(model: str, fields: dict[str, Any], own: dict[str, Any]) -> None:
    request = sent(model, callback_url="https://me.example", **fields)

    assert (request.method, request.path) == ("POST", f"{ROUTES[model.partition('/')[0]]}/generate")
    assert request.body == {"prompt": "make it winter", **own, "callBackUrl": "https://me.example"}


def test_a_family_that_needs_no_prompt_is_sent_pictures_alone() -> None:
    assert sent("4o-image/", prompt=None, images=[A]).body == {"filesUrl": [A]}


def record(flag: Any, **fields: Any) -> dict[str, Any]:
    asked = '{"prompt":"a red kite","model":"flux-kontext-pro","version":"7"}'
    return {"taskId": TASK_ID, "paramJson": asked, "createTime": 1790000000000, "successFlag": flag, **fields}


def done(family: str, urls: list[str]) -> dict[str, Any]:
    """Return a finished record, with its pictures where the family has them."""
    results: dict[str, Any] = {
        "4o-image": {"response": {"resultUrls": urls}},
        "flux-kontext": {"response": {"originImageUrl": A, "resultImageUrl": urls[0] if urls else None}},
        "mj": {"resultInfoJson": {"resultUrls": [{"resultUrl": url} for url in urls]}},
    }
    return record(1, completeTime=1790000041500, **results[family])


def read(family: str, data: Any, code: int = 200) -> Any:
    driven = drive(SERVICE.get_task(f"{family}.{TASK_ID}"), response(envelope(data, code)))
    assert driven.requests[0].path == f"{ROUTES[family]}/record-info"
    assert driven.requests[0].parameters == {"taskId": TASK_ID}
    return driven.result


STATES: dict[str, tuple[Any, int, Meaning]] = {
    "0": (record(0), 200, RUNNING),
    "0 as text": (record("0", status="GENERATING"), 200, RUNNING),
    "a flag of the future": (record(9), 200, RUNNING),
    "2": (record(2, errorCode=400, errorMessage="no"), 200, (ImageTaskFailedError, "400")),
    "3": (record(3, errorCode=500, errorMessage="no"), 200, (ImageTaskFailedError, "500")),
    "a refusal": (
        record(3, errorCode="content_policy_violation"),
        200,
        (ContentPolicyError, "content_policy_violation"),
    ),
    "422": (None, 422, NOT_FOUND),
    "404": (None, 404, NOT_FOUND),
    "408": (None, 408, (ImageTaskFailedError, "408")),
    "501": (None, 501, (ImageTaskFailedError, "501")),
}


@EACH
@pytest.mark.parametrize(("data", "code", "meaning"), STATES.values(), ids=STATES)
def test_a_flag_is_the_state_of_a_family_s_record(family: str, data: Any, code: int, meaning: Meaning) -> None:
    task = read(family, data, code)

    assert task.id == f"{family}.{TASK_ID}"
    if isinstance(meaning, tuple):
        assert (type(task.error), task.error.code, task.error.image_task_id) == (*meaning, task.id)
    else:
        assert (task.state, task.error, task.images) == (meaning, None, ())


@EACH
def test_pictures_stand_where_the_family_has_them(family: str) -> None:
    task, nothing = read(family, done(family, MANY)), read(family, done(family, []))
    expected = MANY[:1] if family == "flux-kontext" else MANY
    model = {"4o-image": "4o-image/", "flux-kontext": "flux-kontext/flux-kontext-pro", "mj": "mj/7"}[family]

    assert (task.state, [image.url for image in task.images]) == (SUCCEEDED, expected)
    assert (task.model, task.prompt, task.service) == (model, "a red kite", "kie")
    assert (task.created_at, task.finished_at, task.duration) == (1790000000.0, 1790000041.5, 41.5)
    assert (type(nothing.error), nothing.error.code) == NO_PICTURE


def test_older_names_of_results_and_times_are_understood() -> None:
    old = read("4o-image", record(1, response={"result_urls": [URL]}, createTime="2026-09-21T14:13:20Z"))
    listed = read("mj", record(1, resultInfoJson={"resultUrls": [URL]}))

    assert [image.url for image in (*old.images, *listed.images)] == [URL, URL]
    assert old.created_at == 1790000000.0


RESULTS: dict[str, Any] = {
    "an address alone": {"resultUrls": URL},
    "a list as JSON": {"resultUrls": f'["{URL}"]'},
    "under an older name": {"result_urls": [URL]},
    "objects": {"resultUrls": [{"url": URL}]},
    "a single one's name": {"resultImageUrl": URL},
    "all of it as JSON": f'{{"resultUrls": ["{URL}"]}}',
}


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_pictures_are_found_in_whatever_form_a_result_has_them(result: Any) -> None:
    data = {"taskId": TASK_ID, "state": "success", "resultJson": result}
    market = drive(SERVICE.get_task(TASK_ID), response(envelope(data))).result
    tasks = [market, *(read(family, record(1, response=result, resultInfoJson=result)) for family in ROUTES)]

    for task in tasks:
        assert [image.url for image in task.images] == [URL]


@pytest.mark.parametrize("result", [[URL], URL, f'["{URL}"]'])
def test_a_result_of_the_market_that_is_no_object_may_be_its_pictures(result: Any) -> None:
    data = {"taskId": TASK_ID, "state": "success", "resultJson": result}

    assert [image.url for image in drive(SERVICE.get_task(TASK_ID), response(envelope(data))).result.images] == [URL]


def test_a_record_without_a_flag_is_no_answer() -> None:
    driven = drive(SERVICE.get_task(f"mj.{TASK_ID}"), otherwise=response(envelope({"taskId": TASK_ID})))

    assert (type(driven.error), driven.error.image_task_id) == (ProtocolError, f"mj.{TASK_ID}")


REFUSED: dict[str, tuple[str | None, dict[str, Any], str]] = {
    **{
        model: (model, {}, "does not make pictures")
        for model in (
            *("kling-3.0/video", "wan/2-7-text-to-video", "wan/2-7-r2v", "wan/2-7-videoedit", "sora-2-text-to-video"),
            *("bytedance/seedance-2", "hailuo/02-text-to-video-pro", "grok-imagine/image-to-video", "veo3_fast"),
            *("wan/2-2-animate-move", "happyhorse/reference-to-video", "elevenlabs/sound-effect-v2"),
            *("recraft/v4-vector", "recraft/vectorize", "recraft-v3-svg"),
        )
    },
    "a video of midjourney": ("mj/", {"images": [A], "options": {"taskType": "mj_video_hd"}}, "video"),
    "two pictures for one": ("qwen/image-edit", {"images": [A, B]}, "takes one"),
    "two pictures for a family's one": ("flux-kontext/", {"images": [A, B]}, "at most 1"),
    "pictures given twice": ("recraft/crisp-upscale", {"images": [A], "options": {"image": B}}, "twice"),
    "no text for a model that wants one": (None, {"images": [A], "prompt": None}, "only with a prompt"),
    "no text for a family that wants one": ("mj/", {"images": [A], "prompt": None}, "only with a prompt"),
}


@pytest.mark.parametrize(("model", "fields", "said"), REFUSED.values(), ids=REFUSED)
def test_what_would_be_paid_for_in_vain_is_refused_before(model: str | None, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said) as caught:
        completed(SERVICE, model=model, **fields)

    assert caught.value.billed == "no"


@pytest.mark.parametrize("model", ["z-image", "google/imagen4-ultra", "flux-2/flex-text-to-image", "wan/2-7-image"])
def test_models_of_pictures_are_not(model: str) -> None:
    assert completed(SERVICE, model=model).model == model


def submitted(*answers: Any) -> DrivenFlow:
    return drive(SERVICE.submit(REQUEST, key="derived"), *answers)


def asked(*answers: Any) -> DrivenFlow:
    return drive(SERVICE.get_task(TASK_ID), *answers)


OWN, OF_CONNECTION = "https://me.example/own", "https://me.example/connection"


def test_a_callback_url_goes_out_under_its_own_name() -> None:
    def body(connection: str | None, callback_url: str | None) -> Any:
        request = completed(SERVICE, of=account(callback_url=connection), callback_url=callback_url)
        return drive(SERVICE.submit(request), CREATED).requests[0].body

    without = body(None, None)

    assert without.keys() == {"model", "input"}
    assert set(without["input"]) == {"prompt"}
    assert body(OF_CONNECTION, OWN) == without | {"callBackUrl": OWN}
    assert body(OF_CONNECTION, None) == without | {"callBackUrl": OF_CONNECTION}


def test_a_submission_has_no_key_and_without_an_answer_is_not_made_again() -> None:
    driven = submitted(no_response(may_have_left=True))

    assert driven.requests[0].headers == {}
    assert type(driven.error) is UnknownOutcomeError
    assert "https://kie.ai/logs" in driven.error.message


def test_the_connection_is_checked_with_the_balance() -> None:
    driven = drive(SERVICE.check_connection(), response(envelope(87.5)))
    bad_key = drive(SERVICE.check_connection(), response({"code": 401, "msg": "You do not have access permissions"}))

    (request,) = driven.requests
    assert (request.method, request.path, request.body) == ("GET", "/api/v1/chat/credit", None)
    assert "87.5 credits" in driven.result
    assert type(bad_key.error) is AuthenticationError
    for balance in (None, {}, "a lot", True, [5]):
        assert type(drive(SERVICE.check_connection(), *[response(envelope(balance))] * 5).error) is ProtocolError


def test_a_second_id_beside_the_first_is_left_alone() -> None:
    assert submitted(response(envelope({"taskId": TASK_ID, "recordId": "another"}))).result.id == TASK_ID
    assert type(submitted(response(envelope({"recordId": "another"}))).error) is UnknownOutcomeError


@pytest.mark.parametrize("words", [{"msg": "no such"}, {"message": "no such"}, {"msg": "", "message": "no such"}])
def test_the_words_have_one_of_two_names_and_an_error_is_understood_without_words_or_data(words) -> None:
    error = submitted(response({"code": 422, "data": None, **words})).error

    assert error is not None
    assert "no such" in error.message
    assert submitted(response({"code": 200, "data": {"taskId": TASK_ID}, **words})).result.id == TASK_ID
    for body in ({"code": 401, **words}, {"code": 401, "data": None}, {"code": 401}):
        for driven in (asked(response(body)), submitted(response(body))):
            assert type(driven.error) is AuthenticationError
