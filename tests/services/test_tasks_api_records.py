"""Records of AceDataCloud's and XHuoAPI's "OpenAI Tasks API": they have no status field, so every field may decide."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ContentPolicyError, ImageTaskFailedError
from airflow_provider_imagetasks.services import get_service
from tests.flow_driver import drive, response
from tests.services.wire_examples import (
    NO_PICTURE,
    NOT_FOUND,
    PICTURE,
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

RECORDS: dict[str, tuple[dict[str, Any], Meaning]] = {
    "an empty object": ({}, NOT_FOUND),
    "a null id": ({"id": None}, NOT_FOUND),
    "an empty id": ({"id": ""}, NOT_FOUND),
    "no finish time": (tasks_api_record(), RUNNING),
    "a null finish time": (tasks_api_record(finished_at=None, response=None), RUNNING),
    "a stub for a response": (
        tasks_api_record(finished_at=None, response={"success": True, "task_id": TASK_ID}),
        RUNNING,
    ),
    "pictures too early": (tasks_api_record(response={"success": True, "data": [PICTURE]}), RUNNING),
    "an error too early": (tasks_api_record(response={"success": False, "error": "busy"}), RUNNING),
    "an error with a code": (
        finished_record({"success": False, "error": {"code": "bad_request", "message": "a bad size"}}),
        (ImageTaskFailedError, "bad_request"),
    ),
    "an error that is a text": (finished_record({"error": "out of paint"}), (ImageTaskFailedError, None)),
    "no success": (finished_record({"success": False}), (ImageTaskFailedError, None)),
    "an error beside pictures": (
        finished_record({"error": {"code": "api_error"}, "data": [PICTURE]}),
        (ImageTaskFailedError, "api_error"),
    ),
    "a refusal by the content policy": (
        finished_record({"success": False, "error": {"code": "forbidden", "message": "no"}}),
        (ContentPolicyError, "forbidden"),
    ),
    "no data": (finished_record({"success": True}), NO_PICTURE),
    "no response": (finished_record(None), NO_PICTURE),
    "empty data": (finished_record({"success": True, "data": []}), NO_PICTURE),
    "nothing usable": (
        finished_record({"data": [{"url": None}, {"url": ""}, {"revised_prompt": "a kite"}, 5, None]}),
        NO_PICTURE,
    ),
    "nested and empty": (finished_record({"data": {"created": 1, "data": []}}), NO_PICTURE),
    "a URL": (finished_record({"success": True, "data": [PICTURE]}), SUCCEEDED),
    "a URL and no success key": (finished_record({"data": [PICTURE]}), SUCCEEDED),
    "a nested URL": (finished_record({"success": True, "data": {"created": 1, "data": [PICTURE]}}), SUCCEEDED),
    "base64": (finished_record({"success": True, "data": [{"b64_json": "aGVsbG8="}]}), SUCCEEDED),
    "a null error": (finished_record({"success": True, "error": None, "data": [PICTURE]}), SUCCEEDED),
}


def read(record: dict[str, Any]) -> Any:
    return drive(get_service("acedatacloud").get_task(TASK_ID), response(record)).result


@pytest.mark.parametrize("service", ["acedatacloud", "xhuoapi"])
@pytest.mark.parametrize(("record", "meaning"), RECORDS.values(), ids=RECORDS)
def test_a_record_means_the_same_alone_and_in_a_batch(service: str, record: dict[str, Any], meaning: Meaning) -> None:
    one = drive(get_service(service).get_task(TASK_ID), response(record)).result
    batch = drive(get_service(service).read_batch([TASK_ID, "another"]), items(record)).result

    check_meaning(one, meaning)
    check_meaning(batch[TASK_ID], meaning)


def test_pictures_are_numbered_and_may_stand_one_level_deeper() -> None:
    flat = read(finished_record({"success": True, "data": [PICTURE, PICTURE]}))
    nested = read(finished_record({"data": {"created": 1790000041, "data": [PICTURE, {"b64_json": "aGVsbG8="}]}}))

    assert [(image.index, image.url) for image in flat.images] == [(0, URL), (1, URL)]
    assert [(image.url, image.data) for image in nested.images] == [(URL, None), (None, "aGVsbG8=")]


def test_a_data_url_is_an_inline_picture() -> None:
    (image,) = read(finished_record({"data": [{"url": "data:image/png;base64,aGVsbG8="}]})).images

    assert (image.url, image.content()) == (None, b"hello")


@pytest.mark.parametrize(
    ("times", "duration"),
    [
        pytest.param({"elapsed": 41.25}, 41.25, id="AceDataCloud's name"),
        pytest.param({"duration": 41.5}, 41.5, id="XHuoAPI's name"),
        pytest.param({"started_at": 1790000000.5}, 41.25, id="worked out"),
        pytest.param({}, None, id="unknown"),
    ],
)
def test_the_duration_has_two_names_or_is_worked_out(times: dict[str, float], duration: float | None) -> None:
    task = read(tasks_api_record(finished_at=1790000041.75, response={"data": [PICTURE]}, **times))

    assert (task.duration, task.created_at, task.finished_at) == (duration, 1790000000.25, 1790000041.75)
    assert task.raw_state == "finished"


def test_a_record_that_runs_has_no_duration() -> None:
    task = read(tasks_api_record(duration=None, finished_at=None))

    assert (task.raw_state, task.duration) == ("created", None)


def test_a_finished_record_becomes_plain_data() -> None:
    answer = {"success": True, "data": [PICTURE, {"b64_json": "aGVsbG8="}], "usage": {"total_tokens": 10}}

    assert read(finished_record(answer)).as_xcom("mine") == {
        "id": TASK_ID,
        "service": "acedatacloud",
        "conn_id": "mine",
        "trace_id": "t-1",
        "state": "succeeded",
        "model": "gpt-image-2",
        "prompt": "a red kite",
        "images": [
            {"index": 0, "url": URL, "path": None, "inline": False},
            {"index": 1, "url": None, "path": None, "inline": True},
        ],
        "image_count_requested": 1,
        "created_at": "2026-09-21T14:13:20.250000+00:00",
        "finished_at": "2026-09-21T14:14:01.750000+00:00",
        "duration": 41.25,
        "usage": {"total_tokens": 10},
    }


def test_the_whole_record_is_kept_for_the_hook() -> None:
    whole = finished_record({"data": [PICTURE]}, _id="6a0f", application_id="app")

    assert read(whole).raw == whole
