"""Records of AI GPT Image's "Query Task" and of kie.ai's "Get Task Details": ``data.state`` decides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ContentPolicyError, ImageTaskFailedError
from airflow_provider_imagetasks.services import get_service
from tests.flow_driver import drive, response
from tests.services.wire_examples import (
    NO_PICTURE,
    RESULT,
    RUNNING,
    SUCCEEDED,
    TASK_ID,
    URL,
    Meaning,
    check_meaning,
    envelope,
    finished_job,
    job,
)

TEXT = json.dumps(RESULT)
FAILED: Meaning = (ImageTaskFailedError, None)


def kie_job(state: Any, **fields: Any) -> dict[str, Any]:
    """Return what ``data`` of kie.ai's answer holds: no ``resultJson`` until there is one, empty texts for null."""
    empty = {"failCode": "", "failMsg": "", "updateTime": 1790000000500, "creditsConsumed": 0}
    known = job(state, **empty)
    del known["resultJson"]
    return known | fields


def finished_kie_job(result: Any, state: str = "success", **fields: Any) -> dict[str, Any]:
    return kie_job(state, resultJson=result, costTime=41250, completeTime=1790000041500, **fields)


def read(data: Any, service: str = "aigptimage") -> Any:
    return drive(get_service(service).get_task(TASK_ID), response(envelope(data))).result


RECORDS: dict[str, tuple[dict[str, Any], Meaning]] = {
    "waiting": (job("waiting"), RUNNING),
    "queuing": (job("queuing"), RUNNING),
    "generating": (job("generating"), RUNNING),
    "a result as a text": (finished_job(TEXT), SUCCEEDED),
    "a result as an object": (finished_job(RESULT), SUCCEEDED),
    "upper case": (finished_job(TEXT, "SUCCESS"), SUCCEEDED),
    "a null result": (finished_job(None), NO_PICTURE),
    "an empty result": (finished_job(""), NO_PICTURE),
    "a result that is no JSON": (finished_job("{resultUrls"), NO_PICTURE),
    "no addresses": (finished_job(json.dumps({"resultUrls": []})), NO_PICTURE),
    "empty addresses": (finished_job(json.dumps({"resultUrls": [None, ""]})), NO_PICTURE),
    "a list for a result": (finished_job(json.dumps([URL])), NO_PICTURE),
    "a failure with a code": (job("fail", failCode="400", failMsg="a bad size"), (ImageTaskFailedError, "400")),
    "a failure that says nothing": (job("fail"), FAILED),
}
KIE_RECORDS: dict[str, tuple[dict[str, Any], Meaning]] = {
    **{word: (kie_job(word), RUNNING) for word in ("waiting", "queuing", "generating")},
    "progress": (kie_job("generating", progress=40), RUNNING),
    "an empty result beside progress": (kie_job("generating", resultJson=""), RUNNING),
    "a result": (finished_kie_job(TEXT), SUCCEEDED),
    "a result beside an object": (finished_kie_job(json.dumps({**RESULT, "resultObject": {}})), SUCCEEDED),
    "one address missing": (finished_kie_job(json.dumps({"resultUrls": [None, URL]})), SUCCEEDED),
    "no result": (kie_job("success"), NO_PICTURE),
    "the object of a text model": (finished_kie_job(json.dumps({"resultObject": {"text": "a kite"}})), NO_PICTURE),
    "no addresses": (finished_kie_job(json.dumps({"resultUrls": []})), NO_PICTURE),
    "an address for a list": (finished_kie_job(json.dumps({"resultUrls": URL})), NO_PICTURE),
    "a code": (kie_job("fail", failCode="501", failMsg="no luck"), (ImageTaskFailedError, "501")),
    "a code that is a number": (kie_job("fail", failCode=501, failMsg="no luck"), (ImageTaskFailedError, "501")),
    "an empty code": (kie_job("fail"), FAILED),
    "a failure with pictures": (kie_job("fail", resultJson=TEXT), FAILED),
    "a refusal by the content policy": (
        kie_job("fail", failCode="content_policy_violation"),
        (ContentPolicyError, "content_policy_violation"),
    ),
}
OTHER_WORDS: dict[str, tuple[dict[str, Any], Meaning]] = {
    **{
        word: (finished_kie_job(TEXT, word), SUCCEEDED)
        for word in ("success", "succeeded", "completed", "Success", "COMPLETED")
    },
    **{word: (kie_job(word), FAILED) for word in ("fail", "failed", "error", "cancelled", "canceled", "Failed")},
    **{word: (kie_job(word), RUNNING) for word in ("pending", "processing", "mixing-the-paint", "200")},
    "a number": (kie_job(7), RUNNING),
    "a result as an object": (finished_kie_job(RESULT), SUCCEEDED),
    "more in the result": (finished_kie_job({**RESULT, "resultObject": None, "seed": 5}), SUCCEEDED),
}


@pytest.mark.parametrize(("data", "meaning"), RECORDS.values(), ids=RECORDS)
def test_a_record_of_ai_gpt_image_is_understood(data: dict[str, Any], meaning: Meaning) -> None:
    check_meaning(read(data), meaning)


@pytest.mark.parametrize(("data", "meaning"), KIE_RECORDS.values(), ids=KIE_RECORDS)
def test_a_record_of_kie_is_understood(data: dict[str, Any], meaning: Meaning) -> None:
    check_meaning(read(data, "kie"), meaning)


@pytest.mark.parametrize("service", ["aigptimage", "kie"])
@pytest.mark.parametrize(("data", "meaning"), OTHER_WORDS.values(), ids=OTHER_WORDS)
def test_the_words_of_lookalikes_are_understood(service: str, data: dict[str, Any], meaning: Meaning) -> None:
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


@pytest.mark.parametrize("parameters", [None, "no json", "[]", "5", {"input": {"prompt": "a red kite"}}])
def test_param_may_be_anything(parameters: Any) -> None:
    assert read(job("waiting", param=parameters)).state is RUNNING


def test_a_failed_record_without_times_has_none() -> None:
    task = read(job("fail", failCode="400", failMsg="a bad size", createTime=None))

    assert (task.created_at, task.finished_at, task.duration) == (None, None, None)
    assert "a bad size" in task.error.message


def test_the_service_s_own_word_is_kept() -> None:
    assert read(job("mixing-the-paint")).raw_state == "mixing-the-paint"
