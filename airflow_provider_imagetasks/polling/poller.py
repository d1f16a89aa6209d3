"""The shared status poller: all waits of one connection in one event loop are one coroutine on one HTTP session."""

from __future__ import annotations

import asyncio
import contextvars
import time
import weakref
from collections.abc import Coroutine
from heapq import heapify, heappop, heappush
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    RateLimitError,
)
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.polling.polled_waits import PolledWait, Question
from airflow_provider_imagetasks.polling.schedule import PollingSchedule
from airflow_provider_imagetasks.polling.session import AccountSession, ReadAccount
from airflow_provider_imagetasks.polling.wait_log import WaitLog
from airflow_provider_imagetasks.polling.waiting import Progress, Watch, seconds_to_pause
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.inline_ids import INLINE_PREFIX
from airflow_provider_imagetasks.tasks import ImageTask

MOST_AT_ONCE = 32
"""Status requests of one account that are under way at the same time."""
LONGEST_LOOK_AWAY = 1.0
"""Seconds after which new deadlines are noticed while the connection is being looked up."""


class StatusPoller:
    """Asks for all image tasks that somebody waits for, and wakes only whom it has news for.

    It sleeps until the first of them is due, fills the request with those that are nearly due, and never asks more
    often than the account's ``query_rate``. It ends with its last wait.

    :param read_account: reads the connection that all its waits have in common.
    """

    def __init__(self, read_account: ReadAccount) -> None:
        self._session = AccountSession(read_account)
        self._schedule: PollingSchedule[Question] = PollingSchedule()
        self._deadlines: list[tuple[float, int, PolledWait]] = []
        self._waits: set[PolledWait] = set()
        self._requests: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None

    def wait(self, watch: Watch, *, first_pause: float, log: WaitLog | None = None) -> Coroutine[Any, Any, str]:
        """Wait until everything is over, and return why: ``"done"``, ``"deadline"`` or ``"error"``.

        :param first_pause: seconds before the first question.
        :param log: told what changes and what fails, in the caller's own context.
        """
        # Not a coroutine around another: each wait would hold both.
        return self.wait_with(Progress(watch, log), first_pause=first_pause)

    async def wait_with(self, progress: Progress, *, first_pause: float) -> str:
        """Do what :meth:`wait` does, with what is to be told of every answer and decides when it is the last.

        :param progress: of what is waited for; called in the caller's own context.
        :param first_pause: seconds before the first question.
        """
        waiting = PolledWait(progress, asyncio.get_running_loop().create_future())
        watch, now = progress.watch, time.time()
        self._waits.add(waiting)
        heappush(self._deadlines, (watch.deadline, id(waiting), waiting))
        for image_task_id in waiting.progress.pending:
            self._schedule.add(Question(waiting, image_task_id), due=now + first_pause)
        self._news.set()
        if self._runner is None or self._runner.done():
            # Not in the caller's context: what is logged on the way would land in one task's log of many.
            self._runner = asyncio.create_task(self._run(), context=contextvars.Context())
        try:
            return await waiting.end
        finally:
            self._waits.discard(waiting)
            if not self._waits:
                self._news.set()

    async def _run(self) -> None:
        try:
            while self._waits:
                try:
                    while self._waits:
                        self._end_what_is_overdue()
                        await self._ask_for_what_is_due()
                        await self._sleep()
                finally:
                    await self._stop_asking()
                # Whoever came while the session was closed is not left alone.
        except Exception:
            # A wait that nobody ends would hang for ever; a worker that looks is told what is wrong.
            for waiting in self._waits:
                waiting.finish("error")
            raise
        finally:
            # What is left belongs to waits that are over.
            self._deadlines.clear()
            self._schedule = PollingSchedule()

    async def _stop_asking(self) -> None:
        for request in self._requests:
            request.cancel()
        try:
            await asyncio.gather(*self._requests, return_exceptions=True)
        finally:
            # Also where the event loop ends in this moment.
            await self._session.close()

    def _end_what_is_overdue(self) -> None:
        now = time.time()
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][2].end.done()):
            _, _, waiting = heappop(self._deadlines)
            waiting.finish("deadline")
        if len(self._deadlines) > 2 * len(self._waits) + 100:
            self._deadlines = [entry for entry in self._deadlines if not entry[2].end.done()]
            heapify(self._deadlines)

    async def _ask_for_what_is_due(self) -> None:
        while len(self._requests) < MOST_AT_ONCE:
            now, due = time.time(), self._schedule.next_due()
            if due is None or max(due, self._session.pace.next_at()) > now:
                return
            service = await self._service(now)
            now = time.time()
            if service is None or self._session.pace.next_at() > now:
                continue
            batch = self._batch(service, now)
            if not batch:
                continue
            self._session.pace.count(now)
            request = asyncio.create_task(self._ask(service, batch))
            self._requests.add(request)
            request.add_done_callback(self._request_is_done)

    def _batch(self, service: Service, now: float) -> list[Question]:
        """Take what one request asks for, and leave behind whom nobody waits for any more."""
        taken = self._schedule.take(now, service.batch_size)
        batch: list[Question] = []
        held_back_until = self._session.pace.free_at()
        for number, (question, due) in enumerate(taken):
            if question.wait.end.done():
                continue
            if batch and (question.alone or batch[0].alone):
                # Whatever made the service refuse it in company must not hurt the others again.
                for other, other_due in taken[number:]:
                    self._schedule.add(other, due=other_due)
                break
            self._say_if_held_back(question, held_back_until - due)
            batch.append(question)
        return batch

    def _say_if_held_back(self, question: Question, late: float) -> None:
        interval = question.wait.progress.watch.poll_interval
        if late > interval / 2:
            question.wait.run(question.wait.progress.stretched, self._session.query_rate, late + interval)

    def _request_is_done(self, request: asyncio.Task[None]) -> None:
        self._requests.discard(request)
        self._news.set()

    async def _sleep(self) -> None:
        """Sleep until something is due, a deadline strikes or there is news."""
        moments = [self._deadlines[0][0]] if self._deadlines else []
        due = self._schedule.next_due()
        if due is not None and len(self._requests) < MOST_AT_ONCE:
            moments.append(max(due, self._session.pace.next_at()))
        try:
            async with asyncio.timeout(max(0.0, min(moments) - time.time()) if moments else None):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    async def _service(self, now: float) -> Service | None:
        """Return the service to ask, None where there is none now.

        What is due is put off where the connection cannot be looked up, and ended where it is wrong.
        """
        try:
            return self._session.known_service(now) or await self._meanwhile(self._session.service(now))
        except ImageTaskError as error:
            problem = error
        except Exception as error:  # noqa: BLE001 - Airflow's API may be away for a while, in any way
            problem = ImageTaskError(f"the connection cannot be read ({error})", retryable=True)
        now = time.time()
        put_off = [question for question, _due in self._schedule.take(now, len(self._schedule))]
        for waiting in dict.fromkeys(question.wait for question in put_off):
            if not waiting.end.done():
                waiting.run(waiting.progress.put_off, problem)
                waiting.finish(None if problem.retryable else "error")
        for question in put_off:
            self._again(question, now)
        return None

    async def _meanwhile(self, look_up: Coroutine[Any, Any, Service]) -> Service:
        """Wait for the connection while deadlines strike: what looks it up may take as long as it likes."""
        looking = asyncio.ensure_future(look_up)
        try:
            while not looking.done():
                until_deadline = self._deadlines[0][0] - time.time() if self._deadlines else LONGEST_LOOK_AWAY
                await asyncio.wait({looking}, timeout=min(max(0.0, until_deadline), LONGEST_LOOK_AWAY))
                self._end_what_is_overdue()
        finally:
            looking.cancel()
        return looking.result()

    async def _ask(self, service: Service, batch: list[Question]) -> None:
        trace_id = batch[0].wait.progress.watch.trace_id if not batch[0].image_task_id else None
        ids = list(dict.fromkeys(question.image_task_id for question in batch))
        try:
            if trace_id:
                metrics.polled_from_loop(service.name)
                tasks = {"": await self._session.run(service.read_by_trace_id(trace_id))}
            else:
                if not all(image_task_id.startswith(INLINE_PREFIX) for image_task_id in ids):
                    metrics.polled_from_loop(service.name)
                tasks = await self._session.run(service.read_tasks(ids))
        except ImageTaskError as error:
            self._failed(batch, error)
        except Exception as error:  # noqa: BLE001 - one request must not end everybody's waits
            self._failed(batch, ImageTaskError(f"{type(error).__name__}: {error}", retryable=True))
        else:
            self._dispatch(batch, tasks)

    def _dispatch(self, batch: list[Question], tasks: dict[str, ImageTask]) -> None:
        now = time.time()
        news: dict[PolledWait, dict[str, ImageTask]] = {}
        for question in batch:
            image_task_id = question.image_task_id
            news.setdefault(question.wait, {})[image_task_id] = tasks[image_task_id]
        for waiting, found_for_it in news.items():
            if not waiting.end.done():
                waiting.refused = False
                waiting.finish(waiting.run(waiting.progress.saw, found_for_it, now))
        for question in batch:
            # Whoever made the service refuse its company is found; without it the others go together again.
            question.alone = not question.image_task_id
            if question.image_task_id in question.wait.progress.pending:
                self._again(question, now)

    def _failed(self, batch: list[Question], error: ImageTaskError) -> None:
        now = time.time()
        if isinstance(error, RateLimitError):
            self._session.pace.pause_until(now + seconds_to_pause(error))
        if isinstance(error, AuthenticationError) and not batch[0].wait.refused:
            # The key may have been changed since the connection was read.
            self._session.read_anew()
            for question in batch:
                question.wait.refused = True
                self._schedule.add(question, due=now)
            return
        if len(batch) > 1 and isinstance(error, InvalidRequestError | ProtocolError) and not error.retryable:
            for question in batch:
                question.alone = True
                self._schedule.add(question, due=now)
            return
        failed: dict[PolledWait, list[str]] = {}
        for question in batch:
            failed.setdefault(question.wait, []).append(question.image_task_id)
        for waiting, image_task_ids in failed.items():
            if not waiting.end.done():
                waiting.finish(waiting.run(waiting.progress.failed, error, image_task_ids))
        for question in batch:
            if isinstance(error, RateLimitError) and not question.wait.end.done():
                self._schedule.add(question, due=now)
            else:
                self._again(question, now)

    def _again(self, question: Question, now: float) -> None:
        if not question.wait.end.done():
            self._schedule.add_after(question, question.wait.progress.watch.poll_interval, now=now)


_pollers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, StatusPoller]] = weakref.WeakKeyDictionary()


def status_poller(conn_id: str, read_account: ReadAccount) -> StatusPoller:
    """Return the poller that all waits of a connection share in the running event loop.

    :param read_account: reads the connection; only the first caller's is used.
    """
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    if conn_id not in pollers:
        pollers[conn_id] = StatusPoller(read_account)
    return pollers[conn_id]
