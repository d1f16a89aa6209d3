"""Status questions of provider batches: one for all rows that went out in the same file."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.row_questions import RowQuestion, RowQuestions
from airflow_provider_imagetasks.batch.row_submissions import RunFlow
from airflow_provider_imagetasks.services.provider_batches import place_of
from airflow_provider_imagetasks.tasks import ImageTask


@dataclass(frozen=True, slots=True)
class BatchAnswered:
    """What the service says of a provider batch."""

    batch_id: str
    task: ImageTask


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A row whose provider batch is asked for.

    :param submitted_at: Unix seconds.
    """

    image_task_id: str
    submitted_at: float


class _SeldomQuestion(RowQuestion):
    """The question for a provider batch, asked equally often however young it is."""

    __slots__ = ()

    def interval_at(self, now: float) -> float:
        return self.interval or 0.0


class _BatchQuestions(RowQuestions):
    question = _SeldomQuestion


class ProviderQuestions:
    """The provider batches that rows wait for.

    :param news: set whenever there is something to hand over.
    """

    def __init__(self, arguments: BatchArguments, run: RunFlow, *, news: asyncio.Event, log: Any) -> None:
        self._questions = _BatchQuestions(arguments, run, news=news, log=log)
        self._ids: list[str] = []
        self._numbers: dict[str, int] = {}
        self._rows: dict[str, dict[int, WaitingRow]] = {}
        self._batch_of: dict[int, str] = {}

    @property
    def batch_ids(self) -> list[str]:
        """The provider batches that are asked for."""
        return list(self._rows)

    def rows_of(self, batch_id: str) -> Mapping[int, WaitingRow]:
        """Return the rows that wait for a provider batch."""
        return self._rows.get(batch_id, {})

    def add(self, row: int, image_task_id: str, submitted_at: float) -> None:
        """Ask from now on for the provider batch of a row, submitted at a moment in Unix seconds."""
        self.drop(row)
        place = place_of(image_task_id)
        batch_id = place[0] if place else image_task_id
        if batch_id not in self._rows:
            self._rows[batch_id] = {}
            self._numbers[batch_id] = len(self._ids)
            self._ids.append(batch_id)
            self._questions.add(self._numbers[batch_id], batch_id, submitted_at)
        self._rows[batch_id][row] = WaitingRow(image_task_id, submitted_at)
        self._batch_of[row] = batch_id

    def drop(self, row: int) -> None:
        """Let a row wait no more; a provider batch for which none does is not asked for."""
        batch_id = self._batch_of.pop(row, None)
        if batch_id is None or batch_id not in self._rows:
            return
        self._rows[batch_id].pop(row, None)
        if not self._rows[batch_id]:
            self.close(batch_id)

    def close(self, batch_id: str) -> Mapping[int, WaitingRow]:
        """Ask for a provider batch no more, and return the rows that waited for it."""
        rows = self._rows.pop(batch_id, {})
        for row in rows:
            self._batch_of.pop(row, None)
        if batch_id in self._numbers:
            self._questions.drop(self._numbers.pop(batch_id))
        return rows

    def ask_all_now(self) -> None:
        """Ask for every one as soon as the rate allows."""
        self._questions.ask_all_now()

    def ask_now(self, batch_ids: Collection[str]) -> None:
        """Ask for some as soon as the rate allows, and for the others when it is their turn; for all if none is known.

        :param batch_ids: of which some may not be asked for.
        """
        self._questions.ask_all_now([self._numbers[each] for each in batch_ids if each in self._numbers])

    def is_answered_since(self, moment: float) -> bool:
        """Whether nothing is being asked or in doubt, and nothing was due before ``moment`` and was not asked."""
        return self._questions.is_answered_since(moment)

    def overdue(self, timeout: float, *, at_once: bool = False) -> list[RowQuestion]:
        """Return the rows that are not over ``timeout`` seconds after their submission, as for rows alone."""
        late: list[RowQuestion] = []
        for question in self._questions.overdue(timeout, at_once=at_once):
            for row, waiting in self.rows_of(self._ids[question.row]).items():
                one = RowQuestion(row, waiting.image_task_id, waiting.submitted_at, 0.0)
                one.was_asked, one.unread, one.told = question.was_asked, question.unread, question.told
                late.append(one)
        return late

    def start(self) -> None:
        """Make the requests that are due now."""
        self._questions.start()

    def next_at(self) -> float | None:
        """Return the Unix time of the next request; None where nothing can be asked before there is news."""
        return self._questions.next_at()

    def outcomes(self) -> Iterator[BatchAnswered]:
        """Yield what came of requests since the last call.

        :raises ImageTaskError: the service refuses the key, or any account without a balance.
        """
        for answered in self._questions.outcomes():
            yield BatchAnswered(self._ids[answered.row], answered.task)

    async def stop(self) -> None:
        """Break off what is under way."""
        await self._questions.stop()
