"""Submissions of a batch's rows: made in groups, and looked for at the service where their answer is missing.

Each ends in an outcome that is returned; what becomes of the row is for the run to decide.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.exceptions import ImageTaskError, ServiceUnavailableError, UnknownOutcomeError
from airflow_provider_imagetasks.files.input_images import with_files_read
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.polling.status_requests import concerns_account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.submission_limits import SubmissionLimits
from airflow_provider_imagetasks.services.wire import Flow, Sleep, pause
from airflow_provider_imagetasks.submissions.departure import Departure, HeldBackError
from airflow_provider_imagetasks.submissions.reconciling import is_recognised, reconcile_group
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, moment_of_submission, utc_moment

AT_ONCE = 8
"""Submissions that are under way at the same time; a service takes a second or so for each."""
LARGEST_GROUP = 50
GROUP_SECONDS = 20.0
"""A group is no larger than what the rate lets out in this time, so that what a kill leaves unclear stays recent."""
LONGEST_INTENT = 300.0
"""Seconds after which a row that has not left is not submitted by what was written of it, but written down anew: by
that time one goes by what may still be found at the service."""
LATEST_IDS = 1000
LARGEST_SEARCH = 49
"""Submissions that are looked for at once; with one that certainly was taken that makes a page."""
LOOK_AGAIN = 10.0
"""Seconds between two searches."""

RunFlow: TypeAlias = Callable[[Flow[Any]], Awaitable[Any]]
"""Drives a flow to its end: a transport's ``run``."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """A submission that was not made any more."""

    intent: Intent


@dataclass(frozen=True)
class _AtService:
    intent: Intent
    task: ImageTask


class Taken(_AtService):
    """A submission that the service took."""


class Found(_AtService):
    """A submission without an answer that the service has."""


@dataclass(frozen=True)
class _Failed:
    intent: Intent
    error: ImageTaskError


class Refused(_Failed):
    """A submission that the service did not take, or that was paid for in vain."""


class Unanswered(_Failed):
    """A submission whose answer did not come: nobody knows whether the service took it."""


class Unknown(_Failed):
    """A submission of which nobody can tell, with the error that says so."""


class NeverTaken(_Failed):
    """A submission that was never taken, or is recognised when made again: free to repeat, else its row fails so."""


_STOPPED = ImageTaskError("Nothing more is submitted", billed="no")
Submitted: TypeAlias = Taken | Refused | Withheld | Unanswered
Searched: TypeAlias = Found | NeverTaken | Unknown


class RowSubmissions:
    """Groups of rows that are submitted with one account: all intents first, then the requests, then the ids.

    :param batch: open; its ledger is told of every group.
    """

    def __init__(self, arguments: BatchArguments, batch: OpenBatch, run: RunFlow) -> None:
        self._service = service = arguments.service
        self._account = account = arguments.account
        self._limits = arguments.limits
        self._batch = batch
        self._run = run
        self._places = asyncio.Semaphore(AT_ONCE)
        self._rate = SubmissionLimits(account)
        self._rate.submitted_before(batch.ledger.recent)
        self._departure = Departure(batch.ledger.require_latest_start, look_seconds=arguments.limits.look)
        self._is_stopped = False
        self._submitted_at = 0.0
        self._latest_ids: dict[str, int] = {}
        """Rows by the image task that was answered; the latest ones, as a cache on the way would repeat them."""
        self.under_way = 0
        """Rows whose submission has not come to an end."""
        can_tell = service.finds_by_trace_id or service.repeats_submit_by_key
        windows = account.submit_rate.windows if account.submit_rate else ()
        in_time = (int(GROUP_SECONDS * window.count / window.seconds) for window in windows)
        self._group_size = max(1, min((LARGEST_GROUP, *in_time))) if can_tell else 1

    def next_group(self, places: int) -> int:
        """Return how many rows to submit now; 0 where it is better to wait.

        Each group costs two writes, and places become free one by one: they are gathered for a moment.

        :param places: how many more rows may run.
        """
        now = time.time()
        if self.under_way >= AT_ONCE or self._rate.next_at() - now >= self._limits.idle:
            return 0
        if places >= self._group_size:
            return self._group_size
        return max(0, places) if now - self._submitted_at >= self._limits.gather else 0

    def stop(self) -> None:
        """Let nothing more leave, of groups under way either."""
        self._is_stopped = True

    def submit(self, intents: Sequence[Intent]) -> AsyncGenerator[Submitted, None]:
        """Submit a group. Yields what became of each row as soon as that is known; all ids are written down at the end.

        :raises ImageTaskError: the ledger cannot be written.
        """
        self._submitted_at = time.time()
        self.under_way += len(intents)
        return self._submit(intents)

    async def _submit(self, intents: Sequence[Intent]) -> AsyncGenerator[Submitted, None]:
        try:
            name = await asyncio.to_thread(self._batch.ledger.intend, intents)
        except BaseException:
            self.under_way -= len(intents)
            raise
        requests = [asyncio.ensure_future(self._submit_one(intent)) for intent in intents]
        try:
            for request in asyncio.as_completed(requests):
                yield await request
        finally:
            # What has left is paid for: its ids are worth the wait, whatever went wrong beside.
            ends = await asyncio.gather(*requests, return_exceptions=True)
            known = [
                intent if isinstance(end, BaseException) else end.intent
                for intent, end in zip(intents, ends, strict=True)
                # What never left is no submission; one that is made over again is on record from its first time.
                if not isinstance(end, Withheld)
            ]
            await asyncio.to_thread(self._batch.ledger.settle, name, known)
            for intent in known:
                # Not before it is on record: a later start, which looks for it, would count it again.
                if intent.submitted_at is not None:
                    metrics.submitted(self._service.name)

    async def _submit_one(self, intent: Intent) -> Submitted:
        try:
            async with self._places:
                request = await self._prepared(intent.index)
                flow = self._rate.within_rate(self._service.submit(request, key=self._batch.key_of(intent)))
                flow = self._unless_stopped(flow, intent)
                task = await self._run(self._departure.watched(flow, intended_at=intent.at))
        except HeldBackError as held:
            # What left before it, as under a key that may be given again, may have been taken.
            return Unanswered(intent, held.why) if held.has_left else Withheld(intent)
        except UnknownOutcomeError as error:
            return Unanswered(intent, error)
        except ImageTaskError as error:
            if concerns_account(error):
                # At once: others of the group wait for the place that becomes free.
                self.stop()
            metrics.not_submitted(self._service.name, error)
            # Under a key that may be given again, the first of them may have been taken all the same.
            taken = error.billed != "no" or (intent.is_repetition and self._service.repeats_submit_by_key)
            return Refused(replace(intent, image_task_id=error.image_task_id, taken=taken), error)
        finally:
            self.under_way -= 1
        holder = self._latest_ids.setdefault(task.id, intent.index)
        if holder != intent.index:
            what = f"The answer names image task {task.id[:80]}, which is that of row {holder}"
            return Unanswered(intent, UnknownOutcomeError(what, service=self._service.name))
        if len(self._latest_ids) > LATEST_IDS:
            del self._latest_ids[next(iter(self._latest_ids))]
        moment = moment_of_submission(task.created_at, intent.at)
        return Taken(replace(intent, image_task_id=task.id, submitted_at=moment), task)

    def _unless_stopped(self, flow: Flow[ImageTask], intent: Intent) -> Flow[ImageTask]:
        """Run a submission to its end, unless all are stopped, or too long passes, before its first request leaves."""
        step, has_left = next(flow), False
        while True:
            if not isinstance(step, Sleep):
                if not has_left and (self._is_stopped or (yield from pause(0)) - intent.at > LONGEST_INTENT):
                    raise HeldBackError(_STOPPED, has_left=False)
                has_left = True
            answer = yield step
            try:
                step = flow.send(answer)
            except StopIteration as end:
                task: ImageTask = end.value
                return task

    async def _prepared(self, row: int) -> ImageRequest:
        if self._is_stopped:
            raise HeldBackError(_STOPPED, has_left=False)
        request = self._batch.requests.request(row)
        if request.is_edit:
            request = await asyncio.to_thread(with_files_read, request)
        return self._service.complete(request, self._account)


def unknown_outcome(intent: Intent, key: str, service: Service) -> UnknownOutcomeError:
    """Return what is said of a submission, which went out with a key, that the service may have taken."""
    return UnknownOutcomeError(
        f"The outcome of the submission at about {utc_moment(intent.at)} is unknown: no answer came, and "
        f"{service.title} cannot tell. {service.how_to_look}",
        service=service.name,
        trace_id=key if service.finds_by_trace_id else None,
    )


@dataclass(frozen=True, slots=True)
class _Search:
    """A submission that is looked for: its key, and the Unix time until which the service may still write it down.

    :param error: why this start has no answer; None where an earlier one was cut off.
    """

    intent: Intent
    key: str
    until: float
    error: ImageTaskError | None = None


class UnansweredSubmissions:
    """Submissions without an answer, of an earlier start or cut off just now. Each counts as running until it is known.

    :param service: whether it can tell decides how they are looked for.
    :param grace: seconds that the service may take to write a submission down.
    """

    def __init__(self, service: Service, grace: float, run: RunFlow) -> None:
        self._service = service
        self._run = run
        self._grace = grace
        self._searches: dict[int, _Search] = {}
        self._next_look = 0.0
        self._keeps_trace_ids = False
        """Whether the service showed that it does."""

    def __len__(self) -> int:
        return len(self._searches)

    def add(self, intent: Intent, key: str, leaves_by: float, error: ImageTaskError | None = None) -> None:
        """Look from now on for a submission that went out with a key.

        :param leaves_by: Unix seconds after which it has left, if it did.
        :param error: why this start has no answer.
        """
        self._searches[intent.index] = _Search(intent, key, leaves_by + self._grace, error)

    def is_due(self) -> bool:
        """Whether it is time for the next search; never while one is being made."""
        return bool(self._searches) and self._next_look <= time.time()

    def look(self, known_key: str | None) -> Coroutine[Any, Any, list[Searched]]:
        """Ask the service, where it can tell, and return what is known now. The rest is looked for again.

        :param known_key: the key of a submission that certainly was taken.
        :raises ImageTaskError: the service cannot be asked now.
        """
        # Not when its turn comes: two searches for one submission would both act on what they find.
        self._next_look = math.inf
        return self._look(known_key)

    async def _look(self, known_key: str | None) -> list[Searched]:
        now = time.time()
        searches = list(self._searches.values())
        if self._service.repeats_submit_by_key:
            ends: list[Searched] = [
                NeverTaken(search.intent, self._unknown(search).error)
                if is_recognised(search.intent.at, now)
                else self._unknown(search)
                for search in searches
            ]
        elif not self._service.finds_by_trace_id:
            ends = [self._unknown(search) for search in searches]
        else:
            ends = await self._look_by_trace_id(searches, known_key, now)
        for end in ends:
            self._searches.pop(end.intent.index, None)
        self._next_look = min(
            (max(now + 1, min(search.until, now + LOOK_AGAIN)) for search in self._searches.values()), default=0
        )
        return ends

    async def _look_by_trace_id(self, searches: Sequence[_Search], known_key: str | None, now: float) -> list[Searched]:
        ends: list[Searched] = []
        absent: list[_Search] = []
        for start in range(0, len(searches), LARGEST_SEARCH):
            group = {search.key: search for search in searches[start : start + LARGEST_SEARCH]}
            findings = await self._run(reconcile_group(self._service, list(group), known=known_key))
            self._keeps_trace_ids = self._keeps_trace_ids or findings.proven
            for key, search in group.items():
                task = findings.found.get(key)
                if task is not None:
                    moment = moment_of_submission(task.created_at, search.intent.at)
                    ends.append(Found(replace(search.intent, image_task_id=task.id, submitted_at=moment), task))
                elif key in findings.unclear:
                    ends.append(self._unknown(search))
                elif now >= search.until:
                    absent.append(search)
        ends += [
            NeverTaken(search.intent, self._never_taken(search)) if self._keeps_trace_ids else self._unknown(search)
            for search in absent
        ]
        return ends

    def _never_taken(self, search: _Search) -> ServiceUnavailableError:
        reason = getattr(search.error, "reason", None)
        return ServiceUnavailableError(
            f"It was not taken: {self._service.title} shows others of this batch, and not this one"
            + (f". To its last submission, {reason}" if reason else ""),
            service=self._service.name,
            billed="no",
            retry_advice="A retry submits it again.",
        )

    def _unknown(self, search: _Search) -> Unknown:
        if isinstance(search.error, UnknownOutcomeError):
            return Unknown(search.intent, search.error)
        return Unknown(search.intent, unknown_outcome(search.intent, search.key, self._service))
