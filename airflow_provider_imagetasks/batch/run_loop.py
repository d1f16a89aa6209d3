"""The loop of one start of a batch: what is due is begun in each round, until nothing is, and all is written down."""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.files.picture_store import PictureStore
from airflow_provider_imagetasks.polling.batch_wait import Counts
from airflow_provider_imagetasks.transports import open_async_transport

_LONGEST_SLEEP = 0.5
_TIME_TO_END = 15.0
"""Seconds that a start with an end keeps for what is under way; a quarter where there is less."""
_TIME_TO_WRITE = 5.0
"""Seconds of those that it keeps to write down what is known."""


class RunLoop(ABC):
    """One start of a batch in a worker, on one event loop.

    :param batch: open.
    :param report: told every few seconds how far it is; may block for a moment.
    :param ends_at: Unix seconds at which Airflow ends the process, so that it stops before; None without a limit.
    """

    def __init__(
        self,
        arguments: BatchArguments,
        batch: OpenBatch,
        *,
        report: Callable[[Counts], None],
        log: Any,
        ends_at: float | None = None,
    ) -> None:
        self._arguments = arguments
        self._limits = arguments.limits
        self._batch = batch
        self._ledger = batch.ledger
        self._state = batch.ledger.state
        self._report = report
        self._log = log
        self._news = asyncio.Event()
        self._api = open_async_transport(arguments.account)
        self._store = PictureStore(batch.folder.pictures, arguments.account)
        left = 0.0 if ends_at is None else max(0.0, ends_at - time.time())
        self._stops_at = None if ends_at is None else ends_at - min(_TIME_TO_END, left / 4)
        self._abandons_at = None if ends_at is None else ends_at - min(_TIME_TO_WRITE, left / 10)
        self._error: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reported_at = self._flushed_at = time.time()

    async def run(self) -> bool:
        """Work until every row is over, or nothing is left to do but to wait.

        :returns: whether the batch is over.
        :raises ImageTaskError: the service cannot be asked, or the ledger not be written; a later start goes on.
        """
        self._loop = asyncio.get_running_loop()
        async with self._api, self._store:
            try:
                self._begin()
                while self._goes_on():
                    self._begin_what_is_due()
                    await self._keep_up()
                    if self._is_idle():
                        break
                    await self._sleep()
            finally:
                self._stop_submitting()
                await self._stop_asking()
                await self._end_tasks()
                await asyncio.to_thread(self._ledger.flush)
        if self._error is not None:
            raise self._error
        return self._state.is_over and not self._is_delivering

    @property
    def is_out_of_time(self) -> bool:
        """Whether its time is over, up to what it takes to end."""
        return self._stops_at is not None and time.time() >= self._stops_at

    def _goes_on(self) -> bool:
        is_open = self._is_delivering or not self._state.is_over
        return self._error is None and not self.is_out_of_time and is_open

    async def _end_tasks(self) -> None:
        """Wait for what is under way; what there is no time for, a later start takes up."""
        # What is being submitted is paid for: its ids are worth the wait.
        while self._tasks and (self._abandons_at is None or time.time() < self._abandons_at):
            seconds = None if self._abandons_at is None else self._abandons_at - time.time()
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks - self._abandon():
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _abandon(self) -> set[asyncio.Task[None]]:
        """Give up what is under way, as its time is over, and return what then ends by itself."""
        return set()

    def end(self) -> None:
        """End the run, from another thread, because its Airflow task was ended: nothing more is submitted."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._end)

    @property
    @abstractmethod
    def unfinished(self) -> Sequence[str]:
        """The ids, as the service is asked for them, of what runs there."""

    @property
    @abstractmethod
    def _is_delivering(self) -> bool:
        """Whether pictures are being brought to where they belong."""

    @abstractmethod
    def _begin(self) -> None:
        """Go on with what earlier starts left open."""

    @abstractmethod
    def _begin_what_is_due(self) -> None:
        """Begin what is to be done now, and act on what has come."""

    @abstractmethod
    def _is_idle(self) -> bool:
        """Whether the triggerer can take over."""

    @abstractmethod
    def _next_at(self) -> float | None:
        """Return the Unix time at which something is due; None where only news can be."""

    @abstractmethod
    def _stop_submitting(self) -> None:
        """Let nothing more leave."""

    @abstractmethod
    async def _stop_asking(self) -> None:
        """Break off questions that are under way."""

    def _end(self) -> None:
        self._error = self._error or ImageTaskError(
            "This task was ended: nothing more is submitted",
            service=self._arguments.service.name,
            retry_advice="Clear continues with the rows that are left.",
        )
        self._stop_submitting()
        self._news.set()

    async def _keep_up(self) -> None:
        """Write outcomes down and say how far it is, now and then."""
        now, unwritten = time.time(), self._ledger.unwritten
        if unwritten >= self._limits.flush_rows or (unwritten and now - self._flushed_at >= self._limits.flush):
            self._flushed_at = now
            await asyncio.to_thread(self._ledger.flush)
        if now - self._reported_at >= self._limits.report:
            self._reported_at = now
            await asyncio.to_thread(self._report, self._state.counts)

    async def _sleep(self) -> None:
        """Wait for news, or until something is due."""
        if not self._news.is_set():
            moments = (self._next_at(), self._stops_at)
            due = min((moment for moment in moments if moment is not None), default=math.inf)
            seconds = min(_LONGEST_SLEEP, max(0.0, due - time.time()))
            timer = asyncio.get_running_loop().call_later(seconds, self._news.set)
            try:
                await self._news.wait()
            finally:
                timer.cancel()
        self._news.clear()

    def _spawn(self, work: Coroutine[Any, Any, None], *, is_news: bool = True) -> asyncio.Task[None]:
        """Begin what goes on beside the loop.

        :param is_news: whether its end is news; not where it acts on an outcome as the last thing, which is news.
        """
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._is_done, is_news=is_news))
        return task

    def _is_done(self, task: asyncio.Task[None], *, is_news: bool) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._error is None:
            self._error = error
            self._stop_submitting()
        if is_news or error is not None:
            self._news.set()
