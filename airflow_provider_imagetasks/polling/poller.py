"""The shared status poller: all waits of one connection in one event loop are one coroutine on one session."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from heapq import heapify, heappop, heappush
from typing import Any

from airflow_provider_imagetasks.exceptions import AuthenticationError, ImageTaskError
from airflow_provider_imagetasks.polling.reads import Outcome, RequestsUnderWay
from airflow_provider_imagetasks.polling.session import AccountSession, ReadAccount
from airflow_provider_imagetasks.polling.status_requests import EARLIEST, Question, StatusRequests
from airflow_provider_imagetasks.polling.waiting import Progress
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.tasks import ImageTask

GATHERING_SECONDS = 0.5
LONGEST_LOOK_AWAY = 1.0
"""Seconds after which new deadlines are noticed while the connection is being looked up."""

_log = logging.getLogger(__name__)


class _Wait:
    """One caller of the poller: what it waits for, and the context that its log lines belong to."""

    __slots__ = ("_context", "end", "progress")

    def __init__(self, progress: Progress, end: asyncio.Future[str]) -> None:
        self.progress = progress
        self.end = end
        self._context = contextvars.copy_context()

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call what may log, in the caller's context."""
        try:
            return self._context.run(function, *arguments)
        except Exception as error:  # noqa: BLE001 - a log that fails must neither hurt others nor leave this one hanging
            _log.error("A wait for image tasks fails, because the answers could not be passed to it", exc_info=error)
            self.finish("error")
            return None

    def finish(self, end: str | None) -> None:
        """End the wait, once; None lets it go on."""
        if end is not None and not self.end.done():
            self.end.set_result(end)


class _WaitQuestion(Question):
    """A question of a wait. Thousands are open at a time."""

    __slots__ = ("wait",)

    def __init__(self, wait: _Wait, image_task_id: str) -> None:
        watch = wait.progress.watch
        super().__init__(image_task_id, trace_id=watch.trace_id, interval=watch.poll_interval)
        self.wait = wait

    @property
    def is_wanted(self) -> bool:
        return not self.wait.end.done() and self.image_task_id in self.wait.progress.pending


class StatusPoller:
    """Asks for all image tasks that are waited for, and wakes only the waits that it has news for.

    It sleeps until something is due, and ends with its last wait. What is asked when, and what a failure means, is the
    business of :mod:`~airflow_provider_imagetasks.polling.status_requests`.

    :param read_account: reads the connection that all its waits have in common.
    :param gathering_seconds: how long a first question is held back at least, for others that begin in that moment.
    """

    def __init__(self, read_account: ReadAccount, *, gathering_seconds: float = GATHERING_SECONDS) -> None:
        self._gathering_seconds = gathering_seconds
        self._session = AccountSession(read_account)
        self._requests = StatusRequests[_WaitQuestion](self._session.pace, rereads_key=True)
        self._deadlines: list[tuple[float, int, _Wait]] = []
        self._waits: set[_Wait] = set()
        self._news = asyncio.Event()
        self._under_way = RequestsUnderWay(self._requests, self._session.run, self._news)
        self._runner: asyncio.Task[None] | None = None

    async def wait(self, progress: Progress, *, first_pause: float) -> str:
        """Wait until everything is over, and return why: ``"done"``, ``"deadline"`` or ``"error"``.

        :param progress: of what is waited for; told of every answer, in the caller's own context.
        :param first_pause: seconds until the first question has to be asked; 0.8 of it until it may be.
        """
        wait, now = _Wait(progress, asyncio.get_running_loop().create_future()), time.time()
        self._waits.add(wait)
        heappush(self._deadlines, (progress.watch.deadline, id(wait), wait))
        due, early = now + max(first_pause, self._gathering_seconds), now + first_pause * EARLIEST
        for image_task_id in progress.pending:
            self._requests.ask(_WaitQuestion(wait, image_task_id), due=due, early=early)
        self._news.set()
        if self._runner is None or self._runner.done():
            # Not in the caller's context: what is logged on the way would land in one task's log of many.
            self._runner = asyncio.create_task(self._run(), context=contextvars.Context())
        try:
            return await wait.end
        finally:
            self._waits.discard(wait)
            if not self._waits:
                self._news.set()

    async def _run(self) -> None:
        try:
            while self._waits:
                try:
                    while self._waits:
                        self._look_around()
                        await self._ask_for_what_is_due()
                        await self._sleep()
                finally:
                    try:
                        await self._under_way.stop()
                    finally:
                        # Also where the event loop ends in this moment.
                        await self._session.close()
                # Whoever came while the session was closed is not left alone.
        except Exception:
            # A wait that nobody ends would hang for ever; a worker that looks is told what is wrong.
            for wait in self._waits:
                wait.finish("error")
            raise
        finally:
            # What is left belongs to waits that are over.
            self._deadlines.clear()
            self._requests.take_all()

    def _look_around(self) -> None:
        """End waits that are overdue, and hand on what was answered."""
        for outcome in self._under_way.outcomes():
            self._failed(outcome, outcome.error) if outcome.error else self._answered(outcome)
        now = time.time()
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][2].end.done()):
            _, _, wait = heappop(self._deadlines)
            wait.finish("deadline")
        if len(self._deadlines) > 2 * len(self._waits) + 100:
            self._deadlines = [entry for entry in self._deadlines if not entry[2].end.done()]
            heapify(self._deadlines)

    async def _ask_for_what_is_due(self) -> None:
        while (moment := self._requests.next_at()) is not None and moment <= time.time():
            service = await self._service()
            if service is None:
                continue
            for question, late in self._under_way.start(service, time.time()):
                wait, wanted = question.wait, question.interval or 0.0
                if late > wanted / 2:
                    wait.run(wait.progress.log.stretched, str(self._requests.pace.rate), wanted, late + wanted)

    async def _sleep(self) -> None:
        """Sleep until something is due, a deadline strikes or there is news."""
        moments = [self._deadlines[0][0]] if self._deadlines else []
        due = self._requests.next_at()
        if due is not None:
            moments.append(due)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(moments) - time.time()) if moments else None):
                await self._news.wait()
        self._news.clear()

    async def _service(self) -> Service | None:
        """Return the service to ask, None where there is none now.

        What is due is put off where the connection cannot be looked up, and ended where it is wrong.
        """
        now = time.time()
        try:
            service = self._session.known_service(now) or await self._meanwhile(self._session.service(now))
        except ImageTaskError as error:
            problem = error
        except Exception as error:  # noqa: BLE001 - Airflow's API may be away for a while, in any way
            problem = ImageTaskError(f"the connection cannot be read ({error})", retryable=True)
        else:
            # A connection that was changed may have another rate.
            self._requests.pace = self._session.pace
            return service
        put_off, now = self._requests.take_all(), time.time()
        for wait in _waits_of(put_off):
            wait.run(wait.progress.log.failed, problem)
            wait.finish(None if problem.retryable else "error")
        for question in put_off:
            self._requests.ask_again(question, now)
        return None

    async def _meanwhile(self, look_up: Coroutine[Any, Any, Service]) -> Service:
        """Wait for the connection while deadlines strike: what looks it up may take as long as it likes."""
        looking = asyncio.ensure_future(look_up)
        try:
            while not looking.done():
                until_deadline = self._deadlines[0][0] - time.time() if self._deadlines else LONGEST_LOOK_AWAY
                await asyncio.wait({looking}, timeout=min(max(0.0, until_deadline), LONGEST_LOOK_AWAY))
                self._look_around()
        finally:
            looking.cancel()
        return looking.result()

    def _answered(self, outcome: Outcome[_WaitQuestion]) -> None:
        now = time.time()
        news: dict[_Wait, dict[str, ImageTask]] = {}
        for question in outcome.questions:
            if (task := outcome.tasks.get(question.image_task_id)) is not None:
                news.setdefault(question.wait, {})[question.image_task_id] = task
        for wait, tasks in news.items():
            if not wait.end.done():
                wait.finish(wait.run(wait.progress.saw, tasks, now))
        for question in outcome.questions:
            if question.is_wanted:
                self._requests.ask_again(question, now)

    def _failed(self, outcome: Outcome[_WaitQuestion], error: ImageTaskError) -> None:
        if isinstance(error, AuthenticationError):
            self._session.read_anew()
        for wait in _waits_of(outcome.failure.given_up):
            wait.finish(wait.run(wait.progress.gave_up, error))
        for question in outcome.failure.given_up:
            if question.is_wanted:
                self._requests.ask_again(question, time.time())
        for wait in _waits_of(outcome.failure.put_off):
            wait.run(wait.progress.log.failed, error)


def _waits_of(questions: Iterable[_WaitQuestion]) -> list[_Wait]:
    """Return the waits that these questions belong to and that are not over, each once."""
    return [wait for wait in dict.fromkeys(question.wait for question in questions) if not wait.end.done()]


_pollers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, StatusPoller]] = weakref.WeakKeyDictionary()


def status_poller(conn_id: str, read_account: ReadAccount) -> StatusPoller:
    """Return the poller that all waits of a connection share in the running event loop.

    :param read_account: reads the connection; only the first caller's is used.
    """
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    if conn_id not in pollers:
        pollers[conn_id] = StatusPoller(read_account)
    return pollers[conn_id]
