"""Files of requests: rows of one kind each, cut by their count, their size, and the size that their results will have.

They are written on the worker's own disk, and sent from there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import BinaryIO

from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.services.provider_batches import RequestGroup

MOST_OPEN = 16
"""Files that are being written at the same time; the fullest is sent where one more is needed."""


@dataclass(frozen=True, kw_only=True)
class FileLimits:
    """What one file may hold.

    :param rows: at most.
    :param input_bytes: of its own.
    :param result_bytes: of its results, as far as they can be foreseen; a row alone may be more.
    """

    rows: int
    input_bytes: int
    result_bytes: int


@dataclass(kw_only=True)
class RequestFile:
    """A file of requests of one kind.

    :param intents: of its rows, in the order of its lines.
    """

    group: RequestGroup
    path: Path
    intents: list[Intent] = field(default_factory=list)
    input_bytes: int = 0
    result_bytes: int = 0

    def has_room(self, limits: FileLimits, line: int, result: int) -> bool:
        """Whether a row fits in, if its line and its result have so many bytes."""
        return (
            len(self.intents) < limits.rows
            and self.input_bytes + line <= limits.input_bytes
            and self.result_bytes + result <= limits.result_bytes
        )


class RequestFiles:
    """The files of requests that are being written.

    :param folder: a local one.
    """

    def __init__(self, folder: Path, limits: FileLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._numbers = count()
        self._open: dict[RequestGroup, tuple[RequestFile, BinaryIO]] = {}

    def add(self, intent: Intent, group: RequestGroup, line: bytes, result_bytes: int) -> RequestFile | None:
        """Write the line of a row, and return a file that is ready to be sent, if that makes one.

        :param result_bytes: that its result will have.
        """
        ready = None
        known = self._open.get(group)
        if known is not None and not known[0].has_room(self._limits, len(line), result_bytes):
            ready = self._closed(group)
        elif known is None and len(self._open) >= MOST_OPEN:
            ready = self._closed(max(self._open, key=lambda each: len(self._open[each][0].intents)))
        if group not in self._open:
            path = self._folder / f"requests-{next(self._numbers)}.jsonl"
            self._open[group] = (RequestFile(group=group, path=path), path.open("wb"))
        file, stream = self._open[group]
        stream.write(line)
        file.intents.append(intent)
        file.input_bytes += len(line)
        file.result_bytes += result_bytes
        return ready

    def close(self) -> None:
        """Close all files, which are sent no more."""
        for _file, stream in self._open.values():
            stream.close()
        self._open.clear()

    def rest(self) -> list[RequestFile]:
        """Close all files, and return those that were still open."""
        return [self._closed(group) for group in list(self._open)]

    def _closed(self, group: RequestGroup) -> RequestFile:
        file, stream = self._open.pop(group)
        stream.close()
        return file
