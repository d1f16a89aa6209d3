"""Records of the Tasks API family, by AceDataCloud's "OpenAI Tasks API"."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    ImageTaskFailedError,
    ProtocolError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services import get_service
from tests.flow_driver import drive, response
from tests.services.wire_examples import (
    NO_PICTURE,
    NOT_FOUND,
    PICTURE,
    REQUEST,
    RUNNING,
    SUCCEEDED,
    TASK_ID,
    URL,
    Meaning,
    check_meaning,
    finished_record,
    items,
    tasks_api_record,
)

SERVICE = get_service("acedatacloud")
BASE64 = {"b64_json": "aGVsbG8="}
STUB = {"success": True, "task_id": TASK_ID}
UNUSABLE = [{"url": None}, {"url": ""}, {"revised_prompt": "a kite"}, 5, None]

# Records have no status field, so every field may decide.
UNFINISHED: dict[str, tuple[dict[str, Any], Meaning]] = {
    "an empty object": ({}, NOT_FOUND),
    "a null id": ({"id": None}, NOT_FOUND),
    "an empty id": ({"id": ""}, NOT_FOUND),
    "no finish time": (tasks_api_record(), RUNNING),
    "a null finish time": (tasks_api_record(finished_at=None, response=None), RUNNING),
    "a stub for a response": (tasks_api_record(finished_at=None, response=STUB), RUNNING),
    "pictures too early": (tasks_api_record(response={"success": True, "data": [PICTURE]}), RUNNING),
    "an error too early": (tasks_api_record(response={"success": False, "error": "busy"}), RUNNING),
}
RESPONSES: dict[str, tuple[Any, Meaning]] = {
    "an error with a code": (
        {"success": False, "error": {"code": "bad_request", "message": "a bad size"}},
        (ImageTaskFailedError, "bad_request"),
    ),
    "an error that is a text": ({"error": "out of paint"}, (ImageTaskFailedError, None)),
    "no success": ({"success": False}, (ImageTaskFailedError, None)),
    "an error beside pictures": (
        {"error": {"code": "api_error"}, "data": [PICTURE]},
        (ImageTaskFailedError, "api_error"),
    ),
    "a refusal by the content policy": (
        {"success": False, "error": {"code": "forbidden", "message": "no"}},
        (ContentPolicyError, "forbidden"),
    ),
    "no data": ({"success": True}, NO_PICTURE),
    "no response": (None, NO_PICTURE),
    "empty data": ({"success": True, "data": []}, NO_PICTURE),
    "nothing usable": ({"data": UNUSABLE}, NO_PICTURE),
    "nested and empty": ({"data": {"created": 1, "data": []}}, NO_PICTURE),
    "a URL": ({"success": True, "data": [PICTURE]}, SUCCEEDED),
    "a URL and no success key": ({"data": [PICTURE]}, SUCCEEDED),
    "a nested URL": ({"success": True, "data": {"created": 1, "data": [PICTURE]}}, SUCCEEDED),
    "base64": ({"success": True, "data": [BASE64]}, SUCCEEDED),
    "a null error": ({"success": True, "error": None, "data": [PICTURE]}, SUCCEEDED),
}
RECORDS = UNFINISHED | {name: (finished_record(answer), meaning) for name, (answer, meaning) in RESPONSES.items()}


def read(record: dict[str, Any]) -> Any:
    return drive(SERVICE.get_task(TASK_ID), response(record)).result


@pytest.mark.parametrize("service", ["acedatacloud", "xhuoapi"])
@pytest.mark.parametrize(("record", "meaning"), RECORDS.values(), ids=RECORDS)
def test_a_record_means_the_same_alone_and_in_a_batch(service: str, record: dict[str, Any], meaning: Meaning) -> None:
    one = drive(get_service(service).get_task(TASK_ID), response(record)).result
    batch = drive(get_service(service).read_batch([TASK_ID, "another"]), items(record)).result

    check_meaning(one, meaning)
    check_meaning(batch[TASK_ID], meaning)


def test_pictures_are_numbered_may_stand_one_level_deeper_and_be_data_urls() -> None:
    flat = read(finished_record({"success": True, "data": [PICTURE, PICTURE]}))
    nested = read(finished_record({"data": {"created": 1790000041, "data": [PICTURE, BASE64]}}))
    (inline,) = read(finished_record({"data": [{"url": "data:image/png;base64,aGVsbG8="}]})).images

    assert [(image.index, image.url) for image in flat.images] == [(0, URL), (1, URL)]
    assert [(image.url, image.data) for image in nested.images] == [(URL, None), (None, "aGVsbG8=")]
    assert (inline.url, inline.content()) == (None, b"hello")


@pytest.mark.parametrize(
    ("times", "duration"),
    [({"elapsed": 41.25}, 41.25), ({"duration": 41.5}, 41.5), ({"started_at": 1790000000.5}, 41.25), ({}, None)],
    ids=["AceDataCloud's name", "XHuoAPI's name", "worked out", "unknown"],
)
def test_the_duration_has_two_names_or_is_worked_out(times: dict[str, float], duration: float | None) -> None:
    task = read(tasks_api_record(finished_at=1790000041.75, response={"data": [PICTURE]}, **times))
    running = read(tasks_api_record(duration=None, finished_at=None))

    assert (task.duration, task.created_at, task.finished_at) == (duration, 1790000000.25, 1790000041.75)
    assert (task.raw_state, running.raw_state, running.duration) == ("finished", "created", None)


def test_a_finished_record_becomes_plain_data_and_is_kept_whole_for_the_hook() -> None:
    answer = {"success": True, "data": [PICTURE, BASE64], "usage": {"total_tokens": 10}}
    whole = finished_record(answer, _id="6a0f", application_id="app")
    ids = {"id": TASK_ID, "service": "acedatacloud", "conn_id": "mine", "trace_id": "t-1", "state": "succeeded"}
    times = {"created_at": "2026-09-21T14:13:20.250000+00:00", "finished_at": "2026-09-21T14:14:01.750000+00:00"}
    by_url = {"index": 0, "url": URL, "path": None, "inline": False}
    inline = {"index": 1, "url": None, "path": None, "inline": True}
    asked = {"model": "gpt-image-2", "prompt": "a red kite", "image_count_requested": 1}

    assert read(whole).raw == whole
    assert read(whole).as_xcom("mine") == {
        **ids,
        **asked,
        **times,
        "images": [by_url, inline],
        "duration": 41.25,
        "usage": {"total_tokens": 10},
    }


KEY, KEY_OF_ANOTHER = "a" * 64, "b" * 64


@pytest.mark.parametrize("answered", [None, KEY, "11111111-2222-4333-8444-555555555556"])
def test_a_trace_id_of_the_service_s_own_is_no_reason_to_doubt_an_answer(answered: str | None) -> None:
    answer = response({"task_id": TASK_ID, "trace_id": answered})

    assert drive(SERVICE.submit(REQUEST, key=KEY), answer).result.id == TASK_ID


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"task_id": TASK_ID, "trace_id": KEY_OF_ANOTHER}, id="that of another submission"),
        pytest.param({"task_id": "x" * 513}, id="one that is too long to be asked for"),
        pytest.param({"task_id": "x" * 5_000}, id="one that would be cut"),
        pytest.param({"data": [{"url": f"https://x.example/{'x' * 9_000}"}] * 9}, id="pictures that are too long"),
    ],
)
def test_an_answer_that_cannot_be_that_to_the_submission_leaves_its_outcome_unknown(answer: dict[str, Any]) -> None:
    error = drive(SERVICE.submit(REQUEST, key=KEY), response(answer)).error

    assert isinstance(error, UnknownOutcomeError)
    assert len(str(error)) < 1_000


@pytest.mark.parametrize(("trace_id", "is_believed"), [("mine", True), (None, True), ("another's", False)])
def test_a_record_that_is_asked_for_by_trace_id_has_that_one(trace_id: str | None, is_believed: bool) -> None:
    record = {"id": "1", "request": {}, "trace_id": trace_id}
    read = drive(SERVICE.read_by_trace_id("mine"), response(record))

    assert (read.error is None) == is_believed
    if not is_believed:
        assert isinstance(read.error, ProtocolError)
        assert "the record of another trace id, another's" in str(read.error)
        assert read.error.billed == "unknown"
