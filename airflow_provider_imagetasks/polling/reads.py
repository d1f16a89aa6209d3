"""Reads of image tasks: one status request, and as many as it takes to have an answer for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from airflow_provider_imagetasks.exceptions import ImageTaskError, ProtocolError, RateLimitError
from airflow_provider_imagetasks.polling.status_requests import Question, StatusRequests, concerns_account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.exchange import LONGEST_PAUSE
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.services.wire import Flow, pause
from airflow_provider_imagetasks.tasks import ImageTask


def read_once(service: Service, questions: Sequence[Question]) -> Flow[dict[str, ImageTask]]:
    """Make one status request; by id, ``""`` for a trace id. Free."""
    first = questions[0]
    if not first.image_task_id:
        return {"": (yield from service.read_by_trace_id(first.trace_id or ""))}
    asked = list(dict.fromkeys(question.image_task_id for question in questions))
    tasks: dict[str, ImageTask] = yield from service.read_tasks_once(asked)
    for image_task_id, task in tasks.items():
        if task.id and task.id != image_task_id:
            # As a cache may do it: whoever believed it would hand on another's picture, and lose its own.
            raise ProtocolError(
                f"The answer is the record of {task.id}, which was not asked for",
                image_task_id=image_task_id,
                service=service.name,
                billed="unknown",
            )
    return tasks


def read_all(
    service: Service,
    pace: Pace,
    image_task_ids: Iterable[str],
    *,
    trace_id: str | None = None,
    enough: Callable[[ImageTask], bool] = lambda _task: False,
    patience: float = LONGEST_PAUSE,
) -> Flow[dict[str, ImageTask]]:
    """Ask for image tasks until each has been answered once, group by group within the pace. Free.

    :param image_task_ids: in this order they are returned; ``[""]`` stands for ``trace_id``.
    :param enough: ends it early where it is true of an answer: the others are then left out.
    :param patience: seconds that the service may want to be left alone for, whoever of this process it told so.
    :raises RateLimitError: it wants more than that; a retry asks again.
    :raises ImageTaskError: one of them cannot be read; a retry asks for all again.
    """
    wanted = list(dict.fromkeys(image_task_ids))
    requests, found = StatusRequests[Question](pace), dict[str, ImageTask]()
    now = yield from pause(0)
    for image_task_id in wanted:
        requests.ask(Question(image_task_id, trace_id=trace_id), due=now)
    while (moment := requests.next_at()) is not None:
        if moment > now:
            if pace.paused_until - now > patience:
                raise RateLimitError(
                    f"{service.title} asked for no requests for another {pace.paused_until - now:.0f} s",
                    service=service.name,
                    billed="unknown",
                    retry_after=pace.paused_until - now,
                )
            now = yield from pause(moment - now)
            continue
        group = [question for question, _ in requests.take(now, service)]
        try:
            tasks = yield from read_once(service, group)
        except ImageTaskError as error:
            now = yield from pause(0)
            if requests.failed(group, error, now).given_up:
                # Asking costs nothing, and by the time of Airflow's retry a proxy's page may be gone.
                error.retryable = error.retryable or not concerns_account(error)
                raise
        else:
            now = yield from pause(0)
            requests.answered(group, now)
            found.update(tasks)
            if any(enough(task) for task in tasks.values()):
                break
    return {image_task_id: found[image_task_id] for image_task_id in wanted if image_task_id in found}
