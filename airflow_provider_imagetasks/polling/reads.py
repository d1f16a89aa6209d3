"""Reads of image tasks at their account's pace: one status request, as many as it takes, or many on an event loop."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from airflow_provider_imagetasks.exceptions import ImageTaskError, ProtocolError, RateLimitError
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.polling.status_requests import (
    DOUBTS,
    Asked,
    Failure,
    Question,
    StatusRequests,
    requests_for,
    seconds_to_pause,
)
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.bounds import trace_of
from airflow_provider_imagetasks.services.exchange import LONGEST_PAUSE, typed
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.services.wire import Flow, pause
from airflow_provider_imagetasks.tasks import ImageTask

_DENIED_LONGER = 5.0
"""Seconds in which what the service denied is asked for again, also where asking was to end before."""
_log = logging.getLogger(__name__)


def read_once(service: Service, pace: Pace, questions: Sequence[Question]) -> Flow[dict[str, ImageTask]]:
    """Make one status request; by id, ``""`` for a trace id. Free.

    :param pace: which counted it.
    :returns: what is believed of the answer; the others have to be asked for again, those that it left out alone.
    """
    first = questions[0]
    if first.image_task_id:
        reading = service.read_tasks_once(list(dict.fromkeys(question.image_task_id for question in questions)))
    else:
        reading = _by_trace_id(service, first.trace_id or "")
    try:
        tasks = yield from pace.in_turn(requests_for(questions, service), typed(reading, service=service.name))
    except RateLimitError as error:
        yield from pace.refused(seconds_to_pause(error))
        raise
    for image_task_id, task in tasks.items():
        if image_task_id and task.id and task.id != image_task_id:
            # As a cache may do it: whoever believed it would hand on another's picture, and lose its own.
            raise ProtocolError(
                f"The answer is the record of another image task, {task.id}",
                image_task_id=image_task_id,
                service=service.name,
                billed="unknown",
            )
    for question in questions:
        question.apart = bool(first.image_task_id) and question.image_task_id not in tasks
    questions = [question for question in questions if not question.apart]
    doubted = {one.image_task_id for one in questions if not one.believes(tasks[one.image_task_id])}
    believed = {image_task_id: task for image_task_id, task in tasks.items() if image_task_id not in doubted}
    yield from pace.answered(believed.values())
    return believed


def _by_trace_id(service: Service, trace_id: str) -> Flow[dict[str, ImageTask]]:
    return {"": (yield from service.read_by_trace_id(trace_id))}


def read_all(
    service: Service,
    pace: Pace,
    image_task_ids: Iterable[str],
    *,
    trace_id: str | None = None,
    enough: Callable[[ImageTask], bool] = lambda _task: False,
    patience: float = LONGEST_PAUSE,
    known: Collection[str] = (),
    insists: bool = False,
    until: float = math.inf,
    failed: Callable[[ImageTaskError], None] = lambda _error: None,
) -> Flow[dict[str, ImageTask]]:
    """Ask for image tasks until each has been answered once, group by group within the pace. Free.

    :param image_task_ids: in this order they are returned; ``[""]`` stands for ``trace_id``.
    :param known: those of which a record was read before; if the service denies one again and again, it is left out.
    :param insists: whether that there is none is believed only where the service says so again and again.
    :param enough: ends it early where it is true of an answer: the others are then left out.
    :param patience: the longest pause, in seconds, that the service may ask for, of whichever caller in this process.
    :param until: Unix time after which nobody waits for a turn to ask: what has had none by then is left out. What was
        denied by then is asked for on, some seconds.
    :param failed: told of each status request that failed and is made again.
    :raises RateLimitError: it asks for a longer one; a retry asks again.
    :raises ImageTaskError: one of them cannot be read; a retry asks for all again.
    """
    wanted = list(dict.fromkeys(image_task_ids))
    requests, found = StatusRequests[Question](pace), dict[str, ImageTask]()
    now = yield from pause(0)
    denials: Counter[str] = Counter()
    for image_task_id in wanted:
        doubts = math.inf if image_task_id in known else DOUBTS if insists else 0
        requests.ask(Question(image_task_id, trace_id=trace_id, doubts=doubts), due=now)
    while (moment := requests.next_at()) is not None:
        if moment > max(now, until):
            break
        if moment > now:
            if pace.paused_until - now > patience:
                raise RateLimitError(
                    f"{service.title} asked for a pause, which lasts another {pace.paused_until - now:.0f} s",
                    service=service.name,
                    billed="unknown",
                    retry_after=pace.paused_until - now,
                )
            now = yield from pause(moment - now)
            continue
        group = [question for question, _ in requests.take(now, service)]
        try:
            tasks = yield from read_once(service, pace, group)
        except ImageTaskError as error:
            now = yield from pause(0)
            if requests.failed(group, error, now).given_up:
                # Asking costs nothing, and by the time of Airflow's retry a proxy's page may be gone.
                if not (error.retryable or error.concerns_account):
                    error.retryable, error.retry_advice = True, f"A retry asks again. {error.retry_advice}"
                raise
            failed(error)
        else:
            now = yield from pause(0)
            requests.answered(group, now)
            found.update(tasks)
            for question in group:
                if question.apart:
                    requests.ask(question, due=now)
                elif question.image_task_id not in tasks and denials[question.image_task_id] < DOUBTS:
                    denials[question.image_task_id] += 1
                    requests.ask(question, due=now + denials[question.image_task_id])
                    until = max(until, now + _DENIED_LONGER)
            if any(enough(task) for task in tasks.values()):
                break
    return {image_task_id: found[image_task_id] for image_task_id in wanted if image_task_id in found}


def read_moved(service: Service, pace: Pace, tasks: Sequence[ImageTask]) -> Flow[list[ImageTask]]:
    """Read finished image tasks once more whose results are not where they were, since addresses expire. Free.

    :returns: those whose record names other addresses by now; none where they cannot be read.
    """
    ids = [task.id for task in tasks]
    now = yield from pause(0)
    try:
        # A retry asks anew; a worker is not held for longer than a service may ask for.
        found = yield from read_all(service, pace, ids, known=ids, until=now + LONGEST_PAUSE)
    except ImageTaskError:
        # Whoever asks has an error of the results themselves to tell.
        return []
    return [found[task.id] for task in tasks if task.id in found and found[task.id].images not in ((), task.images)]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Asked]):
    """What came of a status request.

    :param questions: what it asked for.
    :param tasks: what is believed of the answer, by id, ``""`` for a trace id; empty where it failed.
    :param error: why it failed, and ``failure`` what that means; None where it did not.
    """

    questions: Sequence[Asked]
    tasks: Mapping[str, ImageTask] = field(default_factory=dict)
    error: ImageTaskError | None = None
    failure: Failure[Asked] = field(default_factory=Failure)


class RequestsUnderWay(Generic[Asked]):
    """The status requests that an event loop is making. What comes of them is kept until somebody acts on it.

    :param requests: what there is to ask.
    :param run: drives a flow, over the session of the account.
    :param news: set whenever there is an outcome.
    """

    def __init__(
        self, requests: StatusRequests[Asked], run: Callable[[Flow[Any]], Awaitable[Any]], news: asyncio.Event
    ) -> None:
        self._requests = requests
        self._run = run
        self._news = news
        self._under_way: set[asyncio.Task[None]] = set()
        self._outcomes: list[Outcome[Asked]] = []

    def start(self, service: Service, now: float) -> list[tuple[Asked, float]]:
        """Make what requests there may be made now; return their questions, with the seconds each was held back."""
        started: list[tuple[Asked, float]] = []
        while taken := self._requests.take(now, service):
            started += taken
            questions = [question for question, _ in taken]
            request = asyncio.create_task(self._ask(service, questions))
            self._under_way.add(request)
            request.add_done_callback(self._under_way.discard)
        return started

    def outcomes(self) -> list[Outcome[Asked]]:
        """Hand over what came of requests since the last call."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    async def stop(self) -> None:
        """Break off what is under way."""
        for request in self._under_way:
            request.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _ask(self, service: Service, questions: Sequence[Asked]) -> None:
        metrics.polled(service.name, min(1, requests_for(questions, service)))
        try:
            tasks = await self._run(read_once(service, self._requests.pace, questions))
        except asyncio.CancelledError:
            self._requests.under_way -= 1
            raise
        except ImageTaskError as error:
            self._note_failure(questions, error)
        except Exception as error:  # noqa: BLE001 - one request must not end everybody's waits
            _log.warning("A status request failed with an unexpected error:\n%s", trace_of(error))
            self._note_failure(questions, ImageTaskError(f"{type(error).__name__}: {error}", retryable=True))
        else:
            self._requests.answered(questions, time.time())
            self._outcomes.append(Outcome(questions, tasks))
        self._news.set()

    def _note_failure(self, questions: Sequence[Asked], error: ImageTaskError) -> None:
        failure = self._requests.failed(questions, error, time.time())
        self._outcomes.append(Outcome(questions, error=error, failure=failure))
