"""Submission of one image task within what its account allows over all processes: its place, money and turn."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from airflow_provider_imagetasks.accounts.book import AccountBook
from airflow_provider_imagetasks.accounts.grants import Grant, PlannedSubmission, Turn
from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.services.submission_limits import Read, Say, SubmissionLimits, Watched
from airflow_provider_imagetasks.services.wire import Blocking, Flow, Leaving, NoResponse, Response, Sleep, pause
from airflow_provider_imagetasks.tasks import ImageTask

LONGEST_WAIT = 2.0
"""Seconds between two looks for a place, for a caller far behind in the queue."""
SHORTEST_WAIT = 0.1
_SAID_FROM = 1.0

Answered = TypeVar("Answered")


def asked(question: Callable[[], Answered], step: type[Blocking] = Blocking) -> Flow[Answered]:
    """Make a call that may block, in a thread where there is an event loop."""
    answers: list[Answered] = []
    yield step(lambda: answers.append(question()))
    return answers[0]


def seconds_until_next_look(grant: Grant) -> float:
    """Return how long to wait for a place before asking again: the first looks often, those behind it less."""
    return min(LONGEST_WAIT, SHORTEST_WAIT * (1 + grant.ahead))


def within_account(
    book: AccountBook,
    wanted: PlannedSubmission,
    submission: Flow[ImageTask],
    *,
    limits: SubmissionLimits,
    read: Read,
    poll_interval: float,
    say: Say,
    watched: Watched = None,
) -> Flow[ImageTask]:
    """Run a submission once its account has a place, a turn and the money for it.

    :param submission: what ``Service.submit`` returned, not begun.
    :param limits: of this process, which hold where the store cannot be used.
    :param read: asks for image tasks by id, to see which are over; likewise ``poll_interval``.
    :param say: told why it waits.
    :param watched: wraps the submission with what is due right before each of its requests.
    :raises QuotaExceededError: it would exceed a budget. Nothing was submitted.
    :raises ImageTaskError: as the submission does.
    """
    began_at = yield from pause(0)
    # What looks before it leaves may take its time.
    turn = yield from _place(book, wanted, read, say, at_once=watched is None)
    if turn is None:
        own = limits.within_all(submission, read, poll_interval=poll_interval, say=say, watched=watched)
        return (yield from own)
    in_turn = paced(book, wanted.key, submission, turn, say, began_at=began_at)
    try:
        task = yield from watched(in_turn) if watched else in_turn
    except Exception as error:
        if _is_free(error) and not turn.is_again:
            yield from asked(lambda: book.refused([wanted.key]))
        raise
    yield from asked(lambda: book.found(wanted.key, task))
    return task


def _is_free(error: Exception) -> bool:
    if isinstance(error, ImageTaskError):
        return error.billed == "no"
    # Held back before it left it is free; of a start that was replaced it is the other one's, and may leave there.
    return not getattr(error, "has_left", True) and not getattr(error, "is_replaced", False)


def _place(book: AccountBook, wanted: PlannedSubmission, read: Read, say: Say, *, at_once: bool) -> Flow[Turn | None]:
    """Wait for a place, and return the turn of the submission; None where the store is unavailable."""
    ticket = secrets.token_hex(16)
    is_said = False
    while True:
        grant = yield from asked(lambda: book.take(ticket, [wanted], at_once=at_once))
        if grant is None:
            return None
        problem = book.problem(grant)
        if problem is not None:
            raise problem
        if grant.turns:
            return grant.turns[0]
        if not is_said:
            is_said = True
            say(
                f"All {book.account.max_active_tasks} places of the account are taken (max_active_tasks), and "
                f"{grant.ahead} others wait before this one: waiting for one"
            )
        if grant.running:
            yield from _look(read, grant)
        yield from pause(seconds_until_next_look(grant))


def _look(read: Read, grant: Grant) -> Flow[None]:
    """Ask for the image tasks that hold the places: whoever reads that one is over gives its place back."""
    try:
        yield from read(list(grant.running))
    except ImageTaskError:
        # That was a question about others, which somebody asks again.
        return


def paced(
    book: AccountBook,
    key: str,
    submission: Flow[ImageTask],
    turn: Turn,
    say: Say = lambda _text: None,
    *,
    began_at: float | None = None,
) -> Flow[ImageTask]:
    """Run a submission whose first request has a turn; each further one takes another.

    :param key: what it goes out with.
    :param submission: not begun.
    :param turn: given out just now.
    :param began_at: Unix seconds since which it waits; None where that is not measured.
    """
    left_at = yield from _wait_for(book, key, turn, say, is_first=True)
    if began_at is not None:
        metrics.waited_for_place(book.account.service, left_at - began_at)
    try:
        step = next(submission)
        while True:
            if isinstance(step, Sleep) and step.seconds > 0:
                if step.for_account:
                    yield from asked(partial(book.pause, "submit", step.seconds))
                now = yield from pause(step.seconds)
                turn = yield from asked(partial(book.turn, "submit", book.account.submit_rate))
                left_at = yield from _wait_for(book, key, turn, say)
                step = submission.send(now)
                continue
            answer = yield step
            if isinstance(answer, Response | NoResponse):
                seconds = (yield from pause(0)) - left_at
                late = book.answer_times["submit"].seconds_late(book.account.submit_rate, seconds)
                if late:
                    yield from asked(partial(book.counts_from_later, turn, late))
            step = submission.send(answer)
    except StopIteration as end:
        task: ImageTask = end.value
        return task


def _wait_for(book: AccountBook, key: str, turn: Turn, say: Say, *, is_first: bool = False) -> Flow[float]:
    """Wait until a turn, and longer where others were late or the service asked for a pause meanwhile.

    Returns the Unix time from which the request may be on its way.
    """
    rate, seconds = book.account.submit_rate, turn.seconds
    while turn.is_planned:
        if seconds > _SAID_FROM:
            limit = f"submit_rate is {rate}, over all processes" if rate else "The service asked for a pause"
            say(f"{limit}: waiting {seconds:.1f} s to submit")
        if seconds > 0:
            yield from pause(seconds)
        left_at = yield from pause(0)
        seconds = yield from asked(partial(book.leaves, "submit", rate, turn, key, is_first=is_first), Leaving)
        if not seconds:
            return left_at
    return (yield from pause(0))
