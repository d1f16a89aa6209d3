"""OpenAI's errors by their codes, as its guide "Error codes" lists them, in answers and in lines of a batch."""

from __future__ import annotations

from typing import Any

import pytest

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
from airflow_provider_imagetasks.services.openai_errors import failure, refusal, refusal_of
from tests.flow_driver import response


def error(code: str | None = None, kind: str = "invalid_request_error", message: str = "no") -> dict[str, Any]:
    return {"message": message, "type": kind, "param": None, "code": code}


REFUSALS: dict[str, tuple[int, dict[str, Any], type[ImageTaskError], str]] = {
    "a wrong key": (401, error("invalid_api_key"), AuthenticationError, "invalid_api_key"),
    "no key": (401, error(), AuthenticationError, "invalid_request_error"),
    "an address": (401, error("ip_not_authorized"), AuthenticationError, "ip_not_authorized"),
    "not verified": (403, error(message="must be verified"), AuthenticationError, "invalid_request_error"),
    "no such model": (404, error("model_not_found"), InvalidRequestError, "model_not_found"),
    "a wrong field": (400, error("unknown_parameter"), InvalidRequestError, "unknown_parameter"),
    "no code": (400, {"message": "no"}, InvalidRequestError, "400"),
    "moderated": (400, error("moderation_blocked", "image_error"), ContentPolicyError, "moderation_blocked"),
    "flagged": (400, error("invalid_prompt"), ContentPolicyError, "invalid_prompt"),
    "too fast": (429, error("rate_limit_exceeded", "requests"), RateLimitError, "rate_limit_exceeded"),
    "slow down": (503, error("slow_down", "service_unavailable_error"), RateLimitError, "slow_down"),
    "no quota": (429, error("insufficient_quota", "insufficient_quota"), QuotaExceededError, "insufficient_quota"),
    "a hard limit": (400, error("billing_hard_limit_reached"), QuotaExceededError, "billing_hard_limit_reached"),
    **{
        code: (429, error(code, "insufficient_quota"), QuotaExceededError, code)
        for code in ("credit_balance_exhausted", "project_spend_limit_exceeded", "organization_spend_limit_exceeded")
    },
}


@pytest.mark.parametrize(("status", "said", "error_class", "code"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_told_by_its_code_and_not_billed(
    status: int, said: dict[str, Any], error_class: type[ImageTaskError], code: str
) -> None:
    found = refusal(status, said, image_task_id="batch_1.7")

    assert (type(found), found.code, found.billed, found.image_task_id) == (error_class, code, "no", "batch_1.7")


@pytest.mark.parametrize("said", [error("server_error", "server_error"), error("server_is_overloaded"), error()])
def test_an_error_of_openai_s_own_says_nothing_of_what_was_taken(said: dict[str, Any]) -> None:
    found = refusal(500, said)

    assert (type(found), found.billed) == (ServiceUnavailableError, "unknown")


@pytest.mark.parametrize(
    ("message", "headers", "seconds"),
    [
        ("Rate limit reached. Please try again in 20s. Visit", {}, 20.0),
        ("Please try again in 6m0s.", {}, 360.0),
        ("Please try again in 1.5s", {}, 1.5),
        ("Please try again in 200ms", {}, 0.2),
        ("Please try again in 2m", {}, 120.0),
        ("Please try again in 20s.", {"retry-after": "4"}, 4.0),
        ("Please try again in 20s.", {"retry-after-ms": "1500", "retry-after": "4"}, 1.5),
        ("Please try again in a while", {}, None),
        ("slowly", {}, None),
    ],
)
def test_a_rate_limit_says_until_when(message: str, headers: dict[str, str], seconds: float | None) -> None:
    answer = response({"error": error("rate_limit_exceeded", "requests", message)}, status=429, headers=headers)
    found = refusal_of(answer, answer.json())

    assert type(found) is RateLimitError
    assert found.retry_after == seconds


def test_what_is_no_error_of_openai_s_comes_from_something_between() -> None:
    assert "check Host and proxies" in refusal_of(response({"detail": "no"}, status=404), {"detail": "no"}).message


@pytest.mark.parametrize(
    ("said", "error_class", "billed"),
    [
        (error("server_error"), ImageTaskFailedError, "unknown"),
        (error("rate_limit_exceeded"), ImageTaskFailedError, "no"),
        (error("insufficient_quota"), ImageTaskFailedError, "no"),
        (error("content_filter"), ContentPolicyError, "unknown"),
        ({}, ImageTaskFailedError, "unknown"),
    ],
)
def test_why_an_image_task_failed_that_was_taken(
    said: dict[str, Any], error_class: type[ImageTaskError], billed: str
) -> None:
    found = failure(said, image_task_id="resp_1")

    assert (type(found), found.billed, found.retryable, found.image_task_id) == (error_class, billed, False, "resp_1")
