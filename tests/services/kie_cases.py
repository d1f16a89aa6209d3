"""Test cases for the rows of sections 3.2 (states and codes of kie) and 3.3 (words of lookalikes)."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.tasks import TaskState
from tests.services import jobs_api_cases
from tests.services.jobs_api_cases import PICTURES, VARIANTS, refusals
from tests.services.row_cases import ErrorCase, StateCase

UNFINISHED = {"failCode": "", "failMsg": "", "costTime": None, "completeTime": None, "updateTime": 1790000000500}


def record(state: Any, **fields: Any) -> dict[str, Any]:
    """Return what ``data`` of kie's status answer holds: no ``resultJson`` until there is one, empty texts for null."""
    known = jobs_api_cases.record(state)
    del known["resultJson"]
    return {**known, **UNFINISHED, "creditsConsumed": 0, **fields}


def finished(result: Any, state: str = "success", **fields: Any) -> dict[str, Any]:
    """Return a finished record with this ``resultJson``."""
    times = {"costTime": 41250, "completeTime": 1790000041500, "updateTime": 1790000041500}
    return record(state, resultJson=result, **times, **fields)


def _running(row: str, variant: str = "", word: Any = None, **fields: Any) -> StateCase:
    word = word or row.rpartition("-")[2]
    return StateCase(row=row, variant=variant, record=record(word, **fields), state=TaskState.RUNNING)


def _succeeded(row: str, variant: str, result: Any, word: str = "success") -> StateCase:
    return StateCase(row=row, variant=variant, record=finished(result, word), state=TaskState.SUCCEEDED)


def _empty(variant: str, whole: dict[str, Any]) -> StateCase:
    return StateCase(
        row="3.2-state-success-without-urls",
        variant=variant,
        record=whole,
        state=TaskState.FAILED,
        error=ImageTaskFailedError,
        code="no_images",
    )


def _failed(
    row: str,
    variant: str,
    word: str = "fail",
    *,
    code: str | None = None,
    error: type[ImageTaskError] = ImageTaskFailedError,
    **fields: Any,
) -> StateCase:
    whole = record(word, completeTime=1790000041500, **fields)
    return StateCase(row=row, variant=variant, record=whole, state=TaskState.FAILED, error=error, code=code)


STATE_CASES = [
    _running("3.2-state-waiting"),
    _running("3.2-state-queuing"),
    _running("3.2-state-generating"),
    _running("3.2-state-generating", "with-progress", progress=40),
    _running("3.2-state-generating", "with-an-empty-result", resultJson=""),
    _succeeded("3.2-state-success", "text", json.dumps(PICTURES)),
    _succeeded("3.2-state-success", "beside-an-object", json.dumps({**PICTURES, "resultObject": {}})),
    _succeeded("3.2-state-success", "one-address-missing", json.dumps({"resultUrls": [None, *PICTURES["resultUrls"]]})),
    _empty("no-result", record("success")),
    _empty("object-of-a-text-model", finished(json.dumps({"resultObject": {"text": "a kite"}}))),
    _empty("empty-list", finished(json.dumps({"resultUrls": []}))),
    _empty("an-address-for-a-list", finished(json.dumps({"resultUrls": PICTURES["resultUrls"][0]}))),
    _failed("3.2-state-fail", "code", failCode="501", failMsg="no luck", code="501"),
    _failed("3.2-state-fail", "code-as-number", failCode=501, failMsg="no luck", code="501"),
    _failed("3.2-state-fail", "empty-code"),
    _failed("3.2-state-fail", "with-pictures", resultJson=json.dumps(PICTURES)),
    _failed(
        "3.2-state-fail",
        "policy",
        failCode="content_policy_violation",
        code="content_policy_violation",
        error=ContentPolicyError,
    ),
]


def _own_codes(code: int, error: type[ImageTaskError], *, fails_task: bool = False) -> list[ErrorCase]:
    """Return cases for a code that means something else where it is only the HTTP status, a gateway's perhaps."""
    in_envelope, status_only = VARIANTS[:2], VARIANTS[2:]
    return [
        *refusals(code, error, error, section="3.2", variants=in_envelope, fails_task=fails_task),
        *refusals(
            code, ServiceUnavailableError, UnknownOutcomeError, section="3.2", variants=status_only, repeated_read=True
        ),
    ]


ERROR_CASES = [
    *refusals(400, InvalidRequestError, InvalidRequestError, section="3.2"),
    *refusals(401, AuthenticationError, AuthenticationError, section="3.2"),
    *refusals(402, QuotaExceededError, QuotaExceededError, section="3.2"),
    *refusals(404, None, InvalidRequestError, section="3.2"),
    *refusals(408, ServiceUnavailableError, UnknownOutcomeError, section="3.2", repeated_read=True),
    *refusals(422, None, InvalidRequestError, section="3.2"),
    *refusals(429, RateLimitError, RateLimitError, section="3.2", repeated_read=True, repeated_submit=True),
    *refusals(433, QuotaExceededError, QuotaExceededError, section="3.2"),
    *refusals(451, InvalidRequestError, InvalidRequestError, section="3.2"),
    *refusals(
        455, ServiceUnavailableError, ServiceUnavailableError, section="3.2", repeated_read=True, repeated_submit=True
    ),
    *refusals(500, ServiceUnavailableError, UnknownOutcomeError, section="3.2", repeated_read=True),
    *_own_codes(501, ImageTaskFailedError, fails_task=True),
    *_own_codes(505, InvalidRequestError),
    *_own_codes(531, ImageTaskFailedError, fails_task=True),
    *_own_codes(550, ImageTaskFailedError, fails_task=True),
]

SIBLINGS = [
    *(
        _succeeded("3.3-success-words", word, json.dumps(PICTURES), word)
        for word in ("success", "succeeded", "completed", "Success", "COMPLETED")
    ),
    *(
        _failed("3.3-failure-words", word, word)
        for word in ("fail", "failed", "error", "cancelled", "canceled", "Failed")
    ),
    *(_running("3.3-running-words", word, word) for word in ("pending", "processing", "mixing-the-paint", "200")),
    _running("3.3-running-words", "number", 7),
    _succeeded("3.3-result-object", "list", PICTURES),
    _succeeded("3.3-result-object", "more-inside", {**PICTURES, "resultObject": None, "seed": 5}),
]
