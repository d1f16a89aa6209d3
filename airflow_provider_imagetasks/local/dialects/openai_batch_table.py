"""The batches of the double of OpenAI's Batch API: what of them is made by now, by a clock that can be set, the lines
of their results, and the events that the URL is called with which it was told once."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_imagetasks.local.callback_sender import signed_event
from airflow_provider_imagetasks.local.service_state import ServiceState
from airflow_provider_imagetasks.local.task_table import TaskRecord

WINDOW = 86_400.0
"""Seconds that a batch has."""
Settle = Callable[[TaskRecord], dict[str, Any] | None]
"""Makes a row, and returns its error; None where it has its pictures."""
_SHORTEST = 0.05
"""Seconds between two looks at a batch that is about to end."""
_PNG_END = 12
"""Bytes of the last chunk of a PNG."""


@dataclass(kw_only=True)
class BatchRow:
    """One request of a batch.

    :param error: why it has no picture; None where it has, or is not made yet.
    """

    custom_id: str
    record: TaskRecord
    is_made: bool = False
    error: dict[str, Any] | None = None

    @property
    def place(self) -> str:
        """By which its line stands among the results: in another order than it was asked for."""
        return hashlib.sha256(self.custom_id.encode()).hexdigest()


@dataclass(kw_only=True)
class BatchRecord:
    """One batch. Moments are Unix seconds of the service's own clock.

    :param seconds: that it takes.
    :param errors: for which it is not taken.
    """

    input_file_id: str
    endpoint: str
    metadata: dict[str, str]
    bearer: str | None
    created_at: float
    seconds: float
    rows: list[BatchRow] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    id: str = field(default_factory=lambda: f"batch_{uuid.uuid4().hex}")
    output_file_id: str | None = None
    error_file_id: str | None = None
    cancelled_at: float | None = None
    ended_at: float | None = None
    ended_as: str | None = None

    def advance(self, now: float, settle: Settle) -> None:
        """Make the rows that are due by now, and end where it has to."""
        if self.ended_as is not None:
            return
        if self.errors:
            self._end("failed", self.created_at)
            return
        last = min(now, self.created_at + WINDOW, self.cancelled_at if self.cancelled_at is not None else math.inf)
        step = self.seconds / max(1, len(self.rows))
        for number, row in enumerate(self.rows, start=1):
            is_due = self.created_at + number * step <= last and not row.record.behaviours.asks("never")
            if is_due and not row.is_made and row.error is None:
                row.error = settle(row.record)
                row.is_made = row.error is None
        if all(row.is_made or row.error for row in self.rows):
            self._end("completed", last)
        elif self.cancelled_at is not None:
            self._leave("batch_cancelled", "This request could not be executed before the batch was cancelled.")
            self._end("cancelled", last)
        elif now >= self.created_at + WINDOW:
            self._leave("batch_expired", "This request could not be executed before the completion window expired.")
            self._end("expired", last)

    @property
    def ends_at(self) -> float:
        """When it ends, unless somebody cancels it."""
        is_late = any(row.record.behaviours.asks("never") for row in self.rows)
        return self.created_at + (WINDOW if is_late else min(self.seconds, WINDOW))

    def status(self, now: float) -> str:
        """Return the word for how it stands."""
        if self.ended_as is not None:
            return self.ended_as
        return "validating" if now < self.created_at + self.seconds / 20 else "in_progress"

    def as_json(self, now: float) -> dict[str, Any]:
        """Return the record as the service words it."""
        ended = {f"{self.ended_as}_at": int(self.ended_at)} if self.ended_as and self.ended_at is not None else {}
        errors = {"object": "list", "data": self.errors} if self.ended_as == "failed" else None
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": errors,
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "status": self.status(now),
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": int(self.created_at),
            "expires_at": int(self.created_at + WINDOW),
            **ended,
            "request_counts": {
                "total": len(self.rows),
                "completed": sum(row.is_made for row in self.rows),
                "failed": sum(row.error is not None for row in self.rows),
            },
            "metadata": self.metadata or None,
        }

    def results(self, *, made: bool) -> list[BatchRow]:
        """Return the rows of one of its files, in the order of their lines."""
        rows = [row for row in self.rows if (row.is_made if made else row.error is not None)]
        return sorted(rows, key=lambda row: row.place)

    def _leave(self, code: str, message: str) -> None:
        for row in self.rows:
            if not row.is_made and row.error is None:
                row.error = {"status": None, "code": code, "message": message}

    def _end(self, word: str, moment: float) -> None:
        self.ended_as, self.ended_at = word, moment
        if any(row.is_made for row in self.rows):
            self.output_file_id = f"file-{uuid.uuid4().hex}"
        if any(row.error for row in self.rows):
            self.error_file_id = f"file-{uuid.uuid4().hex}"


@dataclass(frozen=True, kw_only=True)
class _AwaitedBatch:
    """A batch as the sender of callbacks waits for it.

    :param advance: makes what is due by now.
    """

    batch: BatchRecord
    state: ServiceState
    advance: Callable[[], None]

    @property
    def finished(self) -> bool:
        """Whether it has ended by now."""
        self.advance()
        return self.batch.ended_as is not None

    @property
    def remaining(self) -> float:
        """Seconds of a usual clock until it ends."""
        return max(_SHORTEST, (self.batch.ends_at - self.state.now()) / self.state.options.clock_rate)


def promise_event(batch: BatchRecord, state: ServiceState, advance: Callable[[], None]) -> None:
    """Promise the call that tells of the end of a batch, if there is a URL to call.

    :param advance: makes what is due by now.
    """
    if state.options.webhook_url:
        awaited = _AwaitedBatch(batch=batch, state=state, advance=advance)
        state.callbacks.promise(awaited, state.options.webhook_url, lambda: _event(batch, state))


async def _event(batch: BatchRecord, state: ServiceState) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the event and the headers that sign it."""
    at = batch.ended_at or batch.created_at
    return signed_event(f"batch.{batch.ended_as}", batch.id, at=at, options=state.options)


def result_line(row: BatchRow, pictures: list[bytes]) -> tuple[bytes, bool]:
    """Return the line of a row, or what its prompt asks for in its place; and whether the file ends with it.

    :param pictures: none where the row has an error.
    """
    wanted = row.record.behaviours.word("line", "")
    length = int(row.record.behaviours.number("line-kb", 0))
    if length:
        pictures = [padded(picture, length * 768) for picture in pictures]
    encoded = [base64.b64encode(picture).decode("ascii") for picture in pictures]
    if wanted == "no-picture":
        encoded = [base64.b64encode(b"This is no picture, however long it is. " * 50).decode() for _ in encoded]
    if wanted == "no-base64":
        encoded = ["%" * 4000 for _ in encoded]
    line = json.dumps(_said(row, encoded)).encode() + b"\n"
    if wanted == "missing":
        return b"", False
    if wanted == "twice":
        return line + line, False
    if wanted == "foreign":
        other = {**_said(row, encoded), "custom_id": "somebody-else-7"}
        return json.dumps(other).encode() + b"\n" + line, False
    if wanted == "not-json":
        return line[: len(line) // 2] + b"\n", False
    if wanted == "cut-off":
        return line[: len(line) // 2], True
    return line, False


def padded(picture: bytes, size: int) -> bytes:
    """Return a PNG with a chunk of nothing that makes it so many bytes long."""
    room = max(0, size - len(picture) - _PNG_END)
    content = b"paDd" + bytes(room)
    chunk = struct.pack(">I", room) + content + struct.pack(">I", zlib.crc32(content))
    return picture[:-_PNG_END] + chunk + picture[-_PNG_END:]


def _said(row: BatchRow, encoded: list[str]) -> dict[str, Any]:
    line: dict[str, Any] = {"id": f"batch_req_{uuid.uuid4().hex}", "custom_id": row.custom_id}
    error = row.error
    if error is not None and error["status"] is None:
        return {**line, "response": None, "error": {"code": error["code"], "message": error["message"]}}
    body: dict[str, Any]
    if error is not None:
        status = error["status"]
        told = {"message": error["message"], "type": error["type"], "param": None, "code": error["code"]}
        body = {"error": told}
    else:
        status, words = 200, len(row.record.behaviours.text.split())
        tokens = {"input_tokens": words, "output_tokens": 1056 * len(encoded)}
        body = {
            "created": int(row.record.created_at),
            "data": [{"b64_json": each} for each in encoded],
            "output_format": row.record.media_format,
            "size": f"{row.record.size[0]}x{row.record.size[1]}",
            "usage": {**tokens, "total_tokens": sum(tokens.values())},
        }
    response = {"status_code": status, "request_id": f"req_{uuid.uuid4().hex}", "body": body}
    return {**line, "response": response, "error": None}
