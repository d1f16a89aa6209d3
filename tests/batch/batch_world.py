"""A world for starts of a batch: one clock, one folder and one service, in memory, and starts that stop at any moment.

Each start has an event loop of its own, which is turned by hand: a start that is not turned is frozen, as a process is
that was stopped or swapped out, and one that is never turned again is killed. Time passes only where a start waits for
it, or where a test says so. What runs is the real code, from ``open_batch`` to ``finish``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from airflow_provider_imagetasks.batch.folder import CHECKPOINT_NAME, BatchFolder
from airflow_provider_imagetasks.batch.requests_file import RequestsSource
from airflow_provider_imagetasks.batch.run import BatchRun
from airflow_provider_imagetasks.batch.segments import read_name
from airflow_provider_imagetasks.batch.start import OpenBatch, new_checkpoint, open_batch
from airflow_provider_imagetasks.exceptions import DownloadError, ImageTaskError, UnsafeResultError
from airflow_provider_imagetasks.files.picture_store import DownloadedFile
from airflow_provider_imagetasks.files.pictures import Picture
from airflow_provider_imagetasks.polling.batch_wait import Counts
from airflow_provider_imagetasks.services.wire import Blocking, Flow, Sleep, run_flow
from airflow_provider_imagetasks.tasks import ImageTask
from tests.batch.batches import LOG, SLOT, arguments
from tests.batch.turned_loop import Job, KilledError, TurnedLock, TurnedLoop, point

BEGINNING = 1_800_000_000.0
ANSWER_SECONDS = 0.2
POINTS = (
    *("look", "before intents", "after intents", "submitted", "asked", "delivery", "before outcomes", "after outcomes"),
    *("read", "before manifest.jsonl", "after manifest.jsonl", "before life.json", "after life.json"),
)
"""Where a start can be stopped: as it is about to look who is the latest, around each write, and while an answer comes.
Not between a look and the request that goes by it: no ledger helps who is frozen there for longer than is waited."""
LONGEST_START = 3600.0
"""Seconds of its own after which a start goes on for ever, as far as a test can tell."""


class MemoryFolder(BatchFolder):
    """The folder of a batch in memory. Before each access, and after each write, its start may stop."""

    def __init__(self, files: dict[str, bytes], output_path: str, identity: str) -> None:
        self.output_path, self.identity = output_path, identity
        self.pictures = None  # type: ignore[assignment]
        self.uri = f"memory://{identity}"
        self.is_local = False
        self._files = files

    def read(self, name: str) -> bytes | None:
        point("look" if name == CHECKPOINT_NAME else "read")
        return self._files.get(name)

    def fetch(self, name: str, target: Path) -> bool:
        content = self.read(name)
        if content is not None:
            target.write_bytes(content)
        return content is not None

    def write(self, name: str, source: bytes | Path) -> None:
        kind = name.partition("-")[0]
        point(f"before {kind}")
        self._files[name] = source if isinstance(source, bytes) else source.read_bytes()
        point(f"after {kind}")

    def segments(self, generation: int) -> Any:
        point("read")
        return sorted(
            name for name in map(read_name, self._files) if name is not None and name.generation == generation
        )


def _begin_at_once(*arguments: Any) -> Any:
    """Begin without a stop between the look at the last start and the entry of this one."""
    job = Job.current()
    job.pauses = False
    job.start_of_batch.world.begins(job.start_of_batch)
    try:
        return new_checkpoint(*arguments)
    finally:
        job.pauses = True


@dataclass
class World:
    """All that starts of a batch share.

    :param service: what they submit to; it is called with a request and the start that makes it.
    :param given: changes of the batch's arguments.
    :param begins: called with a start when it becomes the latest one.
    :param told: called with a start and its counts, whenever it reports them.
    """

    scratch: Path
    service: Any
    rows: list[str]
    given: dict[str, Any]
    begins: Callable[[Start], None]
    told: Callable[[Start, Counts], None]
    now: float = BEGINNING
    files: dict[str, bytes] = field(default_factory=dict)
    delivery: str = "works"
    _tokens: int = 0

    @contextmanager
    def entered(self) -> Iterator[World]:
        """Have the package live in this world."""
        package = "airflow_provider_imagetasks.batch"
        with ExitStack() as stack:
            for target, stand_in in {
                "time.time": lambda: self.now,
                f"{package}.start.BatchFolder": partial(MemoryFolder, self.files),
                f"{package}.start.secrets.token_hex": self._token,
                f"{package}.start.new_checkpoint": _begin_at_once,
                f"{package}.batch_ledger.ThreadPoolExecutor": _NoThreads,
                f"{package}.batch_ledger.threading": SimpleNamespace(Lock=threading.Lock, RLock=TurnedLock),
                f"{package}.run_loop.open_async_transport": lambda _account: Start.current().transport,
                # Nothing happens here that is not announced, and thousands of examples are to take minutes.
                f"{package}.run_loop._LONGEST_SLEEP": 5.0,
                f"{package}.run_loop.PictureStore": lambda _folder, _account: _Pictures(self),
            }.items():
                stack.enter_context(patch(target, stand_in))
            # Thousands of examples would say much that nobody reads.
            stack.enter_context(patch.object(LOG, "disabled", True))
            stack.enter_context(patch.dict("airflow_provider_imagetasks.polling.status_requests._paces", clear=True))
            yield self

    def _token(self, size: int) -> str:
        """Return something as good as drawn at random, the same in each run of an example."""
        self._tokens += 1
        return hashlib.sha256(str(self._tokens).encode()).hexdigest()[: 2 * size]

    def checkpoint(self) -> dict[str, Any]:
        """Return where the batch stands; empty before its first start."""
        return json.loads(self.files.get("life.json", b"{}"))

    def manifest(self) -> dict[int, dict[str, Any]]:
        """Return the rows of the manifest."""
        return {row["index"]: row for row in map(json.loads, self.files.get("manifest.jsonl", b"").splitlines())}


class _NoThreads:
    """Does one after the other what else several threads would do."""

    def __init__(self, _most: int) -> None:
        self.map = map

    def __enter__(self) -> _NoThreads:
        return self

    def __exit__(self, *_exception: object) -> None:
        """Nothing is open."""


class _Pictures:
    """Stores nothing, and says what became of that."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def __aenter__(self) -> _Pictures:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Nothing is open."""

    async def store(self, task: ImageTask, _pattern: str, *, may_be_there: bool) -> list[Any]:
        await Start.current().point("delivery")
        if self._world.delivery == "works":
            what: Any = {"sha256": "0", "bytes": 1, "width": 1, "height": 1, "media_type": "image/png"}
            picture = Picture(extension="png", has_alpha=False, **what)
            return [DownloadedFile(uri="memory://a", image_task_id=task.id, index=0, picture=picture, fetched=True)]
        kind = DownloadError if self._world.delivery == "broken" else UnsafeResultError
        return [kind("no", image_task_id=task.id)]


class _Transport:
    """The way of one start to the service."""

    def __init__(self, start: Start) -> None:
        self._start = start

    async def __aenter__(self) -> _Transport:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Nothing is open."""

    async def run(self, flow: Flow[Any]) -> Any:
        """Drive a flow. What it asks for arrives at once; the answer takes its time."""
        return await run_flow(flow, self._performed)

    async def _performed(self, step: Any) -> Any:
        if isinstance(step, Blocking):
            await asyncio.to_thread(step.function)
        elif isinstance(step, Sleep):
            await asyncio.sleep(step.seconds)
        else:
            return await self._answer(step)
        return self._start.world.now

    async def _answer(self, request: Any) -> Any:
        if self._start.is_dead:
            raise KilledError("killed")
        answer = self._start.world.service(request, self._start)
        await self._start.point("submitted" if request.method == "POST" else "asked")
        await asyncio.sleep(ANSWER_SECONDS)
        return answer


class Start:
    """One start of the batch by Airflow, as far as it has been turned.

    :param try_number: rises with each retry and each Clear; the starts of one try are its first and its resumes.
    """

    def __init__(self, world: World, *, max_tries: int, try_number: int, resumes: bool) -> None:
        self.world = world
        self.try_number = try_number
        self.points: Counter[str] = Counter()
        """How often it could be stopped at each kind of point."""
        self.seconds = 0.0
        self.is_dead = False
        self.may_stop = False
        """Whether it is being turned up to a point that may lie within what works off the loop."""
        self.transport = _Transport(self)
        self.batch: OpenBatch | None = None
        self.max_tries = max_tries
        self.resumes = resumes
        # As Airflow gives them: later tries have greater ids.
        self.try_id = str(uuid.UUID(int=(try_number << 80) | (7 << 76) | (2 << 62)))
        self._loop = TurnedLoop(self)
        self._task = self._loop.create_task(self._execute())

    @staticmethod
    def current() -> Start:
        """Return the start that is being turned."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, TurnedLoop)
        return loop._start

    async def point(self, name: str) -> None:
        """Let whoever turns the start stop here."""
        self.points[name] += 1
        await asyncio.sleep(0)

    def work(self, point: str | None = None, times: int = 1) -> str | None:
        """Go on until it comes to a point for so many times, or to the end; return how it ended, None if it has not."""
        stops_at = self.points[point] + times if point else 0
        self.may_stop = point is not None
        while not self._task.done() and (point is None or self.points[point] < stops_at):
            if not self._loop.turn():
                due = self._loop.next_timer()
                assert due is not None, "a start waits for what will never come"
                self.seconds += max(0.0, due - self.world.now)
                self.world.now = max(self.world.now, due)
                assert self.seconds < LONGEST_START or self.is_dead, "a start goes on for ever"
        return self.ended

    @property
    def ended(self) -> str | None:
        """How it ended: ``"success"``, ``"failed"`` or ``"deferred"``; None where it has not."""
        if not self._task.done():
            return None
        error = self._task.exception()
        if error is not None and not isinstance(error, ImageTaskError):
            raise error
        return "failed" if error is not None else self._task.result()

    def put_away(self) -> None:
        """End what is left of it, without a trace in the world."""
        self.is_dead, self.may_stop = True, False
        if not self._task.done():
            self._task.cancel()
            while not self._task.done():
                if not self._loop.turn():
                    self.world.now = max(self.world.now, self._loop.next_timer() or 0.0)
        while self._loop.turn():
            # What works off the loop ends too.
            pass
        self._loop.close()
        if self.batch is not None:
            self.batch.close()

    async def _execute(self) -> str:
        world, given = self.world, arguments(self.world.scratch, **self.world.given)
        scratch = world.scratch / str(len(list(world.scratch.iterdir())))
        scratch.mkdir()
        source = RequestsSource(world.rows, None)
        slot = replace(SLOT, max_tries=self.max_tries, try_number=self.try_number, try_id=self.try_id)
        self.batch = await asyncio.to_thread(
            partial(open_batch, given, source, slot, scratch, state_store=None, resumes=self.resumes, log=LOG)
        )
        told = partial(world.told, self)
        told(self.batch.ledger.state.counts)
        is_over = await BatchRun(given, self.batch, report=told, log=LOG).run()
        told(self.batch.ledger.state.counts)
        if not is_over:
            return "deferred"
        await asyncio.to_thread(self.batch.finish, scratch, given.max_failed, LOG)
        return "success"


def latest_words(files: dict[str, bytes], generation: int) -> dict[int, dict[str, Any]]:
    """Return the latest line that the ledger holds of each row."""
    words: dict[int, dict[str, Any]] = {}
    names = sorted(name for name in map(read_name, files) if name is not None and name.generation == generation)
    for name in names:
        lines = map(json.loads, files[str(name)].splitlines())
        words |= {line["index"]: line for line in lines if "index" in line}
    return words
