"""Answers that do not come from a service's own code, as a submission finds them."""

from __future__ import annotations

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
)
from airflow_provider_imagetasks.services import get_service
from tests.flow_driver import drive, response
from tests.services.wire_examples import REQUEST, TASK_ID

SERVICES = [get_service(name) for name in ("acedatacloud", "aigptimage", "kie")]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("body", [b"", b'{"code": 200, "msg": "success", "data": null}'])
def test_a_redirect_is_refused_and_named_without_its_query_whatever_its_body_says(status: int, body: bytes) -> None:
    moved = response(body, status=status, headers={"location": "https://elsewhere.example/login?session=secret"})

    for service in SERVICES:
        for flow, billed in ((service.submit(REQUEST), "no"), (service.get_task(TASK_ID), "unknown")):
            error = drive(flow, moved).error
            assert type(error) is ProtocolError
            assert (error.billed, error.retryable) == (billed, False)
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
