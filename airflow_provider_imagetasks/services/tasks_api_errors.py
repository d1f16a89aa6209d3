"""Errors of the Tasks API family, as ``{"error": {"code", "message"} | "text", "trace_id"}`` tells them.

Follows AceDataCloud's page "Responses and errors".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services.fields import mapping, text
from airflow_provider_imagetasks.services.refusals import NAMED_CODES, STATUSES, named_refusal

ERROR_CODES: dict[str, type[ImageTaskError]] = {
    **NAMED_CODES,
    **dict.fromkeys(("bad_request", "api_not_implemented", "no_api", "validation_error"), InvalidRequestError),
    **dict.fromkeys(("no_token", "invalid_token", "token_expired", "token_mismatched"), AuthenticationError),
    **dict.fromkeys(("disabled", "auth_error", "access_denied"), AuthenticationError),
    "used_up": QuotaExceededError,
    **dict.fromkeys(("forbidden", "content_filter"), ContentPolicyError),
    **dict.fromkeys(("too_many_requests", "rate_limited", "rate_limit_exceeded"), RateLimitError),
    **dict.fromkeys(("api_error", "timeout"), ServiceUnavailableError),
}


def refusal(
    body: Mapping[str, Any], status: int, who: str, *, service: str, retry_after: float | None = None
) -> ImageTaskError:
    """Return the error that an answer without a result is.

    :param status: of HTTP.
    :param who: who said it, for the message.
    :param service: its name.
    :param retry_after: seconds that the answer asks to wait.
    """
    error_class, message, facts = _explained(body, service)
    what = f"{who}: {message}"
    if error_class is None:
        error_class, facts["code"] = named_refusal(body["error"], status) or (STATUSES.get(status), facts["code"])
    if error_class is RateLimitError:
        return RateLimitError(what, retry_after=retry_after, **facts)
    if error_class is not None:
        return error_class(what, **facts)
    if status >= 500:
        return ServiceUnavailableError(what, **facts)
    # A definite 4xx says no to this request; an error of an unknown kind inside HTTP 200 says nothing of money.
    return ProtocolError(what, billed="no" if status >= 400 else "unknown", retryable=False, **facts)


def failure(
    body: Mapping[str, Any], *, service: str, image_task_id: str | None, trace_id: str | None = None
) -> ImageTaskError:
    """Return why an image task failed, as its record tells it."""
    error_class, message, facts = _explained(body, service)
    facts |= {"image_task_id": image_task_id, "trace_id": facts["trace_id"] or trace_id}
    if error_class is ContentPolicyError:
        return ContentPolicyError(f"The service refused it because of its content policy: {message}", **facts)
    return ImageTaskFailedError(f"The service reports that the image task failed: {message}", billed="no", **facts)


def is_only_an_error(body: Mapping[str, Any]) -> bool:
    """Whether an answer has an error and names no image task; else it is about that, and its record will tell."""
    return bool(body.get("error")) and not any(name in body for name in ("finished_at", "id", "task_id"))


def _explained(body: Mapping[str, Any], service: str) -> tuple[type[ImageTaskError] | None, str, dict[str, Any]]:
    """Return what an error's code means, its message, and the facts that every error has."""
    error = body.get("error")
    code = text(mapping(error).get("code"))
    message = text(mapping(error).get("message")) or text(error) or code or "no reason given"
    facts = {"service": service, "code": code, "trace_id": text(body.get("trace_id"))}
    return ERROR_CODES.get((code or "").lower()), message, facts
