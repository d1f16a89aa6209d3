"""Acts on what the service says of a batch's rows: has pictures delivered, rows submitted again, or ends them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from airflow_provider_imagetasks.batch.asking import StatusQuestions
from airflow_provider_imagetasks.batch.batch_ledger import BatchRecords
from airflow_provider_imagetasks.batch.manifest import outcome_row
from airflow_provider_imagetasks.batch.prices import price_of
from airflow_provider_imagetasks.batch.requests_file import FrozenRequests
from airflow_provider_imagetasks.batch.rows import frozen_row
from airflow_provider_imagetasks.batch.settings import BatchSettings
from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    DownloadError,
    ImageTaskError,
    ImageTaskFailedError,
    ImageTaskNotFoundError,
    ImageTaskTimeoutError,
    QuotaExceededError,
    UnsafeResultError,
)
from airflow_provider_imagetasks.files.filenames import pattern_for_row
from airflow_provider_imagetasks.files.picture_store import DownloadedFile, PictureStore
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.polling.waiting import failure
from airflow_provider_imagetasks.tasks import ImageTask

LOOK_SECONDS = 1.0
"""How often rows are looked through for those that ran out of time."""


class RowEnds:
    """Decides about each row by what is known of it.

    :param store: where pictures go.
    :param questions: told which rows need not be asked for any more.
    :param spawn: has work done beside.
    :param log: the task's.
    """

    def __init__(
        self,
        settings: BatchSettings,
        records: BatchRecords,
        requests: FrozenRequests,
        store: PictureStore,
        *,
        questions: StatusQuestions,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        log: Any,
    ) -> None:
        self._settings = settings
        self._records = records
        self._state = records.state
        self._requests = requests
        self._store = store
        self._questions = questions
        self._spawn = spawn
        self._log = log
        self._tries: Counter[int] = Counter()
        self._fresh: set[int] = set()
        """Rows that this start submitted: nothing of them can lie in the folder of pictures."""
        self._running: set[int] = set()
        """Rows of which the service said since this start that they are not finished."""
        self.delivering: set[int] = set()
        self.stopped: ImageTaskError | None = None
        """Why nothing more is submitted: no key, no balance or no budget, which holds for every further row too."""
        self.last_end = time.time()
        """Unix seconds when a row ended last."""
        self._looked_at = 0.0

    def submitted(self, row: int) -> None:
        """Take in that this start submitted a row."""
        self._fresh.add(row)

    def refused(self, row: int, error: ImageTaskError, *, image_task_id: str | None) -> None:
        """End a row that was not taken, or have it submitted again where that costs nothing and may help."""
        if isinstance(error, AuthenticationError | QuotaExceededError):
            self.stop(error)
        self._end_or_repeat(row, error, image_task_id=image_task_id)

    def stop(self, error: ImageTaskError) -> None:
        """Have nothing more submitted.

        :param error: what every row is told that was not submitted.
        """
        if self.stopped is None:
            self.stopped = error
            self._log.error("Nothing more is submitted: %s", error)

    def read(self, row: int, task: ImageTask) -> None:
        """Act on what the service says of a row's image task."""
        intent = self._state.open.get(row)
        if intent is None:
            return
        if task.state.is_final and task.error is None:
            self._questions.drop(row)
            self.delivering.add(row)
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

    def unreadable(self, row: int, error: ImageTaskError) -> None:
        """End a row whose image task cannot be asked for."""
        intent = self._state.open.get(row)
        self.end(row, error, image_task_id=intent.image_task_id if intent else None)

    def end_overdue(self) -> None:
        """End rows that ran out of time, once the service has said that they still run."""
        now = time.time()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at, limit = now, now - self._settings.timeout
        intents = (self._state.open.get(row) for row in self._running)
        for intent in [one for one in intents if one is not None and (one.submitted_at or one.at) < limit]:
            error = ImageTaskTimeoutError(
                f"It is not finished {self._settings.timeout:.0f} s after its submission. It goes on at the service: "
                "it may still finish, and be billed",
                image_task_id=intent.image_task_id,
                service=self._settings.service.name,
                retry_advice="Clear waits for it again.",
            )
            self.end(intent.index, error, image_task_id=intent.image_task_id)

    def end(self, row: int, error: ImageTaskError, *, image_task_id: str | None) -> None:
        """Write a row off."""
        outcome = outcome_row(self._requests.line(row), image_task_id=image_task_id, error=error)
        # One that was never submitted was counted as refused; one that cannot be stored has not failed.
        has_failed = image_task_id is not None and not isinstance(error, DownloadError)
        self._note(outcome, partial(metrics.failed, self._settings.service.name, error) if has_failed else None)

    async def _deliver(self, row: int, task: ImageTask) -> None:
        try:
            line = self._requests.line(row)
            pattern = pattern_for_row(self._settings.filename, row=row, row_id=line.get("id"))
            stored = await self._store.store(task, pattern, may_be_there=row not in self._fresh)
        finally:
            self.delivering.discard(row)
        problems = [result for result in stored if isinstance(result, DownloadError)]
        if problems:
            self._end_or_repeat(row, problems[0], image_task_id=task.id)
            return
        files = [result.as_xcom() for result in stored if isinstance(result, DownloadedFile)]
        request = frozen_row(line).request
        if len(files) < request.image_count:
            self._log.warning("Row %s has %s of %s pictures.", row, len(files), request.image_count)
        request = replace(request, model=request.model or task.model)
        price = price_of(self._settings.service.name, request, self._settings.prices)
        cost = price * len(files) if price is not None else None
        outcome = outcome_row(line, image_task_id=task.id, files=files, usage=task.usage, cost=cost)
        self._note(outcome, partial(_count_delivered, task, cost))

    def _end_or_repeat(self, row: int, error: ImageTaskError, *, image_task_id: str | None) -> None:
        is_gone = isinstance(error, ImageTaskNotFoundError | UnsafeResultError)
        wants_another = is_gone and row in self._state.else_submit
        if error.billed == "no":
            self._records.spending.not_billed(row)
        self._tries[row] += 1
        may_help = error.retryable or isinstance(error, ImageTaskFailedError)
        costs_nothing = error.billed == "no" and may_help and self._tries[row] < self._settings.row_attempts
        if self.stopped is None and (wants_another or costs_nothing):
            self._log.info("Row %s is submitted again: %s", row, error.message)
            self._forget(row)
            self._state.renewed(row)
        else:
            self.end(row, error, image_task_id=image_task_id)

    def _note(self, outcome: dict[str, Any], count: Callable[[], None] | None) -> None:
        row = outcome["index"]
        self._forget(row)
        self._tries.pop(row, None)
        self._records.note(outcome, count)
        self.last_end = time.time()

    def _forget(self, row: int) -> None:
        self._questions.drop(row)
        self._fresh.discard(row)
        self._running.discard(row)


def _count_delivered(task: ImageTask, cost: float | None) -> None:
    metrics.ended(task, None)
    metrics.cost(task.service, cost or 0.0)
