"""A cancel means the same at every service that has one."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import InvalidRequestError, ServiceUnavailableError
from airflow_provider_imagetasks.services import get_service
from tests.flow_driver import DrivenFlow, drive, no_response, response

IDS = {"fal": "fal-ai.flux.7", "replicate": "p7", "openai": "resp_7", "openai's batch": "batch_7"}
EACH = pytest.mark.parametrize("name", IDS)


def cancelled(name: str, *answers: Any, image_task_id: str | None = None) -> DrivenFlow:
    return drive(get_service(name.partition("'")[0]).cancel(image_task_id or IDS[name]), *answers)


@EACH
@pytest.mark.parametrize("answer", [response(b"", status=204), response({}, status=202), response({"status": "new"})])
def test_a_cancel_that_was_taken_says_what_that_means_for_the_bill(name: str, answer: Any) -> None:
    driven = cancelled(name, answer)

    assert "told to stop" in driven.result
    assert "billed" in driven.result
    assert len(driven.requests) == 1


@EACH
@pytest.mark.parametrize("image_task_id", ["", "../x", "a b", "flux/dev"])
def test_an_id_that_the_service_never_gave_is_not_asked_about(name: str, image_task_id: str) -> None:
    driven = drive(get_service(name.partition("'")[0]).cancel(image_task_id))

    assert (type(driven.error), driven.requests) == (InvalidRequestError, [])
    assert driven.error is not None
    assert driven.error.billed == "unknown"


@EACH
@pytest.mark.parametrize(
    "answer", [no_response(may_have_left=True), response({}, status=500), response(b"<", status=502)]
)
def test_a_cancel_without_an_answer_says_nothing_of_the_bill(name: str, answer: Any) -> None:
    error = cancelled(name, answer).error

    assert error is not None
    assert (type(error), error.billed, error.retryable) == (ServiceUnavailableError, "unknown", True)


@EACH
def test_what_the_service_does_not_know_cannot_be_stopped(name: str) -> None:
    error = cancelled(name, response({"detail": "no", "error": {"message": "no"}}, status=404)).error

    assert error is not None
    assert (type(error), error.image_task_id, error.billed) == (InvalidRequestError, IDS[name], "unknown")
    assert "does not know the image task" in error.message
