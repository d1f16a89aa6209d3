"""Refusals of the Tasks API family, by AceDataCloud's "Responses and errors" page: HTTP status and code."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskError,
    InvalidRequestError,
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services import get_service
from tests.flow_driver import drive, response
from tests.services.wire_examples import REQUEST, TASK_ID, check_refusal

REFUSALS: list[tuple[int, str, type[ImageTaskError], type[ImageTaskError]]] = [
    *(
        (status, code, error, error)
        for status, code, error in (
            (400, "bad_request", InvalidRequestError),
            (400, "no_token", AuthenticationError),
            (400, "api_not_implemented", InvalidRequestError),
            (400, "token_mismatched", AuthenticationError),
            (401, "invalid_token", AuthenticationError),
            (401, "token_expired", AuthenticationError),
            (401, "token_mismatched", AuthenticationError),
            (403, "used_up", QuotaExceededError),
            (403, "disabled", AuthenticationError),
            (403, "forbidden", ContentPolicyError),
            (404, "no_api", InvalidRequestError),
            (429, "too_many_requests", RateLimitError),
            (429, "rate_limited", RateLimitError),
        )
    ),
    (500, "api_error", ServiceUnavailableError, UnknownOutcomeError),
    (504, "timeout", ServiceUnavailableError, UnknownOutcomeError),
]


@pytest.mark.parametrize("service", ["acedatacloud", "xhuoapi"])
@pytest.mark.parametrize("more", [{"trace_id": "t-9"}, {"success": False}], ids=["trace_id", "success"])
@pytest.mark.parametrize(("status", "code", "on_read", "on_submit"), REFUSALS)
def test_a_refusal_ends_a_status_request_and_a_submission(
    service: str,
    status: int,
    code: str,
    on_read: type[ImageTaskError],
    on_submit: type[ImageTaskError],
    more: dict[str, Any],
) -> None:
    answer = response({"error": {"code": code, "message": "no luck"}, **more}, status=status)

    check_refusal(get_service(service), answer, code, on_read, on_submit)


def test_a_refusal_inside_http_200_is_that_refusal() -> None:
    used_up = response({"success": False, "error": {"code": "used_up", "message": "no balance"}})
    bad_key = response({"error": {"code": "invalid_token", "message": "who?"}})

    assert type(drive(get_service("acedatacloud").submit(REQUEST), used_up).error) is QuotaExceededError
    assert type(drive(get_service("acedatacloud").get_task(TASK_ID), bad_key).error) is AuthenticationError
