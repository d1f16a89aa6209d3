"""Submissions of provider batches: rows are written down, their file is handed over, and the batch is created once.

Only its creation costs money. It goes out with a key that follows from the segment in which its rows are written down,
so that whoever finds them there without an image task looks for the batch of that key.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from airflow_provider_imagetasks.accounts.book import submitting_book_of
from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.provider.request_files import FileLimits, RequestFile, RequestFiles
from airflow_provider_imagetasks.batch.row_places import Granted, RowPlaces
from airflow_provider_imagetasks.batch.row_submissions import Refused, RunFlow, Submitted, Taken, Withheld
from airflow_provider_imagetasks.batch.rows import sendable_request
from airflow_provider_imagetasks.batch.segments import Intent, SegmentName
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.exceptions import ImageTaskError, UnknownOutcomeError
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.services.provider_batches import ProviderBatches, custom_id, placed_id
from airflow_provider_imagetasks.submissions.departure import Departure, HeldBackError
from airflow_provider_imagetasks.tasks import ImageTask, TaskState, moment_of_submission

ROWS_AT_ONCE = 500
"""Rows that are prepared at a time."""


@dataclass(frozen=True, kw_only=True)
class UnansweredCreation:
    """A provider batch of which nobody knows whether it was created.

    :param segment: in which its rows are written down.
    :param error: why this start has no answer.
    """

    segment: SegmentName
    intents: Sequence[Intent]
    error: ImageTaskError


class ProviderSubmissions:
    """Rows of one start that go out in files.

    :param batch: open; its ledger is told of every file.
    :param scratch: a local folder, for the files.
    """

    def __init__(
        self, arguments: BatchArguments, batches: ProviderBatches, batch: OpenBatch, run: RunFlow, scratch: Path
    ) -> None:
        self._arguments = arguments
        self._service = arguments.service
        self._batches = batches
        self._batch = batch
        self._run = run
        limits = arguments.limits
        self._files = RequestFiles(
            scratch,
            FileLimits(
                rows=min(limits.provider_rows or batches.most_rows, batches.most_rows),
                input_bytes=batches.most_input_bytes,
                result_bytes=limits.provider_result_bytes,
            ),
        )
        self._departure = Departure(batch.ledger.require_latest_start, look_seconds=limits.look)
        book = submitting_book_of(arguments.account)
        self._row_places = RowPlaces(arguments, batch, book, run, lambda: self.is_stopped)
        self.under_way = False
        self.problem: ImageTaskError | None = None
        """Why a budget of the account leaves no money for the next row; None where it does, or may again."""

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more leaves."""
        return self._departure.is_stopped

    def stop(self) -> None:
        """Let nothing more leave, of what is under way either."""
        self._departure.is_stopped = True

    async def submit_new(self) -> AsyncGenerator[Submitted | UnansweredCreation, None]:
        """Submit all rows that are to be submitted, and that there is money for. Yields what became of each.

        :raises ImageTaskError: the ledger cannot be written, or nobody can tell what a budget leaves.
        """
        self.under_way = True
        waiting: list[RequestFile] = []
        try:
            while not self.is_stopped and self.problem is None:
                granted = await self._taken()
                if granted.refused is not None and self.problem is None:
                    yield self._refused(*granted.refused)
                elif not granted.intents:
                    break
                for intent in granted.intents:
                    try:
                        ready = await self._written(intent)
                    except ImageTaskError as error:
                        await self.give_back([intent])
                        yield self._refused(intent, error)
                        continue
                    if ready is not None:
                        waiting.append(ready)
                while waiting:
                    async for outcome in self._submit(waiting.pop(0)):
                        yield outcome
            waiting += self._files.rest()
            while waiting:
                async for outcome in self._submit(waiting.pop(0)):
                    yield outcome
        finally:
            self._files.close()
            self.under_way = False

    def key_of(self, segment: SegmentName) -> str:
        """Return what the provider batch is found again by whose rows are in a segment."""
        identity = self._batch.slot.identity(segment.generation, nonce=self._batch.owner.mark)
        return hashlib.sha256(f"{identity}\0{segment}".encode()).hexdigest()

    async def give_back(self, intents: Sequence[Intent]) -> None:
        """Tell the account that rows cost nothing; there may be money for further ones then."""
        if intents:
            await self._row_places.give_back(intents)
            self.problem = None

    async def _give_back_withheld(self, intents: Sequence[Intent]) -> None:
        # What a start that was replaced withholds is the other one's, which may have submitted it.
        if not self._departure.is_replaced:
            await self.give_back(intents)

    async def _taken(self) -> Granted:
        """Take the next rows that are to be submitted, as far as there is money for them."""
        state, spending = self._batch.ledger.state, self._batch.ledger.spending
        intents, _problem = spending.affordable(state.next_intents(ROWS_AT_ONCE, time.time()))
        granted = await self._row_places.take(intents) if intents else Granted()
        unpaid = list(granted.withheld)
        if granted.refused is not None:
            intent, error = granted.refused
            if error.concerns_account:
                self.problem = error
                unpaid.append(intent)
            else:
                state.submitted(intent)
        for intent in unpaid:
            if not intent.is_repetition:
                spending.not_billed(intent.index)
        for intent in granted.intents:
            state.submitted(intent)
        return granted

    def _refused(self, intent: Intent, error: ImageTaskError) -> Refused:
        metrics.not_submitted(self._service.name, error)
        return Refused(replace(intent, taken=False), error)

    async def _written(self, intent: Intent) -> RequestFile | None:
        """Write the line of a row, and return a file that is ready for it.

        :raises ImageTaskError: the row cannot be asked for. Nothing was billed.
        """
        request = self._batch.requests.request(intent.index)
        prepare = partial(sendable_request, request, self._service, self._arguments.account)
        sent = await asyncio.to_thread(prepare) if request.is_edit else prepare()
        group = self._batches.group_of(sent)
        line = self._batches.line_of(sent, custom_id(self._batch.owner.mark, intent.index))
        return self._files.add(intent, group, line, self._batches.expected_bytes(sent))

    async def _submit(self, file: RequestFile) -> AsyncGenerator[Submitted | UnansweredCreation, None]:
        try:
            if self.is_stopped:
                await self._give_back_withheld(file.intents)
                for intent in file.intents:
                    yield Withheld(intent)
                return
            ledger = self._batch.ledger
            segment = await asyncio.to_thread(ledger.intend, file.intents)
            try:
                task = await self._created(file, segment)
            except HeldBackError as held:
                if held.has_left:
                    yield UnansweredCreation(segment=segment, intents=file.intents, error=held.why)
                    return
                await asyncio.to_thread(ledger.settle, segment, [])
                await self._give_back_withheld(file.intents)
                for intent in file.intents:
                    yield Withheld(intent)
                return
            except UnknownOutcomeError as error:
                yield UnansweredCreation(segment=segment, intents=file.intents, error=error)
                return
            except ImageTaskError as error:
                if error.concerns_account:
                    self.stop()
                refused = [replace(intent, taken=False) for intent in file.intents]
                await asyncio.to_thread(ledger.settle, segment, refused)
                await self.give_back(refused)
                metrics.not_submitted(self._service.name, error)
                for intent in refused:
                    yield Refused(intent, error)
                return
            if ledger.state.knows(placed_id(task.id, 1)):
                # Something on the way repeats an older answer: which one is the file's own is found by its key.
                what = f"The answer names provider batch {task.id}, which is on record for other rows"
                unknown = UnknownOutcomeError(what, service=self._service.name)
                yield UnansweredCreation(segment=segment, intents=file.intents, error=unknown)
                return
            taken = with_ids(file.intents, task)
            await asyncio.to_thread(ledger.settle, segment, taken)
            for intent in taken:
                metrics.submitted(self._service.name)
                yield Taken(intent, row_task(intent, task))
        finally:
            file.path.unlink(missing_ok=True)

    async def _created(self, file: RequestFile, segment: SegmentName) -> ImageTask:
        key, slot = self.key_of(segment), self._batch.slot
        content = await asyncio.to_thread(file.path.read_bytes)
        try:
            file_id: str = await self._run(self._batches.upload(content, key))
        except ImageTaskError as error:
            # A file alone costs nothing.
            error.billed = "no"
            raise
        del content
        names: dict[str, Any] = {"dag_id": slot.dag_id, "task_id": slot.task_id, "run_id": slot.run_id}
        creation = self._batches.create(file_id, file.group, key, names=names, how_to_look=self._service.how_to_look)
        # It is not of this moment any more that the rows were written down.
        task: ImageTask = await self._run(self._departure.watched(creation, intended_at=0.0))
        return task


def with_ids(intents: Sequence[Intent], task: ImageTask) -> list[Intent]:
    """Return the intents of a provider batch that was created, each with the image task that its line is."""
    since = moment_of_submission(task.created_at, intents[0].at)
    return [
        replace(intent, image_task_id=placed_id(task.id, line), submitted_at=since)
        for line, intent in enumerate(intents, start=1)
    ]


def row_task(intent: Intent, task: ImageTask) -> ImageTask:
    """Return what stands for a row while its provider batch is made."""
    return ImageTask(
        id=intent.image_task_id or "", service=task.service, state=TaskState.RUNNING, created_at=task.created_at
    )
