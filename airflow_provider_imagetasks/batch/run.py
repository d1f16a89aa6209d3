"""Run of a batch in a worker: every row is moved on here, by the outcomes that the parts return, on one event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

from airflow_provider_imagetasks.batch import row_decisions, row_deliveries, row_questions, row_submissions
from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.manifest import outcome_row
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.exceptions import DownloadError, ImageTaskError
from airflow_provider_imagetasks.files.picture_store import PictureStore
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.polling.batch_wait import Counts
from airflow_provider_imagetasks.polling.status_requests import concerns_account
from airflow_provider_imagetasks.tasks import ImageTask
from airflow_provider_imagetasks.transports import open_async_transport

RowOutcome = row_submissions.Submitted | row_submissions.Searched | row_questions.Answered | row_deliveries.Delivery
STOPPED_ROWS = 1000
"""Rows that are written off at a time once nothing more is submitted."""
_LONGEST_SLEEP = 0.5


class BatchRun:
    """One start of a batch in a worker.

    :param batch: open.
    :param report: told every few seconds how far it is; may block for a moment.
    """

    def __init__(
        self, arguments: BatchArguments, batch: OpenBatch, *, report: Callable[[Counts], None], log: Any
    ) -> None:
        self._arguments = arguments
        self._limits = arguments.limits
        self._resubmits_unknown = arguments.resubmits_unknown
        self._batch = batch
        self._ledger = batch.ledger
        self._state = batch.ledger.state
        self._report = report
        self._log = log
        self._news = asyncio.Event()
        self._api = open_async_transport(arguments.account)
        self._store = PictureStore(batch.folder.pictures, arguments.account)
        run = self._api.run
        self._submissions = row_submissions.RowSubmissions(arguments, batch, run)
        self._unanswered = row_submissions.UnansweredSubmissions(arguments.service, self._limits.not_found_grace, run)
        self._questions = row_questions.RowQuestions(arguments, run, news=self._news, log=log)
        self._delivering: set[int] = set()
        self._stopped: ImageTaskError | None = None
        """Why nothing more is submitted: no key, no balance or no budget, which holds for every further row too."""
        self._error: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked_all_at: float | None = None
        self._ended_at = self._reported_at = self._flushed_at = time.time()

    async def run(self) -> bool:
        """Work until every row is over, or nothing is left to do but to wait.

        :returns: whether the batch is over.
        :raises ImageTaskError: the service cannot be asked, or the ledger not be written; a later start goes on.
        """
        async with self._api, self._store:
            try:
                self._begin()
                while self._error is None and (self._delivering or not self._state.is_over):
                    self._submit_what_fits()
                    if self._unanswered.is_due():
                        known = self._ledger.known_taken
                        self._spawn(self._look(self._unanswered.look(self._batch.key_of(known) if known else None)))
                    self._ask()
                    await self._keep_up()
                    if self._is_idle():
                        break
                    await self._sleep()
            finally:
                self._submissions.stop()
                await self._questions.stop()
                # What is being submitted is paid for: its ids are worth the wait.
                while self._tasks:
                    await asyncio.gather(*self._tasks, return_exceptions=True)
                await asyncio.to_thread(self._ledger.flush)
        if self._error is not None:
            raise self._error
        return self._state.is_over and not self._delivering

    def _begin(self) -> None:
        """Go on with what earlier starts left open."""
        if self._ledger.stopped is not None:
            self._stop(self._ledger.stopped)
        # The start that this one replaced may still look, and let go what it was about to submit.
        leaves_by = time.time() + self._limits.look
        for row, intent in self._state.open.items():
            if intent.image_task_id:
                self._questions.add(row, intent.image_task_id, intent.since)
            else:
                self._unanswered.add(intent, self._batch.key_of(intent), leaves_by)
        self._questions.ask_all_now()
        self._asked_all_at = None if self._state.has_new else time.time()

    def _is_idle(self) -> bool:
        """Whether the triggerer can take over: all is submitted and was asked for, or nothing has ended for a while."""
        is_busy = self._submissions.under_way or self._delivering or len(self._unanswered)
        if not self._arguments.defers or is_busy or not self._state.open:
            return False
        if self._state.has_new:
            self._asked_all_at = None
            return time.time() - self._ended_at >= self._limits.idle
        if self._asked_all_at is None:
            self._questions.ask_all_now()
            self._asked_all_at = time.time()
            return False
        if not self._questions.is_answered_since(self._asked_all_at):
            return False
        # A trigger would call the next start for these at once.
        self._end_overdue(at_once=True)
        return bool(self._state.open)

    def _submit_what_fits(self) -> None:
        if self._stopped is not None:
            for row in self._state.next_new(STOPPED_ROWS):
                repeated = self._state.repeated.get(row)
                never_taken = repeated is not None and repeated.billed == "no"
                self._end(row, repeated or self._stopped, None, never_taken=never_taken)
            return
        while most := self._submissions.next_group(self._places()):
            intents, problem = self._ledger.spending.affordable(self._state.next_intents(most, time.time()))
            if problem is not None and not (intents or self._state.open or self._delivering):
                # Before, what is still open may turn out to cost nothing.
                self._stop(problem)
            if not intents:
                return
            for intent in intents:
                self._state.submitted(intent)
            self._spawn(self._submit(self._submissions.submit(intents)))

    def _places(self) -> int:
        """Return how many more rows may run at the service, and still be carried by a trigger."""
        most = min(self._arguments.most_active, self._limits.window - len(self._delivering))
        return most - len(self._state.open)

    def _ask(self) -> None:
        self._questions.start()
        for outcome in self._questions.outcomes():
            self._act(outcome)
        self._end_overdue()

    def _end_overdue(self, *, at_once: bool = False) -> None:
        for late in self._questions.overdue(self._arguments.timeout, at_once=at_once):
            timeout, service = self._arguments.timeout, self._arguments.service
            error = row_decisions.timeout_error(late.image_task_id, timeout, service, late.unread)
            is_unread = late.unread is not None or not late.was_asked
            self._end(late.row, error, image_task_id=late.image_task_id, unread=is_unread)

    async def _keep_up(self) -> None:
        """Write outcomes down and say how far it is, now and then."""
        now, unwritten = time.time(), self._ledger.unwritten
        if unwritten >= self._limits.flush_rows or (unwritten and now - self._flushed_at >= self._limits.flush):
            self._flushed_at = now
            await asyncio.to_thread(self._ledger.flush)
        if now - self._reported_at >= self._limits.report:
            self._reported_at = now
            await asyncio.to_thread(self._report, self._state.counts)

    async def _sleep(self) -> None:
        """Wait for news, or until the next question is due."""
        due = self._questions.next_at()
        seconds = _LONGEST_SLEEP if due is None else min(_LONGEST_SLEEP, max(0.0, due - time.time()))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._is_done)

    def _is_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._error is None:
            self._error = error
            self._submissions.stop()
        self._news.set()

    async def _submit(self, group: AsyncGenerator[row_submissions.Submitted, None]) -> None:
        async with aclosing(group) as outcomes:
            async for outcome in outcomes:
                self._act(outcome)

    async def _look(self, search: Awaitable[list[row_submissions.Searched]]) -> None:
        for outcome in await search:
            self._act(outcome)

    async def _deliver(self, row: int, task: ImageTask) -> None:
        known = (self._arguments, self._batch.requests, self._store)
        is_old = row not in self._state.fresh
        try:
            outcome = await row_deliveries.deliver(row, task, *known, may_be_there=is_old, log=self._log)
        finally:
            self._delivering.discard(row)
        self._act(outcome)

    def _act(self, outcome: RowOutcome) -> None:
        """Move a row on by what became of it."""
        self._news.set()
        match outcome:
            case row_submissions.Taken(intent, task):
                self._ledger.known_taken = intent
                self._state.fresh.add(intent.index)
                self._follow(intent, task)
            case row_submissions.Refused(intent, error):
                if intent.is_repetition and intent.taken and error.billed == "no":
                    if concerns_account(error):
                        self._stop(error)
                    self._repeat_or_end(intent, self._unknown(intent))
                else:
                    self._end_or_repeat(intent.index, error, image_task_id=intent.image_task_id)
            case row_submissions.Withheld(intent):
                if not intent.is_repetition:
                    self._ledger.spending.not_billed(intent.index)
                self._state.withheld(intent)
            case row_submissions.Unanswered(intent, error):
                looks = " Whether it was taken is looked up there." if self._arguments.service.finds_by_trace_id else ""
                reason = getattr(error, "reason", None) or error.message.rstrip(".")
                self._log.warning("Row %s: %s.%s", intent.index, reason, looks)
                self._unanswered.add(intent, self._batch.key_of(intent), time.time(), error)
            case row_submissions.Found(intent, task):
                self._log.info("Row %s: the service has it as image task %s.", intent.index, task.id)
                metrics.submitted(self._arguments.service.name)
                self._asked_all_at = None  # Its time may be over: a trigger would hand it back at once, for ever.
                self._follow(intent, task)
            case row_submissions.NeverTaken(intent, error):
                self._repeat_or_end(intent, error)
            case row_submissions.Unknown(intent) if self._resubmits_unknown and self._may_repeat(intent.index):
                self._log.warning("Row %s is submitted again: %s", intent.index, outcome.error.message)
                self._state.renewed(intent.index, unsettled=intent)
            case row_submissions.Unknown(intent, error):
                self._log.warning("Row %s: %s", intent.index, error.message)
                metrics.not_submitted(self._arguments.service.name, error)
                self._end(intent.index, error, image_task_id=None)
            case row_questions.Answered(row, task):
                self._answered(row, task)
            case row_deliveries.Delivered():
                self._note(outcome.outcome, outcome.count)
            case row_deliveries.Undelivered(row, task, error):
                self._end_or_repeat(row, error, image_task_id=task.id)

    def _follow(self, intent: Intent, task: ImageTask) -> None:
        """Ask for a row's image task from now on, or act on what it came to at once."""
        self._state.opened(intent)
        self._questions.add(intent.index, task.id, intent.since)
        if task.state.is_final:
            self._answered(intent.index, task)

    def _answered(self, row: int, task: ImageTask) -> None:
        intent = self._state.open.get(row)
        if intent is None:
            return
        service, conn_id = self._arguments.service, self._arguments.account.conn_id
        error = row_decisions.error_of_answer(
            task, submitted_at=intent.since, now=time.time(), service=service, conn_id=conn_id
        )
        if error is not None:
            self._end_or_repeat(row, error, image_task_id=task.id)
        elif task.state.is_final:
            self._questions.drop(row)
            self._delivering.add(row)
            # The service is done with it, so that its place is free.
            self._state.delivering(row)
            self._spawn(self._deliver(row, task))

    def _end_or_repeat(self, row: int, error: ImageTaskError, *, image_task_id: str | None) -> None:
        if concerns_account(error):
            # Also where only the image task's record tells of it.
            self._stop(error)
        if error.billed == "no":
            self._ledger.spending.not_billed(row)
        if self._stopped is None and row_decisions.is_submitted_again(
            row_decisions.Failure.of_error(error, image_task_id),
            submissions=self._state.submissions[row],
            row_attempts=self._arguments.row_attempts,
            may_pay_again=row in self._state.else_submit,
        ):
            money = "was not billed" if error.billed == "no" else "may have been billed"
            self._log.info("Row %s is submitted again; its last submission %s: %s", row, money, error.message)
            self._questions.drop(row)
            self._state.renewed(row, is_unbilled=error.billed == "no")
        else:
            self._end(row, error, image_task_id=image_task_id)

    def _unknown(self, intent: Intent) -> ImageTaskError:
        return row_submissions.unknown_outcome(intent, self._batch.key_of(intent), self._arguments.service)

    def _may_repeat(self, row: int) -> bool:
        return self._stopped is None and self._state.submissions[row] < self._arguments.row_attempts

    def _repeat_or_end(self, intent: Intent, error: ImageTaskError) -> None:
        """Make a submission over again, under its key, or fail the row with ``error`` where it may not be."""
        if error.billed == "no":
            self._ledger.spending.not_billed(intent.index)
        if self._may_repeat(intent.index):
            is_free = "was not taken" if error.billed == "no" else "has a key, by which the service charges it once"
            self._log.info("Row %s %s: it is submitted again.", intent.index, is_free)
            self._state.renewed(intent.index, repeated=error, unsettled=intent if error.billed != "no" else None)
        else:
            self._end(intent.index, error, image_task_id=None, never_taken=error.billed == "no")

    def _end(
        self,
        row: int,
        error: ImageTaskError,
        image_task_id: str | None,
        unread: bool = False,
        never_taken: bool = False,
    ) -> None:
        if error.billed == "no" and row in self._state.unsettled:
            # What ends it cost nothing, and what was submitted before that may have.
            error, never_taken = self._unknown(self._state.unsettled[row]), False
        line = self._batch.requests.line(row)
        outcome = outcome_row(line, image_task_id=image_task_id, error=error, unread=unread, never_taken=never_taken)
        # One that was never submitted was counted as refused; one that cannot be stored has not failed.
        has_failed = image_task_id is not None and not isinstance(error, DownloadError)
        self._note(outcome, partial(metrics.failed, self._arguments.service.name, error) if has_failed else None)

    def _note(self, outcome: dict[str, Any], count: Callable[[], None] | None) -> None:
        self._questions.drop(outcome["index"])
        self._ledger.note(outcome, count)
        self._ended_at = time.time()
        self._news.set()

    def _stop(self, error: ImageTaskError) -> None:
        """Have nothing more submitted, for a reason that every such row is told."""
        if self._stopped is None:
            self._stopped = error
            self._submissions.stop()
            self._log.error("Nothing more is submitted: %s", error)
            self._news.set()
