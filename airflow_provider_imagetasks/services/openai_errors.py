"""What OpenAI's errors mean, by their codes: of an answer, of a response that failed, of a line of a batch's results.

Follows OpenAI's guides "Error codes" and "Rate limits" and the codes of a response's ``error``. An error is an object
``{"message", "type", "param", "code"}``, in an answer as ``error``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
)
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.fields import mapping, number, text
from airflow_provider_imagetasks.services.refusals import named_refusal, refusal_by_status, unexplained
from airflow_provider_imagetasks.services.wire import Response

SERVICE = "openai"
CODES: Mapping[str, type[ImageTaskError]] = {
    **dict.fromkeys(("credit_balance_exhausted", "organization_usage_limit_exceeded"), QuotaExceededError),
    **dict.fromkeys(("organization_spend_limit_exceeded", "project_spend_limit_exceeded"), QuotaExceededError),
    **dict.fromkeys(("image_content_policy_violation", "content_filter"), ContentPolicyError),
    # "Your prompt was flagged as potentially violating our usage policy"; a prompt that is only wrong has other codes.
    **dict.fromkeys(("invalid_prompt", "bio_policy", "cyber_policy"), ContentPolicyError),
    **dict.fromkeys(("rate_limit_exceeded", "slow_down"), RateLimitError),
    **dict.fromkeys(("model_not_found", "data_residency_mismatch", "unknown_parameter"), InvalidRequestError),
    **dict.fromkeys(("unsupported_country_region_territory", "ip_not_authorized"), AuthenticationError),
    **dict.fromkeys(("server_is_overloaded", "server_error"), ServiceUnavailableError),
}
"""OpenAI's codes beside those that gateways pass on."""
NO_REASON = "no reason given"
_SECONDS = re.compile(r"try again in (?:(\d{1,3})m(?!s))?(?:(\d{1,5}(?:\.\d+)?)(ms|s))?", re.IGNORECASE)


def refusal(status: int, error: Mapping[str, Any], *, retry_after: float | None = None, **facts: Any) -> ImageTaskError:
    """Return what an error means that was answered in place of a picture: nothing was made, and nothing billed.

    :param status: of HTTP, of the answer or of a line of a batch's results.
    :param error: the object ``error``.
    :param retry_after: seconds that the answer asks to wait.
    :param facts: ``image_task_id`` and the like, as errors take them.
    """
    error_class, code, message = _meaning(error, status)
    what = f"OpenAI answered HTTP {status}: {message}"
    facts = {"service": SERVICE, "code": code or str(status), **facts}
    if error_class is RateLimitError or (error_class is None and status == 429):
        wait = retry_after if retry_after is not None else _seconds_in(message)
        return RateLimitError(what, retry_after=wait, **facts)
    if error_class is None and status == 403:
        return AuthenticationError(what, **facts)
    return error_class(what, **facts) if error_class else refusal_by_status(status, what, **facts)


def refusal_of(answer: Response, said: Any) -> ImageTaskError:
    """Return what an answer that is no success means.

    :param said: its body; whatever is no error of OpenAI's comes from something on the way.
    """
    error = mapping(mapping(said).get("error"))
    if not error:
        return unexplained(answer, service=SERVICE)
    milliseconds = number(answer.headers.get("retry-after-ms"))
    seconds = exchange.retry_after(answer) if milliseconds is None else milliseconds / 1000
    return refusal(answer.status, error, retry_after=seconds)


def failure(error: Mapping[str, Any], *, image_task_id: str | None) -> ImageTaskError:
    """Return why an image task came to nothing that OpenAI had taken.

    What stopped it may have been noticed only after a picture was made, except for a rate limit.

    :param error: the object ``error`` of a response, or of a line of a batch's results.
    """
    error_class, code, message = _meaning(error, 0)
    facts: dict[str, Any] = {"service": SERVICE, "image_task_id": image_task_id, "code": code}
    if error_class is ContentPolicyError:
        what = f"OpenAI refused it because of its content policy: {message}"
        return ContentPolicyError(what, billed="unknown", **facts)
    billed = "no" if error_class in (RateLimitError, QuotaExceededError) else "unknown"
    return ImageTaskFailedError(f"OpenAI reports that it failed: {message}", **{**facts, "billed": billed})


def _meaning(error: Mapping[str, Any], status: int) -> tuple[type[ImageTaskError] | None, str | None, str]:
    """Return class, code and message of an error; no class where its code does not tell."""
    code, message = text(error.get("code")), text(error.get("message")) or NO_REASON
    own = CODES.get((code or "").lower())
    if own is not None:
        return own, code, message
    named = named_refusal(error, status)
    return (*named, message) if named else (None, code or text(error.get("type")), message)


def _seconds_in(message: str) -> float | None:
    """Return the seconds of "Please try again in 6m0s", "in 1.5s" or "in 200ms"."""
    found = _SECONDS.search(message)
    if found is None or not any(found.groups()):
        return None
    minutes, amount, unit = found.groups()
    return 60.0 * int(minutes or 0) + float(amount or 0) / (1000 if unit and unit.lower() == "ms" else 1)
