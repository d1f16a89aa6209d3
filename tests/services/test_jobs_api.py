"""AI GPT Image, by its "Create Task", "Query Task" and "Errors" pages, and kie.ai's "Get Task Details"."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskFailedError,
    InvalidRequestError,
    ProtocolError,
    RateLimitError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.polling.reads import read_all
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.flow_driver import NOW, drive, response
from tests.services.wire_examples import (
    NO_PICTURE,
    NOT_FOUND,
    RUNNING,
    SUCCEEDED,
    TASK_ID,
    URL,
    A,
    B,
    Meaning,
    check_meaning,
    completed,
    envelope,
)

SERVICE = get_service("aigptimage")
FAMILY = pytest.mark.parametrize("service", ["aigptimage", "kie"])
REQUEST = ImageRequest(prompt="a red kite", model="gpt-image-2-text-to-image", options={"resolution": "2K"})
CREATED = response(envelope({"taskId": TASK_ID}))
UNKNOWN = response(envelope(None, 404, "what?"), status=404)


def edited(service: str, **fields: Any) -> Any:
    """Return the body that is sent for pictures and a prompt."""
    (request,) = drive(get_service(service).submit(completed(service, **fields)), CREATED).requests
    assert request.path == "/api/v1/jobs/createTask"
    return request.body


@pytest.mark.parametrize(("key", "headers"), [(None, {}), ("derived", {"X-Request-ID": "derived"})])
def test_options_and_prompt_go_into_input_and_the_submission_key_is_the_request_id(key, headers) -> None:
    driven = drive(SERVICE.submit(REQUEST, key=key), CREATED)

    (request,) = driven.requests
    body = {"model": "gpt-image-2-text-to-image", "input": {"prompt": "a red kite", "resolution": "2K"}}
    assert (request.method, request.path, request.headers) == ("POST", "/api/v1/jobs/createTask", headers)
    assert request.body == body
    task = driven.result
    assert (task.id, task.state, task.created_at) == (TASK_ID, RUNNING, NOW)
    assert (task.model, task.prompt) == ("gpt-image-2-text-to-image", "a red kite")


def test_an_answer_without_an_id_leaves_the_outcome_unknown_and_one_without_a_state_is_a_protocol_error() -> None:
    for answer in ({}, envelope(None), envelope({}), envelope({"taskId": ""}), [], None, "yes"):
        assert type(drive(SERVICE.submit(REQUEST), response(answer)).error) is UnknownOutcomeError
    for data in (None, [], "waiting", job(None), job(""), {}):
        error = drive(SERVICE.get_task(TASK_ID), *[response(envelope(data))] * 5).error
        assert type(error) is ProtocolError
        assert error.image_task_id == TASK_ID


FIELDS = ("image_urls", "image_input", "input_urls")


@FAMILY
@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"images": [A, B], "options": {"resolution": "2K"}}, {"resolution": "2K", "input_urls": [A, B]}),
        ({"options": {"image_input": [A]}, "model": "nano-banana-2"}, {"image_input": [A]}),
        *(({"images": [A], "options": {field: none}}, {field: [A]}) for field in FIELDS for none in ([], None, "")),
    ],
)
def test_the_urls_of_an_edit_go_into_input_urls_or_the_field_that_options_name(service, fields, sent) -> None:
    model = fields.get("model", "gpt-image-2-image-to-image")

    assert edited(service, **fields) == {"model": model, "input": {"prompt": "make it winter", **sent}}


@FAMILY
@pytest.mark.parametrize("field", FIELDS)
def test_pictures_that_come_twice_are_refused(service: str, field: str) -> None:
    with pytest.raises(InvalidRequestError, match=field) as caught:
        completed(service, images=[A], options={field: [B]})

    assert caught.value.billed == "no"


def test_records_are_asked_for_by_their_id_one_after_the_other() -> None:
    driven = drive(read_all(SERVICE, Pace(None), ["a", "b"]), response(envelope(job("waiting", taskId="a"))), UNKNOWN)

    for request in driven.requests:
        assert (request.method, request.path, request.body) == ("GET", "/api/v1/jobs/recordInfo", None)
    assert [request.parameters for request in driven.requests] == [{"taskId": "a"}, {"taskId": "b"}]
    assert [task.state for task in driven.result.values()] == [RUNNING, NOT_FOUND]


def test_the_http_status_counts_where_the_envelope_says_that_all_is_well_and_a_code_may_come_as_text() -> None:
    bad_key = drive(SERVICE.get_task(TASK_ID), response(envelope(job("success")), status=401))
    as_text = drive(SERVICE.get_task(TASK_ID), response(envelope(None, "404", "what?")))

    assert type(bad_key.error) is AuthenticationError
    assert as_text.result.state is NOT_FOUND


def test_a_rate_limit_in_the_envelope_says_how_long_and_is_left_to_airflow_where_that_is_too_long() -> None:
    limited = envelope({"retryAfter": 7, "limit": 1, "tier": "free", "windowSeconds": 60}, 429, "slowly")
    driven = drive(SERVICE.submit(REQUEST), response(limited), CREATED)
    error = drive(SERVICE.submit(REQUEST), response(envelope({"retryAfter": 600}, 429, "slowly"))).error

    assert driven.result.id == TASK_ID
    assert 7 <= driven.pauses[0] <= 8
    assert type(error) is RateLimitError
    assert (error.retry_after, error.billed, error.retryable) == (600, "no", True)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [(90_000, 90), (1e12, 3600), (10**400, None), (-5, 0), ("NaN", None), ("30000", 30), ([], None)],
)
def test_a_rate_limit_in_milliseconds_or_beyond_sense_is_an_hour_at_most(told: Any, seconds: float | None) -> None:
    for service in ("aigptimage", "kie"):
        limited = response(envelope({"retryAfter": told}, 429, "slowly"), headers={})
        assert drive(get_service(service).read_one(TASK_ID), limited).error.retry_after == seconds


def test_the_connection_is_good_when_a_made_up_id_is_not_found_and_there_is_no_list() -> None:
    good = drive(SERVICE.check_connection(), UNKNOWN)
    bad_key = drive(SERVICE.check_connection(), response(envelope(None, 401, "who?"), status=401))

    assert "credits" in good.result
    assert good.requests[0].parameters["taskId"].startswith("connection-test-")
    assert type(bad_key.error) is AuthenticationError
    for flow in (SERVICE.get_task_by_trace_id("mine"), SERVICE.list_tasks()):
        assert type(drive(flow).error) is InvalidRequestError


RESULT = {"resultUrls": [URL]}
TEXT = json.dumps(RESULT)
FAILED: Meaning = (ImageTaskFailedError, None)
FAILED_501: Meaning = (ImageTaskFailedError, "501")
POLICY = "content_policy_violation"

FINISHED = {"costTime": 41250, "completeTime": 1790000041500}


def job(state: Any, **fields: Any) -> dict[str, Any]:
    """Return what ``data`` of AI GPT Image's "Query Task" holds: null where there is nothing yet."""
    nothing = dict.fromkeys(("resultJson", "failCode", "failMsg", "costTime", "completeTime"))
    parameters = {"model": "gpt-image-2-text-to-image", "input": {"prompt": "a red kite"}}
    known = {"taskId": TASK_ID, "model": "gpt-image-2-text-to-image", "param": json.dumps(parameters)}
    return {**known, "state": state, **nothing, "createTime": 1790000000250, **fields}


def finished_job(result: Any, state: str = "success", **fields: Any) -> dict[str, Any]:
    return job(state, resultJson=result, **FINISHED, **fields)


def kie_job(state: Any, **fields: Any) -> dict[str, Any]:
    """Return what ``data`` of kie.ai's answer holds: no ``resultJson`` until there is one, empty texts for null."""
    known = job(state, failCode="", failMsg="", updateTime=1790000000500, creditsConsumed=0)
    del known["resultJson"]
    return known | fields


def finished_kie_job(result: Any, state: str = "success", **fields: Any) -> dict[str, Any]:
    return kie_job(state, resultJson=result, **FINISHED, **fields)


def read(data: Any, service: str = "aigptimage") -> Any:
    return drive(get_service(service).get_task(TASK_ID), response(envelope(data))).result


RUNNING_WORDS = ("waiting", "queuing", "generating", "pending", "processing", "mixing-the-paint", "200", 7)
RECORDS: dict[str, tuple[dict[str, Any], Meaning]] = {
    **{f"{word}": (kie_job(word), RUNNING) for word in RUNNING_WORDS},
    **{f"{word}, nulls": (job(word), RUNNING) for word in RUNNING_WORDS[:3]},
    "progress": (kie_job("generating", progress=40), RUNNING),
    "an empty result beside progress": (kie_job("generating", resultJson=""), RUNNING),
    **{
        word: (finished_kie_job(TEXT, word), SUCCEEDED)
        for word in ("success", "succeeded", "completed", "Success", "COMPLETED", "SUCCESS")
    },
    "a result as a text, nulls": (finished_job(TEXT), SUCCEEDED),
    "a result as an object, nulls": (finished_job(RESULT), SUCCEEDED),
    "a result as an object": (finished_kie_job(RESULT), SUCCEEDED),
    "a result beside an object": (finished_kie_job(json.dumps({**RESULT, "resultObject": {}})), SUCCEEDED),
    "more in the result": (finished_kie_job({**RESULT, "resultObject": None, "seed": 5}), SUCCEEDED),
    "one address missing": (finished_kie_job(json.dumps({"resultUrls": [None, URL]})), SUCCEEDED),
    "no result": (kie_job("success"), NO_PICTURE),
    **{f"the result {nothing!r}": (finished_job(nothing), NO_PICTURE) for nothing in (None, "", "{resultUrls")},
    **{
        f"the addresses {urls}": (finished_job(json.dumps({"resultUrls": urls})), NO_PICTURE)
        for urls in ([], [None, ""], 5)
    },
    "an address alone": (finished_job(json.dumps({"resultUrls": URL})), SUCCEEDED),
    "a list for a result": (finished_job(json.dumps([URL])), SUCCEEDED),
    "the object of a text model": (finished_kie_job(json.dumps({"resultObject": {"text": "a kite"}})), NO_PICTURE),
    **{word: (kie_job(word), FAILED) for word in ("fail", "failed", "error", "cancelled", "canceled", "Failed")},
    "a failure that says nothing": (job("fail"), FAILED),
    "a failure with pictures": (kie_job("fail", resultJson=TEXT), FAILED),
    **{f"the code {code!r}": (job("fail", failCode=code, failMsg="no luck"), FAILED_501) for code in ("501", 501)},
    "a refusal by the content policy": (kie_job("fail", failCode=POLICY), (ContentPolicyError, POLICY)),
}


@FAMILY
@pytest.mark.parametrize(("data", "meaning"), RECORDS.values(), ids=RECORDS)
def test_a_record_is_understood(service: str, data: dict[str, Any], meaning: Meaning) -> None:
    check_meaning(read(data, service), meaning)


@pytest.mark.parametrize(("service", "data"), [("aigptimage", finished_job(TEXT)), ("kie", finished_kie_job(TEXT))])
def test_a_finished_record_has_its_times_in_seconds_and_what_was_asked(service: str, data: dict[str, Any]) -> None:
    task = read(data, service)

    assert (task.created_at, task.finished_at, task.duration) == (1790000000.25, 1790000041.5, 41.25)
    assert (task.model, task.prompt, task.trace_id) == ("gpt-image-2-text-to-image", "a red kite", None)
    assert [(image.index, image.url) for image in task.images] == [(0, URL)]
    assert task.image_count_requested == 1
    assert task.service == service


@pytest.mark.parametrize(
    ("data", "usage"),
    [
        (finished_kie_job(TEXT, creditsConsumed=6), {"credits": 6}),
        (finished_kie_job(TEXT, creditsConsumed="2.5"), {"credits": 2.5}),
        (finished_job(TEXT), None),
        (kie_job("waiting", creditsConsumed=None), None),
    ],
)
def test_what_a_record_says_it_cost_is_its_usage(data: dict[str, Any], usage: dict[str, float] | None) -> None:
    assert read(data, "kie").usage == usage


def test_param_may_be_anything_times_may_be_missing_and_the_service_s_own_word_is_kept() -> None:
    for parameters in (None, "no json", "[]", "5", {"input": {"prompt": "a red kite"}}):
        assert read(job("mixing-the-paint", param=parameters)).raw_state == "mixing-the-paint"

    task = read(job("fail", failCode="400", failMsg="a bad size", createTime=None))
    assert (task.created_at, task.finished_at, task.duration) == (None, None, None)
    assert "a bad size" in task.error.message
