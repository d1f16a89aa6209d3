"""Searches for provider batches whose creation has no answer: cut off with an earlier start, or lost just now."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.provider.submissions import ProviderSubmissions, row_task, with_ids
from airflow_provider_imagetasks.batch.row_searches import Found, Unknown, unknown_outcome
from airflow_provider_imagetasks.batch.row_submissions import Refused, RunFlow
from airflow_provider_imagetasks.batch.segments import Intent, SegmentName
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.exceptions import ImageTaskError, ServiceUnavailableError
from airflow_provider_imagetasks.services.provider_batches import Listing, ProviderBatch, ProviderBatches
from airflow_provider_imagetasks.submissions.reconciling import OTHER_ACCOUNT
from airflow_provider_imagetasks.tasks import ImageTask, TaskState

LOOK_AGAIN = 10.0
"""Seconds between two searches."""
SearchedRow: TypeAlias = Found | Refused | Unknown


@dataclass(frozen=True, kw_only=True)
class _Search:
    """A provider batch that is looked for.

    :param until: Unix seconds until which the service may still write it down.
    :param error: why there is no answer; None where an earlier start was cut off.
    """

    segment: SegmentName
    intents: Sequence[Intent]
    until: float
    error: ImageTaskError | None = None


class ProviderSearches:
    """Provider batches without an answer. Their rows count as running until it is known what became of them."""

    def __init__(
        self,
        arguments: BatchArguments,
        batches: ProviderBatches,
        batch: OpenBatch,
        submissions: ProviderSubmissions,
        run: RunFlow,
        log: Any,
    ) -> None:
        self._log = log
        self._service = arguments.service
        self._conn_id = arguments.account.conn_id
        self._grace = arguments.limits.not_found_grace
        self._batches = batches
        self._batch = batch
        self._submissions = submissions
        self._run = run
        self._searches: dict[SegmentName, _Search] = {}
        self._next_look = 0.0

    def __len__(self) -> int:
        return len(self._searches)

    def add(
        self, segment: SegmentName, intents: Sequence[Intent], leaves_by: float, error: ImageTaskError | None = None
    ) -> None:
        """Look from now on for the provider batch of a segment.

        :param intents: all of the segment, in their order.
        :param leaves_by: Unix seconds after which its creation has left, if it did.
        :param error: why there is no answer.
        """
        self._searches[segment] = _Search(segment=segment, intents=intents, until=leaves_by + self._grace, error=error)

    def is_due(self) -> bool:
        """Whether it is time for the next search; never while one is being made."""
        return bool(self._searches) and self._next_look <= time.time()

    def next_at(self) -> float | None:
        """Return the Unix time of the next search; None where there is none to make."""
        return self._next_look if self._searches and self._next_look < math.inf else None

    async def look(self) -> list[SearchedRow]:
        """Ask the service, and return what is known of rows now, which is written down. The rest is looked for again.

        :raises ImageTaskError: the service cannot be asked now, or the ledger not be written.
        """
        self._next_look, now = math.inf, time.time()
        ends: list[SearchedRow] = []
        for search in list(self._searches.values()):
            rows = await self._ended(search, now)
            if rows is not None:
                del self._searches[search.segment]
                ends += rows
        waiting = (max(now + 1, min(search.until, now + LOOK_AGAIN)) for search in self._searches.values())
        self._next_look = min(waiting, default=0.0)
        return ends

    async def _ended(self, search: _Search, now: float) -> Sequence[SearchedRow] | None:
        key = self._submissions.key_of(search.segment)
        since = min(intent.at for intent in search.intents)
        listing: Listing = await self._run(self._batches.find(key, since=since))
        if listing.found:
            return await self._found(search, listing.found)
        if now < search.until:
            return None
        is_other = any(intent.index in self._batch.ledger.of_other_account for intent in search.intents)
        if is_other or not listing.is_complete:
            why = OTHER_ACCOUNT.format(conn_id=repr(self._conn_id)) if is_other else ""
            return [Unknown(intent, unknown_outcome(intent, key, self._service, why)) for intent in self._open(search)]
        return await self._never_taken(search)

    async def _found(self, search: _Search, candidates: Sequence[ProviderBatch]) -> list[SearchedRow]:
        # Only this file went out under the key: whatever sent it twice, each of them has pictures for these rows.
        found = min(candidates, key=lambda each: (each.was_refused, each.created_at or math.inf, each.id))
        if others := [each.id for each in candidates if each.id != found.id]:
            self._log.warning(
                "The service has %s batches of one creation. %s is used; %s may be billed, too: cancel it there if it "
                "is not over.",
                len(candidates),
                found.id,
                ", ".join(others),
            )
        task = ImageTask(id=found.id, service=self._service.name, state=TaskState.RUNNING, created_at=found.created_at)
        intents = with_ids(search.intents, task)
        await asyncio.to_thread(self._batch.ledger.found, intents)
        wanted = {intent.index for intent in self._open(search)}
        return [Found(intent, row_task(intent, task)) for intent in intents if intent.index in wanted]

    async def _never_taken(self, search: _Search) -> list[SearchedRow]:
        ledger = self._batch.ledger
        await asyncio.to_thread(ledger.require_latest_start)
        refused = [replace(intent, taken=False) for intent in search.intents]
        await asyncio.to_thread(ledger.settle, search.segment, refused)
        reason = f". What came instead of an answer: {search.error.message.rstrip('.')}" if search.error else ""
        error = ServiceUnavailableError(
            f"The provider batch of this row was not created: {self._service.title} lists no batch with its "
            f"key{reason}",
            service=self._service.name,
            billed="no",
            retry_advice="A retry submits it again.",
        )
        wanted = {intent.index for intent in self._open(search)}
        return [Refused(intent, error) for intent in refused if intent.index in wanted]

    def _open(self, search: _Search) -> list[Intent]:
        """Return the submissions that are still what is known last of their rows."""
        known = self._batch.ledger.state.open
        return [
            intent
            for intent in search.intents
            if (latest := known.get(intent.index)) is not None
            and latest.attempt == intent.attempt
            and not latest.image_task_id
        ]
