"""What a refusal is to a status request and to a submission: of a service's own code, and of what stands before it."""

from __future__ import annotations

from typing import Any

import pytest

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
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.exchange import ATTEMPTS
from airflow_provider_imagetasks.services.wire import Response
from tests.flow_driver import drive, response
from tests.services.wire_examples import REQUEST, TASK_ID, check_meaning, envelope

SERVICES = [get_service(name) for name in ("acedatacloud", "aigptimage", "kie")]
ErrorClass = type[ImageTaskError]


def check_refusal(
    service: Service, answer: Response, code: str, on_read: ErrorClass | None, on_submit: ErrorClass
) -> None:
    """Fail unless a refusal ends a status request and a submission with these classes, after as many requests as due.

    :param on_read: None means that there is no such image task, ``ImageTaskFailedError`` that it has failed.
    """
    read = drive(service.get_task(TASK_ID), *[answer] * requests_before(on_read))
    if on_read is None:
        assert read.result == service.not_found(TASK_ID)
    elif on_read is ImageTaskFailedError:
        check_meaning(read.result, (on_read, code))
        assert read.result.error.billed == "unknown"
        check_error(read.result.error, on_read, code, service)
    else:
        check_error(read.error, on_read, code, service)
    assert len(read.pauses) == requests_before(on_read) - 1

    submitted = drive(service.submit(REQUEST), *[answer] * requests_before(on_submit))
    error = check_error(submitted.error, on_submit, code, service)
    assert error.billed == ("unknown" if on_submit is UnknownOutcomeError else "no")
    assert error.retryable is (requests_before(on_submit) > 1)
    assert len(submitted.pauses) == requests_before(on_submit) - 1


def requests_before(error: ErrorClass | None) -> int:
    """Return how many requests are made before a flow gives up with this error."""
    return ATTEMPTS if error in (RateLimitError, ServiceUnavailableError) else 1


def check_error(error: ImageTaskError | None, expected: ErrorClass, code: str, service: Service) -> ImageTaskError:
    assert error is not None
    assert (type(error), error.code, error.service) == (expected, code, service.name)
    assert "no luck" in error.message
    return error


TASKS_API: list[tuple[int, str, ErrorClass]] = [
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
    (500, "api_error", ServiceUnavailableError),
    (504, "timeout", ServiceUnavailableError),
]


@pytest.mark.parametrize("service", ["acedatacloud", "xhuoapi"])
@pytest.mark.parametrize("more", [{"trace_id": "t-9"}, {"success": False}], ids=["trace_id", "success"])
@pytest.mark.parametrize(("status", "code", "on_read"), TASKS_API)
def test_a_refusal_of_the_tasks_api(service, status, code, on_read, more) -> None:
    answer = response({"error": {"code": code, "message": "no luck"}, **more}, status=status)

    check_refusal(get_service(service), answer, code, on_read, UnknownOutcomeError if status >= 500 else on_read)


def test_a_refusal_of_the_tasks_api_inside_http_200_is_that_refusal() -> None:
    used_up = response({"success": False, "error": {"code": "used_up", "message": "no balance"}})
    bad_key = response({"error": {"code": "invalid_token", "message": "who?"}})

    assert type(drive(SERVICES[0].submit(REQUEST), used_up).error) is QuotaExceededError
    assert type(drive(SERVICES[0].get_task(TASK_ID), bad_key).error) is AuthenticationError


EMPTY = "You exceeded your current quota, please check your plan and billing details."
QUOTA_AS_OPENAI_SAYS_IT = {"message": EMPTY, "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}
OF_GATEWAY = {"message": "no luck", "code": "insufficient_user_quota"}
HARD_LIMIT = {"message": "Billing hard limit has been reached", "code": "billing_hard_limit_reached"}
EMPTY_BALANCES: list[tuple[dict[str, Any], str, tuple[int, ...]]] = [
    ({"error": QUOTA_AS_OPENAI_SAYS_IT}, "insufficient_quota", (200, 400, 403, 429)),
    ({"error": {**QUOTA_AS_OPENAI_SAYS_IT, "code": None}}, "insufficient_quota", (200, 400, 403, 429)),
    ({"error": OF_GATEWAY, "trace_id": "t-9"}, "insufficient_user_quota", (200, 400, 403, 429)),
    ({"error": HARD_LIMIT}, "billing_hard_limit_reached", (200, 400, 429)),
    ({"error": EMPTY}, "insufficient_quota", (200, 400, 403, 429)),
    ({"error": {"message": "Sorry, insufficient_quota", "code": None}}, "insufficient_quota", (429,)),
    ({"code": 429, "msg": "insufficient_quota: no luck", "data": None}, "insufficient_quota", (429,)),
    ({"code": "insufficient_quota", "message": EMPTY}, "insufficient_quota", (429,)),
]
BY_STATUS = [(said, code, status) for said, code, statuses in EMPTY_BALANCES for status in statuses]
IN_ENVELOPES = [({"code": "insufficient_quota", "msg": EMPTY}, "insufficient_quota", status) for status in (200, 400)]
IN_ENVELOPES += [({"code": 429, "msg": EMPTY, "data": None}, "insufficient_quota", 200)]
IN_ENVELOPES += [
    ({"code": code, "msg": said, "data": None}, named, status)
    for code in (400, 402, 422, 500)
    for said, named in (("insufficient_quota", "insufficient_quota"), (HARD_LIMIT["message"], HARD_LIMIT["code"]))
    for status in (200, code)
]


@pytest.mark.parametrize(
    ("service", "body", "code", "status"),
    [
        *((service, *said) for service in SERVICES for said in BY_STATUS),
        *((service, *said) for service in SERVICES[1:] for said in IN_ENVELOPES),
    ],
)
def test_an_empty_balance_is_no_rate_however_it_is_said_and_nothing_is_asked_again(service, body, code, status) -> None:
    answer = response(body, status=status, headers={"retry-after": "1"})

    submitted, read = drive(service.submit(REQUEST), answer), drive(service.get_task(TASK_ID), answer)

    for driven, billed in ((submitted, "no"), (read, "unknown")):
        assert type(driven.error) is QuotaExceededError
        assert (driven.error.billed, driven.error.retryable, driven.error.code) == (billed, False, code)
        assert driven.pauses == []


GONE = "The OpenAI account associated with this API key has been deactivated."
OF_OTHERS: list[tuple[Any, int, ErrorClass, str]] = [
    *(
        (
            {"error": {"code": "account_deactivated", "message": GONE}},
            status,
            AuthenticationError,
            "account_deactivated",
        )
        for status in (200, 400, 401, 403, 429)
    ),
    ({"error": {"code": None, "message": GONE}}, 403, AuthenticationError, "account_deactivated"),
    ({"error": {"code": "access_terminated", "message": "no"}}, 403, AuthenticationError, "access_terminated"),
    (b"account_deactivated", 403, AuthenticationError, "account_deactivated"),
    (b"insufficient_quota", 403, QuotaExceededError, "insufficient_quota"),
    ({"error": {"type": "moderation_blocked", "message": "no"}}, 400, ContentPolicyError, "moderation_blocked"),
]


@pytest.mark.parametrize(("body", "status", "error_class", "code"), OF_OTHERS)
def test_a_code_that_a_gateway_passes_on_means_the_same_at_every_service(body, status, error_class, code) -> None:
    for service in SERVICES:
        error = drive(service.submit(REQUEST), response(body, status=status)).error

        assert type(error) is error_class
        assert (error.code, error.billed, error.retryable) == (code, "no", False)


def test_a_refusal_that_quotes_a_prompt_is_not_what_the_prompt_says() -> None:
    said = 'The prompt "insufficient_quota: You exceeded your current quota" is too long'
    for body in ({"error": {"code": None, "message": said}}, {"code": 400, "msg": said}):
        for service in SERVICES:
            error = drive(service.submit(REQUEST), response(body, status=400)).error
            assert type(error) is InvalidRequestError


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_rate_stays_a_rate(service: Service) -> None:
    said = {"message": "Rate limit reached for gpt-image-2", "type": "tokens", "code": "rate_limit_exceeded"}
    for body in ({"error": said}, {"code": 429, "msg": "no more than 20 in 10 seconds"}, b"slow down"):
        error = drive(service.submit(REQUEST), *[response(body, status=429)] * ATTEMPTS).error
        assert type(error) is RateLimitError


JOBS_API: list[tuple[int, ErrorClass | None, ErrorClass]] = [
    (400, InvalidRequestError, InvalidRequestError),
    (401, AuthenticationError, AuthenticationError),
    (402, QuotaExceededError, QuotaExceededError),
    (404, None, InvalidRequestError),
    (429, RateLimitError, RateLimitError),
    (500, ServiceUnavailableError, UnknownOutcomeError),
]
KIE: list[tuple[int, ErrorClass | None, ErrorClass]] = [
    # "No result has been returned for over 10 minutes": it is over, and may have been charged.
    (408, ImageTaskFailedError, UnknownOutcomeError),
    # "recordInfo is null": kie.ai has no such record yet.
    (422, None, InvalidRequestError),
    (433, QuotaExceededError, QuotaExceededError),
    (451, InvalidRequestError, InvalidRequestError),
    (455, ServiceUnavailableError, ServiceUnavailableError),
    (505, InvalidRequestError, InvalidRequestError),
    *((code, ImageTaskFailedError, ImageTaskFailedError) for code in (501, 531, 550)),
]
JOBS_SERVICES = {"aigptimage": [*JOBS_API, (422, InvalidRequestError, InvalidRequestError)], "kie": JOBS_API + KIE}


@pytest.mark.parametrize("way", ["in HTTP 200", "with HTTP status", "HTTP status only"])
@pytest.mark.parametrize(
    ("service", "code", "on_read", "on_submit"),
    [(service, *row) for service, rows in JOBS_SERVICES.items() for row in rows],
)
def test_a_code_of_the_jobs_api(service, code, on_read, on_submit, way) -> None:
    body = {"message": "no luck"} if way == "HTTP status only" else envelope(None, code, "no luck")
    answer = response(body, status=200 if way == "in HTTP 200" else code)
    if (code > 500 or code == 408) and way == "HTTP status only":
        # It may be a gateway's, for which the number means something else.
        on_read, on_submit = ServiceUnavailableError, UnknownOutcomeError

    check_refusal(get_service(service), answer, str(code), on_read, on_submit)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("body", [b"", b'{"code": 200, "msg": "success", "data": null}'])
def test_a_redirect_is_refused_and_named_without_its_query_whatever_its_body_says(status: int, body: bytes) -> None:
    moved = response(body, status=status, headers={"location": "https://elsewhere.example/login?session=secret"})
    # Others may be how a service answers that took it.
    at_submit = (ProtocolError, "no") if status in (307, 308) else (UnknownOutcomeError, "unknown")

    for service in SERVICES:
        flows = {service.submit(REQUEST): at_submit, service.get_task(TASK_ID): (ProtocolError, "unknown")}
        for flow, told in flows.items():
            error = drive(flow, moved).error
            assert error is not None
            assert (type(error), error.billed) == told
            assert error.retryable is False
            assert "https://elsewhere.example/login" in error.message
            assert "secret" not in error.message


PAGES: dict[int, type[ImageTaskError]] = {
    401: AuthenticationError,
    402: QuotaExceededError,
    403: ProtocolError,
    404: InvalidRequestError,
    413: InvalidRequestError,
    418: ProtocolError,
}


@pytest.mark.parametrize("status", PAGES)
def test_a_page_with_a_client_error_is_a_definite_no_to_a_submission_and_quoted_in_part(status: int) -> None:
    for service in SERVICES:
        error = drive(service.submit(REQUEST), response(b"error code: 1010\n\n" + b"word " * 4000, status=status)).error

        assert error is not None
        assert (type(error), error.billed, error.retryable) == (PAGES[status], "no", False)
        assert "error code: 1010" in error.message
        assert len(error.message) < 250
        assert "\n" not in error.message
    for service in SERVICES if PAGES[status] is ProtocolError else ():
        # It turns odd clients away, and says nothing of the picture.
        error = drive(service.get_task(TASK_ID), response(b"error code: 1010", status=status)).error
        assert (type(error), error and error.billed, error and error.retryable) == (ProtocolError, "unknown", False)
