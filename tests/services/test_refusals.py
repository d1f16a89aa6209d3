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
def test_a_redirect_is_refused_and_named_without_its_query(status: int) -> None:
    moved = response(b"", status=status, headers={"location": "https://elsewhere.example/login?session=secret"})

    for service in SERVICES:
        for flow, billed in ((service.submit(REQUEST), "no"), (service.get_task(TASK_ID), "unknown")):
            error = drive(flow, moved).error
            assert type(error) is ProtocolError
            assert (error.billed, error.retryable) == (billed, False)
            assert "https://elsewhere.example/login" in error.message
            assert "secret" not in error.message


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (401, AuthenticationError),
        (402, QuotaExceededError),
        (403, ProtocolError),
        (404, InvalidRequestError),
        (413, InvalidRequestError),
        (418, ProtocolError),
    ],
)
def test_a_page_with_a_client_error_is_a_definite_no(status: int, error_class: type[ImageTaskError]) -> None:
    for service in SERVICES:
        error = drive(service.submit(REQUEST), response(b"error code: 1010", status=status)).error

        assert error is not None
        assert (type(error), error.billed, error.retryable) == (error_class, "no", False)
        assert "error code: 1010" in error.message


def test_a_page_that_turns_odd_clients_away_says_nothing_of_the_picture() -> None:
    for service in SERVICES:
        error = drive(service.get_task(TASK_ID), response(b"error code: 1010", status=403)).error

        assert type(error) is ProtocolError
        assert (error.billed, error.retryable) == ("unknown", False)


def test_a_long_page_is_quoted_in_part() -> None:
    error = drive(SERVICES[0].submit(REQUEST), response(b"<html>\n\n" + b"word " * 4000, status=400)).error

    assert error is not None
    assert len(error.message) < 250
    assert "\n" not in error.message
