"""OpenAI's background responses: its guides "Background mode", "Image generation", "Webhooks", its reference."""

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
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services import get_service, tiers_for
from airflow_provider_imagetasks.services.connection_contract import Callback
from airflow_provider_imagetasks.services.openai import RESPONSE_MODEL
from airflow_provider_imagetasks.services.wire import Request
from airflow_provider_imagetasks.tasks import ImageFile
from tests.flow_driver import NOW, DrivenFlow, drive, no_response, response
from tests.services.wire_examples import NOT_FOUND, RUNNING, SUCCEEDED, A, B, account, completed

SERVICE = get_service("openai")
ID = "resp_68af4030baa48193b0b43b4c2a176a1a"
PICTURE = base64.b64encode(b"a picture").decode()
FILE = ImageFile(name="images.png", media_type="image/png", content=b"a file")
CALL = {
    "id": "ig_1",
    "type": "image_generation_call",
    # As it was seen in responses that are complete.
    "status": "generating",
    "result": PICTURE,
    "revised_prompt": "a kite, red",
}
SAID = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Here it is."}]}


def answered(status: str = "completed", **fields: Any) -> dict[str, Any]:
    known = {
        "id": ID,
        "object": "response",
        "created_at": 1790000000,
        "completed_at": 1790000021.5 if status == "completed" else None,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "metadata": {"imagetasks_prompt": "a red kite"},
        "model": RESPONSE_MODEL,
        "output": [CALL, SAID] if status == "completed" else [],
        "tools": [{"type": "image_generation", "model": "gpt-image-2", "size": "auto"}],
        "usage": {"input_tokens": 40, "output_tokens": 9, "total_tokens": 49} if status == "completed" else None,
        "tool_usage": {"image_gen": {"output_tokens": 1056}} if status == "completed" else None,
    }
    return known | fields


def said_error(status: int, code: str | None = None, message: str = "no", **headers: str) -> Any:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return response({"error": error}, status=status, headers=headers)


def sent(key: str | None = "k-1", **fields: Any) -> dict[str, Any]:
    """Return the body of the request that goes out for a picture."""
    (made,) = drive(SERVICE.submit(completed(SERVICE, **fields), key=key), response(answered("queued"))).requests
    assert isinstance(made, Request)
    assert (made.method, made.path, made.parts, made.headers) == ("POST", "/responses", (), {})
    return dict(made.body or {})


def submitted(*answers: Any) -> DrivenFlow:
    return drive(SERVICE.submit(completed(SERVICE)), *answers)


def read(*answers: Any) -> DrivenFlow:
    return drive(SERVICE.read_one(ID), *answers)


def test_a_picture_is_asked_for_as_one_call_of_the_tool_in_a_background_response_that_is_kept() -> None:
    assert sent(options={"size": "1024x1024", "quality": "low", "n": 1}) == {
        "model": RESPONSE_MODEL,
        "input": "make it winter",
        "tools": [{"type": "image_generation", "model": "gpt-image-2", "size": "1024x1024", "quality": "low"}],
        "tool_choice": {"type": "image_generation"},
        "max_tool_calls": 1,
        "background": True,
        "store": True,
        "metadata": {"imagetasks_key": "k-1", "imagetasks_prompt": "make it winter"},
    }


def test_the_model_of_the_picture_is_the_request_s_and_that_around_it_an_option() -> None:
    around = {"model": "gpt-5.5", "instructions": "Word for word.", "metadata": {"team": "sea"}}
    body = sent(model="gpt-image-2.6-flare", options={"response": around})

    assert (body["model"], body["instructions"]) == ("gpt-5.5", "Word for word.")
    assert body["tools"] == [{"type": "image_generation", "model": "gpt-image-2.6-flare"}]
    assert body["metadata"]["team"] == "sea"
    assert body["metadata"]["imagetasks_key"] == "k-1"


@pytest.mark.parametrize(
    ("around", "said"),
    [
        ("gpt-5.5", "must be a dict"),
        *(({field: True}, field) for field in ("store", "background", "tools", "input", "max_tool_calls")),
        ({"metadata": {str(number): "x" for number in range(15)}}, "at most 14"),
        ({"metadata": "x"}, "metadata"),
    ],
)
def test_what_this_package_says_itself_cannot_be_said_otherwise(around: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        completed(SERVICE, options={"response": around})


@pytest.mark.parametrize("options", [{"n": 2}, {"num_images": 3}, {"n": 2, "batch_size": 2}])
def test_several_pictures_are_refused_before_they_are_billed_with_the_way_to_go(options: dict[str, int]) -> None:
    with pytest.raises(InvalidRequestError, match=r"ImageBatchOperator.*expand") as caught:
        completed(SERVICE, options=options)

    assert caught.value.billed == "no"


def test_pictures_to_edit_stand_beside_the_prompt_as_urls() -> None:
    text, *pictures = sent(images=[A, B])["input"][0]["content"]

    assert text == {"type": "input_text", "text": "make it winter"}
    assert pictures == [{"type": "input_image", "image_url": url} for url in (A, B)]


def test_files_to_edit_and_a_mask_go_out_in_base64() -> None:
    mask = ImageFile(name="mask.png", media_type="image/png", content=b"a mask")
    body = sent(images=[FILE], mask=mask)

    urls = [body["input"][0]["content"][1]["image_url"], body["tools"][0]["input_image_mask"]["image_url"]]
    assert urls == [f"data:image/png;base64,{base64.b64encode(each).decode()}" for each in (b"a file", b"a mask")]


def test_an_answer_to_another_submission_leaves_the_outcome_unknown() -> None:
    queued = answered("queued", metadata={"imagetasks_key": "k-2"})
    error = drive(SERVICE.submit(completed(SERVICE), key="k-1"), response(queued)).error
    taken = drive(SERVICE.submit(completed(SERVICE), key="k-2"), response(queued)).result

    assert type(error) is UnknownOutcomeError
    assert "the key of another submission" in error.message
    assert taken.id == ID


def test_a_submission_without_an_answer_is_not_made_again() -> None:
    odd = (response(b"<html>", status=502), response({}), said_error(500, "server_error"), response({"id": "odd"}))
    for answer in (no_response(may_have_left=True), *odd):
        driven = submitted(answer)
        assert type(driven.error) is UnknownOutcomeError
        assert len(driven.requests) == 1


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_that_names_a_response_was_taken(status: int) -> None:
    assert submitted(response(answered("queued"), status=status)).result.id == ID


@pytest.mark.parametrize("word", ["queued", "in_progress", "a word of the future"])
def test_a_response_that_is_not_over_is_running(word: str) -> None:
    task = read(response(answered(word))).result

    assert (task.id, task.state, task.raw_state, task.images) == (ID, RUNNING, word, ())


def test_a_response_says_all_of_a_picture() -> None:
    driven = read(response(answered()))
    task = driven.result

    assert [request.path for request in driven.requests] == [f"/responses/{ID}"]
    assert (task.state, task.model, task.prompt, task.image_count_requested) == (
        *(SUCCEEDED, "gpt-image-2", "a red kite", 1),
    )
    assert [image.content() for image in task.images] == [b"a picture"]
    assert (task.created_at, task.finished_at, task.duration) == (1790000000.0, 1790000021.5, 21.5)
    assert task.usage["image_gen"] == {"output_tokens": 1056}
    assert task.usage["total_tokens"] == 49
    assert PICTURE not in json.dumps(task.as_xcom("mine"))


@pytest.mark.parametrize(
    ("word", "fields"),
    [
        ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}),
        ("failed", {"error": {"code": "rate_limit_exceeded", "message": "slowly"}}),
        ("cancelled", {}),
    ],
)
def test_a_picture_that_was_made_is_handed_on_whatever_came_after_it(word: str, fields: dict[str, Any]) -> None:
    task = read(response(answered(word, output=[CALL], **fields))).result

    assert (task.state, task.error, len(task.images)) == (SUCCEEDED, None, 1)


FAILURES: dict[str, tuple[dict[str, Any], type[ImageTaskError], str | None, str]] = {
    "failed": (
        answered("failed", error={"code": "server_error", "message": "broken"}),
        *(ImageTaskFailedError, "server_error", "unknown"),
    ),
    "failed without a word": (answered("failed"), ImageTaskFailedError, None, "unknown"),
    "too fast": (
        answered("failed", error={"code": "rate_limit_exceeded", "message": "slowly"}),
        *(ImageTaskFailedError, "rate_limit_exceeded", "no"),
    ),
    "refused": (
        answered("failed", error={"code": "image_content_policy_violation", "message": "no"}),
        *(ContentPolicyError, "image_content_policy_violation", "unknown"),
    ),
    "flagged": (
        answered("failed", error={"code": "invalid_prompt", "message": "flagged"}),
        *(ContentPolicyError, "invalid_prompt", "unknown"),
    ),
    "a picture that cannot be fetched": (
        answered("failed", error={"code": "failed_to_download_image", "message": "404"}),
        *(ImageTaskFailedError, "failed_to_download_image", "unknown"),
    ),
    "filtered": (
        answered("incomplete", incomplete_details={"reason": "content_filter"}),
        *(ContentPolicyError, "content_filter", "unknown"),
    ),
    "cut off": (
        answered("incomplete", incomplete_details={"reason": "max_output_tokens"}),
        *(ImageTaskFailedError, "max_output_tokens", "unknown"),
    ),
    "cancelled": (answered("cancelled"), ImageTaskFailedError, "cancelled", "unknown"),
    "words alone": (answered(output=[SAID]), ImageTaskFailedError, "no_images", "unknown"),
    "a call without a picture": (
        answered(output=[{**CALL, "result": None}]),
        *(ImageTaskFailedError, "no_images", "unknown"),
    ),
    "a refusal of the model": (
        answered(output=[{"type": "message", "content": [{"type": "refusal", "refusal": "I will not."}]}]),
        *(ContentPolicyError, "refusal", "unknown"),
    ),
}


@pytest.mark.parametrize(("record", "error_class", "code", "billed"), FAILURES.values(), ids=FAILURES)
def test_a_response_that_came_to_nothing_says_why_and_what_it_cost(
    record: dict[str, Any], error_class: type[ImageTaskError], code: str | None, billed: str
) -> None:
    task = read(response(record)).result

    assert (type(task.error), task.error.code, task.error.billed) == (error_class, code, billed)
    assert (task.error.image_task_id, task.error.retryable) == (ID, False)
    assert task.error.was_cancelled is (code == "cancelled")


def test_what_the_model_said_in_place_of_a_picture_is_told() -> None:
    assert "Here it is." in read(response(answered(output=[SAID]))).result.error.message


@pytest.mark.parametrize(
    ("answer", "error_class"),
    [
        (said_error(500, "server_error"), ServiceUnavailableError),
        (response(b"<html>", status=502), ServiceUnavailableError),
        (response({"id": ID}), ProtocolError),
        (response(b"<html>", status=404), InvalidRequestError),
        (said_error(401, "invalid_api_key"), AuthenticationError),
    ],
)
def test_an_answer_that_says_nothing_of_a_response_ends_nothing(answer: Any, error_class: type[ImageTaskError]) -> None:
    error = read(answer).error

    assert error is not None
    assert (type(error), error.billed) == (error_class, "unknown")


def test_a_response_that_openai_does_not_know_is_not_found() -> None:
    assert read(said_error(404)).result.state is NOT_FOUND
    for odd in ("", "resp_", "resp_a/b", "file-1", "../x"):
        assert drive(SERVICE.read_one(odd)).result.state is NOT_FOUND


def test_a_cancel_says_what_it_means_for_the_bill() -> None:
    driven = drive(SERVICE.cancel(ID), response(answered("cancelled")))

    assert [(each.method, each.path) for each in driven.requests] == [("POST", f"/responses/{ID}/cancel")]
    assert "may be billed" in driven.result


@pytest.mark.parametrize(
    "answer", [response(answered()), response(answered("failed")), said_error(404), said_error(400)]
)
def test_what_is_over_cannot_be_cancelled(answer: Any) -> None:
    error = drive(SERVICE.cancel(ID), answer).error

    assert error is not None
    assert (type(error), error.billed) == (InvalidRequestError, "unknown")
    assert type(drive(SERVICE.cancel("a/b")).error) is InvalidRequestError


def test_openai_s_usage_tiers_are_pictures_a_minute() -> None:
    tiers = tiers_for(SERVICE)

    assert [str(tiers[f"openai:tier-{number}"].submit) for number in (1, 5)] == ["5/60s", "250/60s"]


def test_the_connection_is_checked_with_a_response_that_cannot_exist() -> None:
    assert "accepts the key" in drive(SERVICE.check_connection(), said_error(404)).result
    assert type(drive(SERVICE.check_connection(), said_error(401, "invalid_api_key")).error) is AuthenticationError


KEY, OTHER_KEY = (f"whsec_{base64.b64encode(each).decode()}" for each in (b"a key", b"another key"))


def called(event: dict[str, Any] | None = None) -> Callback:
    event = {"id": "evt_1", "type": "response.completed", "data": {"id": ID}} if event is None else event
    body = json.dumps(event).encode()
    signature = base64.b64encode(hmac.digest(b"a key", f"wh-1.{int(NOW)}.".encode() + body, "sha256")).decode()
    headers = {"webhook-id": "wh-1", "webhook-timestamp": f"{int(NOW)}", "webhook-signature": f"v1,{signature}"}
    return Callback(headers=headers, body=body, at=NOW)


def checked(callback: Callback, secret: str | None = KEY) -> DrivenFlow:
    return drive(SERVICE.check_callback(callback, account(webhook_secret=secret)))


def test_a_call_of_the_webhook_is_believed_by_the_connection_s_secret_alone() -> None:
    assert checked(called()).result == ID
    for secret, said in ((OTHER_KEY, "signature"), (None, "webhook_secret"), ("no key!", "whsec_")):
        error = checked(called(), secret).error
        assert type(error) is AuthenticationError
        assert said in error.message


def test_a_call_of_the_webhook_that_names_nothing_is_not_understood() -> None:
    assert type(checked(called({"type": "response.completed", "data": "x"})).error) is ProtocolError
