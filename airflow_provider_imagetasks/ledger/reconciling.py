"""Finds out at the service what became of a submission whose answer nobody has. Pure; free of charge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from airflow_provider_imagetasks.ledger.records import SubmissionRecord
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.wire import Flow, pause
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask

CLOCK_SLACK = 60.0
"""Seconds by which the service's clock may be behind ours."""
LOOK_PAUSES = (1.0, 4.0, 10.0)
"""Seconds before each look for a submission that was not answered."""
KEY_MEMORY = 3600.0
"""Seconds for which a service is trusted to recognise a submission's key; how long it really does is not documented."""


class Outcome(StrEnum):
    """What the service says of a submission."""

    FOUND = "found"
    REPEATABLE = "repeatable"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Reconciliation:
    """What was found out.

    :param task: the image task, where it was found.
    """

    outcome: Outcome
    task: ImageTask | None = None


def reconcile(
    service: Service, request: ImageRequest, record: SubmissionRecord, *, key: str, now: float
) -> Flow[Reconciliation]:
    """Ask the service.

    :param request: completed; what is asked for now.
    :param key: the submission's identity, which it went out with.
    :param now: Unix seconds.
    :raises ImageTaskError: the service cannot be asked now.
    """
    if service.repeats_submit_by_key:
        recent = now - record.intent_at < KEY_MEMORY
        return Reconciliation(Outcome.REPEATABLE if recent else Outcome.UNKNOWN)
    if not service.finds_by_trace_id:
        return Reconciliation(Outcome.UNKNOWN)
    trace_id = record.trace_id or request.trace_id or key
    tasks = yield from service.find_by_trace_id(trace_id)
    ours = [task for task in tasks if task.trace_id == trace_id]
    if trace_id != key:
        # Somebody chose the trace id, and may have chosen it before.
        ours = [task for task in ours if _is_this(task, request, record)]
    if len(ours) == 1:
        return Reconciliation(Outcome.FOUND, ours[0])
    # None proves nothing: the service may not keep trace ids, or not have written it down yet. Several are no answer.
    return Reconciliation(Outcome.UNKNOWN)


def find_unanswered(
    service: Service, request: ImageRequest, record: SubmissionRecord, *, key: str
) -> Flow[ImageTask | None]:
    """Look for the image task of a submission that has just gone out and was not answered; None if it is not found.

    Asks a few times, since a service writes an image task down a while after it took it. Costs nothing where the
    service cannot look up trace ids: then it is not asked.

    :raises ImageTaskError: the service cannot be asked now.
    """
    for seconds in LOOK_PAUSES if service.finds_by_trace_id else ():
        now = yield from pause(seconds)
        found = yield from reconcile(service, request, record, key=key, now=now)
        if found.task is not None:
            return found.task
    return None


@dataclass(frozen=True)
class Findings:
    """What a service says of several submissions at once.

    :param found: image tasks by the key that their submission went out with; several for one key are no answer, and
        that key is among ``unclear``.
    :param proven: whether the service showed that it keeps the trace ids it is given: it found some of ours. Where it
        does, a submission that it does not find, and has had time to write down, was never taken.
    """

    found: Mapping[str, ImageTask]
    unclear: frozenset[str]
    proven: bool


def reconcile_group(service: Service, keys: Sequence[str], *, witness: str | None) -> Flow[Findings]:
    """Ask for the submissions of a group, for a service that ``finds_by_trace_id``. Free.

    :param keys: what they went out with as trace ids; at most 49.
    :param witness: the same of a submission that certainly was taken.
    :raises ImageTaskError: the service cannot be asked now.
    """
    asked = [*keys, *((witness,) if witness else ())]
    by_key: dict[str, list[ImageTask]] = {}
    for task in (yield from service.find_by_trace_ids(asked)):
        if task.trace_id and task.trace_id in asked:
            by_key.setdefault(task.trace_id, []).append(task)
    return Findings(
        found={key: by_key[key][0] for key in keys if len(by_key.get(key, ())) == 1},
        unclear=frozenset(key for key in keys if len(by_key.get(key, ())) > 1),
        proven=bool(by_key),
    )


def _is_this(task: ImageTask, request: ImageRequest, record: SubmissionRecord) -> bool:
    return (
        task.created_at is not None
        and task.created_at >= record.intent_at - CLOCK_SLACK
        and (task.model, task.prompt) == (request.model, request.prompt)
    )
