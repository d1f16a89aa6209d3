"""Decides when a wait is over and what it came to. Pure: sensor, trigger and hook all ask here."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    Billed,
    ImageTaskError,
    ImageTaskFailedError,
    ImageTaskNotFoundError,
    ImageTaskTimeoutError,
    RateLimitError,
)
from airflow_provider_imagetasks.polling.schedule import EARLIEST
from airflow_provider_imagetasks.polling.wait_log import Standing, WaitLog
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.wire import Flow, pause
from airflow_provider_imagetasks.tasks import ImageTask, TaskState

FAILED_READS = 5
"""Status requests in a row that may fail for one image task before the wait lets a worker say why."""
PAUSE_AFTER_429 = 5.0
"""Seconds in which the account is left alone after a 429 that does not say how long."""
_NAMED = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """What is waited for, and until when. Small and plain, so that it survives in a trigger's row.

    :param image_task_ids: what is waited for; empty where only a trace id is known.
    :param trace_id: looked up where there are no ids.
    :param asked_at: Unix seconds of the submission where known, else of the first question.
    :param deadline: Unix seconds when waiting ends.
    :param poll_interval: seconds between two status requests.
    """

    image_task_ids: tuple[str, ...]
    trace_id: str | None
    asked_at: float
    deadline: float
    poll_interval: float

    def read(self, service: Service) -> Flow[list[ImageTask]]:
        """Ask for the present state of everything that is waited for, in the given order."""
        if not self.image_task_ids:
            return [(yield from service.get_task_by_trace_id(self.trace_id or ""))]
        tasks = yield from service.get_tasks(self.image_task_ids)
        return [tasks[image_task_id] for image_task_id in self.image_task_ids]

    def is_over(self, tasks: Iterable[ImageTask], now: float) -> bool:
        """Whether nothing more will come: each one is final, or not found after the grace period."""
        return all(self.is_settled(task, now) for task in tasks)

    def is_settled(self, task: ImageTask, now: float) -> bool:
        """Whether nothing more will come of one: it is final, or not found after the grace period."""
        return task.state.is_final or task.is_lost(self.asked_at, now)


def seconds_to_pause(error: RateLimitError) -> float:
    """Return how long the account is left alone after a 429."""
    return error.retry_after if error.retry_after is not None else PAUSE_AFTER_429


def is_given_up(error: ImageTaskError, image_task_ids: Iterable[str], failures: dict[str, int]) -> bool:
    """Take in that a status request failed, and return whether asking on is of no use. 429 only slows down.

    :param image_task_ids: what it asked for. Each may fail so many times in a row: where they are asked for one by
        one, a moment's trouble fails many requests.
    :param failures: of each, how many in a row have failed; counted on. Whoever reads one takes it out.
    """
    if isinstance(error, RateLimitError):
        return False
    if not error.retryable:
        return True
    for image_task_id in image_task_ids:
        failures[image_task_id] = failures.get(image_task_id, 0) + 1
    return max(failures.values(), default=0) >= FAILED_READS


class Progress:
    """What a wait has seen so far, and whether that ends it. Worker and triggerer both decide by it.

    The end is a hint (``"done"``, ``"deadline"`` or ``"error"``): whoever acts on it reads the records again, and
    finds the error for itself.

    :param log: told what is read and what fails.
    """

    __slots__ = ("_distinct", "_failures", "_log", "_standings", "pending", "watch")

    def __init__(self, watch: Watch, log: WaitLog | None = None) -> None:
        self.watch = watch
        self.pending = dict.fromkeys(watch.image_task_ids or ("",))
        """The ids that are still to be asked for, in the given order; ``""`` stands for the trace id."""
        self._log = log or WaitLog()
        self._standings: dict[str, Standing] = {}
        self._distinct = len(self.pending)
        self._failures: dict[str, int] = {}

    def saw(self, tasks: Mapping[str, ImageTask], now: float) -> str | None:
        """Take in what was read, by id, and return the end of the wait if this is it."""
        for image_task_id, task in tasks.items():
            self._failures.pop(image_task_id, None)
            # Not the record itself, which would be kept for as long as the wait goes on.
            self._standings[image_task_id] = Standing(
                image_task_id or task.id, task.trace_id, task.state, task.raw_state
            )
            if self.watch.is_settled(task, now):
                self.pending.pop(image_task_id, None)
        if len(self._standings) >= self._distinct:
            self._log.read(list(self._standings.values()))
        return None if self.pending else "done"

    def failed(self, error: ImageTaskError, image_task_ids: Iterable[str]) -> str | None:
        """Take in that a status request failed, and return the end of the wait if this is it.

        :param image_task_ids: what it asked for.
        """
        if is_given_up(error, image_task_ids, self._failures):
            return "error"
        self._log.failed(error)
        return None

    def put_off(self, error: ImageTaskError) -> None:
        """Say that nothing could be asked; that is not the service's failure, and does not count as one."""
        self._log.failed(error)

    def stretched(self, rate: str, seconds: float) -> None:
        """Say once that the account's rate does not reach for the interval that was asked for."""
        self._log.stretched(rate, self.watch.poll_interval, seconds)


def wait(watch: Watch, service: Service, *, first_pause: float, log: WaitLog | None = None) -> Flow[str]:
    """Ask until everything is over, and return why the wait ended: ``"done"``, ``"deadline"`` or ``"error"``.

    :param first_pause: seconds before the first question.
    :param log: told what is read and what fails.
    """
    progress = Progress(watch, log)
    seconds = first_pause
    now = yield from pause(0)
    while now < watch.deadline:
        now = yield from pause(min(seconds, watch.deadline - now))
        if now >= watch.deadline:
            break
        seconds = watch.poll_interval * random.uniform(EARLIEST, 1.0)
        try:
            tasks = yield from _read(watch, list(progress.pending), service)
        except ImageTaskError as error:
            end = progress.failed(error, progress.pending)
            seconds = max(seconds, getattr(error, "retry_after", None) or 0.0)
        else:
            now = yield from pause(0)
            end = progress.saw(tasks, now)
        if end:
            return end
    return "deadline"


def _read(watch: Watch, pending: list[str], service: Service) -> Flow[dict[str, ImageTask]]:
    if not watch.image_task_ids:
        return {"": (yield from service.get_task_by_trace_id(watch.trace_id or ""))}
    return (yield from service.get_tasks(pending))


def failure(task: ImageTask, *, service: Service, conn_id: str) -> ImageTaskError | None:
    """Return why the wait for this image task has to fail, None where it succeeded.

    :param conn_id: the connection that it was read with, for messages.
    """
    if task.state is TaskState.SUCCEEDED:
        return None
    if task.error is not None:
        return task.error
    identity: dict[str, Any] = {"image_task_id": task.id or None, "trace_id": task.trace_id, "service": service.name}
    if task.state is TaskState.NOT_FOUND:
        return ImageTaskNotFoundError(
            f"{service.title} does not know it. Is {conn_id!r} the connection that it was submitted with, or is its "
            "record older than the service keeps them?",
            **identity,
        )
    return ImageTaskTimeoutError(
        f"The wait is over and the service still reports {task.raw_state or task.state!s}. {service.unfinished_note}",
        **identity,
    )


def combine(failures: Sequence[ImageTaskError], total: int, *, rest: str, retryable: bool) -> ImageTaskError:
    """Return one error for what failed of several, naming the first ten.

    :param failures: at least one.
    :param total: how many there were.
    :param rest: what became of the others, for the message.
    :param retryable: whether a retry of the Airflow task may mend it.
    """
    if total == 1:
        return failures[0]
    classes = {type(error) for error in failures}
    named = "; ".join(f"{error.image_task_id}: {error.message.rstrip('.')}" for error in failures[:_NAMED])
    more = f"; and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
    error_class = classes.pop() if len(classes) == 1 else ImageTaskFailedError
    return error_class(
        f"{len(failures)} of {total} failed, {rest}. {named}{more}",
        service=failures[0].service,
        billed=_billed_together(error.billed for error in failures),
        retryable=retryable,
        retry_advice=next((error.retry_advice for error in failures if error.retryable == retryable), None),
    )


def _billed_together(each: Iterable[Billed]) -> Billed:
    distinct = set(each)
    return distinct.pop() if len(distinct) == 1 else "unknown"
