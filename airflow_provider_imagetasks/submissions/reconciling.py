"""Finds out at the service what became of a submission whose answer nobody has. Pure; free of charge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.wire import Flow, pause
from airflow_provider_imagetasks.submissions.records import SubmissionRecord
from airflow_provider_imagetasks.tasks import NOT_FOUND_GRACE, ImageRequest, ImageTask

CLOCK_SLACK = 60.0
"""Seconds by which the service's clock may be behind ours."""
LOOK_PAUSES = (1.0, 4.0, 10.0)
"""Seconds before each further look for a submission that the service may still be writing down."""
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
        return Reconciliation(Outcome.REPEATABLE if is_recognised(record.intent_at, now) else Outcome.UNKNOWN)
    if not service.finds_by_trace_id:
        return Reconciliation(Outcome.UNKNOWN)
    trace_id = record.trace_id or request.trace_id or key
    tasks = yield from service.find_by_trace_ids([trace_id])
    ours = [task for task in tasks if task.trace_id == trace_id]
    if trace_id != key:
        # Somebody chose the trace id, and may have chosen it before.
        ours = [task for task in ours if _is_this(task, request, record)]
    if len(ours) == 1:
        return Reconciliation(Outcome.FOUND, ours[0])
    # None proves nothing: the service may not keep trace ids, or not have written it down yet. Several are no answer.
    return Reconciliation(Outcome.UNKNOWN)


def reconcile_patiently(
    service: Service, request: ImageRequest, record: SubmissionRecord, *, key: str, now: float, sent_by: float
) -> Flow[Reconciliation]:
    """Do what :func:`reconcile` does, and ask again where the service may still be writing the image task down.

    :param sent_by: Unix seconds by which the submission had left, if it did.
    :raises ImageTaskError: the service cannot be asked now.
    """
    answer = yield from reconcile(service, request, record, key=key, now=now)
    is_recent = service.finds_by_trace_id and now - sent_by < NOT_FOUND_GRACE
    for seconds in LOOK_PAUSES if is_recent else ():
        if answer.outcome is not Outcome.UNKNOWN:
            break
        now = yield from pause(seconds)
        answer = yield from reconcile(service, request, record, key=key, now=now)
    return answer


def is_recognised(intent_at: float, now: float) -> bool:
    """Whether a service that ``repeats_submit_by_key`` is trusted to recognise a key that went out at ``intent_at``."""
    return now - intent_at < KEY_MEMORY


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
