"""What all routes of one local service share: its image tasks, its counts, and its tools."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Admission
from airflow_provider_imagetasks.local.callback_sender import CallbackSender
from airflow_provider_imagetasks.local.drawing import PictureOrder, paint
from airflow_provider_imagetasks.local.options import ServiceOptions
from airflow_provider_imagetasks.local.task_table import References, TaskRecord, TaskTable
from airflow_provider_imagetasks.local.uploads import read_uploads

Result = TypeVar("Result")
DownloadAnswer = Callable[[web.Request, bytes], Awaitable[web.StreamResponse | None]]
"""Answers a download instead of the service, which has drawn the file; None leaves the answer to the service."""

_KEPT_CREATIONS = 1_000
_TOLD = ("id", "prompt", "dialect", "trace_id", "request_id", "created_at")
_KEPT_BYTES = 128 * 1024 * 1024
_OWN_FILE = re.compile(r"/files/([0-9a-f-]{36})/(\d{1,3})\.[a-z]+")


class _LatestFiles:
    """The latest 128 MiB of files that were made or sent, by a key."""

    def __init__(self) -> None:
        self._files: OrderedDict[Hashable, bytes] = OrderedDict()
        self._size = 0

    def get(self, key: Hashable) -> bytes | None:
        return self._files.get(key)

    def keep(self, key: Hashable, file: bytes) -> bytes:
        self._size += len(file) - len(self._files.pop(key, b""))
        self._files[key] = file
        while self._size > _KEPT_BYTES:
            self._size -= len(self._files.popitem(last=False)[1])
        return file


@dataclass
class DialectStatistics:
    """The counts of one dialect.

    Every submission is one of ``created``, ``duplicates`` (answered with an earlier image task) or ``refused``.
    """

    submissions: int = 0
    created: int = 0
    edits: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    status_queries: int = 0
    batch_queries: int = 0
    ids_queried: int = 0
    not_found: int = 0
    queries_refused: Counter[str] = field(default_factory=Counter)
    credit_queries: int = 0
    cancelled: int = 0


class Statistics:
    """All counts of one local service.

    :param dialects: their names.
    """

    def __init__(self, dialects: Iterable[str]) -> None:
        self.dialects = {name: DialectStatistics() for name in dialects}
        self.files = Counter(files_served=0, files_refused=0, files_with_authorization=0)
        self.callbacks = Counter(sent=0, failed=0, not_sent=0)
        self.created: deque[dict[str, Any]] = deque(maxlen=_KEPT_CREATIONS)
        self.cancelled: deque[str] = deque(maxlen=_KEPT_CREATIONS)


class ServiceState:
    """The image tasks, counts and tools of one local service; used from its event loop only.

    :param dialects: the names of those that it speaks.
    """

    def __init__(self, options: ServiceOptions, dialects: Iterable[str] = ()) -> None:
        self._dialects = tuple(dialects)
        self.on_reset: list[Callable[[], None]] = []
        self._files = _LatestFiles()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="painter")
        self.options = options
        self._began = time.time()
        self.callbacks = CallbackSender(lambda outcome: self.statistics.callbacks.update([outcome]))
        self.reset()

    def close(self) -> None:
        """Stop drawing, without waiting for pictures that are not begun."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def reset(self) -> None:
        """Forget every image task and every count."""
        self.callbacks.give_up()
        self.download_answer: DownloadAnswer | None = None
        self.skipped = 0.0
        """Seconds by which the clock of providers' own batches was put forward."""
        self.statistics = Statistics(self._dialects)
        self.tasks = TaskTable(maximum=self.options.keep_tasks, separate_keys=bool(self.options.keys))
        self.admission = Admission(self.options, self.tasks)
        for forget in self.on_reset:
            forget()

    def now(self) -> float:
        """Return the Unix time by the clock of providers' own batches."""
        return self._began + (time.time() - self._began) * self.options.clock_rate + self.skipped

    def reset_counts(self) -> None:
        """Set every count to zero; the image tasks stay."""
        self.statistics = Statistics(self._dialects)
        self.tasks.peak_active = self.tasks.active()

    def stats(self) -> dict[str, Any]:
        """Return all counts as plain JSON types, and how many image tasks there are."""
        statistics = self.statistics
        return {
            "dialects": {
                name: {key: dict(count) if isinstance(count, Counter) else count for key, count in vars(counts).items()}
                for name, counts in statistics.dialects.items()
            },
            "active_tasks": self.tasks.active(),
            "peak_active_tasks": self.tasks.peak_active,
            "remembered_tasks": len(self.tasks),
            **statistics.files,
            "callbacks": dict(statistics.callbacks),
            "created": list(statistics.created),
            "cancelled": list(statistics.cancelled),
        }

    def admit(self, asked: TaskRecord) -> tuple[TaskRecord, bool]:
        """Return the image task that was asked for, and whether it is new; count it."""
        record, is_new = self.admission.admit(asked)
        counts, references = self.statistics.dialects[record.dialect], record.references
        if is_new:
            counts.created += 1
            counts.edits += bool(references.names)
            told = {name: getattr(record, name) for name in _TOLD}
            self.statistics.created.append({**told, "references": list(references.names), "mask": references.mask})
        else:
            counts.duplicates += 1
        return record, is_new

    async def cancel(self, record: TaskRecord, code: str) -> bool:
        """End an image task that somebody does not want any more, and say whether it was not over; count it."""
        was_running = self.tasks.cancel(record, code)
        if was_running:
            self.statistics.dialects[record.dialect].cancelled += 1
            self.statistics.cancelled.append(record.id)
        await self.callbacks.look_again()
        return was_running

    async def picture(self, record: TaskRecord, index: int, *, width: int | None = None) -> bytes:
        """Return a picture of an image task as a file's bytes.

        :param index: which picture, from 0.
        :param width: draw it so many pixels wide, as a PNG, instead of as it was ordered.
        """
        size, media_format = record.size, record.media_format
        if width is not None and width < size[0]:
            size, media_format = (width, max(1, round(size[1] * width / size[0]))), "png"
        order = PictureOrder(
            text=record.behaviours.text,
            model=record.model,
            index=index,
            count=record.image_count,
            size=size,
            media_format=media_format,
            note=_note(record.references),
            background=self._files.get(record.references.background),
        )
        kept = self._files.get(order)
        return self._files.keep(order, kept if kept is not None else await self._in_thread(lambda: paint(order)))

    async def uploaded(self, files: list[bytes], mask: bytes | None = None) -> References:
        """Take over the files of an edit: the first is what is drawn on.

        :raises ValueError: when one is not what the services take.
        """
        names, copy, size = await self._in_thread(lambda: read_uploads(files, mask))
        key = hashlib.sha256(copy).hexdigest()
        self._files.keep(key, copy)
        return References(names=names, background=key, size=size, mask=mask is not None)

    async def referenced(self, urls: list[str]) -> References:
        """Take over the URLs of an edit; nothing is fetched, so only pictures of this service are to be seen."""
        for match in filter(None, (_OWN_FILE.fullmatch(urlsplit(url).path) for url in urls)):
            record, index = self.tasks.get(match[1]), int(match[2])
            if record is not None and record.has_picture(index):
                return replace(await self.uploaded([await self.picture(record, index)]), names=tuple(urls))
        return References(names=tuple(urls))

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _note(references: References) -> str:
    """Return what is to be written on the picture about what it was made from."""
    names = references.names
    if not names:
        return ""
    first = names[0] if "/" in names[0] else f"file {names[0][:8]}"
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f" · edit of {first}{more}{', masked' if references.mask else ''}"
