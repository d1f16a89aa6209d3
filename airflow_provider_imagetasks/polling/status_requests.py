"""The one engine for status questions: what is asked for next, with whom, how often, and what a failure means.

A triggerer's waits, a batch's rows and the reads of a worker all ask through it; they say only what, how often, and
what is done with the answer. Pure: :class:`StatusRequests` is told the time.
:func:`~airflow_provider_imagetasks.polling.reads.read_all` drives it as a flow,
:class:`~airflow_provider_imagetasks.polling.reads.RequestsUnderWay` on an event loop.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Generic, TypeVar

from airflow_provider_imagetasks.exceptions import AuthenticationError, ImageTaskError, RateLimitError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.exchange import LONGEST_PAUSE
from airflow_provider_imagetasks.services.fields import INLINE_PREFIX
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.tasks import ImageTask, TaskState

MOST_AT_ONCE = 32
"""Status requests of one account that are under way at the same time."""
FAILED_READS = 5
"""Status requests in a row that may fail for one image task before it is given up."""
DOUBTS = 2
"""Answers that are not believed which say without a record that there is no such image task, or that it failed:
something in between may have said so for once."""
PAUSE_AFTER_429 = 5.0
"""Seconds in which the account is left alone after a 429 that does not say how long."""
LONGEST_PAUSE_AFTER_429 = 300.0
"""Seconds in which the account is left alone at most: one answer must not silence all who wait, and to ask is free."""
MOST_PASSED_OVER = 1_000
"""Questions that are looked through for more of the same API, to fill a request."""
EARLIEST = 0.8
"""Share of the interval after which an image task may be asked for to fill a request; after all of it, it has to be."""


class Question:
    """One image task that is asked for.

    :param image_task_id: empty where only the trace id is known.
    :param trace_id: asked for where there is no id; never together with others.
    :param interval: seconds between two questions; None for one that is asked until it is answered once, with growing
        pauses after failures.
    :param doubts: how many answers "not found" are not believed; infinite where its record was read before.
    """

    __slots__ = (
        "alone",
        "apart",
        "claims",
        "doubts",
        "failures",
        "image_task_id",
        "interval",
        "refused",
        "trace_id",
        "turn",
    )

    def __init__(
        self,
        image_task_id: str,
        *,
        trace_id: str | None = None,
        interval: float | None = None,
        doubts: float = DOUBTS,
    ) -> None:
        self.image_task_id = image_task_id
        self.trace_id = trace_id
        self.interval = interval
        self.doubts = doubts
        self.claims = DOUBTS
        """Answers in a row that it failed which are not believed, where no record says so."""
        self.alone = not image_task_id
        """Whether it must not be asked for together with others."""
        self.apart = False
        """Whether the last answer for several left it out, so that it is asked for alone, and at once."""
        self.failures = 0
        """How often in a row asking for it has failed."""
        self.refused = False
        """Whether the key was refused since the last answer."""
        self.turn = 0
        """Which of its places in the queue counts; the others are passed over."""

    @property
    def is_wanted(self) -> bool:
        """Whether somebody still waits for an answer."""
        return self.turn >= 0

    def interval_at(self, _now: float) -> float:
        """Return the seconds until it is asked for again after an answer."""
        return self.interval or 0.0

    def believes(self, task: ImageTask) -> bool:
        """Whether an answer is believed. "Not found" is not at first, and never once the record was read.

        Nor is "failed" at first, where no record says so.
        """
        if task.state is TaskState.NOT_FOUND:
            self.doubts -= 1
            return self.doubts < 0
        if task.state is TaskState.FAILED and not task.has_record:
            self.claims -= 1
            return self.claims < 0
        self.doubts, self.claims = math.inf, DOUBTS
        return True

    @property
    def is_in_doubt(self) -> bool:
        """Whether it was denied, or said to have failed, and that is not believed yet; or is to be asked for alone."""
        return self.apart or 0 <= self.doubts < DOUBTS or 0 <= self.claims < DOUBTS

    def drop(self) -> None:
        """Ask for it no more."""
        self.turn = -1


Asked = TypeVar("Asked", bound=Question)


@dataclass(frozen=True, slots=True)
class Failure(Generic[Asked]):
    """What the failure of a status request means.

    :param given_up: those that it is of no use to go on asking.
    :param put_off: those that are asked again later. Those in neither list are asked again at once, in another way: one
        by one, or with the connection read anew.
    """

    given_up: Sequence[Asked] = ()
    put_off: Sequence[Asked] = ()


class StatusRequests(Generic[Asked]):
    """The questions of one account by the time at which they have to be asked; never faster than its ``query_rate``.

    The longest overdue come first, so that none starves, and take along those that are nearly due. One failure policy:

    - 429 leaves the account alone for as long as the service wants, within bounds, and counts against nobody who
      waits.
    - A refused key is tried once more with the connection read anew.
    - Any other failure may happen ``FAILED_READS`` times in a row to one image task, where a retry may help.
    - A group that is given up is asked for one by one instead, within the pace, to find the one that the service does
      not like.

    :param pace: the account's, shared by everybody who asks with it.
    :param most_at_once: requests that may be under way at the same time.
    :param rereads_key: whether the connection is read anew where its key is refused.
    """

    def __init__(self, pace: Pace, *, most_at_once: int = MOST_AT_ONCE, rereads_key: bool = False) -> None:
        self.pace = pace
        self.under_way = 0
        self.answered_at = 0.0
        """Unix seconds of the latest answer."""
        self._most_at_once = most_at_once
        self._rereads_key = rereads_key
        self._queue: list[tuple[float, int, float, Asked]] = []
        self._turn = 0

    def ask(self, question: Asked, *, due: float, early: float | None = None) -> None:
        """Put a question in the queue; an earlier place of it counts no more.

        :param due: Unix time at which it has to be asked.
        :param early: Unix time from which it may be asked to fill a request; None means not before ``due``.
        """
        self._turn += 1
        question.turn = self._turn
        heappush(self._queue, (due, self._turn, due if early is None else early, question))

    def ask_again(self, question: Asked, now: float) -> None:
        """Ask again 0.8 to 1.0 of its interval later, spread at random."""
        interval = 0.0 if question.apart else question.interval_at(now)
        self.ask(question, due=now + interval * random.uniform(0.9, 1.0), early=now + interval * EARLIEST)

    def next_at(self) -> float | None:
        """Return the Unix time of the next request; None where there is none, or too many are under way."""
        due = self.next_due()
        return None if due is None or self.under_way >= self._most_at_once else max(due, self.pace.next_at())

    def next_due(self) -> float | None:
        """Return the Unix time at which a question is due next, whatever the pace allows."""
        while self._queue and not self._counts(self._queue[0]):
            heappop(self._queue)
        return self._queue[0][0] if self._queue else None

    def take(self, now: float, service: Service) -> list[tuple[Asked, float]]:
        """Take out what the next request asks for, and count the request; nothing before it may be made.

        :returns: questions with the seconds by which the pace held each back.
        """
        moment = self.next_at()
        if moment is None or moment > now:
            return []
        held_back_until = self.pace.free_at()
        taken: list[tuple[Asked, float]] = []
        passed_over: list[tuple[float, int, float, Asked]] = []
        api = ""
        while self._queue and len(taken) < service.batch_size and self._queue[0][2] <= now:
            entry = self._queue[0]
            due, _, _, question = entry
            if self._counts(entry):
                # Whatever made the service refuse it in company must not hurt the others again.
                if taken and (question.alone or taken[0][0].alone or len(passed_over) >= MOST_PASSED_OVER):
                    break
                own_api = service.api_of(question.image_task_id)
                api = api if taken else own_api
                if own_api != api:
                    passed_over.append(entry)
                else:
                    taken.append((question, held_back_until - due))
            heappop(self._queue)
        for entry in passed_over:
            heappush(self._queue, entry)
        for _ in range(requests_for([question for question, _ in taken], service)):
            self.pace.count(now)
        self.under_way += 1
        return taken

    def take_all(self) -> list[Asked]:
        """Take every question out of the queue."""
        taken = [entry[3] for entry in self._queue if self._counts(entry)]
        self._queue.clear()
        return taken

    def answered(self, questions: Iterable[Asked], now: float) -> None:
        """Note that a request was answered; whoever asked says which of its questions are asked again."""
        self.under_way -= 1
        self.answered_at = now
        for question in questions:
            question.failures, question.refused = 0, False
            # Whoever made the service refuse its company is found; without it the others go together again.
            question.alone = not question.image_task_id or question.apart

    def failed(self, questions: Sequence[Asked], error: ImageTaskError, now: float) -> Failure[Asked]:
        """Note that a request failed, put its questions back in the queue, and return what that means."""
        self.under_way -= 1
        if isinstance(error, RateLimitError):
            self.pace.pause_until(now + seconds_to_pause(error))
        if isinstance(error, AuthenticationError) and self._rereads_key:
            return self._refused(questions, now)
        given_up = [question for question in questions if question.is_wanted and _is_given_up(question, error)]
        can_be_one = not (error.concerns_account or isinstance(error, RateLimitError))
        if len(questions) > 1 and given_up and can_be_one:
            for question in questions:
                question.alone = True
                self.ask(question, due=now)
            return Failure()
        if len(questions) == 1:
            # Alone it is known which one the service speaks of.
            error.image_task_id = error.image_task_id or questions[0].image_task_id or None
            if now - self.answered_at > (questions[0].interval or 0.0):
                # Where nothing else is answered either, it is not about this one.
                questions[0].alone = not questions[0].image_task_id
        put_off = [question for question in questions if question.is_wanted and question not in given_up]
        # The same for all of them, so that they go together again.
        jitter = random.uniform(0, 1)
        for question in put_off:
            if isinstance(error, RateLimitError):
                self.ask(question, due=now)
            elif question.interval is None:
                self.ask(question, due=now + 2 ** (question.failures - 1) + jitter)
            else:
                self.ask_again(question, now)
        return Failure(given_up, put_off)

    def _refused(self, questions: Sequence[Asked], now: float) -> Failure[Asked]:
        given_up = [question for question in questions if question.refused and question.is_wanted]
        for question in questions:
            if not question.refused:
                # The key may have been changed since the connection was read.
                question.refused = True
                self.ask(question, due=now)
        return Failure(given_up)

    def _counts(self, entry: tuple[float, int, float, Asked]) -> bool:
        return entry[3].turn == entry[1] and entry[3].is_wanted


def seconds_to_pause(error: RateLimitError) -> float:
    """Return how long the account is left alone after a 429."""
    return min(PAUSE_AFTER_429 if error.retry_after is None else error.retry_after, LONGEST_PAUSE_AFTER_429)


def _is_given_up(question: Question, error: ImageTaskError) -> bool:
    """Count a failure, and return whether it is of no use to go on asking."""
    if not error.retryable or error.concerns_account:
        return True
    if isinstance(error, RateLimitError):
        if question.interval is not None:
            # Whoever waits has a deadline.
            return False
        if seconds_to_pause(error) > LONGEST_PAUSE:
            return True
    question.failures += 1
    return question.failures >= FAILED_READS


def requests_for(questions: Iterable[Question], service: Service) -> int:
    """Return how many requests one question for these makes; ``inline:`` ids are the record, and need none."""
    needs_none = all(question.image_task_id.startswith(INLINE_PREFIX) for question in questions)
    return 0 if needs_none else service.requests_per_read


_paces: dict[Account, Pace] = {}


def pace_of_process(account: Account, service: Service) -> Pace:
    """Return the pace of status requests of an account that only this process keeps, all its callers together."""
    if account not in _paces:
        _paces[account] = Pace(account.query_rate or service.default_query_rate)
    return _paces[account]
