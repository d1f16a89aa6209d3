"""Replicate's predictions: its pages "HTTP API", "Prediction lifecycle", "Rate limits", "Verify webhooks"."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ResultExpiredError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.polling.reads import read_all
from airflow_provider_imagetasks.services import get_service, tiers_for
from airflow_provider_imagetasks.services.connection_contract import Callback
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.services.replicate import Replicate
from airflow_provider_imagetasks.services.wire import Request
from tests.flow_driver import NOW, DrivenFlow, drive, no_response, response
from tests.services.wire_examples import NOT_FOUND, RUNNING, SUCCEEDED, URL, A, B, account, completed

SERVICE = get_service("replicate")
ID = "gm3qorzdhgbfurvjtvhg6dckhu"
VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"
OFFICIAL = "black-forest-labs/flux-schnell"


def prediction(status: str = "succeeded", **fields: Any) -> dict[str, Any]:
    known = {
        "id": ID,
        "model": OFFICIAL,
        "version": "hidden",
        "input": {"prompt": "a red kite", "num_outputs": 2},
        "output": [A, B] if status == "succeeded" else None,
        "error": None,
        "status": status,
        "data_removed": False,
        "created_at": "2026-09-21T14:13:20.25Z",
        "completed_at": "2026-09-21T14:13:24Z" if status == "succeeded" else None,
        "metrics": {"predict_time": 3.5} if status == "succeeded" else {},
    }
    return known | fields


def sent(model: str = OFFICIAL, **fields: Any) -> Request:
    """Return the request that goes out for a picture."""
    request = completed(SERVICE, model=model, **fields)
    (made,) = drive(SERVICE.submit(request), response(prediction("starting"), status=201)).requests
    assert isinstance(made, Request)
    return made


def submitted(*answers: Any) -> DrivenFlow:
    return drive(SERVICE.submit(completed(SERVICE, model=OFFICIAL)), *answers)


def read(*answers: Any) -> DrivenFlow:
    return drive(SERVICE.read_one(ID), *answers)


@pytest.mark.parametrize(
    ("model", "path", "version"),
    [
        (OFFICIAL, f"/v1/models/{OFFICIAL}/predictions", None),
        ("deployments/me/mine", "/v1/deployments/me/mine/predictions", None),
        (f"stability-ai/sdxl:{VERSION}", "/v1/predictions", f"stability-ai/sdxl:{VERSION}"),
        (VERSION, "/v1/predictions", VERSION),
    ],
)
def test_models_versions_and_deployments_have_routes_of_their_own(model: str, path: str, version: str | None) -> None:
    request = sent(model, options={"num_outputs": 2})

    assert (request.method, request.path) == ("POST", path)
    asked = {"input": {"prompt": "make it winter", "num_outputs": 2}}
    assert request.body == asked | ({"version": version} if version else {})


@pytest.mark.parametrize("model", [None, "flux", "a/b/c", "models/../x", "a/b:", "a b/c", VERSION[:-1], "owner/name?x"])
def test_a_model_that_is_none_of_these_is_refused_before_it_is_paid_for(model: str | None) -> None:
    with pytest.raises(InvalidRequestError, match="owner/name"):
        completed(SERVICE, model=model)


def test_a_callback_is_asked_for_once_at_the_end() -> None:
    body = sent(callback_url="https://me.example/done").body

    assert body is not None
    assert (body["webhook"], body["webhook_events_filter"]) == ("https://me.example/done", ["completed"])


def test_a_deadline_goes_out_as_a_header() -> None:
    request = sent(options={"Cancel-After": "90s"})

    assert request.headers == {"Cancel-After": "90s"}
    assert request.body == {"input": {"prompt": "make it winter"}}
    with pytest.raises(InvalidRequestError, match="Cancel-After"):
        completed(SERVICE, model=OFFICIAL, options={"cancel_after": "soon\n"})


@pytest.mark.parametrize(
    ("model", "images", "options", "field"),
    [
        ("somebody/model", [A], {}, {"image": A}),
        ("black-forest-labs/flux-kontext-pro", [A], {}, {"input_image": A}),
        ("google/nano-banana", [A, B], {}, {"image_input": [A, B]}),
        ("openai/gpt-image-1.5", [A], {}, {"input_images": [A]}),
        ("somebody/model", [A, B], {"images": None}, {"images": [A, B]}),
    ],
)
def test_pictures_go_into_the_field_that_the_model_takes(
    model: str, images: list[str], options: dict[str, Any], field: dict[str, Any]
) -> None:
    body = sent(model, images=images, options=options).body

    assert body is not None
    assert body["input"] == {"prompt": "make it winter", **field}


def test_several_pictures_for_a_model_that_takes_one_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="takes one"):
        completed(SERVICE, model="somebody/model", images=[A, B])


def test_a_submission_without_an_answer_is_not_made_again() -> None:
    for answer in (no_response(may_have_left=True), response({"detail": "later"}, status=502), response({})):
        driven = submitted(answer)
        assert type(driven.error) is UnknownOutcomeError
        assert len(driven.requests) == 1


REFUSALS: dict[str, tuple[int, Any, type[ImageTaskError], str]] = {
    "no key": (401, {"title": "Unauthenticated", "detail": "who?"}, AuthenticationError, "401"),
    "not allowed": (403, {"detail": "no"}, AuthenticationError, "403"),
    "no credit": (402, {"title": "Insufficient credit", "detail": "pay"}, QuotaExceededError, "402"),
    "no such model": (404, {"detail": "The requested resource could not be found."}, InvalidRequestError, "404"),
    "a wrong field": (422, {"title": "Input validation failed", "detail": "- prompt"}, InvalidRequestError, "422"),
    "flagged": (422, {"detail": "The input was flagged as sensitive. (E005)"}, ContentPolicyError, "E005"),
}


@pytest.mark.parametrize(("status", "body", "error_class", "code"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_not_billed(status: int, body: Any, error_class: type[ImageTaskError], code: str) -> None:
    error = submitted(response(body, status=status)).error

    assert error is not None
    assert (type(error), error.code, error.billed) == (error_class, code, "no")


@pytest.mark.parametrize(
    ("detail", "headers", "seconds"),
    [
        ("Request was throttled. Your rate limit resets in ~30s.", {}, 30.0),
        ("Request was throttled. Expected available in 1 second.", {}, 1.0),
        ("Request was throttled. Your rate limit resets in ~30s.", {"retry-after": "4"}, 4.0),
        ("slowly", {}, None),
    ],
)
def test_a_throttled_request_says_until_when(detail: str, headers: dict[str, str], seconds: float | None) -> None:
    error = read(response({"detail": detail}, status=429, headers=headers)).error

    assert type(error) is RateLimitError
    assert error.retry_after == seconds


@pytest.mark.parametrize("word", ["starting", "processing", "a word of the future"])
def test_a_prediction_that_is_not_over_is_running(word: str) -> None:
    task = read(response(prediction(word))).result

    assert (task.id, task.state, task.raw_state, task.images) == (ID, RUNNING, word, ())


def test_a_record_says_all_of_a_picture() -> None:
    task = read(response(prediction())).result

    assert (task.state, task.model, task.prompt, task.image_count_requested) == (SUCCEEDED, OFFICIAL, "a red kite", 2)
    assert [image.url for image in task.images] == [A, B]
    assert (task.created_at, task.finished_at, task.duration) == (1790000000.25, 1790000004.0, 3.5)
    assert task.usage == {"predict_time": 3.5}


OUTPUTS: dict[str, tuple[Any, list[str]]] = {
    "an address": (URL, [URL]),
    "a list": ([A, B], [A, B]),
    "an object": ({"image": A, "seed": 5, "mask": B}, [A, B]),
    "objects": ([{"url": A}, {"image": {"url": B}}], [A, B]),
    "of a kind that nobody told": ({"url": A, "content_type": "application/octet-stream"}, [A]),
    "as JSON": (json.dumps([A, B]), [A, B]),
    "the same twice": ([A, A], [A]),
}


@pytest.mark.parametrize(("output", "urls"), OUTPUTS.values(), ids=OUTPUTS)
def test_pictures_are_found_in_an_output_of_any_shape(output: Any, urls: list[str]) -> None:
    assert [image.url for image in read(response(prediction(output=output))).result.images] == urls


FAILURES: dict[str, tuple[dict[str, Any], type[ImageTaskError], str | None, str]] = {
    "failed": (prediction("failed", error="CUDA out of memory"), ImageTaskFailedError, None, "unknown"),
    "with a code": (prediction("failed", error="Prediction failed (E6716)"), ImageTaskFailedError, "E6716", "unknown"),
    "flagged": (prediction("failed", error="flagged as sensitive. (E005)"), ContentPolicyError, "E005", "unknown"),
    "nsfw": (prediction("failed", error="NSFW content detected. Try"), ContentPolicyError, "nsfw", "unknown"),
    "nsfw in the words of Cog": (
        prediction(
            "failed", error="Prediction failed: Async prediction failed: ValueError: NSFW content detected. Try"
        ),
        ContentPolicyError,
        "nsfw",
        "unknown",
    ),
    "nothing but nsfw": (
        prediction(
            "failed", error="All generated images contained NSFW content. Try running it again with a different"
        ),
        *(ContentPolicyError, "nsfw", "unknown"),
    ),
    "canceled": (prediction("canceled"), ImageTaskFailedError, "canceled", "unknown"),
    "aborted": (prediction("aborted"), ImageTaskFailedError, "aborted", "no"),
    "no picture": (prediction(output="a poem"), ImageTaskFailedError, "no_images", "unknown"),
    "deleted": (prediction(output=None, data_removed=True), ResultExpiredError, "data_removed", "yes"),
}


@pytest.mark.parametrize(("record", "error_class", "code", "billed"), FAILURES.values(), ids=FAILURES)
def test_a_prediction_that_came_to_nothing_says_why_and_what_it_cost(
    record: dict[str, Any], error_class: type[ImageTaskError], code: str | None, billed: str
) -> None:
    task = read(response(record)).result

    assert (type(task.error), task.error.code, task.error.billed) == (error_class, code, billed)
    assert (task.error.image_task_id, task.error.retryable) == (ID, False)


@pytest.mark.parametrize(
    ("status", "body", "error_class"),
    [(500, {"detail": "x"}, ServiceUnavailableError), (502, b"<html>", ServiceUnavailableError),
     (200, {"id": ID}, ProtocolError), (404, b"<html>", InvalidRequestError)],
)  # fmt: skip
def test_an_answer_that_anything_on_the_way_may_give_ends_nothing(
    status: int, body: Any, error_class: type[ImageTaskError]
) -> None:
    error = read(response(body, status=status)).error

    assert error is not None
    assert (type(error), error.billed) == (error_class, "unknown")


def test_a_prediction_that_replicate_does_not_know_is_not_found() -> None:
    assert read(response({"detail": "not found"}, status=404)).result.state is NOT_FOUND
    for odd in ("", "a/b", "inline", "../x"):
        driven = drive(SERVICE.read_one(odd), *([response({"detail": "x"}, status=404)] if odd == "inline" else []))
        assert driven.result.state is NOT_FOUND


def page(*ids: str, cursor: str | None = None) -> Any:
    url = f"https://api.replicate.com/v1/predictions?cursor={cursor}" if cursor else None
    return response({"previous": None, "next": url, "results": [prediction(id=each) for each in ids]})


def test_several_predictions_are_looked_for_on_one_page_and_the_others_asked_for_alone() -> None:
    asked = [f"p{number}" for number in range(5)]
    old = response(prediction("processing", id="p3"))
    driven = drive(read_all(SERVICE, Pace(None), asked), page("p4", "other", "p1", "p0", "p2"), old)

    assert [request.path for request in driven.requests] == ["/v1/predictions", "/v1/predictions/p3"]
    assert {name: task.state for name, task in driven.result.items()} == {
        **dict.fromkeys(asked, SUCCEEDED),
        "p3": RUNNING,
    }
    assert driven.pauses == []


def test_a_prediction_that_a_list_tells_in_part_only_is_left_to_be_asked_for_alone() -> None:
    shortened = {name: value for name, value in prediction(id="p0").items() if name != "output"}
    stopped = {"id": "p3", "status": "aborted"}
    records = [None, "odd", {"id": "p1"}, prediction(id="p2"), shortened, {"status": "succeeded"}, stopped]
    driven = drive(SERVICE.read_tasks_once(["p0", "p1", "p2", "p3"]), response({"next": None, "results": records}))

    assert {name: task.state for name, task in driven.result.items()} == {"p2": SUCCEEDED}


def test_a_record_of_a_list_that_cannot_be_read_takes_no_other_with_it() -> None:
    listed = response({"next": None, "results": [{"id": "a"}, prediction(id="b"), None]})

    assert [task.id for task in drive(SERVICE.list_tasks(), listed).result] == ["b"]


def test_a_picture_within_a_record_is_found_in_a_list_as_well_as_alone() -> None:
    records = [prediction(id=name, output=["data:image/png;base64,AAAA"]) for name in ("p0", "p1")]
    listed = drive(SERVICE.read_batch(["p0", "p1"]), response({"next": None, "results": records})).result

    found = [*listed.values(), read(response(records[0])).result]
    assert [[(image.url, image.data) for image in task.images] for task in found] == [
        [(None, "data:image/png;base64,AAAA")]
    ] * 3


def test_a_failure_that_is_no_text_is_told_by_its_words() -> None:
    record = prediction("failed", error={"detail": "out of memory"})

    assert "out of memory" in read(response(record)).result.error.message


def test_one_prediction_is_asked_for_by_itself() -> None:
    assert [request.path for request in drive(SERVICE.read_batch([ID]), response(prediction())).requests] == [
        f"/v1/predictions/{ID}"
    ]


def test_predictions_are_listed_page_by_page() -> None:
    driven = drive(SERVICE.list_tasks(created_after="2026-01-01", limit=3), page("a", "b", cursor="x"), page("c", "d"))

    assert [task.id for task in driven.result] == ["a", "b", "c"]
    first, second = (request.parameters for request in driven.requests)
    assert (first, second) == ({"created_after": "2026-01-01"}, {"created_after": "2026-01-01", "cursor": "x"})
    assert len(drive(SERVICE.list_tasks(limit=9), page("a", cursor="x"), page("a", cursor="x")).result) == 1
    assert "no filter nobody" in str(drive(SERVICE.list_tasks(nobody=1)).error)


@pytest.mark.parametrize(
    ("word", "told"), [("canceled", "is billed"), ("processing", "is billed"), ("aborted", "not billed")]
)
def test_a_cancel_says_what_it_means_for_the_bill(word: str, told: str) -> None:
    driven = drive(SERVICE.cancel(ID), response(prediction(word)))

    assert [(each.method, each.path) for each in driven.requests] == [("POST", f"/v1/predictions/{ID}/cancel")]
    assert told in driven.result


@pytest.mark.parametrize(
    ("status", "body"), [(200, prediction()), (200, prediction("failed")), (404, {"detail": "not found"})]
)
def test_what_is_over_cannot_be_cancelled(status: int, body: Any) -> None:
    error = drive(SERVICE.cancel(ID), response(body, status=status)).error

    assert error is not None
    assert (type(error), error.image_task_id, error.billed) == (InvalidRequestError, ID, "unknown")
    assert type(drive(SERVICE.cancel("a/b")).error) is InvalidRequestError


def test_the_connection_is_checked_with_the_account() -> None:
    assert "the key of me" in drive(SERVICE.check_connection(), response({"username": "me"})).result
    assert type(drive(SERVICE.check_connection(), response({}, status=401)).error) is AuthenticationError


def test_six_hundred_predictions_a_minute_are_a_tier() -> None:
    tiers = tiers_for(SERVICE)

    assert str(tiers["replicate:default"].submit) == "600/60s"
    assert str(tiers["replicate:default"].query) == "3000/60s"
    assert str(tiers["replicate:low-credit"].submit) == "1/1s,6/60s"


KEY, OTHER_KEY = (f"whsec_{base64.b64encode(each).decode()}" for each in (b"a key", b"another key"))
BODY = json.dumps(prediction()).encode()


def signed(*, at: float = NOW, key: bytes = b"a key", body: bytes = BODY) -> Callback:
    content = f"msg-1.{int(at)}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    headers = {"webhook-id": "msg-1", "webhook-timestamp": f"{int(at)}", "webhook-signature": f"v1,old v1,{signature}"}
    return Callback(headers=headers, body=body, at=at)


def checked(callback: Callback, *answers: Any, secret: str | None = None, service: Replicate | None = None) -> Any:
    flow = (service or Replicate()).check_callback(callback, account(webhook_secret=secret))
    return drive(flow, *answers, now=callback.at)


def test_callbacks_are_checked_by_the_connection_s_key_without_a_request() -> None:
    assert checked(signed(), secret=KEY).result == ID
    assert type(checked(signed(), secret=OTHER_KEY).error) is AuthenticationError
    assert "whsec_" in checked(signed(), secret="no key!").error.message


def test_a_key_that_the_connection_does_not_have_is_asked_for_once_a_day() -> None:
    service = Replicate()
    first = checked(signed(), response({"key": KEY}), service=service)
    again = checked(signed(at=NOW + 3_600), service=service)
    changed = checked(signed(at=NOW + 3_700, key=b"another key"), response({"key": OTHER_KEY}), service=service)

    assert [driven.result for driven in (first, again, changed)] == [ID] * 3
    assert [request.path for request in first.requests] == ["/v1/webhooks/default/secret"]
    assert again.requests == []


def test_a_callback_without_a_prediction_is_not_understood() -> None:
    assert type(checked(signed(body=b"{}"), secret=KEY).error) is ProtocolError
