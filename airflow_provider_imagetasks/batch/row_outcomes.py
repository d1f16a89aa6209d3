"""Outcomes of rows, acted on: each row is moved on here, to its next question, submission, delivery or end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from airflow_provider_imagetasks.batch import row_decisions
from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.manifest import outcome_row
from airflow_provider_imagetasks.batch.provider.questions import ProviderQuestions
from airflow_provider_imagetasks.batch.provider.submissions import ProviderSubmissions
from airflow_provider_imagetasks.batch.row_deliveries import Delivered, Delivery, Undelivered
from airflow_provider_imagetasks.batch.row_questions import Answered, RowQuestions
from airflow_provider_imagetasks.batch.row_searches import (
    Found,
    NeverTaken,
    Searched,
    UnansweredSubmissions,
    Unknown,
    unknown_outcome,
)
from airflow_provider_imagetasks.batch.row_submissions import (
    Refused,
    RowSubmissions,
    Submitted,
    Taken,
    Unanswered,
    Withheld,
)
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.exceptions import DownloadError, ImageTaskError, UnknownOutcomeError
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.tasks import ImageTask

RowOutcome: TypeAlias = Submitted | Searched | Answered | Delivery
STOPPED_ROWS = 1000
"""Rows that are written off at a time once nothing more is submitted."""


class RowOutcomes:
    """What becomes of the rows of one start of a batch.

    :param batch: open; its ledger is told of every end.
    :param submissions: stopped where an outcome says that nothing more may be submitted.
    :param unanswered: told of each submission whose answer did not come; None where rows are not submitted alone.
    :param questions: told what to ask for.
    :param news: set whenever a row was moved on.
    """

    def __init__(
        self,
        arguments: BatchArguments,
        batch: OpenBatch,
        submissions: RowSubmissions | ProviderSubmissions,
        unanswered: UnansweredSubmissions | None,
        questions: RowQuestions | ProviderQuestions,
        *,
        news: asyncio.Event,
        log: Any,
    ) -> None:
        self._arguments = arguments
        self._service = arguments.service
        self._batch = batch
        self._ledger = batch.ledger
        self._state = batch.ledger.state
        self._submissions = submissions
        self._unanswered = unanswered
        self._questions = questions
        self._news = news
        self._log = log
        self.stopped: ImageTaskError | None = None
        """Why nothing more is submitted: no key, no balance or no budget, which holds for every further row too."""
        self.ended_at = time.time()
        """Unix seconds when a row was over last."""

    def stop(self, error: ImageTaskError) -> None:
        """Have nothing more submitted, for a reason that every such row is told."""
        if self.stopped is None:
            self.stopped = error
            self._submissions.stop()
            self._log.error("Nothing more is submitted: %s", error)
            self._news.set()

    def write_off_new(self) -> None:
        """End rows that are not submitted, once nothing more is."""
        assert self.stopped is not None
        for row in self._state.next_new(STOPPED_ROWS):
            repeated = self._state.repeated.get(row)
            never_taken = repeated is not None and repeated.billed == "no"
            self._end(row, repeated or self.stopped, None, never_taken=never_taken)

    def end_overdue(self, *, at_once: bool = False) -> None:
        """End rows that ran out of time, however they stand at the service."""
        timeout = self._arguments.timeout
        for late in self._questions.overdue(timeout, at_once=at_once):
            error = row_decisions.timeout_error(late.image_task_id, timeout, self._service, late.unread, late.told)
            is_unread = late.unread is not None or not late.was_asked
            self._end(late.row, error, image_task_id=late.image_task_id, unread=is_unread)

    def act(self, outcome: RowOutcome) -> Answered | None:
        """Move a row on by what became of it.

        :returns: its finished image task where its pictures are to be fetched now.
        """
        self._news.set()
        match outcome:
            case Taken(intent, task):
                self._ledger.note_taken(intent)
                self._state.fresh.add(intent.index)
                return self._follow(intent, task)
            case Refused(intent, error):
                if intent.is_repetition and intent.taken and error.billed == "no":
                    if error.concerns_account:
                        self.stop(error)
                    self._repeat_or_end(intent, self._unknown(intent))
                else:
                    self._end_or_repeat(intent.index, error, image_task_id=intent.image_task_id)
            case Withheld(intent):
                if not intent.is_repetition:
                    self._ledger.spending.not_billed(intent.index)
                self._state.withheld(intent)
            case Unanswered(intent, error) if self._unanswered is not None:
                looks = " Looking up there whether it was accepted." if self._service.finds_by_trace_id else ""
                reason = getattr(error, "reason", None) or error.message.rstrip(".")
                self._log.warning("Row %s: %s.%s", intent.index, reason, looks)
                api = self._batch.requests.api(intent.index, self._arguments)
                first_at = self._state.first_at(intent.index)
                self._unanswered.add(intent, self._batch.key_of(intent), time.time(), error, api=api, first_at=first_at)
            case Found(intent, task):
                self._log.info("Row %s: found at the service as image task %s.", intent.index, task.id)
                metrics.submitted(self._service.name)
                return self._follow(intent, task)
            case NeverTaken(intent, error):
                self._repeat_or_end(intent, error)
            case Unknown(intent, error) if intent.index in self._state.else_submit and self.stopped is None:
                why = "Row %s is submitted again, since the task was cleared and nobody knows what came of it: %s"
                self._log.info(why, intent.index, error.message)
                self._state.renewed(intent.index)
            case Unknown(intent) if self._arguments.resubmits_unknown and self._may_repeat(intent.index):
                self._log.warning("Row %s is submitted again: %s", intent.index, outcome.error.message)
                self._state.renewed(intent.index, unsettled=intent)
            case Unknown(intent, error):
                self._log.warning("Row %s: %s", intent.index, error.message)
                metrics.not_submitted(self._service.name, error)
                self._end(intent.index, error, image_task_id=None)
            case Answered():
                return self._answered(outcome)
            case Delivered():
                self._note(outcome.outcome, outcome.count)
            case Undelivered(row, task, error):
                self._end_or_repeat(row, error, image_task_id=task.id)
        return None

    def _follow(self, intent: Intent, task: ImageTask) -> Answered | None:
        """Ask for a row's image task from now on, or act on what it came to at once."""
        self._state.opened(intent)
        self._questions.add(intent.index, task.id, intent.since)
        return self._answered(Answered(intent.index, task)) if task.state.is_final else None

    def _answered(self, answer: Answered) -> Answered | None:
        row, task = answer.row, answer.task
        intent = self._state.open.get(row)
        if intent is None:
            return None
        conn_id = self._arguments.account.conn_id
        error = row_decisions.error_of_answer(
            task, submitted_at=intent.since, now=time.time(), service=self._service, conn_id=conn_id
        )
        if error is not None:
            self._end_or_repeat(row, error, image_task_id=task.id)
            return None
        if not task.state.is_final:
            return None
        self._questions.drop(row)
        self._ledger.spending.made(row, len(task.images) + task.left_out)
        # The service is done with it, so that its place is free.
        self._state.delivering(row)
        return answer

    def _end_or_repeat(self, row: int, error: ImageTaskError, *, image_task_id: str | None) -> None:
        if error.concerns_account and row not in self._state.else_submit:
            # Also where only the image task's record tells of it; but not where it told an earlier try, before a Clear.
            self.stop(error)
        if error.billed == "no":
            self._ledger.spending.not_billed(row)
        if self.stopped is None and row_decisions.is_submitted_again(
            row_decisions.Failure.of_error(error, image_task_id),
            submissions=self._state.submissions[row],
            row_attempts=self._arguments.row_attempts,
            may_pay_again=row in self._state.else_submit or self._was_stopped_before(row, error),
        ):
            money = "was not billed" if error.billed == "no" else "may have been billed"
            self._log.info("Row %s is submitted again; its last submission %s: %s", row, money, error.message)
            self._questions.drop(row)
            self._state.renewed(row, is_unbilled=error.billed == "no")
        else:
            self._end(row, error, image_task_id=image_task_id)

    def _was_stopped_before(self, row: int, error: ImageTaskError) -> bool:
        """Whether a row's image task was cancelled in an earlier try, and somebody cleared the batch since."""
        checkpoint = self._ledger.checkpoint
        was_cleared = checkpoint.cleared_at > checkpoint.retried_at
        return was_cleared and error.was_cancelled and not self._state.submissions[row]

    def _unknown(self, intent: Intent) -> ImageTaskError:
        return unknown_outcome(intent, self._batch.key_of(intent), self._service)

    def _may_repeat(self, row: int) -> bool:
        return self.stopped is None and self._state.submissions[row] < self._arguments.row_attempts

    def _repeat_or_end(self, intent: Intent, error: ImageTaskError) -> None:
        """Make a submission over again, under its key, or fail the row with ``error`` where it may not be."""
        if error.billed == "no":
            self._ledger.spending.not_billed(intent.index)
        if self._may_repeat(intent.index):
            is_free = "was not accepted" if error.billed == "no" else "has a key, by which the service charges it once"
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
        outcome = outcome_row(
            self._batch.requests.line(row),
            image_task_id=image_task_id,
            error=error,
            unread=unread,
            never_taken=never_taken,
            unanswered=self._may_be_found(row, error),
        )
        # One that was never submitted was counted as refused; one that cannot be stored has not failed.
        has_failed = image_task_id is not None and not isinstance(error, DownloadError)
        self._note(outcome, partial(metrics.failed, self._service.name, error) if has_failed else None)

    def _may_be_found(self, row: int, error: ImageTaskError) -> bool:
        """Whether the service may tell later what came of the last submission of a row."""
        can_tell = self._unanswered is None or self._service.finds_by_trace_id or self._service.repeats_submit_by_key
        is_last = row in self._state.repeated or bool(self._state.unanswered(row))
        return isinstance(error, UnknownOutcomeError) and can_tell and is_last

    def _note(self, outcome: dict[str, Any], count: Callable[[], None] | None) -> None:
        self._questions.drop(outcome["index"])
        self._ledger.note(outcome, count)
        self.ended_at = time.time()
        self._news.set()
