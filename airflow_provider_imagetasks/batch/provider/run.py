"""Run of a batch whose rows go out as a provider's own batches: each is moved on here from one step to the next."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.provider.questions import BatchAnswered, ProviderQuestions, WaitingRow
from airflow_provider_imagetasks.batch.provider.result_lines import refusal_of_row
from airflow_provider_imagetasks.batch.provider.results import ProviderResults, Room
from airflow_provider_imagetasks.batch.provider.searches import ProviderSearches
from airflow_provider_imagetasks.batch.provider.submissions import ProviderSubmissions, UnansweredCreation
from airflow_provider_imagetasks.batch.row_deliveries import deliver
from airflow_provider_imagetasks.batch.row_outcomes import RowOutcomes
from airflow_provider_imagetasks.batch.row_questions import Answered
from airflow_provider_imagetasks.batch.row_searches import Found
from airflow_provider_imagetasks.batch.row_submissions import Refused
from airflow_provider_imagetasks.batch.run_loop import RunLoop
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.exceptions import ImageTaskError, RateLimitError
from airflow_provider_imagetasks.polling.batch_wait import Counts
from airflow_provider_imagetasks.services.provider_batches import ProviderBatch, ProviderBatches, place_of
from airflow_provider_imagetasks.tasks import ImageTask, TaskState

MOST = 20
"""Rows of which the log is told the same."""


class ProviderBatchRun(RunLoop):
    """One start in a worker of a batch that goes out in files.

    :param batches: the service's.
    :param scratch: a local folder, for files of requests.
    :param over: the provider batches that are said to be over, so that others, which were asked for a moment ago, are
        not asked for at once.
    """

    def __init__(
        self,
        arguments: BatchArguments,
        batches: ProviderBatches,
        batch: OpenBatch,
        scratch: Path,
        *,
        report: Callable[[Counts], None],
        log: Any,
        ends_at: float | None = None,
        over: Any = None,
    ) -> None:
        super().__init__(arguments, batch, report=report, log=log, ends_at=ends_at)
        run = self._api.run
        self._batches = batches
        self._over = (
            frozenset(each for each in over if isinstance(each, str)) if isinstance(over, list) else frozenset()
        )
        self._submissions = ProviderSubmissions(arguments, batches, batch, run, scratch)
        self._searches = ProviderSearches(arguments, batches, batch, self._submissions, run, log)
        self._questions = ProviderQuestions(arguments, run, news=self._news, log=log)
        told = SparingLog(log)
        self._rows = RowOutcomes(arguments, batch, self._submissions, None, self._questions, news=self._news, log=told)
        self._room = Room()
        self._results = ProviderResults(arguments, batches, batch, self._api, room=self._room, log=log)
        self._delivering: set[str] = set()
        self._asked_all_at = 0.0
        self._lacks_money = False
        self._waits_for_end = False
        """Whether the service takes no more until a provider batch ends."""

    @property
    def unfinished(self) -> Sequence[str]:
        """The provider batches that are waited for."""
        return self._questions.batch_ids

    @property
    def _is_delivering(self) -> bool:
        return bool(self._delivering)

    def _begin(self) -> None:
        if self._ledger.stopped is not None:
            self._rows.stop(self._ledger.stopped)
        for row, intent in self._state.open.items():
            if intent.image_task_id:
                self._questions.add(row, intent.image_task_id, intent.since)
        # The start that this one replaced may still look, and let go what it was about to create.
        leaves_by = time.time() + self._limits.look
        for segment, intents in self._ledger.unanswered.items():
            # Whoever gave them up before a Clear has waited for them already.
            is_old = self._state.else_submit.issuperset(intent.index for intent in intents)
            self._searches.add(segment, intents, 0.0 if is_old else leaves_by)
        self._questions.ask_now(self._over)
        self._asked_all_at = time.time()

    def _begin_what_is_due(self) -> None:
        if not self._submissions.under_way:
            self._submit_what_is_new()
        if self._searches.is_due():
            self._spawn(self._look())
        self._questions.start()
        for answered in self._questions.outcomes():
            self._answered(answered)
        self._rows.end_overdue()

    def _is_idle(self) -> bool:
        is_busy = self._submissions.under_way or self._delivering or len(self._searches)
        if not self._arguments.defers or is_busy or not self._state.open:
            return False
        if self._state.has_new and not (self._lacks_money or self._waits_for_end):
            return False
        if not self._questions.is_answered_since(self._asked_all_at):
            return False
        # A trigger would call the next start for these at once.
        self._rows.end_overdue(at_once=True)
        return bool(self._state.open)

    def _next_at(self) -> float | None:
        moments = [each for each in (self._questions.next_at(), self._searches.next_at()) if each is not None]
        return min(moments, default=None)

    def _stop_submitting(self) -> None:
        self._submissions.stop()

    async def _stop_asking(self) -> None:
        await self._questions.stop()

    def _submit_what_is_new(self) -> None:
        if self._rows.stopped is not None:
            self._rows.write_off_new()
            return
        self._waits_for_end = self._waits_for_end and bool(self._questions.batch_ids)
        # What fails without a bill in what is being delivered goes out with all of its kind, and not row by row.
        if not self._state.has_new or self._delivering or self._waits_for_end or self._submissions.is_stopped:
            return
        (first,) = self._state.next_intents(1, time.time())
        problem = self._ledger.spending.problem(first) or self._submissions.problem
        self._lacks_money = problem is not None
        if problem is None:
            # At once, since the next round must not begin it again.
            self._submissions.under_way = True
            self._spawn(self._submit())
        elif not self._state.open:
            # Before, what is still open may turn out to cost nothing.
            self._rows.stop(problem)

    async def _submit(self) -> None:
        async with aclosing(self._submissions.submit_new()) as outcomes:
            async for outcome in outcomes:
                if isinstance(outcome, UnansweredCreation):
                    reason = outcome.error.message.rstrip(".")
                    self._log.warning("%s. Looking up whether the provider batch was created.", reason)
                    self._searches.add(outcome.segment, outcome.intents, time.time(), outcome.error)
                else:
                    self._rows.act(outcome)

    async def _look(self) -> None:
        outcomes = await self._searches.look()
        never_created = [each for each in outcomes if isinstance(each, Refused) and each.error.billed == "no"]
        await self._submissions.give_back([each.intent for each in never_created])
        for outcome in outcomes:
            self._rows.act(outcome)
        if any(isinstance(outcome, Found) for outcome in outcomes):
            # It may be over, or its time may.
            self._questions.ask_all_now()
            self._asked_all_at = time.time()

    def _answered(self, answered: BatchAnswered) -> None:
        batch_id, task, now = answered.batch_id, answered.task, time.time()
        waiting = self._questions.rows_of(batch_id)
        since = max((each.submitted_at for each in waiting.values()), default=now)
        if task.is_lost(since, now):
            for row, each in dict(waiting).items():
                lost = ImageTask(id=each.image_task_id, service=task.service, state=task.state, has_record=False)
                self._rows.act(Answered(row, lost))
            return
        if not task.state.is_final:
            return
        rows, batch = self._questions.close(batch_id), self._batches.batch_of(task)
        self._waits_for_end = False
        self._delivering.add(batch_id)
        if batch.was_refused:
            self._spawn(self._refuse(batch, rows))
            return
        self._log.info("Provider batch %s is over: %s.", batch_id, task.raw_state)
        self._spawn(self._deliver(batch, rows))

    async def _refuse(self, batch: ProviderBatch, rows: Mapping[int, WaitingRow]) -> None:
        told = batch.errors[0]
        named = [row for row, each in rows.items() if place_of(each.image_task_id) == (batch.id, told.line)]
        of_row = f" because of row {named[0]}" if named else ""
        self._log.error("Provider batch %s was refused%s: %s", batch.id, of_row, told.error.message)
        self._waits_for_end = any(isinstance(each.error, RateLimitError) for each in batch.errors)
        await self._submissions.give_back([self._state.open[row] for row in rows if row in self._state.open])
        for row, waiting in rows.items():
            place = place_of(waiting.image_task_id)
            error = refusal_of_row(batch, place[1] if place else 0, self._arguments.service)
            self._rows.act(Answered(row, self._failed(waiting, error)))
        self._delivering.discard(batch.id)
        self._news.set()

    async def _deliver(self, batch: ProviderBatch, rows: Mapping[int, WaitingRow]) -> None:
        deliveries: set[asyncio.Task[None]] = set()
        problems: list[BaseException] = []
        unbilled: list[Intent] = []

        def is_done(delivery: asyncio.Task[None]) -> None:
            deliveries.discard(delivery)
            if not delivery.cancelled() and (problem := delivery.exception()):
                problems.append(problem)

        try:
            async with aclosing(self._results.of(batch, rows)) as results:
                async for result in results:
                    error, intent = result.outcome.task.error, self._state.open.get(result.outcome.row)
                    if intent is not None and error is not None and error.billed == "no":
                        unbilled.append(intent)
                    is_ended = bool(problems) or self._error is not None or self.is_out_of_time
                    ready = None if is_ended else self._rows.act(result.outcome)
                    if ready is None:
                        self._room.free(result.room)
                    else:
                        delivery = asyncio.create_task(self._deliver_row(ready, result.room))
                        deliveries.add(delivery)
                        delivery.add_done_callback(is_done)
                    # The picture in it is the delivery's, until that is over.
                    del result, ready
                    if is_ended:
                        break
        except asyncio.CancelledError:
            for delivery in deliveries:
                delivery.cancel()
            raise
        finally:
            while deliveries:
                await asyncio.wait(deliveries)
            await self._submissions.give_back(unbilled)
            self._delivering.discard(batch.id)
        if problems:
            raise problems[0]

    async def _deliver_row(self, ready: Answered, room: int) -> None:
        known = (self._arguments, self._batch.requests, self._store, self._api.run)
        is_old = ready.row not in self._state.fresh
        try:
            outcome = await deliver(ready.row, ready.task, *known, may_be_there=is_old, log=self._log)
        finally:
            self._room.free(room)
        self._rows.act(outcome)

    def _failed(self, waiting: WaitingRow, error: ImageTaskError) -> ImageTask:
        service = self._arguments.service.name
        return ImageTask(id=waiting.image_task_id, service=service, state=TaskState.FAILED, error=error)


class SparingLog:
    """A logger that passes on only the first lines of each kind.

    :param log: that they are passed on to.
    """

    def __init__(self, log: Any) -> None:
        self._log = log
        self._told = Counter[str]()

    def info(self, text: str, *arguments: Any) -> None:
        """Log an information, if it is among the first of its kind."""
        if self._is_new(text):
            self._log.info(text, *arguments)

    def warning(self, text: str, *arguments: Any) -> None:
        """Log a warning, likewise."""
        if self._is_new(text):
            self._log.warning(text, *arguments)

    def error(self, text: str, *arguments: Any) -> None:
        """Log an error, likewise."""
        if self._is_new(text):
            self._log.error(text, *arguments)

    def _is_new(self, text: str) -> bool:
        self._told[text] += 1
        if self._told[text] == MOST + 1:
            self._log.info("Further rows with the same message are not listed here; the manifest has all of them.")
        return self._told[text] <= MOST
