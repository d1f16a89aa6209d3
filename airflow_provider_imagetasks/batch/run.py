"""The worker's part of a batch: submits, asks, downloads and writes down, all on one event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.batch.asking import StatusQuestions
from airflow_provider_imagetasks.batch.batch_ledger import BatchRecords
from airflow_provider_imagetasks.batch.lost import LostSubmissions
from airflow_provider_imagetasks.batch.progress import Counts
from airflow_provider_imagetasks.batch.requests_file import FrozenRequests
from airflow_provider_imagetasks.batch.row_ends import RowEnds
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.batch.settings import WINDOW, BatchSettings
from airflow_provider_imagetasks.batch.submitting import AT_ONCE, Submissions
from airflow_provider_imagetasks.exceptions import ImageTaskError, UnknownOutcomeError
from airflow_provider_imagetasks.files.picture_store import PictureStore
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.tasks import ImageTask
from airflow_provider_imagetasks.transports.selection import open_async_transport

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

IDLE_SECONDS = 30.0
"""After so long without a row that ended, the wait is the triggerer's."""
REPORT_SECONDS = 5.0
FLUSH_SECONDS = 5.0
FLUSH_ROWS = 50
GATHER_SECONDS = 0.25
"""How long free places are gathered for a group that is not full."""
STOPPED_ROWS = 1000
"""Rows that are written off at a time once nothing more is submitted."""
_LONGEST_SLEEP = 0.5


class BatchRun:
    """One start of a batch in a worker.

    :param records: loaded.
    :param pictures: the folder that pictures go to.
    :param report: told every few seconds how far it is; may block for a moment.
    :param log: the task's.
    """

    def __init__(
        self,
        settings: BatchSettings,
        records: BatchRecords,
        requests: FrozenRequests,
        pictures: ObjectStoragePath,
        *,
        report: Callable[[Counts], None],
        log: Any,
    ) -> None:
        self._settings = settings
        self._records = records
        self._state = records.state
        self._report = report
        self._log = log
        self._same: set[int] = set()
        """Rows to be submitted of which the last submission is made over again, under its key."""
        self._looking = False
        self._error: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._reported_at = self._flushed_at = time.time()
        self._asked_all_at: float | None = None
        self._submitted_at = 0.0
        service, account = settings.service, settings.account
        self._api = open_async_transport(account)
        self._store = PictureStore(pictures, account)
        self._lost = LostSubmissions(service)
        self._questions = StatusQuestions(
            service,
            account,
            settings.poll_interval,
            on_read=self._was_read,
            on_failed=self._was_unreadable,
            log=log,
        )
        self._ends = RowEnds(
            settings, records, requests, self._store, questions=self._questions, spawn=self._spawn, log=log
        )
        self._submissions = Submissions(
            service, account, records, desk=self, request_of=lambda row: requests.row(row).request, key_of=self._key
        )

    async def run(self) -> bool:
        """Work until every row is over, or nothing is left to do but to wait.

        :returns: whether the batch is over.
        :raises ImageTaskError: the service cannot be asked, or the ledger not be written; a later start goes on.
        """
        async with self._api, self._store:
            asking = self._spawn(self._questions.run(self._api))
            try:
                self._begin()
                while self._error is None and not self._is_over():
                    self._submit_what_fits()
                    self._look_for_lost()
                    self._ends.end_overdue()
                    await self._keep_up()
                    if self._is_idle():
                        break
                    await self._sleep()
            finally:
                asking.cancel()
                # What is being submitted is paid for: its ids are worth the wait.
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await asyncio.to_thread(self._records.flush)
        if self._error is not None:
            raise self._error
        return self._is_over()

    @property
    def open_ids(self) -> list[str]:
        """The image tasks that are waited for."""
        return [intent.image_task_id for intent in self._state.open.values() if intent.image_task_id]

    @property
    def latest_submission(self) -> float:
        """Unix seconds of the latest submission that is open."""
        return max((intent.submitted_at or intent.at for intent in self._state.open.values()), default=time.time())

    # Submissions tell what became of each row.

    @property
    def stopped(self) -> ImageTaskError | None:
        """Why nothing more is to be submitted."""
        return self._ends.stopped

    def taken(self, intent: Intent, task: ImageTask) -> None:
        """Wait for the image task of a row, or deliver it where it came at once."""
        self._records.witness = (intent.index, intent.attempt)
        self._ends.submitted(intent.index)
        self._follow(intent, task)

    def refused(self, intent: Intent, error: ImageTaskError) -> None:
        """End a row that was not taken, or was paid for in vain, or have it submitted again."""
        self._ends.refused(intent.index, error, image_task_id=intent.image_task_id)

    def lost(self, intent: Intent, error: UnknownOutcomeError) -> None:
        """Look for a submission whose answer did not come."""
        self._log.warning("Row %s: %s Looking for it at the service.", intent.index, error.message)
        self._lost.add(intent, self._key(intent))

    # The parts of the loop.

    def _begin(self) -> None:
        """Take up what earlier starts left open."""
        for row, intent in self._state.open.items():
            if intent.image_task_id:
                self._questions.add(row, intent.image_task_id, intent.submitted_at or intent.at)
            else:
                self._lost.add(intent, self._key(intent))
        self._questions.ask_all_now()
        self._asked_all_at = None if self._state.has_new else time.time()

    def _is_over(self) -> bool:
        return self._state.is_over and not self._ends.delivering

    def _is_idle(self) -> bool:
        """Whether the triggerer can take over: all is submitted and was asked for, or nothing has ended for a while."""
        is_busy = self._submissions.under_way or self._ends.delivering or len(self._lost)
        if not self._settings.defers or is_busy or not self._state.open:
            return False
        if self._state.has_new:
            self._asked_all_at = None
            return time.time() - self._ends.last_end >= IDLE_SECONDS
        if self._asked_all_at is None:
            self._questions.ask_all_now()
            self._asked_all_at = time.time()
            return False
        return self._questions.is_answered_since(self._asked_all_at)

    def _submit_what_fits(self) -> None:
        if self._ends.stopped is not None:
            for row in self._state.next_new(STOPPED_ROWS):
                self._ends.end(row, self._ends.stopped, image_task_id=None)
                self._news.set()
            return
        submissions = self._submissions
        while submissions.under_way < AT_ONCE and submissions.limits.next_at() - time.time() < IDLE_SECONDS:
            room = min(
                self._settings.window - len(self._state.open),
                WINDOW - len(self._state.open) - len(self._ends.delivering),
                submissions.group_size,
            )
            if not self._is_worth_a_group(room):
                return
            rows = self._hold(self._state.next_new(room))
            if not rows:
                return
            self._submitted_at = time.time()
            same, self._same = self._same & set(rows), self._same - set(rows)
            submissions.under_way += len(rows)
            self._spawn(submissions.submit(rows, self._api, same=same))

    def _is_worth_a_group(self, room: int) -> bool:
        """Whether to submit so many rows now: each group costs two writes, and places become free one by one."""
        return room >= self._submissions.group_size or (room > 0 and time.time() - self._submitted_at >= GATHER_SECONDS)

    def _hold(self, rows: Sequence[int]) -> list[int]:
        """Hold those of the rows that may be submitted: as many as ``max_cost`` leaves money for, in their order."""
        held: list[int] = []
        for row in rows:
            intent = self._state.next_intent(row, time.time(), same=row in self._same)
            problem = self._records.spending.problem(intent)
            if problem is not None:
                # What is still open may turn out to cost nothing.
                if not self._state.open and not self._ends.delivering:
                    self._ends.stop(problem)
                    self._news.set()
                break
            self._state.held(intent)
            self._records.spending.submitted(intent)
            held.append(row)
        return held

    def _look_for_lost(self) -> None:
        moment = self._lost.next_look()
        if moment is not None and moment <= time.time() and not self._looking:
            self._looking = True
            self._spawn(self._look())

    async def _look(self) -> None:
        witness = self._records.witness
        key = self._key(Intent(index=witness[0], attempt=witness[1], at=0)) if witness else None
        try:
            found = await self._lost.look(self._api, key)
        finally:
            self._looking = False
        for row, task in found.taken.items():
            intent = self._state.open[row]
            self._log.info("Row %s: the service has it as image task %s.", row, task.id)
            metrics.submitted(self._settings.service.name)
            self._follow(replace(intent, image_task_id=task.id, submitted_at=task.created_at or intent.at), task)
        for row in found.never_taken:
            self._records.spending.not_billed(row)
            self._same.add(row)
            self._state.renewed(row)
        for row, error in found.unknown.items():
            if self._settings.resubmits_unknown:
                self._log.warning("Row %s: %s It is submitted again (on_unknown_outcome).", row, error.message)
                self._state.renewed(row)
            else:
                metrics.not_submitted(self._settings.service.name, error)
                self._ends.end(row, error, image_task_id=None)

    async def _keep_up(self) -> None:
        """Write outcomes down and say how far it is, now and then."""
        now = time.time()
        unwritten = self._records.unwritten
        if unwritten >= FLUSH_ROWS or (unwritten and now - self._flushed_at >= FLUSH_SECONDS):
            self._flushed_at = now
            await asyncio.to_thread(self._records.flush)
        if now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            await asyncio.to_thread(self._report, self._state.counts)

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(_LONGEST_SLEEP):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._is_done)
        return task

    def _is_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._error is None:
            self._error = error
        self._news.set()

    def _key(self, intent: Intent) -> str:
        slot = replace(self._settings.slot, item_index=intent.index)
        return slot.identity(self._records.life.generation, intent.attempt)

    def _was_read(self, row: int, task: ImageTask) -> None:
        self._ends.read(row, task)
        # A place may be free.
        self._news.set()

    def _was_unreadable(self, row: int, error: ImageTaskError) -> None:
        self._ends.unreadable(row, error)
        self._news.set()

    def _follow(self, intent: Intent, task: ImageTask) -> None:
        """Ask for a row's image task from now on."""
        self._state.opened(intent)
        self._questions.add(intent.index, task.id, intent.submitted_at or intent.at)
        if task.state.is_final:
            self._ends.read(intent.index, task)
        self._news.set()
