"""Test cases for the rows of sections 1.6 and 1.9."""

from __future__ import annotations

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
from tests.flow_driver import response
from tests.services.row_cases import ErrorCase, StateCase

TASK_ID = "11111111-2222-4333-8444-555555555555"
PICTURE = {"url": "https://pictures.example/kite.png"}


def record(**fields: Any) -> dict[str, Any]:
    """Return a record that has just been made; ``fields`` are added."""
    request = {"model": "gpt-image-2", "prompt": "a red kite", "async": True}
    return {
        "id": TASK_ID,
        "type": "images",
        "created_at": 1790000000.25,
        "trace_id": "t-1",
        "request": request,
    } | fields


def finished(answer: Any, **fields: Any) -> dict[str, Any]:
    """Return a finished record with this ``response``."""
    return record(started_at=1790000000.5, finished_at=1790000041.75, elapsed=41.25, response=answer, **fields)


def _running(variant: str, **fields: Any) -> StateCase:
    return StateCase(row="1.6-not-finished", variant=variant, record=record(**fields), state=TaskState.RUNNING)


def _failed(
    variant: str, answer: dict[str, Any], code: str | None, error: type[ImageTaskError] = ImageTaskFailedError
) -> StateCase:
    row = "1.6-finished-with-error"
    return StateCase(row=row, variant=variant, record=finished(answer), state=TaskState.FAILED, error=error, code=code)


def _empty(variant: str, answer: Any) -> StateCase:
    row, state = "1.6-finished-without-image", TaskState.FAILED
    return StateCase(
        row=row, variant=variant, record=finished(answer), state=state, error=ImageTaskFailedError, code="no_images"
    )


def _succeeded(variant: str, answer: dict[str, Any]) -> StateCase:
    row = "1.6-finished-with-image"
    return StateCase(row=row, variant=variant, record=finished(answer), state=TaskState.SUCCEEDED)


STATE_CASES = [
    StateCase(row="1.6-no-such-record", variant="empty", record={}, state=TaskState.NOT_FOUND),
    StateCase(row="1.6-no-such-record", variant="null-id", record={"id": None}, state=TaskState.NOT_FOUND),
    StateCase(row="1.6-no-such-record", variant="empty-id", record={"id": ""}, state=TaskState.NOT_FOUND),
    _running("no-finish-time"),
    _running("null-finish-time", finished_at=None, response=None),
    _running("stub-response", finished_at=None, response={"success": True, "task_id": TASK_ID}),
    _running("pictures-too-early", response={"success": True, "data": [PICTURE]}),
    _running("text-error-too-early", response={"success": False, "error": "busy"}),
    _failed("code", {"success": False, "error": {"code": "bad_request", "message": "a bad size"}}, "bad_request"),
    _failed("text", {"error": "out of paint"}, None),
    _failed("success-false", {"success": False}, None),
    _failed("error-beside-pictures", {"error": {"code": "api_error"}, "data": [PICTURE]}, "api_error"),
    _failed("policy", {"error": {"code": "forbidden", "message": "no"}}, "forbidden", ContentPolicyError),
    _empty("no-data", {"success": True}),
    _empty("no-response", None),
    _empty("empty-data", {"success": True, "data": []}),
    _empty("nothing-usable", {"data": [{"url": None}, {"url": ""}, {"revised_prompt": "a kite"}, 5, None]}),
    _empty("nested-and-empty", {"data": {"created": 1, "data": []}}),
    _succeeded("url", {"success": True, "data": [PICTURE]}),
    _succeeded("without-success-key", {"data": [PICTURE]}),
    _succeeded("nested", {"success": True, "data": {"created": 1790000041, "data": [PICTURE]}}),
    _succeeded("base64", {"success": True, "data": [{"b64_json": "aGVsbG8="}]}),
    _succeeded("error-is-null", {"success": True, "error": None, "data": [PICTURE]}),
]


def _refusals(
    status: int,
    code: str,
    on_read: type[ImageTaskError],
    on_submit: type[ImageTaskError] | None = None,
    *,
    repeated_read: bool = False,
    repeated_submit: bool = False,
) -> list[ErrorCase]:
    error = {"code": code, "message": "no luck"}
    shapes = {"": {"error": error, "trace_id": "t-9"}, "with-success": {"success": False, "error": error}}
    return [
        ErrorCase(
            row=f"1.9-{status}-{code}",
            variant=variant,
            answer=response(body, status=status),
            code=code,
            on_read=on_read,
            on_submit=on_submit or on_read,
            repeated_read=repeated_read,
            repeated_submit=repeated_submit,
        )
        for variant, body in shapes.items()
    ]


ERROR_CASES = [
    *_refusals(400, "bad_request", InvalidRequestError),
    *_refusals(400, "no_token", AuthenticationError),
    *_refusals(400, "api_not_implemented", InvalidRequestError),
    *_refusals(400, "token_mismatched", AuthenticationError),
    *_refusals(401, "invalid_token", AuthenticationError),
    *_refusals(401, "token_expired", AuthenticationError),
    *_refusals(401, "token_mismatched", AuthenticationError),
    *_refusals(403, "used_up", QuotaExceededError),
    *_refusals(403, "disabled", AuthenticationError),
    *_refusals(403, "forbidden", ContentPolicyError),
    *_refusals(404, "no_api", InvalidRequestError),
    *_refusals(429, "too_many_requests", RateLimitError, repeated_read=True, repeated_submit=True),
    *_refusals(429, "rate_limited", RateLimitError, repeated_read=True, repeated_submit=True),
    *_refusals(500, "api_error", ServiceUnavailableError, UnknownOutcomeError, repeated_read=True),
    *_refusals(504, "timeout", ServiceUnavailableError, UnknownOutcomeError, repeated_read=True),
]
