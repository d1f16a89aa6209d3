"""Decides when a wait is over and what it came to. Pure: sensor, trigger and hook all ask here."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
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
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.wire import Flow, pause
from airflow_provider_imagetasks.tasks import ImageTask, TaskState
from airflow_provider_imagetasks.wait_log import WaitLog

NOT_FOUND_GRACE = 60.0
"""Seconds after the submission (else after the first question) in which "not found" means "not yet"."""
FAILED_READS = 5
"""Status requests in a row that may fail before the wait gives up and lets a worker say why."""
_NAMED = 10


@dataclass(frozen=True, kw_only=True)
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
        grace_is_over = now >= self.asked_at + NOT_FOUND_GRACE
        return all(task.state.is_final or (task.state is TaskState.NOT_FOUND and grace_is_over) for task in tasks)

    def jittered_interval(self) -> float:
        """Return 0.8 to 1.0 of the poll interval, so that many waits do not ask in the same moment."""
        return self.poll_interval * random.uniform(0.8, 1.0)


def wait(watch: Watch, service: Service, *, first_pause: float, log: WaitLog | None = None) -> Flow[str]:
    """Ask until everything is over, and return why the wait ended: ``"done"``, ``"deadline"`` or ``"error"``.

    The result is a hint: whoever acts on it reads the records again, and finds the error for itself. A 429 only slows
    the wait down.

    :param first_pause: seconds before the first question.
    :param log: told what is read and what fails.
    """
    log = log or WaitLog()
    failures = 0
    seconds = first_pause
    now = yield from pause(0)
    while now < watch.deadline:
        now = yield from pause(min(seconds, watch.deadline - now))
        if now >= watch.deadline:
            break
        seconds = watch.jittered_interval()
        try:
            tasks = yield from watch.read(service)
        except RateLimitError as error:
            log.failed(error)
            seconds = max(seconds, error.retry_after or 0.0)
        except ImageTaskError as error:
            failures += 1
            if not error.retryable or failures >= FAILED_READS:
                return "error"
            log.failed(error)
        else:
            failures = 0
            log.read(tasks)
            now = yield from pause(0)
            if watch.is_over(tasks, now):
                return "done"
    return "deadline"


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
        f"The wait is over and the service still reports {task.raw_state or task.state!s}. It goes on there: "
        "it may still finish, and be billed",
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
