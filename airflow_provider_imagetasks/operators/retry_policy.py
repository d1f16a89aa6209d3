"""A retry policy for Airflow 3.3 and newer: retry what a retry may mend, and not before the service wants it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from airflow_provider_imagetasks.exceptions import ImageTaskError, RateLimitError

LONGEST_DELAY = 3600.0
"""Seconds; a service that wants a longer pause than this is asked again after it all the same."""


class ImageTaskRetryPolicy(RetryPolicy):
    """Decide by the error: its ``retryable``, and the ``retry_after`` of a refusal by rate.

    ``ImageTaskSubmitOperator(..., retries=5, retry_policy=ImageTaskRetryPolicy())``. Errors of other kinds are left to
    the task's own settings. It cannot go beyond the task's ``retries``.
    """

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Return whether to retry, and after how long."""
        if not isinstance(exception, ImageTaskError):
            return RetryDecision.default()
        if not exception.retryable:
            return RetryDecision.fail(exception.retry_advice)
        if isinstance(exception, RateLimitError) and exception.retry_after is not None:
            seconds = min(exception.retry_after, LONGEST_DELAY)
            return RetryDecision.retry(timedelta(seconds=seconds), f"the service asked for {seconds:.0f} s of patience")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        """Return what makes it again: nothing, since it has no settings."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ImageTaskRetryPolicy:
        """Make it again."""
        return cls()
