"""Run of a batch whose rows go out one by one: each is moved on here from one step to the next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.row_deliveries import deliver
from airflow_provider_imagetasks.batch.row_outcomes import RowOutcome, RowOutcomes
from airflow_provider_imagetasks.batch.row_questions import RowQuestions
from airflow_provider_imagetasks.batch.row_searches import Found, NeverTaken, Searched, UnansweredSubmissions
from airflow_provider_imagetasks.batch.row_submissions import RowSubmissions, Submitted
from airflow_provider_imagetasks.batch.run_loop import RunLoop
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.polling.batch_wait import Counts
from airflow_provider_imagetasks.tasks import ImageTask

MOST_HELD = 16 * 1024 * 1024
"""Characters of pictures that came inside records and are not stored yet: beyond this no further request is made."""


class BatchRun(RunLoop):
    """One start in a worker of a batch whose rows go out one by one."""

    def __init__(
        self,
        arguments: BatchArguments,
        batch: OpenBatch,
        *,
        report: Callable[[Counts], None],
        log: Any,
        ends_at: float | None = None,
    ) -> None:
        super().__init__(arguments, batch, report=report, log=log, ends_at=ends_at)
        run = self._api.run
        self._submissions = RowSubmissions(arguments, batch, run)
        self._unanswered = UnansweredSubmissions(
            arguments.service, self._limits.not_found_grace, run, conn_id=arguments.account.conn_id
        )
        self._questions = RowQuestions(arguments, run, news=self._news, log=log)
        self._rows = RowOutcomes(
            arguments, batch, self._submissions, self._unanswered, self._questions, news=self._news, log=log
        )
        self._delivering: set[int] = set()
        self._held = 0
        self._groups: set[asyncio.Task[None]] = set()
        """Those that submit."""
        self._asked_all_at: float | None = None

    @property
    def unfinished(self) -> Sequence[str]:
        """The image tasks that are waited for."""
        return self._state.open_ids

    @property
    def _is_delivering(self) -> bool:
        return bool(self._delivering)

    def _begin(self) -> None:
        if self._ledger.stopped is not None:
            self._rows.stop(self._ledger.stopped)
        # The start that this one replaced may still look, and let go what it was about to submit.
        leaves_by = time.time() + self._limits.look
        for row, intent in self._state.open.items():
            if intent.image_task_id:
                self._questions.add(row, intent.image_task_id, intent.since)
            else:
                api = self._batch.requests.api(row, self._arguments)
                # Whoever gave it up before a Clear has waited for it already.
                self._unanswered.add(
                    intent,
                    self._batch.key_of(intent),
                    0.0 if row in self._state.else_submit else leaves_by,
                    api=api,
                    first_at=self._state.first_at(row),
                    has_other_account=row in self._ledger.of_other_account,
                )
        self._questions.ask_all_now()
        self._asked_all_at = None if self._state.has_new else time.time()

    def _begin_what_is_due(self) -> None:
        self._submit_what_fits()
        if self._unanswered.is_due():
            known = {api: self._batch.key_of(one) for api, one in self._ledger.known_taken.items()}
            self._spawn(self._look(self._unanswered.look(known)))
        if not self._holds_enough:
            self._questions.start()
        for outcome in self._questions.outcomes():
            self._act(outcome)
        self._rows.end_overdue()

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

    def _next_at(self) -> float | None:
        return None if self._holds_enough else self._questions.next_at()

    @property
    def _holds_enough(self) -> bool:
        """Whether pictures have to be stored before others are read: some records hold theirs."""
        return self._held >= MOST_HELD

    def _stop_submitting(self) -> None:
        self._submissions.stop()

    async def _stop_asking(self) -> None:
        await self._questions.stop()

    def _abandon(self) -> set[asyncio.Task[None]]:
        self._submissions.abandon()
        return self._groups

    async def _submit(self, group: AsyncGenerator[Submitted, None]) -> None:
        async with aclosing(group) as outcomes:
            async for outcome in outcomes:
                self._act(outcome)

    async def _look(self, search: Awaitable[list[Searched]]) -> None:
        outcomes = await search
        found = [outcome for outcome in outcomes if isinstance(outcome, Found)]
        if found:
            # Its time may be over: a trigger would hand it back at once, for ever.
            self._asked_all_at = None
            await asyncio.to_thread(self._ledger.found, [outcome.intent for outcome in found])
        never_taken = [each for each in outcomes if isinstance(each, NeverTaken) and each.error.billed == "no"]
        await self._submissions.searched(found, [each.intent for each in never_taken])
        for outcome in outcomes:
            self._act(outcome)

    async def _deliver(self, row: int, task: ImageTask, held: int) -> None:
        known = (self._arguments, self._batch.requests, self._store, self._api.run)
        is_old = row not in self._state.fresh
        try:
            outcome = await deliver(row, task, *known, may_be_there=is_old, log=self._log)
        finally:
            self._held -= held
            self._delivering.discard(row)
        self._act(outcome)

    def _act(self, outcome: RowOutcome) -> None:
        ready = self._rows.act(outcome)
        if ready is not None:
            held = sum(len(image.data or "") for image in ready.task.images)
            self._held += held
            self._delivering.add(ready.row)
            self._spawn(self._deliver(ready.row, ready.task, held), is_news=False)
