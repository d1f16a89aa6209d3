"""A retry policy for Airflow 3.3 and newer: retry what a retry may mend, and not before the service wants it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from airflow_provider_imagetasks.exceptions import (
    DownloadError,
    ImageTaskError,
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
)

LONGEST_DELAY = 3600.0
"""Seconds; a service that wants a longer pause than this is asked again after it all the same."""
_NOT_NOW = (RateLimitError, QuotaExceededError, ServiceUnavailableError)
_CAN_RESCHEDULE = hasattr(RetryDecision, "reschedule")


class ImageTaskRetryPolicy(RetryPolicy):
    """Decide by the error: its ``retryable``, and the ``retry_after`` of a service or a store that is busy.

    ``ImageTaskSubmitOperator(..., retries=5, retry_policy=ImageTaskRetryPolicy())``. Errors of other kinds are left to
    the task's own settings. It cannot go beyond the task's ``retries``.

    On Airflow 3.4 a submission that the service does not take now, and does not bill (rate, empty balance,
    maintenance), is made again after the task's ``retry_delay``, or what the service asked for, and uses no retry. Once
    a bound is reached, Airflow uses its retries.

    :param max_reschedules: how often within a try.
    :param reschedule_timeout: for how long after the first time.
    """

    def __init__(self, *, max_reschedules: int = 100, reschedule_timeout: timedelta = timedelta(hours=24)) -> None:
        self.max_reschedules = max_reschedules
        self.reschedule_timeout = reschedule_timeout

    def reschedules(self, error: ImageTaskError) -> bool:
        """Whether the task is to start again after this error without using a retry; never before Airflow 3.4."""
        return _CAN_RESCHEDULE and isinstance(error, _NOT_NOW) and error.billed == "no"

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Return whether to retry, and after how long."""
        if not isinstance(exception, ImageTaskError):
            return RetryDecision.default()
        if self.reschedules(exception):
            decisions: Any = RetryDecision
            later: RetryDecision = decisions.reschedule(
                self._wanted_delay(exception),
                max_reschedules=self.max_reschedules,
                reschedule_timeout=self.reschedule_timeout,
                reason=f"the service does not take it now: {exception.message}",
            )
            return later
        if not exception.retryable:
            return RetryDecision.fail(exception.retry_advice)
        delay = self._wanted_delay(exception)
        if delay is not None:
            return RetryDecision.retry(delay, f"a pause of {delay.total_seconds():.0f} s was asked for")
        return RetryDecision.default()

    def _wanted_delay(self, error: ImageTaskError) -> timedelta | None:
        """Return how long the service wants to be left alone; None where it does not say: the task's own delay."""
        seconds = error.retry_after if isinstance(error, RateLimitError | DownloadError) else None
        return timedelta(seconds=min(seconds, LONGEST_DELAY)) if seconds is not None else None

    def serialize(self) -> dict[str, Any]:
        """Return what makes it again."""
        return {
            "max_reschedules": self.max_reschedules,
            "reschedule_timeout": self.reschedule_timeout.total_seconds(),
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ImageTaskRetryPolicy:
        """Make it again; what an earlier version wrote has no settings."""
        if "max_reschedules" not in data:
            return cls()
        return cls(
            max_reschedules=data["max_reschedules"],
            reschedule_timeout=timedelta(seconds=data["reschedule_timeout"]),
        )
