"""Pace of status requests over all processes, as one process keeps to it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from airflow_provider_imagetasks.accounts.book import AccountBook
from airflow_provider_imagetasks.accounts.grants import EndedImageTask, Turn
from airflow_provider_imagetasks.accounts.submission_in_turn import asked
from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services.rates import Pace, Rate
from airflow_provider_imagetasks.services.wire import Flow, Result, pause
from airflow_provider_imagetasks.tasks import ImageTask


class SharedPace(Pace):
    """The pace of one process, each of whose requests takes a turn among those of all.

    Where the store cannot be used, the process keeps to the rate by itself.

    :param rate: of the account.
    :param book: of the account.
    """

    def __init__(self, rate: Rate | None, book: AccountBook, *, paused_until: float = 0.0) -> None:
        super().__init__(rate, paused_until=paused_until)
        self._book = book
        self._turn_at = 0.0

    def is_of(self, book: AccountBook) -> bool:
        """Whether it takes its turns from a book."""
        return self._book is book

    def free_at(self) -> float:
        """Return the Unix time from which the rate alone allows the next request; it may lie in the past."""
        return max(super().free_at(), self._turn_at)

    def in_turn(self, requests: int, reading: Flow[Result]) -> Flow[Result]:
        """Run a read once so many requests have their turns."""
        turns: list[tuple[Turn, float]] = []
        for _ in range(requests):
            turns += [(yield from self._turn())]
        try:
            answer = yield from reading
        except ImageTaskError:
            yield from self._answered(turns)
            raise
        yield from self._answered(turns)
        return answer

    def refused(self, seconds: float) -> Flow[None]:
        """Keep all processes from asking for so many seconds."""
        yield from asked(lambda: self._book.pause("query", seconds))

    def answered(self, tasks: Iterable[ImageTask]) -> Flow[None]:
        """Give back the places of image tasks that are over."""
        ended = [EndedImageTask.of(task) for task in tasks if task.state.is_final and task.id]
        if self._book.has_news(ended):
            yield from asked(lambda: self._book.over(ended))

    def _turn(self) -> Flow[tuple[Turn, float]]:
        """Wait for a turn, and return it with the Unix time from which the request may be on its way."""
        left_at = yield from pause(0)
        turn = yield from asked(partial(self._book.turn, "query", self.rate))
        seconds = turn.seconds
        while turn.is_planned:
            if seconds > 0:
                # Until then nobody of this process need queue up behind it.
                self._turn_at = max(self._turn_at, (yield from pause(0)) + seconds)
                yield from pause(seconds)
            left_at = yield from pause(0)
            seconds = yield from asked(partial(self._book.leaves, "query", self.rate, turn))
            if not seconds:
                break
        return turn, left_at

    def _answered(self, turns: Iterable[tuple[Turn, float]]) -> Flow[None]:
        now = yield from pause(0)
        for turn, left_at in turns:
            late = self._book.answer_times["query"].seconds_late(self.rate, now - left_at)
            if late:
                yield from asked(partial(self._book.counts_from_later, turn, late))
