"""An event loop that is turned by hand, and stops wherever the code under test could be stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from heapq import heappop
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_imagetasks.exceptions import ImageTaskError

if TYPE_CHECKING:
    from tests.batch.batch_world import Start


class KilledError(ImageTaskError):
    """What a start that was killed is told by all it touches, so that its pieces can be put away."""


class Job(threading.Thread):
    """Work off the event loop. It runs only while the loop waits for it, up to its next point."""

    inline: ClassVar[Job | None] = None

    def __init__(self, work: Callable[[], Any], start: Start) -> None:
        super().__init__(daemon=True)
        self.start_of_batch = start
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_over = False
        self.pauses = True
        self._work = work
        self._turn, self._pause = threading.Semaphore(0), threading.Semaphore(0)

    def go_on(self) -> None:
        """Run up to the next point, or to the end."""
        if self.is_over:
            return
        if self.ident is None:
            self.start()
        self._turn.release()
        self._pause.acquire()

    def pause(self) -> None:
        """Let others have their turn."""
        self._pause.release()
        self._turn.acquire()

    def run(self) -> None:
        self._turn.acquire()
        self.work()
        self._pause.release()

    def work(self) -> None:
        """Work to the end, and note what comes of it."""
        try:
            self.result = self._work()
        except BaseException as error:  # noqa: BLE001 - whoever awaits it is told
            self.error = error
        self.is_over = True

    @classmethod
    def current(cls) -> Job:
        """Return the job that is at work, on its thread or for want of one on the loop's."""
        job = cls.inline or threading.current_thread()
        assert isinstance(job, cls)
        return job


def point(name: str) -> None:
    """Let whoever turns the start stop here, where a thread of it is at work."""
    job = Job.current()
    if job is not Job.inline and job.pauses:
        job.start_of_batch.points[name] += 1
        job.pause()
    if job.start_of_batch.is_dead:
        raise KilledError("killed")


class TurnedLock:
    """A lock that who holds it may enter again. Who wants it meanwhile lets that one go on."""

    def __init__(self) -> None:
        self._holder: Job | None = None
        self._entered = 0

    def __enter__(self) -> None:
        job = Job.current()
        while self._holder not in (None, job):
            if job is Job.inline:
                # What has no thread of its own cannot be paused.
                self._turn_holder()
            else:
                job.pause()
        self._holder = job
        self._entered += 1

    def __exit__(self, *_exception: object) -> None:
        self._entered -= 1
        if not self._entered:
            self._holder = None

    def _turn_holder(self) -> None:
        assert self._holder is not None
        inline, Job.inline = Job.inline, None
        try:
            self._holder.go_on()
        finally:
            Job.inline = inline


class TurnedLoop(asyncio.BaseEventLoop):
    """Turned by hand; its time is the world's."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        self._start = start

    def time(self) -> float:
        return self._start.world.now

    def run_in_executor(self, _executor: Any, function: Any, *arguments: Any) -> asyncio.Future[Any]:
        job, future = Job(partial(function, *arguments), self._start), self.create_future()
        # A thread takes its time: it is only worth it where the start may stop on the way.
        carry_on = self._carry_on if self._start.may_stop else self._carry_out
        self.call_soon(carry_on, job, future)
        return future

    def _carry_out(self, job: Job, future: asyncio.Future[Any]) -> None:
        Job.inline = job
        try:
            job.work()
        finally:
            Job.inline = None
        self._settle(job, future)

    def _carry_on(self, job: Job, future: asyncio.Future[Any]) -> None:
        job.go_on()
        if not job.is_over:
            self.call_soon(self._carry_on, job, future)
        else:
            self._settle(job, future)

    def _settle(self, job: Job, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            return
        if job.error is not None:
            future.set_exception(job.error)
        else:
            future.set_result(job.result)

    def turn(self) -> bool:
        """Do one thing; return whether there was one to do."""
        ready: Any = self._ready  # type: ignore[attr-defined]
        scheduled: Any = self._scheduled  # type: ignore[attr-defined]
        while scheduled and (scheduled[0].cancelled() or scheduled[0].when() <= self.time()):
            ready.append(self._pop(scheduled))
        if not ready:
            return False
        handle = ready.popleft()
        if not handle.cancelled():
            asyncio._set_running_loop(self)
            try:
                handle._run()
            finally:
                asyncio._set_running_loop(None)
        return True

    def next_timer(self) -> float | None:
        """Return the Unix time at which there is something to do next."""
        scheduled: Any = self._scheduled  # type: ignore[attr-defined]
        return scheduled[0].when() if scheduled else None

    @staticmethod
    def _pop(scheduled: Any) -> Any:
        handle = heappop(scheduled)
        handle._scheduled = False
        return handle
