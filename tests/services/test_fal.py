"""fal's queue: its pages "Inference API", "Cancel a request", "Request Error Types" and "Model Errors"."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.connection_contract import Callback
from airflow_provider_imagetasks.services.fal import Fal
from airflow_provider_imagetasks.services.wire import Request
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.flow_driver import NOW, DrivenFlow, drive, no_response, response
from tests.services.wire_examples import NOT_FOUND, RUNNING, SUCCEEDED, URL, A, B, account, completed

SERVICE = get_service("fal")
REQUEST_ID = "11111111-2222-4333-8444-555555555555"
ID = f"fal-ai.flux.{REQUEST_ID}"
PATH = f"/fal-ai/flux/requests/{REQUEST_ID}"
WHERE = f"https://queue.fal.run{PATH}"
ACCEPTED = {"request_id": REQUEST_ID, "status": "IN_QUEUE", "status_url": f"{WHERE}/status", "response_url": WHERE}
COMPLETED = response({"status": "COMPLETED", "metrics": {"inference_time": 3.5}})
RESULT = {"images": [{"url": URL, "width": 64, "height": 64, "content_type": "image/png"}], "prompt": "a red kite"}
FAL = Account(conn_id="fal", service="fal", base_url="https://queue.fal.run", key="k")
LOCAL = replace(FAL, base_url="http://127.0.0.1:8750/fal")
ONE, TWO = (Ed25519PrivateKey.from_private_bytes(letter * 32) for letter in (b"1", b"2"))
BODY = json.dumps({"request_id": "r-1", "status": "OK"}).encode()


def sent(model: str = "fal-ai/flux/dev", **fields: Any) -> Request:
    """Return the request that goes out for a picture."""
    (request,) = drive(SERVICE.submit(completed(SERVICE, model=model, **fields)), response(ACCEPTED)).requests
    assert isinstance(request, Request)
    return request


def submitted(*answers: Any, model: str = "fal-ai/flux/dev") -> DrivenFlow:
    return drive(SERVICE.submit(completed(SERVICE, model=model)), *answers)


def read(*answers: Any, image_task_id: str = ID) -> DrivenFlow:
    return drive(SERVICE.read_one(image_task_id), *answers)


def test_the_model_is_the_path_and_its_input_the_body() -> None:
    request = sent(options={"image_size": "square", "num_images": 2})

    assert (request.method, request.path, request.parameters) == ("POST", "/fal-ai/flux/dev", {})
    assert request.body == {"prompt": "make it winter", "image_size": "square", "num_images": 2}
    assert request.headers == {}


def test_a_callback_url_goes_out_in_the_query() -> None:
    assert sent(callback_url="https://me.example/done").parameters == {"fal_webhook": "https://me.example/done"}


def test_options_that_are_fal_s_headers_go_out_as_headers() -> None:
    options = {"X-Fal-Queue-Priority": "low", "x-fal-no-retry": 1, "X-Fal-Runner-Hint": None}
    lifecycle = {"X-Fal-Object-Lifecycle-Preference": {"expiration_duration_seconds": 600}}
    request = sent(options={**options, **lifecycle, "seed": 7})

    assert request.body == {"prompt": "make it winter", "seed": 7}
    assert request.headers["X-Fal-Queue-Priority"] == "low"
    assert request.headers["x-fal-no-retry"] == "1"
    assert json.loads(request.headers["X-Fal-Object-Lifecycle-Preference"]) == {"expiration_duration_seconds": 600}
    assert "X-Fal-Runner-Hint" not in request.headers
    for value in ("a\nb", "ü"):
        with pytest.raises(InvalidRequestError, match="header"):
            completed(SERVICE, model="fal-ai/flux", options={"X-Fal-Runner-Hint": value})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [({"expiration_duration_seconds": 600}, 600), ('{"expiration_duration_seconds": 60}', 60), ("{", None), (5, None)],
)
def test_the_request_says_how_long_its_pictures_live(value: Any, seconds: float | None) -> None:
    options = {"x-Fal-Object-Lifecycle-Preference": value}
    request = ImageRequest(prompt="a kite", model="fal-ai/flux", options=options)

    assert SERVICE.results_life(request) == seconds
    assert SERVICE.results_life(ImageRequest(prompt="a kite")) is None


@pytest.mark.parametrize(
    ("model", "images", "options", "field"),
    [
        ("fal-ai/flux/dev/image-to-image", [A], {}, {"image_url": A}),
        ("fal-ai/nano-banana/edit", [A], {}, {"image_urls": [A]}),
        ("fal-ai/flux-pro/kontext/max/multi", [A], {}, {"image_urls": [A]}),
        ("somebody/model", [A, B], {}, {"image_urls": [A, B]}),
        ("somebody/model", [A], {"image_urls": None}, {"image_urls": [A]}),
        ("fal-ai/nano-banana/edit", [A], {"image_url": None}, {"image_url": A}),
    ],
)
def test_pictures_go_into_the_field_that_the_model_takes(
    model: str, images: list[str], options: dict[str, Any], field: dict[str, Any]
) -> None:
    assert sent(model, images=images, options=options).body == {"prompt": "make it winter", **field}


@pytest.mark.parametrize("model", [None, "flux", "fal-ai/", "fal-ai/../x", "fal-ai/flux?x=1", "/fal-ai/flux", "a b/c"])
def test_a_model_that_is_no_path_is_refused_before_it_is_paid_for(model: str | None) -> None:
    with pytest.raises(InvalidRequestError, match="fal-ai/flux/dev"):
        completed(SERVICE, model=model)


def test_the_connection_may_name_the_model() -> None:
    assert completed(SERVICE, of=account(default_model="fal-ai/flux/dev")).model == "fal-ai/flux/dev"


@pytest.mark.parametrize(
    ("model", "status_url", "image_task_id"),
    [
        ("fal-ai/flux/dev", f"{WHERE}/status", ID),
        ("fal-ai/flux-pro/v1.1/ultra", None, f"fal-ai.flux-pro.{REQUEST_ID}"),
        ("bria/model-2.1", None, f"bria.model-2.1.{REQUEST_ID}"),
        (
            "workflows/me/mine",
            f"https://queue.fal.run/workflows/me/mine/requests/{REQUEST_ID}/status",
            f"workflows.me.mine.{REQUEST_ID}",
        ),
        ("fal-ai/a", f"http://127.0.0.1:8750/fal/fal-ai/b/requests/{REQUEST_ID}/status", f"fal-ai.b.{REQUEST_ID}"),
        ("fal-ai/flux", "https://elsewhere.example/", ID),
    ],
)
def test_the_id_says_where_to_ask(model: str, status_url: str | None, image_task_id: str) -> None:
    task = submitted(response({**ACCEPTED, "status_url": status_url, "response_url": None}), model=model).result

    assert (task.id, task.model, task.state) == (image_task_id, model, RUNNING)
    asked = read(response({"status": "IN_QUEUE"}, status=202), image_task_id=task.id).requests[0]
    owner_and_app = image_task_id.removesuffix(f".{REQUEST_ID}").replace(".", "/", 1)
    if image_task_id.startswith("workflows"):
        owner_and_app = "workflows/me/mine"
    assert asked.path == f"/{owner_and_app}/requests/{REQUEST_ID}/status"


@pytest.mark.parametrize("request_id", ["../../x", "a/b", "a.b", "", None, ["a"]])
def test_an_id_that_cannot_be_asked_for_leaves_the_outcome_unknown(request_id: Any) -> None:
    assert type(submitted(response({"request_id": request_id, "status": "IN_QUEUE"})).error) is UnknownOutcomeError


@pytest.mark.parametrize("image_task_id", ["", "nobody", "a.b", "a/b.c.d", "fal-ai..x", "fal-ai.x.y/../z"])
def test_an_id_that_fal_never_gave_is_not_asked_for(image_task_id: str) -> None:
    driven = read(image_task_id=image_task_id)

    assert (driven.result.state, driven.requests) == (NOT_FOUND, [])


def test_a_submission_without_an_answer_is_not_made_again() -> None:
    for answer in (no_response(may_have_left=True), response({"detail": "later"}, status=503)):
        driven = submitted(answer)
        assert type(driven.error) is UnknownOutcomeError
        assert "https://fal.ai/dashboard" in driven.error.message
        assert len(driven.requests) == 1


def model_error(kind: str, message: str = "no") -> dict[str, Any]:
    return {"detail": [{"loc": ["body", "prompt"], "msg": message, "type": kind, "url": f"https://docs/{kind}"}]}


LOCKED = {"detail": "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."}
REFUSALS: dict[str, tuple[int, Any, type[ImageTaskError], str]] = {
    "no key": (401, {"detail": "Authentication is required"}, AuthenticationError, "401"),
    "another's app": (403, {"detail": "Cannot access application"}, AuthenticationError, "403"),
    "locked by an admin": (403, {"detail": "User is locked. Reason: Admin lock."}, AuthenticationError, "403"),
    "no balance": (403, LOCKED, QuotaExceededError, "403"),
    "to be topped up": (403, {"detail": "User is locked. Reason: TOP_UP."}, QuotaExceededError, "403"),
    "payment required": (402, {"detail": "pay"}, QuotaExceededError, "402"),
    "no such app": (404, {"detail": "Application 'x' not found"}, InvalidRequestError, "404"),
    "a wrong field": (422, model_error("value_error"), InvalidRequestError, "value_error"),
    "content": (422, model_error("content_policy_violation"), ContentPolicyError, "content_policy_violation"),
    "malformed": (400, {"detail": "x", "error_type": "bad_request"}, InvalidRequestError, "bad_request"),
}


@pytest.mark.parametrize(("status", "body", "error_class", "code"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_not_billed(status: int, body: Any, error_class: type[ImageTaskError], code: str) -> None:
    error = submitted(response(body, status=status)).error

    assert error is not None
    assert (type(error), error.code, error.billed) == (error_class, code, "no")


def test_too_many_requests_are_made_again_later() -> None:
    slowly = response({"detail": "slow down"}, status=429, headers={"retry-after": "7"})
    driven = submitted(slowly, response(ACCEPTED))
    unread = read(slowly).error

    assert driven.result.id == ID
    assert driven.pauses[0] >= 7
    assert (type(unread), unread.retry_after, unread.billed) == (RateLimitError, 7.0, "unknown")


def test_a_refusal_that_names_a_request_is_one_that_was_taken() -> None:
    assert submitted(response(ACCEPTED, status=400)).result.id == ID


@pytest.mark.parametrize("word", ["IN_QUEUE", "IN_PROGRESS", "A_WORD_OF_THE_FUTURE"])
def test_a_request_that_is_not_completed_is_running(word: str) -> None:
    task = read(response({"status": word}, status=202)).result

    assert (task.id, task.state, task.raw_state, task.model) == (ID, RUNNING, word, "fal-ai/flux")


def test_a_completed_request_is_asked_for_its_result() -> None:
    driven = read(COMPLETED, response(RESULT))
    task = driven.result

    assert [(request.method, request.path) for request in driven.requests] == [("GET", f"{PATH}/status"), ("GET", PATH)]
    assert (task.id, task.state, task.prompt, task.duration) == (ID, SUCCEEDED, "a red kite", 3.5)
    assert [image.url for image in task.images] == [URL]
    assert len(driven.requests) <= SERVICE.requests_per_read


OUTPUTS: dict[str, tuple[Any, list[str]]] = {
    "one": ({"image": {"url": A}}, [A]),
    "texts": ({"images": [A, B]}, [A, B]),
    "under another name": ({"output": {"url": A, "content_type": "image/webp"}, "seed": 5}, [A]),
    "beside something else": ({"video": {"url": B, "content_type": "video/mp4"}, "still": {"url": A}}, [A]),
    "of a kind that nobody told": ({"images": [{"url": A, "content_type": "application/octet-stream"}]}, [A]),
    "a bare address": ({"image_url": A, "prompt": B}, [A]),
    "bare addresses": ({"outputs": [A, B], "seed": 5}, [A, B]),
    "a prompt that is an address": ({"images": [{"url": A}], "prompt": B}, [A]),
}


@pytest.mark.parametrize(("output", "urls"), OUTPUTS.values(), ids=OUTPUTS)
def test_pictures_are_found_wherever_a_model_has_them(output: Any, urls: list[str]) -> None:
    assert [image.url for image in read(COMPLETED, response(output)).result.images] == urls


def test_a_picture_within_the_answer_is_kept() -> None:
    inline = "data:image/png;base64,aGk="
    assert read(COMPLETED, response({"images": [{"url": inline}]})).result.images[0].data == inline


@pytest.mark.parametrize(
    ("flags", "left", "code"),
    [
        ([True, False], [1], None),
        ([False, False], [0, 1], None),
        ([True, True], [], "nsfw"),
        (None, [0, 1], None),
        (False, [0, 1], None),
    ],
)
def test_pictures_that_were_blacked_out_are_none(flags: Any, left: list[int], code: str | None) -> None:
    result = {"images": [{"url": A}, {"url": B}], "has_nsfw_concepts": flags}
    task = read(COMPLETED, response(result)).result

    assert [image.index for image in task.images] == left
    assert task.image_count_requested == 2
    if code:
        assert (type(task.error), task.error.code, task.error.billed) == (ContentPolicyError, code, "yes")


def test_a_picture_that_was_blacked_out_may_be_left_out_and_a_single_one_has_a_single_flag() -> None:
    left_out = read(COMPLETED, response({"images": [{"url": None}, {"url": B}], "has_nsfw_concepts": [True, False]}))
    single = read(COMPLETED, response({"image": {"url": A}, "has_nsfw_concepts": True}))

    assert [(image.index, image.url) for image in left_out.result.images] == [(1, B)]
    assert (type(single.result.error), single.result.images) == (ContentPolicyError, ())


def test_a_picture_that_is_there_counts_whatever_was_said_of_the_request_before() -> None:
    failed = response({"status": "COMPLETED", "error": {"message": "late"}, "error_type": "startup_timeout"})

    assert [image.url for image in read(failed, response(RESULT)).result.images] == [URL]


def test_a_result_that_is_not_there_yet_is_waited_for() -> None:
    task = read(COMPLETED, response({"detail": "Request is still in progress"}, status=400)).result

    assert (task.state, task.error) == (RUNNING, None)


def flat(kind: str) -> dict[str, Any]:
    return {"detail": "it broke", "error_type": kind}


FAILURES: dict[str, tuple[dict[str, Any], int, Any, type[ImageTaskError], str, str]] = {
    "fal's own": ({"error": "x", "error_type": "runner_disconnected"}, 503, flat("runner_disconnected"),
                  ImageTaskFailedError, "runner_disconnected", "no"),
    "not told by the status": ({}, 504, flat("request_timeout"), ImageTaskFailedError, "request_timeout", "no"),
    "a model's": ({}, 422, model_error("image_too_large"), ImageTaskFailedError, "image_too_large", "unknown"),
    "content": ({}, 422, model_error("content_policy_violation"), ContentPolicyError, "content_policy_violation",
                "unknown"),
    "cancelled": ({"error": "x", "error_type": "client_cancelled"}, 499, flat("client_cancelled"),
                  ImageTaskFailedError, "client_cancelled", "unknown"),
    "a status alone": ({}, 400, {"detail": "no"}, ImageTaskFailedError, "400", "unknown"),
    "an error for a result": ({}, 200, flat("runner_server_error"), ImageTaskFailedError, "runner_server_error",
                              "unknown"),
    "a refusal for a result": ({}, 200, model_error("content_policy_violation"), ContentPolicyError,
                               "content_policy_violation", "unknown"),
    "an error that is no text": ({"error": {"message": "x"}}, 500, {"detail": "x"}, ImageTaskFailedError, "500", "no"),
    "no picture": ({}, 200, {"text": "a poem"}, ImageTaskFailedError, "no_images", "unknown"),
    "deleted": ({}, 404, {"detail": "not found"}, ResultExpiredError, "404", "yes"),
}  # fmt: skip


@pytest.mark.parametrize(("status", "code", "body", "error_class", "kind", "billed"), FAILURES.values(), ids=FAILURES)
def test_a_request_that_came_to_nothing_says_why_and_what_it_cost(
    status: dict[str, Any], code: int, body: Any, error_class: type[ImageTaskError], kind: str, billed: str
) -> None:
    task = read(response({"status": "COMPLETED", **status}), response(body, status=code)).result

    assert task.images == ()
    assert (type(task.error), task.error.code, task.error.billed) == (error_class, kind, billed)
    assert (task.error.image_task_id, task.error.retryable) == (ID, False)


@pytest.mark.parametrize(
    ("status", "body", "error_class"),
    [
        (500, {"detail": "Internal Server Error"}, ServiceUnavailableError),
        (502, b"<html>", ServiceUnavailableError),
        (401, {"detail": "who?"}, AuthenticationError),
        (200, b"<html>", ProtocolError),
    ],
)
def test_an_answer_that_anything_on_the_way_may_give_ends_nothing(
    status: int, body: Any, error_class: type[ImageTaskError]
) -> None:
    for answers in ((response(body, status=status),), (COMPLETED, response(body, status=status))):
        error = read(*answers).error
        assert error is not None
        assert (type(error), error.billed) == (error_class, "unknown")


def test_a_request_that_fal_does_not_know_is_not_found() -> None:
    assert read(response({"detail": "Request not found"}, status=404)).result.state is NOT_FOUND
    assert type(read(response(b"<html>", status=404)).error) is InvalidRequestError


CANCELS: dict[str, tuple[int, str, str]] = {
    "removed": (200, "OK", "It is not billed"),
    "told": (202, "CANCELLATION_REQUESTED", "may be billed"),
}


@pytest.mark.parametrize(("status", "word", "told"), CANCELS.values(), ids=CANCELS)
def test_a_cancel_says_what_it_means_for_the_bill(status: int, word: str, told: str) -> None:
    driven = drive(SERVICE.cancel(ID), response({"status": word}, status=status))

    assert [(request.method, request.path) for request in driven.requests] == [("PUT", f"{PATH}/cancel")]
    assert told in driven.result


@pytest.mark.parametrize(
    ("status", "body"), [(400, {"status": "ALREADY_COMPLETED"}), (404, {"status": "NOT_FOUND"}), (404, {"detail": "x"})]
)
def test_what_is_over_cannot_be_cancelled(status: int, body: Any) -> None:
    error = drive(SERVICE.cancel(ID), response(body, status=status)).error

    assert error is not None
    assert (type(error), error.image_task_id, error.billed) == (InvalidRequestError, ID, "unknown")
    assert drive(SERVICE.cancel("nobody's")).error is not None


def test_the_connection_is_checked_with_a_request_that_cannot_exist() -> None:
    good = drive(SERVICE.check_connection(), response({"detail": "not found"}, status=404))
    bad = drive(SERVICE.check_connection(), response({"detail": "who?"}, status=401))

    assert "does not refuse the key" in good.result
    assert type(bad.error) is AuthenticationError


def keys(*signers: Ed25519PrivateKey) -> Any:
    public = (base64.urlsafe_b64encode(one.public_key().public_bytes_raw()).decode().rstrip("=") for one in signers)
    return response({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": each} for each in public]})


def signed(body: bytes = BODY, *, at: float = NOW, by: Ed25519PrivateKey = ONE) -> Callback:
    lines = ("r-1", "user|1", f"{int(at)}", hashlib.sha256(body).hexdigest())
    headers = {"request-id": lines[0], "user-id": lines[1], "timestamp": lines[2]}
    headers["signature"] = by.sign("\n".join(lines).encode()).hex()
    return Callback(headers={f"x-fal-webhook-{name}": value for name, value in headers.items()}, body=body, at=at)


def checked(service: Fal, callback: Callback, *answers: Any, account: Account = FAL) -> DrivenFlow:
    return drive(service.check_callback(callback, account), *answers, now=callback.at)


def test_the_keys_are_asked_for_without_the_account_s_own_once_a_day() -> None:
    service = Fal()
    first = checked(service, signed(), keys(TWO, ONE))
    again = checked(service, signed(at=NOW + 3_600))
    next_day = checked(service, signed(at=NOW + 90_000), keys(ONE))

    assert [driven.result for driven in (first, again, next_day)] == ["r-1"] * 3
    (request,) = first.requests
    assert (request.host, request.path) == ("https://rest.alpha.fal.ai", "/.well-known/jwks.json")
    assert request.sends_key is False
    assert again.requests == []
    assert len(next_day.requests) == 1


def test_behind_another_base_url_the_keys_are_asked_for_there() -> None:
    assert checked(Fal(), signed(), keys(ONE), account=LOCAL).requests[0].host is None


def test_changed_keys_are_noticed_and_whoever_forges_makes_nobody_ask_more_than_once_a_minute() -> None:
    service = Fal()
    checked(service, signed(), keys(ONE))
    soon = checked(service, signed(at=NOW + 30, by=TWO))
    later = checked(service, signed(at=NOW + 61, by=TWO), keys(TWO))
    forged = checked(service, signed(at=NOW + 90, by=Ed25519PrivateKey.generate()))

    assert type(soon.error) is type(forged.error) is AuthenticationError
    assert later.result == "r-1"


@pytest.mark.parametrize("published", [{}, {"keys": None}, {"keys": [5, {"x": "%%"}, {"x": "aGk"}, {"crv": "P-256"}]}])
def test_odd_keys_sign_nothing(published: Any) -> None:
    assert type(checked(Fal(), signed(), response(published)).error) is AuthenticationError


def test_keys_that_cannot_be_had_leave_the_callback_to_polling() -> None:
    assert type(checked(Fal(), signed(), response({}, status=503)).error) is ServiceUnavailableError
