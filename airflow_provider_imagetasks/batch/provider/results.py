"""Results of a provider batch: what each line means for its row, in the order in which the lines come."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.provider.questions import WaitingRow
from airflow_provider_imagetasks.batch.provider.result_lines import LARGEST_LINE, missing_row, result_lines
from airflow_provider_imagetasks.batch.row_deliveries import Undelivered
from airflow_provider_imagetasks.batch.row_questions import Answered
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.batch.state import Stage
from airflow_provider_imagetasks.exceptions import (
    Billed,
    DownloadError,
    ImageTaskError,
    ResultExpiredError,
    UnsafeResultError,
)
from airflow_provider_imagetasks.services.bounds import bounded
from airflow_provider_imagetasks.services.provider_batches import ProviderBatch, ProviderBatches, ResultLine, row_in
from airflow_provider_imagetasks.services.wire import excerpt
from airflow_provider_imagetasks.tasks import ImageTask, TaskState
from airflow_provider_imagetasks.transports.account_key import without_secrets
from airflow_provider_imagetasks.transports.answers import apart
from airflow_provider_imagetasks.transports.http import AsyncTransport
from airflow_provider_imagetasks.transports.streamed_answer import Line

ROOM = 16 * 1024 * 1024
"""Bytes of the lines whose pictures are being verified and stored: reading waits where there are more."""
_BEGINNING = 4096
_SMALL = 64 * 1024
"""Bytes of a line without a picture."""


class Room:
    """A bound on the bytes under way at the same time; an item that is larger than the bound goes alone."""

    def __init__(self) -> None:
        self._used = 0
        self._changed = asyncio.Event()

    async def take(self, size: int) -> None:
        """Wait until there is room."""
        while self._used and self._used + size > ROOM:
            self._changed.clear()
            await self._changed.wait()
        self._used += size

    def free(self, size: int) -> None:
        """Give room back."""
        self._used -= size
        self._changed.set()


@dataclass(frozen=True, slots=True)
class RowResult:
    """What a row came to.

    :param room: bytes that are to be given back once its pictures are in place.
    """

    outcome: Answered | Undelivered
    room: int = 0


@dataclass(kw_only=True, slots=True)
class _Read:
    """What was read of the results of one provider batch by now.

    :param left: the rows that wait for a picture.
    :param made: rows whose pictures were seen, also by an earlier start.
    :param damaged: what is wrong with lines, by row.
    :param failed: why rows have no picture; another line of the same row may still hold one.
    :param odd: lines that mean nothing, by what they are.
    :param unreadable: how the first line begins that cannot be read.
    :param next: lines that are to be read now.
    :param joined: how many results shared a line.
    :param unread: why a file could not be read to its end; ``unread_file`` is the first such file.
    """

    left: dict[int, WaitingRow]
    made: set[int] = field(default_factory=set)
    damaged: dict[int, str] = field(default_factory=dict)
    failed: dict[int, ImageTaskError] = field(default_factory=dict)
    odd: Counter[str] = field(default_factory=Counter)
    unreadable: str = ""
    next: deque[Line] = field(default_factory=deque)
    joined: int = 0
    unread: ImageTaskError | None = None
    unread_file: str = ""

    def has_all_of(self, batch: ProviderBatch) -> bool:
        """Whether all pictures were seen that a provider batch says it has made; fewer than were seen is no count."""
        is_doubtful = not self.made and self.unread_file == batch.picture_file
        # That there is a file of pictures says more than a count of none.
        return len(self.made) == batch.completed and not is_doubtful


class ProviderResults:
    """The results of the provider batches of one start.

    :param room: for the lines that are being delivered.
    """

    def __init__(
        self,
        arguments: BatchArguments,
        batches: ProviderBatches,
        batch: OpenBatch,
        api: AsyncTransport,
        *,
        room: Room,
        log: Any,
    ) -> None:
        self._arguments = arguments
        self._batches = batches
        self._batch = batch
        self._api = api
        self._room = room
        self._log = log

    async def of(self, batch: ProviderBatch, rows: Mapping[int, WaitingRow]) -> AsyncGenerator[RowResult, None]:
        """Yield what each of the rows that wait for a provider batch came to, once each.

        :param batch: over, and not refused.
        :raises ImageTaskError: the account may not read its results.
        """
        read = _Read(left=dict(rows))
        for file_id in batch.result_files:
            if not read.left:
                break
            try:
                async with aclosing(result_lines(self._api, self._batches, file_id, self._log)) as lines:
                    async for line in lines:
                        read.next.append(line)
                        while read.next:
                            result = await self._result(read.next.popleft(), read)
                            if result is not None:
                                del read.left[result.outcome.row]
                                yield result
            except ImageTaskError as error:
                if error.concerns_account:
                    raise
                read.unread, read.unread_file = read.unread or error, read.unread_file or file_id
        told = "; ".join(f"{count:,} {what}" for what, count in read.odd.items())
        if told:
            what = "The results of provider batch %s contain %s%s. They are skipped."
            self._log.warning(what, batch.id, told, read.unreadable)
        if read.joined:
            what = (
                "%s results of provider batch %s were on shared lines, without line breaks. Each was read separately."
            )
            self._log.warning(what, f"{read.joined:,}", batch.id)
        if isinstance(read.unread, ResultExpiredError) and read.has_all_of(batch):
            self._log.warning("%s. All pictures were read.", read.unread.message.rstrip("."))
            read.unread = None
        for row, waiting in read.left.items():
            yield self._without_a_picture(row, waiting, batch, read)

    def _without_a_picture(self, row: int, waiting: WaitingRow, batch: ProviderBatch, read: _Read) -> RowResult:
        """Return what a row came to of which no picture was read."""
        undelivered: DownloadError | None = None
        if row in read.damaged:
            # Where all pictures were seen, it was an error.
            billed: Billed = "unknown" if read.has_all_of(batch) else "yes"
            undelivered = DownloadError(f"The result line of this row is damaged ({read.damaged[row]})", billed=billed)
        elif row in read.failed:
            return RowResult(Answered(row, bounded(self._task(waiting, TaskState.FAILED, read.failed[row]))))
        elif read.unread is not None:
            undelivered = _unread(read.unread)
        elif batch.completed and len(read.made | read.damaged.keys()) < batch.completed:
            read_of_it = f"its results hold {len(read.made):,}, and none of this row"
            where = read_of_it if batch.result_files else "names no file with them"
            why = f"Provider batch {batch.id} has made {batch.completed:,} pictures, and {where}"
            undelivered = DownloadError(why, billed="unknown")
        if undelivered is not None:
            return self._undelivered(row, waiting, undelivered)
        missing = missing_row(batch, len(read.made), self._arguments.service)
        return RowResult(Answered(row, self._task(waiting, TaskState.FAILED, missing)))

    async def _result(self, line: Line, read: _Read) -> RowResult | None:
        """Return what a line means for a row that waits for one; None where it means nothing."""
        if not line.content.strip():
            return None
        told = self._batches.custom_id_in(line.content[:_BEGINNING])
        row = self._row_of(told)
        if line.is_cut and row is not None and row in read.left:
            read.made.add(row)
            what = f"The line of its result has more than {LARGEST_LINE:,} bytes, which no picture takes"
            return self._undelivered(row, read.left[row], UnsafeResultError(what))
        try:
            if line.is_cut:
                raise ValueError(f"it has more than {LARGEST_LINE:,} bytes")
            said = await apart(len(line.content), self._read, line.content)
        except Exception as error:  # noqa: BLE001 - whatever a line holds, the others are read
            held = () if line.is_cut else await apart(len(line.content), self._batches.results_in, line.content)
            if len(held) > 1:
                read.joined += len(held)
                read.next.extend(Line(each, line.ends_at) for each in held)
                return None
            if row is not None and row in read.left:
                read.damaged[row] = f"{type(error).__name__}: {error}"[:200]
            else:
                read.odd["lines that cannot be read" if told is None else "lines of something else"] += 1
                if told is None and not read.unreadable:
                    beginning = without_secrets(line.content[:_BEGINNING], [self._arguments.account.key])
                    read.unreadable = f" (the first: {excerpt(beginning.decode('utf-8', 'replace'), 160)!r})"
            return None
        # Its first bytes may name another row, or none: fields of an object have no order.
        row = self._row_of(said.custom_id)
        if row is None or row not in read.left:
            self._pass_over(row, said, read)
            return None
        waiting = read.left[row]
        if said.error is not None:
            # Only at the end: another line of the row may hold its picture.
            read.failed.setdefault(row, said.error)
            return None
        read.made.add(row)
        task = bounded(self._task(waiting, TaskState.SUCCEEDED, None, said))
        size = len(line.content)
        await self._room.take(size)
        return RowResult(Answered(row, task), size)

    def _row_of(self, told: str | None) -> int | None:
        """Return the row of this batch that a custom id names; None where it names none."""
        row = row_in(told, self._batch.owner.mark) if told is not None else None
        return row if row is not None and row < len(self._batch.ledger.state.stages) else None

    def _pass_over(self, row: int | None, said: ResultLine, read: _Read) -> None:
        """Note a line that means nothing for a row that waits for one."""
        if row is None:
            read.odd["lines of something else"] += 1
        elif row in read.made:
            read.odd["lines of rows that had one before"] += 1
        elif self._batch.ledger.state.stages[row] not in (Stage.SUCCEEDED, Stage.FAILED):
            read.odd["lines of rows that are not in it"] += 1
        elif said.error is None:
            read.made.add(row)

    def _read(self, content: bytes) -> ResultLine:
        if len(content) < _SMALL:
            content = without_secrets(content, [self._arguments.account.key])
        return self._batches.read_line(content)

    def _task(
        self, waiting: WaitingRow, state: TaskState, error: ImageTaskError | None, read: ResultLine | None = None
    ) -> ImageTask:
        if error is not None:
            error.image_task_id = waiting.image_task_id
        return ImageTask(
            id=waiting.image_task_id,
            service=self._arguments.service.name,
            state=state,
            images=read.images if read is not None else (),
            model=read.model if read is not None else None,
            usage=read.usage if read is not None else None,
            created_at=waiting.submitted_at,
            error=error,
        )

    def _undelivered(self, row: int, waiting: WaitingRow, error: DownloadError) -> RowResult:
        error.image_task_id, error.service = waiting.image_task_id, self._arguments.service.name
        return RowResult(Undelivered(row, self._task(waiting, TaskState.SUCCEEDED, None), error))


def _unread(error: ImageTaskError) -> DownloadError:
    """Return the error of a row whose results cannot be read; each row gets its own."""
    kind = type(error) if isinstance(error, DownloadError) else DownloadError
    return kind(error.message, code=error.code, billed="unknown" if kind is DownloadError else error.billed)
