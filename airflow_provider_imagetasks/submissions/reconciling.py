"""Questions to the service about submissions whose answer is missing. Pure; free of charge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.fields import LONGEST_PROMPT, text
from airflow_provider_imagetasks.services.wire import Flow, pause
from airflow_provider_imagetasks.submissions.submission_record import SubmissionRecord
from airflow_provider_imagetasks.tasks import NOT_FOUND_GRACE, ImageRequest, ImageTask

CLOCK_SLACK = 60.0
"""Seconds by which the clock of the service, or of another worker, may differ from ours."""
LOOK_PAUSES = (1.0, 4.0, 10.0)
"""Seconds before each further look for a submission that the service may still be writing down."""
KEY_MEMORY = 3600.0
"""Seconds for which a service is trusted to recognise a submission's key; how long it really does is not documented."""
OTHER_ACCOUNT = (
    "and the API key of connection {conn_id} was replaced since then, so the submission may belong to another account"
)
"""Why nobody can tell what became of a submission, as the end of a sentence."""


def find_submission(
    service: Service, request: ImageRequest, record: SubmissionRecord, *, key: str, sent_by: float
) -> Flow[ImageTask | None]:
    """Ask for one submission, again where the service may still be writing it down; for one that ``finds_by_trace_id``.

    :param request: completed; what is asked for now.
    :param key: the submission's identity, which it went out with.
    :param sent_by: Unix seconds by which the submission had left, if it did.
    :returns: None where nobody can tell. None found proves nothing, since the service may not keep trace ids; several
        are no answer, nor is one under a trace id of the user's own that seems older than the submission.
    :raises ImageTaskError: the service cannot be asked now.
    """
    trace_id, api = record.trace_id or request.trace_id or key, service.api_of_model(request.model)
    is_recent = (yield from pause(0)) - sent_by < NOT_FOUND_GRACE
    for seconds in (0.0, *(LOOK_PAUSES if is_recent else ())):
        yield from pause(seconds)
        tasks = yield from service.find_in_api(api, [trace_id])
        ours = [task for task in tasks if task.trace_id == trace_id and task.id not in record.earlier_ids]
        if trace_id != key:
            # Somebody chose the trace id, and may have chosen it before.
            ours = [task for task in ours if _is_this(task, request, record)]
        if len(ours) == 1:
            return ours[0] if trace_id == key or _is_later(ours[0], record) else None
    return None


def find_earlier(service: Service, keys: Sequence[str], api: str) -> Flow[list[ImageTask]]:
    """Ask for whatever was submitted under these keys; free, and one request at most.

    :param keys: at most 49.
    :param api: which of the service's APIs they went to.
    :returns: none where the service does not ``finds_by_trace_id``.
    :raises ImageTaskError: the service cannot be asked now.
    """
    if not service.finds_by_trace_id or not keys:
        return []
    tasks = yield from service.find_in_api(api, keys)
    return [task for task in tasks if task.trace_id in keys]


def is_recognised(intent_at: float, now: float) -> bool:
    """Whether a service that ``repeats_submit_by_key`` is trusted to recognise a key that went out at ``intent_at``.

    An intent in the future shows that the clocks of two workers differ, so that nobody knows how old it is.
    """
    return -CLOCK_SLACK <= now - intent_at < KEY_MEMORY


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


def reconcile_group(service: Service, keys: Sequence[str], *, known: str | None, api: str = "") -> Flow[Findings]:
    """Ask for the submissions of a group, for a service that ``finds_by_trace_id``. Free.

    :param keys: what they went out with as trace ids; at most 49.
    :param known: the same of a submission that certainly was taken.
    :param api: which of the service's APIs they all went to. What one does with trace ids proves nothing of another.
    :raises ImageTaskError: the service cannot be asked now.
    """
    asked = [*keys, *((known,) if known else ())]
    by_key: dict[str, list[ImageTask]] = {}
    for task in (yield from service.find_in_api(api, asked)):
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
        and task.model == text(request.model)
        and task.prompt == text(request.prompt, most=LONGEST_PROMPT)
    )


def _is_later(task: ImageTask, record: SubmissionRecord) -> bool:
    """Whether an image task is of after the intent; an older one may be another's, or of a service's slower clock."""
    created_at = task.created_at or 0.0
    # Some services leave the fraction of a second out.
    return created_at >= (int(record.intent_at) if created_at == int(created_at) else record.intent_at)
