"""The table of image tasks: what was submitted, when it is ready, and how it is found again."""

from __future__ import annotations

import heapq
import math
import time
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from airflow_provider_imagetasks.local.directives import Behaviours, Occurrences


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an image task fails; without a code the dialect chooses one, by whether it is for its content."""

    message: str
    code: str | None = None
    content: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What an edit starts from.

    :param names: the SHA-256 of each uploaded file, or each URL as it was sent.
    :param background: the key of the first one's small copy; None when it is not here.
    :param size: width and height of that one.
    :param mask: whether a mask came along.
    """

    names: tuple[str, ...] = ()
    background: str | None = None
    size: tuple[int, int] | None = None
    mask: bool = False


NO_REFERENCES = References()
"""Of a request for a new picture."""


@dataclass(frozen=True, slots=True)
class TaskSummary:
    """A copy of the main facts of an image task, for tests to look at."""

    id: str
    dialect: str
    prompt: str
    model: str
    trace_id: str | None
    request_id: str | None
    created_at: float
    finished: bool
    failed: bool
    images: int
    status_queries: int
    request: dict[str, Any]
    references: tuple[str, ...]
    mask: bool


_COPIED = ["id", "dialect", "prompt", "model", "trace_id", "request_id", "created_at", "finished", "status_queries"]


@dataclass(slots=True, kw_only=True)
class TaskRecord:
    """One image task, or a valid request for one that is not admitted yet.

    :param size: width and height in pixels.
    :param image_count: how many pictures it delivers.
    :param queryable: False for synchronous requests, which the services keep no record of.
    :param failure: the reason when the request is one that the service accepts and then fails.
    :param latency: seconds from submission to the end; infinite when it never ends.
    :param created_at: Unix seconds; ``accepted`` is the same moment on the monotonic clock.
    """

    dialect: str
    prompt: str
    model: str
    kind: str
    request: dict[str, Any]
    bearer: str | None
    size: tuple[int, int]
    image_count: int = 1
    media_format: str = "png"
    in_base64: bool = False
    queryable: bool = True
    trace_id: str | None = None
    request_id: str | None = None
    failure: Failure | None = None
    references: References = NO_REFERENCES
    latency: float = 0.0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: float = field(default_factory=time.time)
    accepted: float = field(default_factory=time.monotonic)
    status_queries: int = 0
    behaviours: Behaviours = field(init=False)
    occurrences: Occurrences = field(default_factory=lambda: Occurrences(maximum=1_000))

    def __post_init__(self) -> None:
        self.behaviours = Behaviours.parse(self.prompt)

    @property
    def remaining(self) -> float:
        """Seconds until the image task ends; 0 when it has ended, infinite when it never does."""
        return max(0.0, self.accepted + self.latency - time.monotonic())

    @property
    def finished(self) -> bool:
        """Whether the image task has ended, well or not."""
        return not self.remaining

    @property
    def finished_at(self) -> float | None:
        """When the image task ended (Unix seconds), or None while it runs."""
        return self.created_at + self.latency if self.finished else None

    def has_picture(self, index: int) -> bool:
        """Tell whether this picture (from 0) can be downloaded by now."""
        return self.finished and index < self.image_count

    @property
    def visible(self) -> bool:
        """Whether status queries find the image task by now."""
        late = self.behaviours.number("late-record", 0)
        return self.queryable and (not late or time.monotonic() - self.accepted >= late)

    def applies(self, name: str, *, key: str = "") -> bool:
        """Tell whether a directive of the prompt applies this time, and count it."""
        return bool(self.behaviours.settings) and self.occurrences.applies(self.behaviours, name, key=key)

    def summary(self) -> TaskSummary:
        """Return a copy of the main facts."""
        copied = {name: getattr(self, name) for name in _COPIED}
        return TaskSummary(
            **copied,
            failed=self.finished and self.failure is not None,
            images=self.image_count,
            request=dict(self.request),
            references=self.references.names,
            mask=self.references.mask,
        )


class TaskTable:
    """All image tasks that are remembered, oldest first.

    :param maximum: how many image tasks are remembered.
    :param separate_keys: whether a key sees only the image tasks that it submitted.
    """

    def __init__(self, *, maximum: int, separate_keys: bool) -> None:
        self._maximum = maximum
        self._separate_keys = separate_keys
        self._records: dict[str, TaskRecord] = {}
        self._by_trace: dict[tuple[str, str], list[str]] = {}
        self._by_request: dict[tuple[str, str | None, str], str] = {}
        self._ends: list[tuple[float, str]] = []
        self._active: dict[str, str | None] = {}
        self.peak_active = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: TaskRecord) -> None:
        """Remember a new image task, and forget the oldest when there are too many."""
        self._records[record.id] = record
        if record.trace_id is not None:
            self._by_trace.setdefault((record.dialect, record.trace_id), []).append(record.id)
        if record.request_id is not None:
            self._by_request[record.dialect, record.bearer, record.request_id] = record.id
        self._active[record.id] = record.bearer
        if record.latency < math.inf:
            heapq.heappush(self._ends, (record.accepted + record.latency, record.id))
        if len(self._records) > self._maximum:
            self._forget(next(iter(self._records.values())))
        self.peak_active = max(self.peak_active, self.active())

    def get(self, task_id: str) -> TaskRecord | None:
        """Return an image task of any dialect, visible to status queries or not."""
        return self._records.get(task_id)

    def find(self, dialect: str, task_id: str, bearer: str | None) -> TaskRecord | None:
        """Return the image task that a status query with this key finds by its id."""
        record = self._records.get(task_id)
        return record if record is not None and self._shows(record, dialect, bearer) else None

    def find_traced(self, dialect: str, trace_id: str, bearer: str | None) -> list[TaskRecord]:
        """Return the image tasks that a status query with this key finds by a trace id, newest first."""
        ids = reversed(self._by_trace.get((dialect, trace_id), []))
        return [record for task_id in ids if (record := self.find(dialect, task_id, bearer)) is not None]

    def submitted_before(self, dialect: str, bearer: str | None, request_id: str) -> TaskRecord | None:
        """Return the image task that this key created with the same request id."""
        task_id = self._by_request.get((dialect, bearer, request_id))
        return None if task_id is None else self._records.get(task_id)

    def all_of(self, dialect: str, bearer: str | None) -> Iterator[TaskRecord]:
        """Yield every image task that this key sees, newest first."""
        return (record for record in reversed(self._records.values()) if self._shows(record, dialect, bearer))

    def newest(self, count: int) -> list[TaskRecord]:
        """Return the newest image tasks of all dialects, newest first."""
        return list(islice(reversed(self._records.values()), count))

    def summaries(self) -> list[TaskSummary]:
        """Return a summary of every image task, oldest first."""
        return [record.summary() for record in self._records.values()]

    def end(self, prompts: Collection[str]) -> None:
        """End the running image tasks of these prompts now."""
        for record in self._records.values():
            if record.prompt in prompts and not record.finished:
                record.latency = time.monotonic() - record.accepted
                self._active.pop(record.id, None)

    def cancel(self, record: TaskRecord, code: str) -> bool:
        """End an image task now without a picture, unless it is over; tell whether it was not.

        :param code: of the failure that it ends with.
        """
        if record.finished:
            return False
        record.latency = time.monotonic() - record.accepted
        record.failure, record.image_count = Failure("it was cancelled", code), 0
        self._active.pop(record.id, None)
        return True

    def active(self) -> int:
        """Return how many image tasks are running."""
        self._settle()
        return len(self._active)

    def active_of(self, bearer: str | None) -> int:
        """Return how many image tasks of a key are running."""
        self._settle()
        return list(self._active.values()).count(bearer)

    def seconds_to_next_end(self, default: float) -> float:
        """Return the seconds until the next running image task ends, or the default if none will."""
        self._settle()
        return max(0.0, self._ends[0][0] - time.monotonic()) if self._ends else default

    def _shows(self, record: TaskRecord, dialect: str, bearer: str | None) -> bool:
        is_seen = record.dialect == dialect and (not self._separate_keys or record.bearer == bearer)
        return is_seen and record.visible

    def _settle(self) -> None:
        now = time.monotonic()
        while self._ends and self._ends[0][0] <= now:
            self._active.pop(heapq.heappop(self._ends)[1], None)

    def _forget(self, record: TaskRecord) -> None:
        del self._records[record.id]
        self._active.pop(record.id, None)
        if record.trace_id is not None:
            ids = self._by_trace[record.dialect, record.trace_id]
            ids.remove(record.id)
            if not ids:
                del self._by_trace[record.dialect, record.trace_id]
        if record.request_id is not None:
            self._by_request.pop((record.dialect, record.bearer, record.request_id), None)
