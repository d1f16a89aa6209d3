"""Decides what a start of a batch does, as a whole and row by row. Pure; its tables of cases are its test."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from airflow_provider_imagetasks.exceptions import InvalidRequestError

_UNDELIVERED = frozenset({"DownloadError", "ImageTaskTimeoutError"})
"""Paid for, or perhaps: the service may still have the picture, so it is asked for that before a new one is."""
_UNUSABLE = frozenset({"UnsafeResultError", "ImageTaskNotFoundError"})


@dataclass(frozen=True, kw_only=True)
class Life:
    """Where a batch stands between two starts. Later versions must read it: fields are only ever added.

    :param generation: 0 for the first pictures, higher by one each time that somebody had them all made anew.
    :param max_tries: the task instance's, unchanged by a retry and raised by a Clear.
    :param start: names the latest start; an older one that is still running sees that it was replaced.
    :param finished: how the latest life ended, ``"success"`` or ``"failed"``; None while it has not.
    :param cleared_at: failed rows in segments with lower numbers are all to be repeated.
    :param retried_at: of failed rows in segments with lower numbers, those are to be repeated that a retry may mend.
    """

    generation: int
    max_tries: int
    start: str
    finished: str | None = None
    cleared_at: int = 0
    retried_at: int = 0


def next_life(last: Life | None, *, max_tries: int, start: str, next_number: int, resumes: bool) -> Life:
    """Return the life that a start begins or goes on with.

    :param last: None at the very first start.
    :param max_tries: the task instance's today. Only a Clear of a finished task instance raises it.
    :param start: names this start.
    :param next_number: of the next segment of the generation.
    :param resumes: whether it comes back from the triggerer.
    """
    if last is None:
        return Life(generation=0, max_tries=max_tries, start=start)
    if resumes:
        return replace(last, start=start)
    if last.max_tries == max_tries:
        if last.finished == "success":
            return replace(last, start=start)
        return replace(last, start=start, finished=None, retried_at=next_number)
    if last.finished == "success":
        return Life(generation=last.generation + 1, max_tries=max_tries, start=start)
    return replace(last, start=start, max_tries=max_tries, finished=None, cleared_at=next_number)


class Action(StrEnum):
    """What a start does with a row."""

    SUBMIT = "submit"
    """Ask for a picture; costs money."""
    REATTACH = "reattach"
    """Read the image task that was submitted before, and go on from there; free."""
    REATTACH_ELSE_SUBMIT = "reattach, else submit"
    """The same, and ask for a new picture only where that one cannot be had."""
    RECONCILE = "reconcile"
    """Find out at the service what became of an intent."""
    KEEP = "keep"
    """Leave it as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a row failed, as its outcome says.

    :param number: of the segment that says so.
    :param error_class: name of the error's class; likewise ``billed``.
    :param retryable: whether a retry may mend it.
    :param has_id: whether an image task was submitted.
    """

    number: int
    error_class: str
    billed: str
    retryable: bool
    has_id: bool


def after_failure(failure: Failure, life: Life) -> Action:
    """Return what to do with a row whose latest outcome is a failure."""
    if failure.number < life.cleared_at:
        if failure.has_id and failure.error_class in _UNDELIVERED:
            return Action.REATTACH
        if failure.has_id and failure.error_class in _UNUSABLE:
            return Action.REATTACH_ELSE_SUBMIT
        return Action.SUBMIT
    if failure.number < life.retried_at and failure.retryable:
        if failure.has_id and failure.error_class in _UNDELIVERED:
            return Action.REATTACH
        if failure.billed == "no":
            return Action.SUBMIT
    return Action.KEEP


def after_intent(image_task_id: str | None) -> Action:
    """Return what to do with a row that was about to be submitted, and has no outcome."""
    return Action.REATTACH if image_task_id else Action.RECONCILE


@dataclass(frozen=True)
class FailureBudget:
    """How many rows may fail without failing the Airflow task.

    :param count: a number of rows; None where ``ratio`` counts.
    :param ratio: a share of all rows, 0 to 1.
    """

    count: int | None = 0
    ratio: float = 0.0

    def allowed(self, total: int) -> int:
        """Return how many of ``total`` rows may fail."""
        return self.count if self.count is not None else math.floor(self.ratio * total + 1e-9)


def read_failure_budget(value: Any) -> FailureBudget:
    """Read ``max_failed``: a whole number of rows, or a share with a decimal point.

    :raises InvalidRequestError: it is neither.
    """
    number: Any = value
    if isinstance(value, str):
        try:
            number = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
        except ValueError:
            number = None
    if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
        return FailureBudget(count=number)
    if isinstance(number, float) and 0 <= number <= 1:
        return FailureBudget(count=None, ratio=number)
    raise InvalidRequestError(
        f"max_failed is {value!r}; give a number of rows (like 10), or a share of them between 0.0 and 1.0 (like 0.05)"
    )
