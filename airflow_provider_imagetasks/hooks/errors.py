"""Errors of this package as Airflow sees them: those that a retry cannot mend stop Airflow from retrying."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout

from airflow_provider_imagetasks.exceptions import ImageTaskError, ImageTaskTimeoutError, without_signatures
from airflow_provider_imagetasks.services.bounds import trace_of

_log = logging.getLogger(__name__)


@cache
def _final_class(error_class: type[ImageTaskError]) -> type[ImageTaskError]:
    """Return a class that is the given one and also the one by which Airflow knows not to retry."""
    airflow_class = AirflowSensorTimeout if issubclass(error_class, ImageTaskTimeoutError) else AirflowFailException
    return type(error_class.__name__, (error_class, airflow_class), {"__doc__": error_class.__doc__})


def for_airflow(error: ImageTaskError) -> ImageTaskError:
    """Return the error to raise from an Airflow task: the same, of a class that Airflow does not retry if it must not.

    ``except ContentPolicyError`` and the like catch both.
    """
    if error.retryable or isinstance(error, (AirflowFailException, AirflowSensorTimeout)):
        return error
    final_class = _final_class(type(error))  # type: ignore[arg-type]
    final = final_class.__new__(final_class)
    final.__dict__.update(error.__dict__)
    final.args = error.args
    return final


@contextmanager
def errors_for_airflow(task: Any = None) -> Iterator[None]:
    """Raise every error of ours that leaves the block as :func:`for_airflow` returns it.

    Whether it was billed and what to do stand on a line of their own before it in the log, once: at the end of the line
    of an exception, and before its traceback, nobody reads them.

    :param task: the operator. An error after which its ``ImageTaskRetryPolicy`` has it start again is raised as it is,
        since Airflow asks no policy about the others.
    """
    try:
        yield
    except ImageTaskError as error:
        if not error.is_advised:
            error.is_advised = True
            _log.error("%s", error.what_follows)
        reschedules = getattr(getattr(task, "retry_policy", None), "reschedules", None)
        may_start_again = reschedules is not None and reschedules(error)
        raise (error if may_start_again else for_airflow(error)) from _cause_to_show(error)


def _cause_to_show(error: ImageTaskError) -> BaseException | None:
    """Return the cause of an error, which Airflow prints; None where it shows what grants access.

    Libraries repeat the address, or the path with its user, that they were given.
    """
    cause, hidden = error.__cause__, False
    current = cause
    while current is not None and not hidden:
        hidden = without_signatures(str(current)) != str(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    if cause is not None and hidden:
        _log.error("What led to the error, with its secrets left out:\n%s", trace_of(cause))
    return None if hidden else cause


@contextmanager
def errors_of_reading() -> Iterator[None]:
    """Let no error that leaves the block say that nothing was billed: an image task that is read may have been."""
    try:
        yield
    except ImageTaskError as error:
        if error.billed == "no":
            error.billed = "unknown"
        raise


@contextmanager
def errors_pushed(context: Any, image_task_ids: Callable[[], Iterable[str]] = tuple) -> Iterator[None]:
    """Push what is known of an error of ours before it leaves the block, once.

    XCom ``image_task_error`` is ``{class, code, message, billed, advice}``, with the advice that stands in the log;
    ``image_task_failures`` the same of each image task that it is about, with its ``id``.

    :param context: the task's.
    :param image_task_ids: says which image tasks an error is about that names none itself.
    """
    try:
        yield
    except ImageTaskError as error:
        if not error.is_pushed:
            error.is_pushed = True
            context["ti"].xcom_push(key="image_task_error", value={**error.as_xcom(), "advice": error.retry_advice})
            named = [(one.image_task_id, one) for one in error.failures or (error,)]
            about = (
                named if all(image_task_id for image_task_id, _ in named) else [(i, error) for i in image_task_ids()]
            )
            if about:
                each = [{"id": one_id, **why.as_xcom(), "advice": why.retry_advice} for one_id, why in about]
                context["ti"].xcom_push(key="image_task_failures", value=each)
        raise
