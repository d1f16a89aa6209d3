"""The worker's part of a batch: submits, asks, downloads and writes down, all on one event loop."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.account import Account
from airflow_provider_imagetasks.batch.asking import StatusQuestions
from airflow_provider_imagetasks.batch.lost import LostSubmissions
from airflow_provider_imagetasks.batch.manifest import outcome_row
from airflow_provider_imagetasks.batch.prices import price_of
from airflow_provider_imagetasks.batch.progress import Counts
from airflow_provider_imagetasks.batch.records import BatchRecords
from airflow_provider_imagetasks.batch.requests_file import FrozenRequests
from airflow_provider_imagetasks.batch.rows import frozen_row
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.batch.submitting import AT_ONCE, Submissions
from airflow_provider_imagetasks.downloads.filenames import pattern_for_row
from airflow_provider_imagetasks.downloads.files import DownloadedFile, PictureStore
from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    DownloadError,
    ImageTaskError,
    ImageTaskNotFoundError,
    ImageTaskTimeoutError,
    QuotaExceededError,
    UnknownOutcomeError,
    UnsafeResultError,
)
from airflow_provider_imagetasks.ledger.submitting import SubmissionSlot
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.tasks import ImageTask
from airflow_provider_imagetasks.transport import AiohttpTransport
from airflow_provider_imagetasks.waiting import failure

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

WINDOW = 500
"""Rows that are open or being downloaded at the same time, at most: what a trigger can carry."""
IDLE_SECONDS = 30.0
"""After so long without a row that ended, the wait is the triggerer's."""
REPORT_SECONDS = 5.0
FLUSH_SECONDS = 5.0
FLUSH_ROWS = 50


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """What holds for a whole batch.

    :param slot: the task instance; its rows are its items.
    :param filename: pattern of the pictures' names, checked.
    :param prices: the user's own, per picture by model.
    :param row_attempts: how often a row is submitted within one start, where a failure cost nothing.
    :param timeout: seconds that a row may take from its submission.
    :param poll_interval: seconds between two questions for an image task that has been running for long.
    :param resubmits_unknown: whether an unknown outcome is submitted again, at the risk of paying twice.
    :param defers: whether the triggerer takes over where nothing happens.
    """

    account: Account
    service: Service
    slot: SubmissionSlot
    filename: str
    prices: dict[str, float]
    row_attempts: int
    timeout: float
    poll_interval: float
    resubmits_unknown: bool
    defers: bool

    @property
    def window(self) -> int:
        """How many rows may run at the service at the same time."""
        return min(self.account.max_active_tasks or WINDOW, WINDOW)


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
        self._requests = requests
        self._pictures = pictures
        self._report = report
        self._log = log
        self._state = records.state
        self._tries: Counter[int] = Counter()
        self._same: set[int] = set()
        self._fresh: set[int] = set()
        """Open rows that this start submitted: nothing of them can lie in the folder of pictures."""
        self._delivering: set[int] = set()
        self._running: set[int] = set()
        """Open rows of which the service said since this start that they are not finished."""
        self._looking = False
        self._stopped: ImageTaskError | None = None
        """Why nothing more is submitted: no key or no balance, which every further row would be told too."""
        self._error: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._last_end = self._reported_at = self._flushed_at = time.time()
        self._asked_all_at: float | None = None
        service, account = settings.service, settings.account
        self._lost = LostSubmissions(service)
        self._questions = StatusQuestions(
            service, account, settings.poll_interval, on_read=self._read, on_failed=self._end_unread
        )
        self._submissions = Submissions(
            service, account, records, desk=self, request_of=lambda row: requests.row(row).request, key_of=self._key
        )

    async def run(self) -> bool:
        """Work until every row is over, or nothing is left to do but to wait.

        :returns: whether the batch is over.
        :raises ImageTaskError: the service cannot be asked, or the ledger not be written; a later start goes on.
        """
        async with (
            AiohttpTransport(self._settings.account) as api,
            PictureStore(self._pictures, self._settings.account) as store,
        ):
            self._api, self._store = api, store
            asking = self._spawn(self._questions.run(api))
            try:
                self._begin()
                while self._error is None and not self._is_over():
                    self._submit_what_fits()
                    self._look_for_lost()
                    self._end_what_is_overdue()
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
    def stopped(self) -> ImageTaskError | None:
        """Why nothing more is to be submitted."""
        return self._stopped

    @property
    def open_ids(self) -> list[str]:
        """The image tasks that are waited for."""
        return [intent.image_task_id for intent in self._state.open.values() if intent.image_task_id]

    @property
    def latest_submission(self) -> float:
        """Unix seconds of the latest submission that is open."""
        return max((intent.submitted_at or intent.at for intent in self._state.open.values()), default=time.time())

    # What became of a submission: told by Submissions.

    def taken(self, intent: Intent, task: ImageTask) -> None:
        """Wait for the image task of a row, or deliver it where it came at once."""
        self._state.opened(intent)
        self._records.witness = (intent.index, intent.attempt)
        self._fresh.add(intent.index)
        self._follow(intent, task)

    def refused(self, intent: Intent, error: ImageTaskError) -> None:
        """End a row that was not taken, or have it submitted again where that costs nothing and may help."""
        if isinstance(error, AuthenticationError | QuotaExceededError) and self._stopped is None:
            self._stopped = error
            self._log.error("Nothing more is submitted: %s", error)
        self._end_or_repeat(intent.index, error, image_task_id=intent.image_task_id)

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
        return self._state.is_over and not self._delivering

    def _is_idle(self) -> bool:
        """Whether the triggerer can take over: all is submitted and was asked for, or nothing has ended for a while."""
        settings = self._settings
        if (
            not settings.defers
            or self._submissions.under_way
            or self._delivering
            or len(self._lost)
            or not self._state.open
        ):
            return False
        now = time.time()
        if self._state.has_new:
            self._asked_all_at = None
            return now - self._last_end >= IDLE_SECONDS
        if self._asked_all_at is None:
            self._questions.ask_all_now()
            self._asked_all_at = time.time()
            return False
        return self._questions.is_answered_since(self._asked_all_at)

    def _submit_what_fits(self) -> None:
        if self._stopped is not None:
            self._refuse_the_rest(self._stopped)
            return
        submissions = self._submissions
        while submissions.under_way < AT_ONCE and submissions.limits.next_at() - time.time() < IDLE_SECONDS:
            room = min(
                self._settings.window - len(self._state.open),
                WINDOW - len(self._state.open) - len(self._delivering),
                submissions.group_size,
            )
            rows = self._state.next_new(room) if room > 0 else []
            if not rows:
                return
            same, self._same = self._same & set(rows), self._same - set(rows)
            for row in rows:
                self._state.held(row, time.time(), same=row in same)
            submissions.under_way += len(rows)
            self._spawn(submissions.submit(rows, self._api, same=same))

    def _refuse_the_rest(self, error: ImageTaskError) -> None:
        for row in self._state.next_new(FLUSH_ROWS):
            self._end(row, error, image_task_id=None)

    def _look_for_lost(self) -> None:
        moment = self._lost.next_look()
        if moment is not None and moment <= time.time() and not self._looking:
            self._looking = True
            self._spawn(self._look())

    async def _look(self) -> None:
        try:
            witness = self._records.witness
            found = await self._lost.look(
                self._api, self._key(Intent(index=witness[0], attempt=witness[1], at=0)) if witness else None
            )
        finally:
            self._looking = False
        for row, task in found.taken.items():
            intent = replace(
                self._state.open[row], image_task_id=task.id, submitted_at=task.created_at or self._state.open[row].at
            )
            self._log.info("Row %s: the service has it as image task %s.", row, task.id)
            self._state.opened(intent)
            self._follow(intent, task)
        for row in found.never_taken:
            self._same.add(row)
            self._state.renewed(row)
        for row, error in found.unknown.items():
            if self._settings.resubmits_unknown:
                self._log.warning("Row %s: %s It is submitted again (on_unknown_outcome).", row, error.message)
                self._state.renewed(row)
            else:
                self._end(row, error, image_task_id=None)

    def _end_what_is_overdue(self) -> None:
        limit = time.time() - self._settings.timeout
        overdue = [
            intent
            for row in self._running
            if (intent := self._state.open.get(row)) and (intent.submitted_at or intent.at) < limit
        ]
        for intent in overdue:
            error = ImageTaskTimeoutError(
                f"It is not finished {self._settings.timeout:.0f} s after its submission. It goes on at the service: "
                "it may still finish, and be billed",
                image_task_id=intent.image_task_id,
                service=self._settings.service.name,
                retry_advice="Clear waits for it again.",
            )
            self._end(intent.index, error, image_task_id=intent.image_task_id)

    async def _keep_up(self) -> None:
        """Write outcomes down and say how far it is, now and then."""
        now = time.time()
        if self._records.unwritten >= FLUSH_ROWS or (
            self._records.unwritten and now - self._flushed_at >= FLUSH_SECONDS
        ):
            self._flushed_at = now
            await asyncio.to_thread(self._records.flush)
        if now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            await asyncio.to_thread(self._report, self._state.counts)

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(0.5):
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

    # What becomes of a row.

    def _key(self, intent: Intent) -> str:
        slot = replace(self._settings.slot, item_index=intent.index)
        return slot.identity(self._records.life.generation, intent.attempt)

    def _follow(self, intent: Intent, task: ImageTask) -> None:
        self._questions.add(intent.index, intent.image_task_id or task.id, intent.submitted_at or intent.at)
        if task.state.is_final:
            self._read(intent.index, task)

    def _read(self, row: int, task: ImageTask) -> None:
        """Act on what the service says of a row's image task."""
        intent = self._state.open.get(row)
        if intent is None:
            return
        if task.state.is_final and task.error is None:
            self._questions.drop(row)
            self._delivering.add(row)
            # The service is done with it, so that its place is free.
            self._state.delivering(row)
            self._spawn(self._deliver(row, task))
        elif task.error is not None:
            self._end_or_repeat(row, task.error, image_task_id=task.id)
        elif task.is_lost(intent.submitted_at or intent.at, time.time()):
            error = failure(task, service=self._settings.service, conn_id=self._settings.account.conn_id)
            self._end_or_repeat(row, error or ImageTaskNotFoundError("It is not there"), image_task_id=task.id)
        else:
            self._running.add(row)
        self._news.set()

    def _end_unread(self, row: int, error: ImageTaskError) -> None:
        intent = self._state.open.get(row)
        self._end(row, error, image_task_id=intent.image_task_id if intent else None)

    async def _deliver(self, row: int, task: ImageTask) -> None:
        try:
            line = self._requests.line(row)
            pattern = pattern_for_row(self._settings.filename, row=row, row_id=line.get("id"))
            stored = await self._store.store(task, pattern, may_be_there=row not in self._fresh)
        finally:
            self._delivering.discard(row)
        problems = [result for result in stored if isinstance(result, DownloadError)]
        files = [result.as_xcom() for result in stored if isinstance(result, DownloadedFile)]
        if problems:
            self._end_or_repeat(row, problems[0], image_task_id=task.id)
            return
        request = frozen_row(line).request
        if len(files) < request.image_count:
            self._log.warning("Row %s has %s of %s pictures.", row, len(files), request.image_count)
        request = replace(request, model=request.model or task.model)
        price = price_of(self._settings.service.name, request, self._settings.prices)
        cost = price * len(files) if price is not None else None
        self._note(outcome_row(line, image_task_id=task.id, files=files, usage=task.usage, cost=cost))

    def _end_or_repeat(self, row: int, error: ImageTaskError, *, image_task_id: str | None) -> None:
        """Submit a row again where its failure cost nothing and may not come again, else end it."""
        fresh_start = row in self._state.else_submit and isinstance(error, ImageTaskNotFoundError | UnsafeResultError)
        self._tries[row] += 1
        may_help = error.retryable or type(error).__name__ == "ImageTaskFailedError"
        unpaid = error.billed == "no" and may_help and self._tries[row] < self._settings.row_attempts
        if fresh_start or (unpaid and self._stopped is None):
            self._log.info("Row %s is submitted again: %s", row, error.message)
            self._forget(row)
            self._state.renewed(row)
        else:
            self._end(row, error, image_task_id=image_task_id)

    def _end(self, row: int, error: ImageTaskError, *, image_task_id: str | None) -> None:
        self._note(outcome_row(self._requests.line(row), image_task_id=image_task_id, error=error))

    def _note(self, outcome: dict[str, Any]) -> None:
        row = outcome["index"]
        self._forget(row)
        self._tries.pop(row, None)
        self._records.note(outcome)
        self._last_end = time.time()
        self._news.set()

    def _forget(self, row: int) -> None:
        self._questions.drop(row)
        self._fresh.discard(row)
        self._running.discard(row)
