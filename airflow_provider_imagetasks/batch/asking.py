"""Asks the service for the image tasks of a running batch, often enough that free places are noticed soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    InvalidRequestError,
    RateLimitError,
)
from airflow_provider_imagetasks.observability import metrics
from airflow_provider_imagetasks.polling.schedule import EARLIEST, PollingSchedule
from airflow_provider_imagetasks.polling.status_requests import FAILED_READS, seconds_to_pause
from airflow_provider_imagetasks.polling.wait_log import WaitLog
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.services.wire import Flow, Result
from airflow_provider_imagetasks.tasks import ImageTask

AT_ONCE = 8
"""Status requests that are under way at the same time."""
SHORTEST_INTERVAL = 1.0
SHARE_OF_AGE = 0.25
"""An image task is asked for again after so much of its age: the young ones often, the old ones at the interval."""


class RunsFlows(Protocol):
    """What questions are asked with: a transport."""

    async def run(self, flow: Flow[Result]) -> Result:
        """Drive a flow to its end."""


class StatusQuestions:
    """The open image tasks of a batch, and when each is asked for next. Never faster than ``query_rate``.

    A question that failed is asked again, as often as in a wait on the triggerer. A refused key ends it.

    :param interval: seconds between two questions for an image task that has been running for long, and after one that
        failed.
    :param on_read: called with the row and its image task after each answer.
    :param on_failed: called with the row and the error where asking for it is of no use.
    :param log: the task's.
    """

    def __init__(
        self,
        service: Service,
        account: Account,
        interval: float,
        *,
        on_read: Callable[[int, ImageTask], None],
        on_failed: Callable[[int, ImageTaskError], None],
        log: Any,
    ) -> None:
        self._service = service
        self._interval = interval
        self._on_read = on_read
        self._on_failed = on_failed
        self._log = WaitLog(log)
        self._failures: dict[str, int] = {}
        self._pace = Pace(account.query_rate or service.default_query_rate)
        self._schedule: PollingSchedule[tuple[int, int]] = PollingSchedule()
        self._wanted: dict[int, tuple[str, float, int]] = {}
        """By row: the id, when it was submitted, and which of its questions counts."""
        self._asking: set[int] = set()
        self._news = asyncio.Event()

    def add(self, row: int, image_task_id: str, submitted_at: float) -> None:
        """Ask for a row's image task from now on.

        :param submitted_at: Unix seconds.
        """
        self._wanted[row] = (image_task_id, submitted_at, 0)
        self._ask_later(row)

    def drop(self, row: int) -> None:
        """Ask for it no more."""
        if row in self._wanted:
            self._failures.pop(self._wanted.pop(row)[0], None)

    def ask_all_now(self) -> None:
        """Ask for every one as soon as the rate allows."""
        now = time.time()
        for row, (image_task_id, submitted_at, number) in self._wanted.items():
            self._wanted[row] = (image_task_id, submitted_at, number + 1)
            self._schedule.add((row, number + 1), due=now)
        self._news.set()

    def is_answered_since(self, moment: float) -> bool:
        """Whether nothing is being asked, and nothing was due to be asked before ``moment`` and was not."""
        due = self._schedule.next_due()
        return not self._asking and (due is None or due > moment)

    async def run(self, transport: RunsFlows) -> None:
        """Ask until cancelled.

        :raises ImageTaskError: the service cannot be asked at all.
        """
        requests: set[asyncio.Task[None]] = set()
        try:
            while True:
                for request in [request for request in requests if request.done()]:
                    requests.discard(request)
                    request.result()
                seconds = self._until_next(len(requests))
                if seconds is None or seconds > 0:
                    await self._sleep(seconds)
                    continue
                rows = self._take()
                if rows:
                    self._asking.update(rows)
                    self._pace.count(time.time())
                    request = asyncio.create_task(self._ask(transport, rows))
                    request.add_done_callback(lambda _request: self._news.set())
                    requests.add(request)
        finally:
            for request in requests:
                request.cancel()
            await asyncio.gather(*requests, return_exceptions=True)

    def _until_next(self, under_way: int) -> float | None:
        due = self._schedule.next_due()
        if due is None or under_way >= AT_ONCE:
            return None
        return max(due, self._pace.next_at()) - time.time()

    async def _sleep(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()

    def _take(self) -> list[int]:
        taken = self._schedule.take(time.time(), self._service.batch_size)
        rows = [row for (row, number), _due in taken if row in self._wanted and self._wanted[row][2] == number]
        return [row for row in rows if row not in self._asking]

    async def _ask(self, transport: RunsFlows, rows: Sequence[int]) -> None:
        ids = {row: self._wanted[row][0] for row in rows if row in self._wanted}
        try:
            tasks = await transport.run(
                metrics.counted(self._service.read_tasks_once(list(ids.values())), self._service.name)
            )
        except ImageTaskError as error:
            await self._failed(transport, ids, error)
            return
        finally:
            self._asking.difference_update(rows)
        for row, image_task_id in ids.items():
            self._failures.pop(image_task_id, None)
            if row in self._wanted:
                self._on_read(row, tasks[image_task_id])
        for row in rows:
            if row in self._wanted:
                self._ask_later(row)

    async def _failed(self, transport: RunsFlows, ids: Mapping[int, str], error: ImageTaskError) -> None:
        if not error.retryable and not isinstance(error, AuthenticationError):
            if len(ids) > 1:
                # One of them may be what the service does not like.
                for row in ids:
                    await self._ask(transport, [row])
            else:
                for row in ids:
                    self._on_failed(row, error)
            return
        if is_given_up(error, ids.values(), self._failures):
            raise error
        if isinstance(error, RateLimitError):
            self._pace.pause_until(time.time() + seconds_to_pause(error))
        self._log.failed(error)
        for row in ids:
            if row in self._wanted:
                self._ask_after(row, self._interval)

    def _ask_later(self, row: int) -> None:
        age = time.time() - self._wanted[row][1]
        self._ask_after(row, min(self._interval, max(SHORTEST_INTERVAL, SHARE_OF_AGE * age)))

    def _ask_after(self, row: int, interval: float) -> None:
        image_task_id, submitted_at, number = self._wanted[row]
        now = time.time()
        self._wanted[row] = (image_task_id, submitted_at, number + 1)
        self._schedule.add((row, number + 1), due=now + interval, early=now + EARLIEST * interval)
        self._news.set()


def is_given_up(error: ImageTaskError, image_task_ids: Iterable[str], failures: dict[str, int]) -> bool:
    """Take in that a status request failed, and return whether asking on is of no use. 429 only slows down.

    :param image_task_ids: what it asked for.
    :param failures: of each, how many in a row have failed; counted on. Whoever reads one takes it out.
    """
    if isinstance(error, RateLimitError):
        return False
    if not error.retryable:
        return True
    for image_task_id in image_task_ids:
        failures[image_task_id] = failures.get(image_task_id, 0) + 1
    return max(failures.values(), default=0) >= FAILED_READS


def poll_interval_for(argument: float | None, account: Account, service: Service) -> float:
    """Return the seconds between two questions: argument, then connection, then service.

    :raises InvalidRequestError: the argument is no number of at least 1.
    """
    if argument is not None and (isinstance(argument, bool) or not isinstance(argument, int | float) or argument < 1):
        raise InvalidRequestError(f"poll_interval is {argument!r}; it must be a number of seconds, at least 1")
    return argument or account.poll_interval or service.poll_interval
