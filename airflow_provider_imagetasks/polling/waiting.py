"""The end of a wait: when it is over, what it came to, and its log lines. Pure; for sensor, trigger and hook alike."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_provider_imagetasks.exceptions import (
    DownloadError,
    ImageTaskError,
    ImageTaskFailedError,
    ImageTaskNotFoundError,
    ImageTaskTimeoutError,
    RateLimitError,
)
from airflow_provider_imagetasks.polling.reads import read_once
from airflow_provider_imagetasks.polling.status_requests import Question, StatusRequests
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.services.wire import Flow, pause
from airflow_provider_imagetasks.tasks import ImageTask, TaskState

MOST_SECONDS = 10 * 365 * 24 * 3600
"""The longest timeout of a wait, and interval between two questions."""
_NAMED = 10
_NAMED_IN_LOG = 3
_SAID_AGAIN = 60.0
"""Seconds after which it is said again that status requests fail, for the same reason."""


def check_seconds(**given: Any) -> None:
    """Refuse values that are not seconds, with which a wait might never end.

    :param given: by name, in seconds; None is passed over.
    :raises ValueError: names the one that is wrong.
    """
    for name, value in given.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (is_number and 0 <= value <= MOST_SECONDS):
            raise ValueError(f"{name} is {value!r:.80}; it must be a number of seconds, at most {MOST_SECONDS:,}")


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

    @property
    def asked_for(self) -> tuple[str, ...]:
        """The ids to ask for, in the given order; ``""`` stands for the trace id."""
        return self.image_task_ids or ("",)

    def is_over(self, tasks: Sequence[ImageTask], now: float) -> bool:
        """Whether nothing more will come: all are there, and each one is final, or not found after the grace period."""
        return len(tasks) == len(self.asked_for) and all(self.is_settled(task, now) for task in tasks)

    def is_settled(self, task: ImageTask, now: float) -> bool:
        """Whether nothing more will come of one: it is final, or not found after the grace period."""
        return task.state.is_final or task.is_lost(self.asked_at, now)


class _Standing(NamedTuple):
    """What is said of an image task in the log, without the rest of its record."""

    id: str
    trace_id: str | None
    state: TaskState
    raw_state: str | None


class WaitLog:
    """Remembers what was logged last, so that only news are logged, to a standard or Airflow logger."""

    __slots__ = ("_failure", "_failure_said_at", "_log", "_seen", "_stretched", "problem")

    def __init__(self, log: Any = None) -> None:
        self._log = log or logging.getLogger(__name__)
        self._seen: tuple[tuple[str, str | None], ...] = ()
        self._stretched = False
        self._failure = ""
        self._failure_said_at = 0.0
        self.problem = ""
        """Why the latest status request was not answered; empty where it was."""

    def read(self, tasks: Sequence[ImageTask | _Standing]) -> None:
        """Say how the image tasks stand, if that changed."""
        seen = tuple((task.state, task.raw_state) for task in tasks)
        if seen == self._seen:
            return
        self._seen = seen
        if len(tasks) > _NAMED_IN_LOG:
            counts = Counter(_in_words(task.state) for task in tasks)
            parts = ", ".join(f"{count} {words}" for words, count in counts.items())
            self._log.info("Of %s image tasks: %s", len(tasks), parts)
            return
        for task in tasks:
            word = f" (the service says: {task.raw_state})" if task.raw_state not in (None, "", task.state) else ""
            self._log.info("Image task %s: %s%s", task.id[:80] or task.trace_id, _in_words(task.state), word)

    def failed(self, error: ImageTaskError) -> None:
        """Say that a status request failed; the wait goes on. Once a minute for the same reason."""
        wish = "the service asks for a pause: " if isinstance(error, RateLimitError) else ""
        self.problem = f"no status request was answered ({wish}{error.message.rstrip('.')})"
        now = time.monotonic()
        if error.message == self._failure and now - self._failure_said_at < _SAID_AGAIN:
            return
        self._failure, self._failure_said_at = error.message, now
        self._log.warning("A status request failed; the wait goes on: %s", error.message)

    def stretched(self, rate: str, wanted: float, seconds: float) -> None:
        """Say once that waits of the account are asked for less often than was wanted."""
        if not self._stretched:
            self._stretched = True
            self._log.warning(
                "query_rate (%s) is too low for all waits of the account: this one is checked about every %.0f s "
                "instead of every %.0f s. Set the account's tier, or a higher rate, if the service allows it",
                rate,
                seconds,
                wanted,
            )


class Progress:
    """What a wait has seen so far, and whether that ends it. Worker and triggerer both decide by it.

    The end is a hint (``"done"``, ``"deadline"`` or ``"error"``): whoever acts on it reads the records again, and
    finds the error for itself.

    :param log: told what is read and what fails.
    """

    __slots__ = ("_distinct", "_standings", "log", "pending", "watch")

    def __init__(self, watch: Watch, log: WaitLog | None = None) -> None:
        self.watch = watch
        self.pending = dict.fromkeys(watch.asked_for)
        """The ids that are still to be asked for, in the given order; ``""`` stands for the trace id."""
        self.log = log or WaitLog()
        self._standings: dict[str, _Standing] = {}
        self._distinct = len(self.pending)

    def saw(self, tasks: Mapping[str, ImageTask], now: float) -> str | None:
        """Take in what was read, by id, and return the end of the wait if this is it."""
        self.log.problem = ""
        for image_task_id, task in tasks.items():
            # Not the record itself, which would be kept for as long as the wait goes on.
            self._standings[image_task_id] = _Standing(
                image_task_id or task.id, task.trace_id, task.state, task.raw_state
            )
            if self.watch.is_settled(task, now):
                self.pending.pop(image_task_id, None)
        if len(self._standings) >= self._distinct:
            self.log.read(list(self._standings.values()))
        return None if self.pending else "done"

    def gave_up(self, _error: ImageTaskError) -> str | None:
        """Return the end of the wait where it is of no use to go on asking for an image task; None where it goes on."""
        return "error"


def wait(watch: Watch, service: Service, pace: Pace, *, first_pause: float, log: WaitLog | None = None) -> Flow[str]:
    """Ask until everything is over, and return why the wait ended: ``"done"``, ``"deadline"`` or ``"error"``.

    :param pace: of the account's status requests.
    :param first_pause: seconds before the first question.
    :param log: told what is read and what fails.
    """
    progress, requests = Progress(watch, log), StatusRequests[Question](pace)
    now = yield from pause(0)
    for image_task_id in progress.pending:
        question = Question(image_task_id, trace_id=watch.trace_id, interval=watch.poll_interval)
        requests.ask(question, due=now + first_pause)
    while (moment := requests.next_at()) is not None and now < watch.deadline:
        if moment > now:
            now = yield from pause(min(moment, watch.deadline) - now)
            continue
        group = [question for question, _ in requests.take(now, service)]
        try:
            tasks = yield from read_once(service, pace, group)
        except ImageTaskError as error:
            now = yield from pause(0)
            meaning = requests.failed(group, error, now)
            if meaning.given_up:
                return "error"
            if meaning.put_off:
                progress.log.failed(error)
            continue
        now = yield from pause(0)
        requests.answered(group, now)
        if end := progress.saw(tasks, now):
            return end
        for question in group:
            if question.image_task_id in progress.pending:
                requests.ask_again(question, now)
    return "deadline"


def _in_words(state: TaskState) -> str:
    # For a minute after its submission that is as it should be at some services, and must not sound like a loss.
    return "no record so far" if state is TaskState.NOT_FOUND else str(state).replace("_", " ")


def failure(task: ImageTask, *, service: Service, conn_id: str) -> ImageTaskError | None:
    """Return why the wait for an image task that was read with a connection has to fail, None where it succeeded."""
    if task.state is TaskState.SUCCEEDED:
        return None
    if task.error is not None:
        return task.error
    identity: dict[str, Any] = {"image_task_id": task.id or None, "trace_id": task.trace_id, "service": service.name}
    if task.state is TaskState.NOT_FOUND:
        return ImageTaskNotFoundError(
            f"{service.title} does not know the image task. Is {conn_id!r} the connection that was used to submit it? "
            "Or is its record older than the service keeps records?",
            **identity,
        )
    return ImageTaskTimeoutError(
        f"The wait is over and the service still reports {task.raw_state or task.state!s}. {service.unfinished_note}",
        **identity,
    )


def combine(failures: Sequence[ImageTaskError], total: int, *, rest: str, retryable: bool) -> ImageTaskError:
    """Return one error for what failed of several, naming the first ten.

    Its class is that of all; a :class:`DownloadError` where they are different ones of those, which costs nothing to
    mend; else an :class:`ImageTaskFailedError`.

    :param failures: at least one.
    :param total: how many there were.
    :param rest: what became of the others, for the message where there are any.
    :param retryable: whether a retry of the Airflow task may mend it; where only downloads failed, their errors say.
    """
    if total == 1:
        return failures[0]
    classes, billed = {type(error) for error in failures}, {error.billed for error in failures}
    named = "; ".join(f"{str(error.image_task_id)[:80]}: {error.message.rstrip('.')}" for error in failures[:_NAMED])
    more = f"; and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
    only_downloads = all(isinstance(error, DownloadError) for error in failures)
    if only_downloads:
        retryable = any(error.retryable for error in failures)
    kind: type[ImageTaskError] = DownloadError if only_downloads else ImageTaskFailedError
    error_class = classes.pop() if len(classes) == 1 else kind
    others = f", {rest}" if len(failures) < total else ""
    combined = error_class(
        f"{len(failures)} of {total} failed{others}. {named}{more}",
        service=failures[0].service,
        billed=billed.pop() if len(billed) == 1 else "unknown",
        retryable=retryable,
        retry_advice=next((error.retry_advice for error in failures if error.retryable == retryable), None),
    )
    combined.failures = tuple(failures)
    return combined
