"""Status questions of a batch's rows: often for young image tasks, so that free places are noticed soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.row_submissions import RunFlow
from airflow_provider_imagetasks.exceptions import ImageTaskError, ProtocolError
from airflow_provider_imagetasks.polling.reads import Outcome, RequestsUnderWay
from airflow_provider_imagetasks.polling.session import pace_of
from airflow_provider_imagetasks.polling.status_requests import Question, StatusRequests
from airflow_provider_imagetasks.polling.waiting import WaitLog
from airflow_provider_imagetasks.services.exchange import LONGEST_PAUSE
from airflow_provider_imagetasks.tasks import ImageTask

AT_ONCE = 8
"""Status requests that are under way at the same time."""
LOOK_SECONDS = 1.0
"""How often rows are looked through for those that ran out of time."""
SHORTEST_INTERVAL = 1.0
SHARE_OF_AGE = 0.25
"""An image task is asked for again after so much of its age."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What the service says of a row's image task."""

    row: int
    task: ImageTask


class RowQuestion(Question):
    """The question for a row's image task.

    :param submitted_at: Unix seconds.
    :param longest: seconds between two questions for one that has been running for long, and after a failed one.
    """

    __slots__ = ("row", "submitted_at", "told", "unread", "was_asked")

    def __init__(self, row: int, image_task_id: str, submitted_at: float, longest: float) -> None:
        super().__init__(image_task_id, interval=longest)
        self.row = row
        self.submitted_at = submitted_at
        self.was_asked = False
        """Whether it was asked for since this start, whatever came of it."""
        self.told: str | None = None
        """The service's own word for how it stood the last time."""
        self.unread: ImageTaskError | None = None
        """Why it could not be read the last time; None where it could."""

    def interval_at(self, now: float) -> float:
        """Return the seconds until it is asked for again."""
        longest = self.interval or 0.0
        if self.failures:
            return longest
        if self.is_in_doubt:
            return min(longest, SHORTEST_INTERVAL)
        return min(longest, max(SHORTEST_INTERVAL, SHARE_OF_AGE * (now - self.submitted_at)))


class RowQuestions:
    """The open image tasks of a batch, asked for within the account's ``query_rate``.

    :param news: set whenever there is something to hand over.
    """

    question: type[RowQuestion] = RowQuestion

    def __init__(self, arguments: BatchArguments, run: RunFlow, *, news: asyncio.Event, log: Any) -> None:
        self._service = service = arguments.service
        self._interval = arguments.poll_interval
        self._log = WaitLog(log)
        self._looked_at = 0.0
        self._questions: dict[int, RowQuestion] = {}
        # The key may be let in a moment later; what was paid for is worth a second request.
        self._requests = StatusRequests[RowQuestion](
            pace_of(arguments.account, service), most_at_once=AT_ONCE, rereads_key=True
        )
        self._under_way = RequestsUnderWay(self._requests, run, news)

    def add(self, row: int, image_task_id: str, submitted_at: float) -> None:
        """Ask from now on for a row's image task, submitted at a moment in Unix seconds."""
        self.drop(row)
        self._questions[row] = self.question(row, image_task_id, submitted_at, self._interval)
        self._requests.ask_again(self._questions[row], time.time())

    def drop(self, row: int) -> None:
        """Ask for it no more."""
        question = self._questions.pop(row, None)
        if question is not None:
            question.drop()

    def ask_all_now(self, rows: Collection[int] = ()) -> None:
        """Ask for every one as soon as the rate allows.

        :param rows: only for these, if there are any.
        """
        now = time.time()
        for row in rows or self._questions:
            self._requests.ask(self._questions[row], due=now)

    def is_answered_since(self, moment: float) -> bool:
        """Whether nothing is being asked or in doubt, and nothing was due before ``moment`` and was not asked."""
        due = self._requests.next_due()
        is_busy = self._requests.under_way or any(one.is_in_doubt for one in self._questions.values())
        return not is_busy and (due is None or due > moment)

    def overdue(self, timeout: float, *, at_once: bool = False) -> list[RowQuestion]:
        """Return the rows that are not over ``timeout`` seconds after their submission.

        Each was asked for once more, unless the service, or ``query_rate``, wants to be left alone for long.

        Nothing where it looked a moment ago, unless ``at_once``.
        """
        now = time.time()
        if now - self._looked_at < LOOK_SECONDS and not at_once:
            return []
        self._looked_at = now
        pace = self._requests.pace
        is_paused = pace.paused_until > now or pace.free_at() > now + LONGEST_PAUSE
        late = [one for one in self._questions.values() if one.submitted_at < now - timeout]
        return [one for one in late if one.was_asked or is_paused]

    def start(self) -> None:
        """Make the requests that there are to make now."""
        self._under_way.start(self._service, time.time())

    def next_at(self) -> float | None:
        """Return the Unix time of the next request; None where nothing can be asked before there is news."""
        return self._requests.next_at()

    def outcomes(self) -> Iterator[Answered]:
        """Yield what came of requests since the last call. A row that is not dropped meanwhile is asked for again.

        A row that cannot be read is no reason to give it up: its image task is paid for. It is asked for until it runs
        out of time.

        :raises ImageTaskError: the service refuses the key, or any account without a balance, for every row.
        """
        for outcome in self._under_way.outcomes():
            error, failure = outcome.error, outcome.failure
            if error is None:
                yield from self._answers(outcome)
                continue
            now, given_up, error.billed = time.time(), failure.given_up, "unknown"
            for question in outcome.questions:
                question.was_asked, question.unread = True, error
            # Where the service answers for others, it is about this one and not about the account.
            if given_up and error.concerns_account and now - self._requests.answered_at > self._interval:
                raise error
            for question in given_up:
                self._requests.ask_again(question, now)
            if given_up or failure.put_off:
                self._log.failed(error)

    async def stop(self) -> None:
        """Break off what is under way."""
        await self._under_way.stop()

    def _answers(self, outcome: Outcome[RowQuestion]) -> Iterator[Answered]:
        for question in outcome.questions:
            task = outcome.tasks.get(question.image_task_id)
            question.was_asked = True
            denied = "the service answers without a record that the image task failed or does not exist"
            question.unread = ProtocolError(denied) if task is None else None
            question.told = task.raw_state if task is not None else None
            if task is not None and question.is_wanted:
                yield Answered(question.row, task)
            if question.is_wanted:
                self._requests.ask_again(question, time.time())
