"""Decisions on a batch, for a start as a whole and row by row. Pure; their tables of cases are their test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    ImageTaskTimeoutError,
    InvalidRequestError,
    public_class_name,
)
from airflow_provider_imagetasks.polling.waiting import failure
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.tasks import ImageTask

_UNDELIVERED = frozenset({"DownloadError", "ResultExpiredError", "ImageTaskTimeoutError"})
"""Paid for, or perhaps: the service may still have the picture, and a new one is not asked for in its place."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where a batch stands between two starts. Later versions must read it: fields are only ever added.

    :param generation: 0 for the first pictures, higher by one each time that somebody had them all made anew; where a
        later try begins and nothing is known of earlier ones, higher than theirs can have been.
    :param max_tries: the task instance's, unchanged by a retry and raised by a Clear.
    :param start: names the latest start; an older one that is still running sees that it was replaced.
    :param finished: how the batch ended last, ``"success"`` or ``"failed"``; None while it has not.
    :param cleared_at: failed rows in segments with lower numbers are all to be repeated.
    :param retried_at: of failed rows in segments with lower numbers, those are to be repeated that a retry may mend.
    :param began_at: Unix seconds when the present try began, which may have had several starts; 0 in what an earlier
        version wrote.
    :param try_id: Airflow's own id of the latest try; empty in what an earlier version wrote.
    :param try_number: its number; 0 likewise.
    """

    generation: int
    max_tries: int
    start: str
    finished: str | None = None
    cleared_at: int = 0
    retried_at: int = 0
    began_at: float = 0.0
    try_id: str = ""
    try_number: int = 0

    @property
    def try_from(self) -> int:
        """Number of the first segment of the present try."""
        return max(self.cleared_at, self.retried_at)


def next_checkpoint(
    last: Checkpoint | None,
    *,
    max_tries: int,
    start: str,
    next_number: int,
    resumes: bool,
    now: float,
    first_generation: int = 0,
) -> Checkpoint:
    """Return what a start begins or goes on with.

    :param last: None at the very first start.
    :param max_tries: the task instance's today. Only a Clear of a finished task instance raises it.
    :param start: names this start.
    :param next_number: of the next segment of the generation.
    :param resumes: whether it comes back from the triggerer.
    :param now: Unix seconds.
    :param first_generation: what the very first start begins with.
    """
    if last is None:
        return Checkpoint(generation=first_generation, max_tries=max_tries, start=start, began_at=now)
    if resumes:
        return replace(last, start=start, began_at=last.began_at or now)
    if last.max_tries == max_tries:
        if last.finished == "success":
            return replace(last, start=start)
        return replace(last, start=start, finished=None, retried_at=next_number, began_at=now)
    if last.finished == "success":
        return Checkpoint(generation=last.generation + 1, max_tries=max_tries, start=start, began_at=now)
    return replace(last, start=start, max_tries=max_tries, finished=None, cleared_at=next_number, began_at=now)


class Occasion(StrEnum):
    """When a failed row is decided on."""

    WITHIN_TRY = "within the try"
    RETRY = "retry"
    CLEAR = "clear"


class Action(StrEnum):
    """What is done with a failed row."""

    SUBMIT = "submit"
    """Ask for a picture; costs money."""
    REATTACH = "reattach"
    """Read the image task that was submitted before, and go on from there; free."""
    REATTACH_ELSE_SUBMIT = "reattach, else submit"
    """The same, and ask for a new picture only where that one cannot be had."""
    SEARCH_ELSE_SUBMIT = "search, else submit"
    """Look for the submission whose outcome nobody knows, and ask for a new picture only where it is not found."""
    KEEP = "keep"
    """Leave it as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a row failed.

    :param error_class: name of the error's class; likewise ``billed``.
    :param retryable: whether a retry may mend it.
    :param has_id: whether an image task was submitted.
    :param is_unread: whether the image task could not be read, so that nobody knows what became of it.
    :param is_unanswered: whether the service may tell of a submission whose outcome nobody knows.
    """

    error_class: str
    billed: str
    retryable: bool
    has_id: bool
    is_unread: bool = False
    is_unanswered: bool = False

    @classmethod
    def of_error(cls, error: ImageTaskError, image_task_id: str | None) -> Failure:
        """Return the failure that an error is."""
        name, has_id = public_class_name(type(error)), bool(image_task_id)
        return cls(error_class=name, billed=error.billed, retryable=error.retryable, has_id=has_id)

    @classmethod
    def of_outcome(cls, outcome: Mapping[str, Any]) -> Failure:
        """Return the failure that a row's outcome on record speaks of."""
        error = outcome.get("error") or {}
        return cls(
            error_class=str(error.get("class")),
            billed=str(error.get("billed")),
            retryable=bool(outcome.get("retryable")),
            has_id=bool(outcome.get("image_task_id")),
            is_unread=bool(outcome.get("unread")),
            is_unanswered=bool(outcome.get("unanswered")),
        )


def next_action(failed: Failure, occasion: Occasion) -> Action:
    """Return what is done with a failed row: the one rule for whether it may be repeated, and whether that helps."""
    if occasion is Occasion.WITHIN_TRY:
        may_help = failed.retryable or failed.error_class == "ImageTaskFailedError"
        return Action.SUBMIT if failed.billed == "no" and may_help else Action.KEEP
    if failed.has_id and failed.is_unread:
        return Action.REATTACH
    is_undelivered = failed.has_id and failed.error_class in _UNDELIVERED
    if occasion is Occasion.RETRY and not (failed.retryable and (is_undelivered or failed.billed == "no")):
        return Action.KEEP
    if not failed.has_id:
        return Action.SEARCH_ELSE_SUBMIT if failed.is_unanswered else Action.SUBMIT
    # What the service took is looked for before it is paid for again, whatever was said of it: to look is free.
    return Action.REATTACH if is_undelivered or occasion is Occasion.RETRY else Action.REATTACH_ELSE_SUBMIT


def after_failure(failed: Failure, number: int, checkpoint: Checkpoint) -> Action:
    """Return what a start does with a row that failed last, as the segment of this number says."""
    if number < checkpoint.cleared_at:
        return next_action(failed, Occasion.CLEAR)
    if number < checkpoint.retried_at:
        return next_action(failed, Occasion.RETRY)
    return Action.KEEP


def is_submitted_again(failed: Failure, *, submissions: int, row_attempts: int, may_pay_again: bool) -> bool:
    """Whether a row is submitted again within the try in which it failed.

    :param submissions: how often it was submitted in this try, over all its starts.
    :param row_attempts: how often it may be, where that costs nothing.
    :param may_pay_again: whether somebody cleared it, so that a picture which cannot be had is asked for anew, once.
    """
    if may_pay_again and failed.has_id and not (failed.is_unread or failed.error_class in _UNDELIVERED):
        return True
    return submissions < row_attempts and next_action(failed, Occasion.WITHIN_TRY) is Action.SUBMIT


def error_of_answer(
    task: ImageTask, *, submitted_at: float, now: float, service: Service, conn_id: str
) -> ImageTaskError | None:
    """Return why a row fails by what the service says of it; None where it succeeded or goes on.

    :param submitted_at: Unix seconds; likewise ``now``.
    :param conn_id: the connection, for messages.
    """
    if task.error is None and not task.is_lost(submitted_at, now):
        return None
    return failure(task, service=service, conn_id=conn_id)


def timeout_error(
    image_task_id: str | None,
    timeout: float,
    service: Service,
    unread: ImageTaskError | None = None,
    told: str | None = None,
) -> ImageTaskTimeoutError:
    """Return why a row fails that ran out of its ``timeout`` seconds.

    :param unread: why the service could not be asked for it, where it could not.
    :param told: the service's own word for how it stands.
    """
    stands = f"It is not finished ({told})" if told else "It is not finished"
    what = f"It could not be read ({unread.message.rstrip('.')})" if unread else stands
    return ImageTaskTimeoutError(
        f"{what} {timeout:.0f} s after its submission. It goes on at the service: it may still finish, and be billed",
        image_task_id=image_task_id,
        service=service.name,
        retry_advice="Clear waits for it again.",
    )


def allowed_failures(max_failed: float, total: int) -> int:
    """Return how many of ``total`` rows may fail: a whole number of them, or a share where it is a float."""
    return max_failed if isinstance(max_failed, int) else math.floor(max_failed * total + 1e-9)


def read_max_failed(value: Any) -> float:
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
        return number
    if isinstance(number, float) and 0 <= number <= 1:
        return number
    raise InvalidRequestError(
        f"max_failed is {value!r}; give a number of rows (like 10), or a share of them between 0.0 and 1.0 (like 0.05)"
    )
