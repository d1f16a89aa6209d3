"""Errors of the Tasks API family (AceDataCloud's "Responses and errors" page): which code means what."""

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
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.fields import mapping, text
from airflow_provider_imagetasks.services.refusals import CONTENT_POLICY_CODES, STATUSES, unexplained
from airflow_provider_imagetasks.services.wire import Response

ERROR_CODES: dict[str, type[ImageTaskError]] = {
    "bad_request": InvalidRequestError,
    "api_not_implemented": InvalidRequestError,
    "no_api": InvalidRequestError,
    "no_token": AuthenticationError,
    "invalid_token": AuthenticationError,
    "token_expired": AuthenticationError,
    "token_mismatched": AuthenticationError,
    "disabled": AuthenticationError,
    "used_up": QuotaExceededError,
    "forbidden": ContentPolicyError,
    **dict.fromkeys(CONTENT_POLICY_CODES, ContentPolicyError),
    "too_many_requests": RateLimitError,
    "rate_limited": RateLimitError,
    "api_error": ServiceUnavailableError,
    "timeout": ServiceUnavailableError,
}


def refusal(response: Response, body: Any, *, service: str) -> ImageTaskError:
    """Return the error of an answer that is no result.

    :param body: the parsed body, None where it is not JSON.
    """
    if isinstance(body, Mapping) and body.get("error"):
        return error_in(
            body, response.status, service=service, in_answer=True, retry_after=exchange.retry_after(response)
        )
    return unexplained(response, service=service)


def error_in(
    body: Mapping[str, Any],
    status: int | None,
    *,
    service: str,
    image_task_id: str | None = None,
    trace_id: str | None = None,
    in_answer: bool = False,
    retry_after: float | None = None,
) -> ImageTaskError:
    """Return the error that ``{"error": {"code", "message"} | "text", "trace_id"}`` tells of.

    :param status: the HTTP status where the error came as the answer to a request.
    :param in_answer: whether it is the answer to a request, rather than part of an image task's record.
    :param retry_after: seconds, from the answer's header.
    """
    error = body.get("error")
    code = text(mapping(error).get("code"))
    message = text(mapping(error).get("message")) or text(error) or code or "no reason given"
    facts: dict[str, Any] = {
        "service": service,
        "code": code,
        "trace_id": text(body.get("trace_id")) or trace_id,
        "image_task_id": image_task_id,
    }
    known = ERROR_CODES.get((code or "").lower())
    if not in_answer:
        if known is ContentPolicyError:
            return ContentPolicyError(f"The service refused it by its content policy: {message}", **facts)
        return ImageTaskFailedError(f"The service reports that the image task failed: {message}", billed="no", **facts)
    error_class = known or STATUSES.get(status or 0)
    if error_class is None:
        error_class = ServiceUnavailableError if status is not None and status >= 500 else ProtocolError
    what = f"{service} answered HTTP {status}: {message}"
    if error_class is RateLimitError:
        return RateLimitError(what, retry_after=retry_after, **facts)
    if error_class is ProtocolError:
        # A definite 4xx, or an error of an unknown kind inside HTTP 200: the service said no to this request.
        return ProtocolError(what, billed="no", retryable=False, **facts)
    return error_class(what, **facts)
