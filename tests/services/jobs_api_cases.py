"""Test cases for the rows of section 3.1."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.tasks import TaskState
from tests.flow_driver import response
from tests.services.row_cases import ErrorCase, StateCase

TASK_ID = "task_5f1e"
PICTURES = {"resultUrls": ["https://pictures.example/kite.png"]}
VARIANTS = ("in-http-200", "with-http-status", "http-status-only")
"""The ways in which a code may come."""


def record(state: Any, **fields: Any) -> dict[str, Any]:
    """Return what ``data`` of a status answer holds."""
    nothing = dict.fromkeys(("resultJson", "failCode", "failMsg", "costTime", "completeTime"))
    parameters = {"model": "gpt-image-2-text-to-image", "input": {"prompt": "a red kite"}}
    known = {"taskId": TASK_ID, "model": "gpt-image-2-text-to-image", "param": json.dumps(parameters)}
    return {**known, "state": state, **nothing, "createTime": 1790000000250, **fields}


def succeeded(result: Any, state: str = "success") -> dict[str, Any]:
    """Return a finished record with this ``resultJson``."""
    return record(state, resultJson=result, costTime=41250, completeTime=1790000041500)


def envelope(data: Any, code: Any = 200, msg: str = "success") -> dict[str, Any]:
    """Return a whole answer."""
    return {"code": code, "msg": msg, "data": data}


def _running(word: str) -> StateCase:
    return StateCase(row="3.1-state-waiting", variant=word, record=record(word), state=TaskState.RUNNING)


def _succeeded(variant: str, result: Any, word: str = "success") -> StateCase:
    row = "3.1-state-success"
    return StateCase(row=row, variant=variant, record=succeeded(result, word), state=TaskState.SUCCEEDED)


def _empty(variant: str, result: Any) -> StateCase:
    return StateCase(
        row="3.1-state-success-without-urls",
        variant=variant,
        record=succeeded(result),
        state=TaskState.FAILED,
        error=ImageTaskFailedError,
        code="no_images",
    )


def _failed(variant: str, word: str, **fields: Any) -> StateCase:
    return StateCase(
        row="3.1-state-fail",
        variant=variant,
        record=record(word, **fields),
        state=TaskState.FAILED,
        error=ImageTaskFailedError,
        code=fields.get("failCode"),
    )


STATE_CASES = [
    _running("waiting"),
    _running("queuing"),
    _running("generating"),
    _running("a-word-nobody-knows"),
    _succeeded("text", json.dumps(PICTURES)),
    _succeeded("object", PICTURES),
    _succeeded("other-word", json.dumps(PICTURES), "completed"),
    _succeeded("upper-case", json.dumps(PICTURES), "SUCCESS"),
    _empty("null", None),
    _empty("empty-text", ""),
    _empty("no-json", "{resultUrls"),
    _empty("empty-list", json.dumps({"resultUrls": []})),
    _empty("no-addresses", json.dumps({"resultUrls": [None, ""]})),
    _empty("list", json.dumps(["https://pictures.example/kite.png"])),
    _failed("code", "fail", failCode="400", failMsg="a bad size"),
    _failed("nothing-said", "fail"),
    _failed("other-word", "cancelled"),
]


def refusals(
    code: int,
    on_read: type[ImageTaskError] | None,
    on_submit: type[ImageTaskError],
    *,
    section: str = "3.1",
    variants: Collection[str] = VARIANTS,
    fails_task: bool = False,
    repeated_read: bool = False,
    repeated_submit: bool = False,
) -> list[ErrorCase]:
    """Return a case for each way in which a code may come.

    :param section: the one whose row the code is.
    """
    envelope_only, both, status_only = VARIANTS
    answers = {
        envelope_only: response(envelope(None, code, "no luck")),
        both: response(envelope(None, code, "no luck"), status=code),
        status_only: response({"message": "no luck"}, status=code),
    }
    return [
        ErrorCase(
            row=f"{section}-code-{code}",
            variant=variant,
            answer=answer,
            code=str(code),
            on_read=on_read,
            on_submit=on_submit,
            fails_task=fails_task,
            repeated_read=repeated_read,
            repeated_submit=repeated_submit,
        )
        for variant, answer in answers.items()
        if variant in variants
    ]


ERROR_CASES = [
    *refusals(400, InvalidRequestError, InvalidRequestError),
    *refusals(401, AuthenticationError, AuthenticationError),
    *refusals(402, QuotaExceededError, QuotaExceededError),
    *refusals(404, None, InvalidRequestError),
    *refusals(422, InvalidRequestError, InvalidRequestError),
    *refusals(429, RateLimitError, RateLimitError, repeated_read=True, repeated_submit=True),
    *refusals(500, ServiceUnavailableError, UnknownOutcomeError, repeated_read=True),
]
