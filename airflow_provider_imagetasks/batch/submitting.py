"""Submits rows of a batch in groups: all intents first, then the requests side by side, then the ids."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from airflow_provider_imagetasks.batch.asking import RunsFlows
from airflow_provider_imagetasks.batch.batch_ledger import BatchRecords
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.exceptions import ImageTaskError, UnknownOutcomeError
from airflow_provider_imagetasks.files.input_images import with_files_read
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.submission_limits import SubmissionLimits
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask

AT_ONCE = 8
"""Submissions that are under way at the same time; a service takes a second or so for each."""
LARGEST_GROUP = 50
GROUP_SECONDS = 20.0
"""A group is no larger than what the rate lets out in this time, so that what a kill leaves unclear stays recent."""


class Desk(Protocol):
    """Who is told what became of each submission."""

    @property
    def stopped(self) -> ImageTaskError | None:
        """Why nothing more is to be submitted; None while that is not so."""

    def taken(self, intent: Intent, task: ImageTask) -> None:
        """Take in that a row was submitted."""

    def refused(self, intent: Intent, error: ImageTaskError) -> None:
        """Take in that a row was not taken, or was paid for in vain."""

    def lost(self, intent: Intent, error: UnknownOutcomeError) -> None:
        """Take in that nobody knows whether a row was taken."""


class Submissions:
    """Submits groups of rows with one account.

    :param request_of: returns the frozen request of a row.
    :param key_of: returns what a submission is recognised by.
    """

    def __init__(
        self,
        service: Service,
        account: Account,
        records: BatchRecords,
        *,
        desk: Desk,
        request_of: Callable[[int], ImageRequest],
        key_of: Callable[[Intent], str],
    ) -> None:
        self._service = service
        self._account = account
        self._records = records
        self._desk = desk
        self._request_of = request_of
        self._key_of = key_of
        self._places = asyncio.Semaphore(AT_ONCE)
        self.limits = SubmissionLimits(account)
        self.limits.submitted_before(records.recent)
        self.under_way = 0
        """Rows whose submission has not come to an end; whoever calls :meth:`submit` counts them in beforehand."""
        can_tell = service.finds_by_trace_id or service.repeats_submit_by_key
        windows = account.submit_rate.windows if account.submit_rate else ()
        in_time = (int(GROUP_SECONDS * window.count / window.seconds) for window in windows)
        self.group_size = max(1, min((LARGEST_GROUP, *in_time))) if can_tell else 1

    async def submit(self, rows: Sequence[int], transport: RunsFlows, *, same: set[int]) -> None:
        """Submit a group. What becomes of each row is told at once; the ids are written down when all are over.

        :param same: rows of which the last submission is made over again, under the same key.
        :raises ImageTaskError: the ledger cannot be written.
        """
        try:
            name, intents = await asyncio.to_thread(self._records.intend, rows, same=same)
            for intent in intents:
                self._records.state.opened(intent)
        except BaseException:
            self.under_way -= len(rows)
            raise
        known = await asyncio.gather(*(self._submit_one(intent, transport) for intent in intents))
        await asyncio.to_thread(self._records.settle, name, known)
        for intent in known:
            # Not before it is on record: a later start, which finds it lost, would count it again.
            if intent.submitted_at is not None:
                metrics.submitted(self._service.name)

    async def _submit_one(self, intent: Intent, transport: RunsFlows) -> Intent:
        try:
            async with self._places:
                if self._desk.stopped is not None:
                    raise self._desk.stopped
                request = await self._prepared(intent.index)
                task = await transport.run(
                    self.limits.within_rate(self._service.submit(request, key=self._key_of(intent)))
                )
        except UnknownOutcomeError as error:
            self._desk.lost(intent, error)
            return intent
        except ImageTaskError as error:
            if error is not self._desk.stopped:
                metrics.not_submitted(self._service.name, error)
            known = replace(intent, image_task_id=error.image_task_id, taken=error.billed != "no")
            self._desk.refused(known, error)
            return known
        finally:
            self.under_way -= 1
        known = replace(intent, image_task_id=task.id, submitted_at=task.created_at or intent.at)
        self._desk.taken(known, task)
        return known

    async def _prepared(self, row: int) -> ImageRequest:
        request = self._request_of(row)
        if request.is_edit:
            request = await asyncio.to_thread(with_files_read, request)
        return self._service.complete(request, self._account)
