"""Airflow's own settings, applied alike in every mode: ``soft_fail``, ``never_fail`` and ``execution_timeout``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
)

from airflow_provider_imagetasks.exceptions import ImageTaskTimeoutError, without_signatures

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:
    # Before Airflow 3.2.
    from airflow.exceptions import AirflowRescheduleException  # type: ignore[no-redef,attr-defined,unused-ignore]

_ENDS = (AirflowFailException, AirflowSensorTimeout, AirflowTaskTimeout, ImageTaskTimeoutError)
"""What a retry cannot mend, and waits that are over: what Airflow's own loop of the poke mode skips for."""


@contextmanager
def failures_skipped(sensor: Any) -> Iterator[None]:
    """Skip a sensor in place of failing it where its ``soft_fail`` or ``never_fail`` says so.

    Airflow itself applies them in its loop of the poke mode, without logging the reason, and to some errors after a
    deferral.

    :raises AirflowSkipException: with the reason, which Airflow logs.
    """
    try:
        yield
    except (AirflowSkipException, AirflowRescheduleException):
        raise
    except (Exception, AirflowTaskTimeout) as error:
        is_skipped = sensor.never_fail or (sensor.soft_fail and isinstance(error, _ENDS))
        if not is_skipped:
            raise
        setting = "never_fail" if sensor.never_fail else "soft_fail"
        told = without_signatures(f"Skipped rather than failed, as {setting} says: {error}")
        raise AirflowSkipException(told) from error


@contextmanager
def execution_timeout_told(task: Any, advice: str = "") -> Iterator[None]:
    """Raise our own error where Airflow ends the block, since the task's ``execution_timeout`` is over on a worker.

    :param advice: what a retry does, where it is something else than after a wait.
    :raises ImageTaskTimeoutError: Airflow retries it, as it would its own.
    """
    try:
        yield
    except AirflowTaskTimeout as error:
        told = execution_timeout_error(task)
        told.retry_advice = advice or told.retry_advice
        raise told from error


def execution_ends_at(task: Any, context: Any) -> float | None:
    """Return the Unix seconds at which a task's ``execution_timeout`` is over, None where it has none.

    Airflow counts it for each stay on a worker anew, and not while a task is deferred.
    """
    if task.execution_timeout is None:
        return None
    return float(context["ti"].start_date.timestamp() + task.execution_timeout.total_seconds())


def stay_ends_at(task: Any) -> float | None:
    """Return the Unix seconds at which Airflow ends a stay on a worker that begins now; None where it may last."""
    return None if task.execution_timeout is None else time.time() + task.execution_timeout.total_seconds()


def execution_timeout_error(task: Any) -> ImageTaskTimeoutError:
    """Return the error of a task whose ``execution_timeout`` is over; Airflow retries it."""
    return ImageTaskTimeoutError(
        f"The task's execution_timeout ({task.execution_timeout.total_seconds():g} s) is over, including the time "
        "for which it was deferred. What was submitted goes on at the service: it may still finish, and be billed",
        retryable=True,
        retry_advice="A retry continues with what was submitted, and submits none of it again.",
    )
