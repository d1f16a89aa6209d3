from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.exceptions import ImageTaskFailedError, InvalidRequestError
from airflow_provider_imagetasks.tasks import (
    GeneratedImage,
    ImageRequest,
    ImageTask,
    TaskState,
    iso_time,
    moment_of_submission,
    prompt_excerpt,
    utc_moment,
)

NOON = 1_790_000_000.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("prompt", prompt) for prompt in ("", "  \n", None, "None", 5, ["a red kite"])],
        *[("model", model) for model in ("", " ", 5)],
        *[("mask", mask) for mask in ("", 5, "data:image/png;base64,aGVsbG8=", "s3://bucket/mask.png")],
        ("callback_url", 5),
        ("trace_id", ""),
        *[("options", options) for options in ("size=auto", None, [("size", "auto")])],
        *[("options", {"size": size}) for size in (object(), float("nan"), b"auto", {1, 2})],
        *[("images", images) for images in ("https://x.example/a.png", [5], [None], None, 5, [""])],
    ],
)
def test_a_wrong_field_is_refused_by_name_before_anything_is_billed(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        ImageRequest(**{"prompt": "a red kite", field: value})

    assert field in caught.value.message
    assert (caught.value.billed, caught.value.retryable) == ("no", False)


def test_options_that_contain_themselves_are_refused() -> None:
    options: dict[str, Any] = {}
    options["self"] = options

    with pytest.raises(InvalidRequestError, match="options"):
        ImageRequest(prompt="a red kite", options=options)


@pytest.mark.parametrize(
    "name",
    [
        *("prompt", "model", "callback_url", "callBackUrl", "trace_id", "async", "stream"),
        *("PROMPT", "Model", "Async", "Stream", "callbackUrl", "Callback_URL", "callback-url", "callback url"),
        *("callback", "Trace_Id", "traceId", "webhook", "webhook_url", "webHook", "notify_hook", "notifyHook"),
        *("notify_url", "hook_url", "callback_uri"),
    ],
)
def test_options_do_not_stand_in_for_an_argument(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"options holds {name}"):
        ImageRequest(prompt="a red kite", options={name: "x"})


def test_unknown_options_are_nobody_s_business() -> None:
    options = {"size": "auto", "brand_new": [1, {"two": None}], "partial_images": 0, "mode": "fast", "upstream": True}
    options |= dict.fromkeys(("style", "n", "negative_prompt", "prompt_upsampling", "model_version", "trace", "hook"))

    assert ImageRequest(prompt="a red kite", options=options).options == options


def test_a_request_with_another_model_is_a_copy_that_is_checked_and_with_its_own_it_is_the_same() -> None:
    request = ImageRequest(prompt="a red kite", model="m", callback_url="https://shop.example/hook")

    assert request.with_model("m", callback_url="https://shop.example/hook") is request
    other = request.with_model("n", callback_url=None)
    assert (other.prompt, other.model, other.callback_url) == ("a red kite", "n", None)
    with pytest.raises(InvalidRequestError, match="model"):
        request.with_model(" ")


def test_reference_pictures_make_an_edit() -> None:
    assert not ImageRequest(prompt="a red kite").is_edit
    assert ImageRequest(prompt="a red kite", images=["https://x.example/a.png"]).is_edit
    assert ImageRequest(prompt="a red kite", images=["s3://bucket/a.png"], mask="s3://bucket/mask.png").is_edit


@pytest.mark.parametrize(
    ("state", "final"), [("running", False), ("succeeded", True), ("failed", True), ("not_found", False)]
)
def test_only_success_and_failure_are_final(state: str, final: bool) -> None:
    assert TaskState(state).is_final is final


def test_an_inline_picture_never_shows_its_bytes() -> None:
    image = GeneratedImage(index=0, data=base64.b64encode(b"hello").decode())

    assert "aGVsbG8" not in repr(image)
    assert image.as_xcom() == {"index": 0, "url": None, "path": None, "inline": True}
    assert image.content() == b"hello"


def test_an_inline_picture_may_come_as_a_data_url() -> None:
    assert GeneratedImage(index=0, data="data:image/png;base64,aGVsbG8=").content() == b"hello"


@pytest.mark.parametrize("data", [None, "no base64!", "aGVsb", "data:image/png;base64,%%"])
def test_a_picture_without_readable_bytes_says_so(data: str | None) -> None:
    with pytest.raises(ValueError, match="inline"):
        GeneratedImage(index=0, data=data, url="https://x.example/a.png").content()


def test_a_record_for_xcom_is_plain_json_with_a_cut_prompt() -> None:
    task = ImageTask(
        id="task-1",
        service="local",
        state=TaskState.FAILED,
        prompt="kite " * 100,
        created_at=1790000000,
        finished_at=float("inf"),
        duration=1.5,
        error=ImageTaskFailedError("out of paint"),
        raw={"secret": "everything"},
    )

    record = json.loads(json.dumps(task.as_xcom("mine")))

    assert len(record["prompt"]) == 300
    assert (record["state"], record["conn_id"], record["duration"]) == ("failed", "mine", 1.5)
    assert (record["created_at"], record["finished_at"]) == ("2026-09-21T14:13:20+00:00", None)
    assert "everything" not in json.dumps(record)
    assert "everything" not in repr(task)


@pytest.mark.parametrize("seconds", [None, float("nan"), float("inf"), 1e300, -1e300])
def test_a_moment_outside_the_calendar_has_no_name(seconds: float | None) -> None:
    assert iso_time(seconds) is None


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1e300, 1.79e12, 10**400, "soon", None])
def test_a_moment_that_is_none_is_still_told_in_words(seconds: Any) -> None:
    assert utc_moment(seconds) == "an unknown moment"
    assert utc_moment(1_790_000_000) == "2026-09-21 14:13:20 UTC"


@pytest.mark.parametrize("told", [None, float("nan"), -1.0, 0.0, NOON * 1e3, NOON + 90_000, NOON - 90_000])
def test_a_service_s_moment_counts_only_where_it_can_be_that_of_the_submission(told: float | None) -> None:
    assert moment_of_submission(told, NOON) == NOON
    assert moment_of_submission(NOON + 3_600, NOON) == NOON + 3_600
    assert Intent(index=0, attempt=0, at=NOON, submitted_at=told).since == NOON


def test_a_short_prompt_is_kept_whole() -> None:
    assert prompt_excerpt("a red kite") == "a red kite"
    assert prompt_excerpt(None) is None


@pytest.mark.parametrize("length", [299, 300, 301, 5_000])
def test_a_prompt_that_goes_on_says_so_within_300_characters(length: int) -> None:
    prompt = ("nobody in particular " * 300)[:length]

    excerpt = prompt_excerpt(prompt)

    assert excerpt is not None
    assert len(excerpt) <= 300
    assert (excerpt == prompt) is (length <= 300)
    assert excerpt.endswith("…") is (length > 300)
