"""Ends of rows without a line of their own, as a table of cases."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.batch.provider.ends import missing_row, refusal_of_row
from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    RateLimitError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.provider_batches import LineError, ProviderBatch

SERVICE = get_service("openai")
WRONG, FULL = InvalidRequestError("wrong"), RateLimitError("full", billed="no")


def batch(**changes: Any) -> ProviderBatch:
    return ProviderBatch(**{"id": "batch_1", "status": "completed", "is_over": True, **changes})


@pytest.mark.parametrize(
    ("changes", "made", "expected"),
    [
        ({}, 3, (ImageTaskFailedError, "unknown")),
        ({"completed": 3}, 3, (ImageTaskFailedError, "unknown")),
        ({"is_partial": True, "completed": 3}, 3, (ServiceUnavailableError, "no")),
        ({"is_partial": True, "completed": 0}, 0, (ServiceUnavailableError, "no")),
        # Something was made that was not seen, or nobody says how much was.
        ({"is_partial": True, "completed": 4}, 3, (ImageTaskFailedError, "unknown")),
        ({"is_partial": True}, 3, (ImageTaskFailedError, "unknown")),
    ],
)
def test_a_row_that_results_do_not_name(
    changes: dict[str, Any], made: int, expected: tuple[type[ImageTaskError], str]
) -> None:
    error = missing_row(batch(**changes), made, SERVICE)

    assert (type(error), error.billed, error.retryable) == (*expected, expected[1] == "no")


@pytest.mark.parametrize(
    ("errors", "line", "expected"),
    [
        ([(2, WRONG)], 2, WRONG),
        ([(None, FULL)], 1, FULL),
        ([(2, WRONG), (None, FULL)], 1, FULL),
        ([(2, WRONG), (None, FULL)], 2, WRONG),
        ([(2, WRONG), (3, WRONG)], 1, None),
    ],
)
def test_a_row_whose_batch_was_not_taken(
    errors: list[tuple[int | None, ImageTaskError]], line: int, expected: ImageTaskError | None
) -> None:
    told = tuple(LineError(line=number, error=error) for number, error in errors)

    error = refusal_of_row(batch(status="failed", was_refused=True, errors=told), line, SERVICE)

    assert error.billed == "no"
    if expected is None:
        assert (type(error), error.retryable) == (ServiceUnavailableError, True)
        assert "2 other of its rows" in str(error)
    else:
        assert error is expected
