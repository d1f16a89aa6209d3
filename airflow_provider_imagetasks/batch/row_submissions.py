"""Submissions of a batch's rows, made in groups: what will be sent is written down first, and the ids right after.

Each ends in an outcome that is returned; what becomes of the row is for the run to decide.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from airflow_provider_imagetasks.accounts.book import UNREACHABLE, submitting_book_of
from airflow_provider_imagetasks.batch import row_places
from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.row_places import Granted, RowPlaces
from airflow_provider_imagetasks.batch.rows import sendable_request
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.exceptions import ImageTaskError, UnknownOutcomeError
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.services.bounds import trace_of
from airflow_provider_imagetasks.services.submission_limits import SubmissionLimits
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.submissions.departure import Departure, HeldBackError
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, moment_of_submission

_log = logging.getLogger(__name__)
AT_ONCE = 8
"""Submissions that are under way at the same time; a service takes a second or so for each."""
LARGEST_GROUP = 50
GROUP_SECONDS = 20.0
"""A group is no larger than what the rate lets out in this time, so that what a kill leaves unclear stays recent."""
LONGEST_INTENT = 300.0
"""Seconds after which a row that has not left is written down anew before it is submitted: a later start judges by the
time on record what the service may still be writing down."""
LATEST_IDS = 1000

RunFlow: TypeAlias = Callable[[Flow[Any]], Awaitable[Any]]
"""Drives a flow to its end: a transport's ``run``."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """A submission that was held back."""

    intent: Intent


@dataclass(frozen=True)
class AtService:
    """A submission that the service has, and its image task."""

    intent: Intent
    task: ImageTask


class Taken(AtService):
    """A submission that the service took."""


@dataclass(frozen=True)
class Failed:
    """A submission without an image task, and why."""

    intent: Intent
    error: ImageTaskError


class Refused(Failed):
    """A submission that the service did not take, or that was paid for in vain."""


class Unanswered(Failed):
    """A submission whose answer did not come: nobody knows whether the service took it."""


Submitted: TypeAlias = Taken | Refused | Withheld | Unanswered


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
        self._departure = Departure(
            batch.ledger.require_latest_start, look_seconds=arguments.limits.look, longest_intent=LONGEST_INTENT
        )
        book = submitting_book_of(account)
        self._row_places = RowPlaces(arguments, batch, book, run, lambda: self._departure.is_stopped)
        self._submitted_at = 0.0
        self._latest_ids: dict[str, int] = {}
        """Rows by the image task that was answered; the latest ones, as a cache on the way would repeat them."""
        self._earlier_ids = asyncio.Lock()
        self._knows_earlier_ids = False
        self._requests: set[asyncio.Task[Submitted]] = set()
        self.under_way = 0
        """Rows whose submission has not come to an end."""
        can_tell = service.finds_by_trace_id or service.repeats_submit_by_key
        windows = account.submit_rate.windows if account.submit_rate else ()
        seconds = GROUP_SECONDS if book is None else row_places.AHEAD_SECONDS
        in_time = (int(seconds * window.count / window.seconds) for window in windows)
        self._group_size = max(1, min((LARGEST_GROUP, *in_time))) if can_tell else 1

    def next_group(self, places: int) -> int:
        """Return how many rows to submit now; 0 where it is better to wait.

        Each group costs two writes, and places become free one by one: they are gathered for a moment.

        :param places: how many more rows may run.
        """
        now = time.time()
        if self.under_way >= AT_ONCE or not self._row_places.may_ask or self._rate.next_at() - now >= self._limits.idle:
            return 0
        if places >= self._group_size:
            return self._group_size
        return max(0, places) if now - self._submitted_at >= self._limits.gather else 0

    async def searched(self, found: Sequence[AtService], free: Sequence[Intent]) -> None:
        """Tell the account what became of submissions whose answers were lost.

        :param free: those that were never taken.
        """
        await self._row_places.found([(each.intent, each.task) for each in found])
        await self._row_places.give_back(free)

    def stop(self) -> None:
        """Let nothing more leave, of groups under way either."""
        self._departure.is_stopped = True

    def abandon(self) -> None:
        """Wait no longer for what was sent; it stays on record as a submission without an answer."""
        for request in self._requests:
            request.cancel()

    def submit(self, intents: Sequence[Intent]) -> AsyncGenerator[Submitted, None]:
        """Submit a group. Yields what became of each row as soon as that is known; all ids are written down at the end.

        :raises ImageTaskError: the ledger cannot be written.
        """
        self._submitted_at = time.time()
        self.under_way += len(intents)
        return self._submit(intents)

    async def _submit(self, intents: Sequence[Intent]) -> AsyncGenerator[Submitted, None]:
        try:
            await self._know_earlier_ids()
            granted = await self._row_places.take(intents)
        except BaseException:
            self.under_way -= len(intents)
            raise
        self.under_way -= len(intents) - len(granted.intents)
        if granted.intents:
            async with aclosing(self._submit_granted(granted)) as outcomes:
                async for outcome in outcomes:
                    yield outcome
        for intent in granted.withheld:
            yield Withheld(intent)
        if granted.refused is not None:
            # Last, since nothing more leaves after it.
            intent, error = granted.refused
            metrics.not_submitted(self._service.name, error)
            yield Refused(replace(intent, taken=False), error)

    async def _know_earlier_ids(self) -> None:
        async with self._earlier_ids:
            if not self._knows_earlier_ids:
                await asyncio.to_thread(self._batch.note_earlier_ids)
                self._knows_earlier_ids = True

    async def _submit_granted(self, granted: Granted) -> AsyncGenerator[Submitted, None]:
        intents = granted.intents
        try:
            name = await asyncio.to_thread(self._batch.ledger.intend, intents)
        except BaseException:
            self.under_way -= len(intents)
            raise
        requests = [asyncio.create_task(self._submit_one(intent, granted)) for intent in intents]
        self._requests.update(requests)
        ends: dict[int, Submitted] = {}
        try:
            for request in asyncio.as_completed(requests):
                end = await request
                ends[end.intent.index] = end
                yield end
        finally:
            if len(ends) < len(requests):
                # What has left is paid for: its ids are worth the wait, whatever went wrong beside.
                late = await asyncio.gather(*requests, return_exceptions=True)
                ends = {each.intent.index: each for each in late if not isinstance(each, BaseException)}
            self._requests.difference_update(requests)
            known = [
                ends[intent.index].intent if intent.index in ends else intent
                for intent in intents
                # What never left is no submission; one that is made over again is on record from its first time.
                if not isinstance(ends.get(intent.index), Withheld)
            ]
            try:
                await asyncio.to_thread(self._batch.ledger.settle, name, known)
            except Exception:
                # Paid for, and on no record: a person has to find them.
                ids = ", ".join(f"{one.image_task_id[:80]} (row {one.index})" for one in known if one.image_task_id)
                _log.error("Image tasks that were submitted but could not be recorded: %s.", ids or "none")
                raise
            finally:
                await self._note_places(granted, ends.values())
            # Not before they are on record: a later start, which looks for them, would count them again.
            metrics.submitted(self._service.name, sum(intent.submitted_at is not None for intent in known))

    async def _note_places(self, granted: Granted, ends: Iterable[Submitted]) -> None:
        tasks = {end.intent.index: end.task for end in ends if isinstance(end, Taken)}
        free = [
            end.intent
            for end in ends
            # What a start that was replaced withholds is the other one's, which may have submitted it.
            if (isinstance(end, Withheld) and not self._departure.is_replaced)
            or (isinstance(end, Refused) and end.error.billed == "no" and not end.intent.taken)
        ]
        await self._row_places.note(granted, tasks, free)

    async def _submit_one(self, intent: Intent, granted: Granted) -> Submitted:
        has_begun = False
        try:
            async with self._places:
                if self._departure.is_stopped:
                    return Withheld(intent)
                has_begun = True
                request = await self._prepared(intent.index, granted)
                submission = self._service.submit(request, key=self._batch.key_of(intent))
                flow = self._row_places.paced(intent, submission, granted) or self._rate.within_rate(submission)
                task = await self._run(self._departure.watched(flow, intended_at=intent.at))
        except HeldBackError as held:
            # What left before it, as under a key that may be given again, may have been taken.
            return Unanswered(intent, held.why) if held.has_left else Withheld(intent)
        except asyncio.CancelledError:
            if has_begun:
                raise
            return Withheld(intent)
        except UnknownOutcomeError as error:
            return Unanswered(intent, error)
        except ImageTaskError as error:
            if error.code == UNREACHABLE:
                return Withheld(intent)
            if error.concerns_account:
                # At once: others of the group wait for the place that becomes free.
                self.stop()
            metrics.not_submitted(self._service.name, error)
            # Under a key that may be given again, the first of them may have been taken all the same.
            taken = error.billed != "no" or (intent.is_repetition and self._service.repeats_submit_by_key)
            return Refused(replace(intent, image_task_id=error.image_task_id, taken=taken), error)
        except Exception as error:  # noqa: BLE001 - whatever one row does, the others of its group are submitted
            _log.warning("Row %s: submitting it failed with an unexpected error:\n%s", intent.index, trace_of(error))
            what = f"No answer was understood ({type(error).__name__}; the log has the whole error)"
            return Unanswered(intent, UnknownOutcomeError(what, service=self._service.name))
        finally:
            self.under_way -= 1
        is_known = self._batch.ledger.state.knows(task.id)
        holder = self._latest_ids.setdefault(task.id, intent.index)
        if holder != intent.index or is_known:
            whose = f"row {holder}" if holder != intent.index else "an earlier submission of this batch"
            what = f"The answer names image task {task.id[:80]}, which is that of {whose}"
            return Unanswered(intent, UnknownOutcomeError(what, service=self._service.name))
        if len(self._latest_ids) > LATEST_IDS:
            del self._latest_ids[next(iter(self._latest_ids))]
        moment = moment_of_submission(task.created_at, intent.at)
        return Taken(replace(intent, image_task_id=task.id, submitted_at=moment), task)

    async def _prepared(self, row: int, granted: Granted) -> ImageRequest:
        request = granted.requests.pop(row, None) or self._batch.requests.request(row)
        prepare = partial(sendable_request, request, self._service, self._account)
        return await asyncio.to_thread(prepare) if request.is_edit else prepare()
