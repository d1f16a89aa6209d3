"""Run of a batch in a worker, on one event loop: what is due next is begun here, until nothing is."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.row_deliveries import deliver
from airflow_provider_imagetasks.batch.row_outcomes import RowOutcome, RowOutcomes
from airflow_provider_imagetasks.batch.row_questions import RowQuestions
from airflow_provider_imagetasks.batch.row_searches import Found, Searched, UnansweredSubmissions
from airflow_provider_imagetasks.batch.row_submissions import RowSubmissions, Submitted
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.files.picture_store import PictureStore
from airflow_provider_imagetasks.polling.batch_wait import Counts
from airflow_provider_imagetasks.tasks import ImageTask
from airflow_provider_imagetasks.transports import open_async_transport

_LONGEST_SLEEP = 0.5
_TIME_TO_END = 15.0
"""Seconds that a start with an end keeps for what is under way; a quarter where there is less."""
_TIME_TO_WRITE = 5.0
"""Seconds of those that it keeps to write down what is known."""


class BatchRun:
    """One start of a batch in a worker.

    :param batch: open.
    :param report: told every few seconds how far it is; may block for a moment.
    :param ends_at: Unix seconds by which it must have ended, as it is by then; None where it may take its time.
    """

    def __init__(
        self,
        arguments: BatchArguments,
        batch: OpenBatch,
        *,
        report: Callable[[Counts], None],
        log: Any,
        ends_at: float | None = None,
    ) -> None:
        self._arguments = arguments
        self._limits = arguments.limits
        self._batch = batch
        self._ledger = batch.ledger
        self._state = batch.ledger.state
        self._report = report
        self._log = log
        self._news = news = asyncio.Event()
        self._api = open_async_transport(arguments.account)
        self._store = PictureStore(batch.folder.pictures, arguments.account)
        run = self._api.run
        self._submissions = RowSubmissions(arguments, batch, run)
        self._unanswered = UnansweredSubmissions(
            arguments.service, self._limits.not_found_grace, run, conn_id=arguments.account.conn_id
        )
        self._questions = RowQuestions(arguments, run, news=news, log=log)
        self._rows = RowOutcomes(
            arguments, batch, self._submissions, self._unanswered, self._questions, news=news, log=log
        )
        self._delivering: set[int] = set()
        self._error: BaseException | None = None
        left = 0.0 if ends_at is None else max(0.0, ends_at - time.time())
        self._stops_at = None if ends_at is None else ends_at - min(_TIME_TO_END, left / 4)
        self._abandons_at = None if ends_at is None else ends_at - min(_TIME_TO_WRITE, left / 10)
        self._tasks: set[asyncio.Task[None]] = set()
        self._groups: set[asyncio.Task[None]] = set()
        """Those that submit."""
        self._asked_all_at: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reported_at = self._flushed_at = time.time()

    async def run(self) -> bool:
        """Work until every row is over, or nothing is left to do but to wait.

        :returns: whether the batch is over.
        :raises ImageTaskError: the service cannot be asked, or the ledger not be written; a later start goes on.
        """
        self._loop = asyncio.get_running_loop()
        async with self._api, self._store:
            try:
                self._begin()
                while self._goes_on():
                    self._submit_what_fits()
                    if self._unanswered.is_due():
                        known = {api: self._batch.key_of(one) for api, one in self._ledger.known_taken.items()}
                        self._spawn(self._look(self._unanswered.look(known)))
                    self._ask()
                    await self._keep_up()
                    if self._is_idle():
                        break
                    await self._sleep()
            finally:
                self._submissions.stop()
                await self._questions.stop()
                await self._end_tasks()
                await asyncio.to_thread(self._ledger.flush)
        if self._error is not None:
            raise self._error
        return self._state.is_over and not self._delivering

    @property
    def unfinished(self) -> Sequence[str]:
        """The image tasks that are waited for."""
        return self._state.open_ids

    @property
    def is_out_of_time(self) -> bool:
        """Whether its time is over, up to what it takes to end."""
        return self._stops_at is not None and time.time() >= self._stops_at

    def _goes_on(self) -> bool:
        return self._error is None and not self.is_out_of_time and bool(self._delivering or not self._state.is_over)

    async def _end_tasks(self) -> None:
        """Wait for what is under way; what there is no time for, a later start takes up."""
        # What is being submitted is paid for: its ids are worth the wait.
        while self._tasks and (self._abandons_at is None or time.time() < self._abandons_at):
            seconds = None if self._abandons_at is None else self._abandons_at - time.time()
            await asyncio.wait(self._tasks, timeout=seconds)
        self._submissions.abandon()
        for task in self._tasks - self._groups:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def end(self) -> None:
        """End the run, from another thread, because its Airflow task was ended: nothing more is submitted."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        what = "This task was ended: nothing more is submitted. A Clear goes on with what is left"
        self._error = self._error or ImageTaskError(what, service=self._arguments.service.name)
        self._submissions.stop()
        self._news.set()

    def _begin(self) -> None:
        """Go on with what earlier starts left open."""
        if self._ledger.stopped is not None:
            self._rows.stop(self._ledger.stopped)
        # The start that this one replaced may still look, and let go what it was about to submit.
        leaves_by = time.time() + self._limits.look
        for row, intent in self._state.open.items():
            if intent.image_task_id:
                self._questions.add(row, intent.image_task_id, intent.since)
            else:
                api = self._batch.requests.api(row, self._arguments)
                self._unanswered.add(
                    intent,
                    self._batch.key_of(intent),
                    leaves_by,
                    api=api,
                    first_at=self._state.first_at(row),
                    has_other_account=row in self._ledger.of_other_account,
                )
        self._questions.ask_all_now()
        self._asked_all_at = None if self._state.has_new else time.time()

    def _is_idle(self) -> bool:
        """Whether the triggerer can take over: all is submitted and was asked for, or nothing has ended for a while."""
        is_busy = self._submissions.under_way or self._delivering or len(self._unanswered)
        if not self._arguments.defers or is_busy or not self._state.open:
            return False
        if self._state.has_new:
            self._asked_all_at = None
            return time.time() - self._rows.ended_at >= self._limits.idle
        if self._asked_all_at is None:
            self._questions.ask_all_now()
            self._asked_all_at = time.time()
            return False
        if not self._questions.is_answered_since(self._asked_all_at):
            return False
        # A trigger would call the next start for these at once.
        self._rows.end_overdue(at_once=True)
        return bool(self._state.open)

    def _submit_what_fits(self) -> None:
        if self._rows.stopped is not None:
            self._rows.write_off_new()
            return
        while most := self._submissions.next_group(self._places()):
            intents, problem = self._ledger.spending.affordable(self._state.next_intents(most, time.time()))
            if problem is not None and not (intents or self._state.open or self._delivering):
                # Before, what is still open may turn out to cost nothing.
                self._rows.stop(problem)
            if not intents:
                return
            for intent in intents:
                self._state.submitted(intent)
            group = self._spawn(self._submit(self._submissions.submit(intents)))
            self._groups.add(group)
            group.add_done_callback(self._groups.discard)

    def _places(self) -> int:
        """Return how many more rows may run at the service, and still be carried by a trigger."""
        most = min(self._arguments.most_active, self._limits.window - len(self._delivering))
        return most - len(self._state.open)

    def _ask(self) -> None:
        self._questions.start()
        for outcome in self._questions.outcomes():
            self._act(outcome)
        self._rows.end_overdue()

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
        moments = (self._questions.next_at(), self._stops_at)
        due = min((moment for moment in moments if moment is not None), default=math.inf)
        seconds = min(_LONGEST_SLEEP, max(0.0, due - time.time()))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
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
            self._submissions.stop()
        self._news.set()

    async def _submit(self, group: AsyncGenerator[Submitted, None]) -> None:
        async with aclosing(group) as outcomes:
            async for outcome in outcomes:
                self._act(outcome)

    async def _look(self, search: Awaitable[list[Searched]]) -> None:
        outcomes = await search
        found = [outcome.intent for outcome in outcomes if isinstance(outcome, Found)]
        if found:
            # Its time may be over: a trigger would hand it back at once, for ever.
            self._asked_all_at = None
            await asyncio.to_thread(self._ledger.found, found)
        for outcome in outcomes:
            self._act(outcome)

    async def _deliver(self, row: int, task: ImageTask) -> None:
        known = (self._arguments, self._batch.requests, self._store, self._api.run)
        is_old = row not in self._state.fresh
        try:
            outcome = await deliver(row, task, *known, may_be_there=is_old, log=self._log)
        finally:
            self._delivering.discard(row)
        self._act(outcome)

    def _act(self, outcome: RowOutcome) -> None:
        ready = self._rows.act(outcome)
        if ready is not None:
            self._delivering.add(ready.row)
            self._spawn(self._deliver(ready.row, ready.task))
