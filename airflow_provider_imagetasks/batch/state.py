"""State of a batch's rows while it runs, some bytes per row, and the reports of how far that is."""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.polling.batch_wait import Counts

PUSH_SECONDS = 10.0
"""Seconds between two updates of XCom ``progress`` on a worker."""
_RATE_SECONDS = 120.0
"""Seconds of progress that the rate is computed from."""


class Stage(IntEnum):
    """Where a row stands."""

    NEW = 0
    """To be submitted."""
    OPEN = 1
    """Submitted, or meant to be; not over."""
    SUCCEEDED = 2
    FAILED = 3


class BatchState:
    """Stage of each of ``total`` rows. What is open is held in full; that is never more than the window."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.stages = bytearray(total)
        self._attempts = array("H", bytes(2 * total))
        self.open: dict[int, Intent] = {}
        """The latest submission of each open row."""
        self.else_submit: set[int] = set()
        """Open rows that are submitted anew where their image task is not found, or has no picture to deliver."""
        self.repeated: dict[int, ImageTaskError] = {}
        """Rows whose last submission is made again under its key, each with the error that it fails with otherwise."""
        self._first: dict[int, Intent] = {}
        """The first submission under its latest key of each row that is not over."""
        self.unsettled: dict[int, Intent] = {}
        """Rows that are submitted again, each with an earlier submission of it that may have been taken."""
        self.submissions = array("H", bytes(2 * total))
        """How often each row was submitted in the present try, over all its starts."""
        self.unbilled: set[int] = set()
        """Rows to be submitted whose last submission turned out to cost nothing."""
        self._known_ids: set[int] = set()
        """Image tasks that are on record, each by eight bytes of its own."""
        self.fresh: set[int] = set()
        """Open rows that this start submitted: nothing of them can lie in the folder of pictures."""

    @property
    def open_ids(self) -> list[str]:
        """The image tasks that are waited for."""
        return [intent.image_task_id for intent in self.open.values() if intent.image_task_id]

    @property
    def latest_submission(self) -> float:
        """Unix seconds of the latest submission that is open."""
        return max((intent.since for intent in self.open.values()), default=time.time())

    @property
    def counts(self) -> Counts:
        """The rows by what became of them."""
        succeeded, failed = self.stages.count(Stage.SUCCEEDED), self.stages.count(Stage.FAILED)
        submitted = succeeded + failed + self.stages.count(Stage.OPEN)
        return Counts(total=self.total, submitted=submitted, succeeded=succeeded, failed=failed)

    @property
    def is_over(self) -> bool:
        """Whether no row is left to be submitted or waited for."""
        return not self.open and not self.has_new

    @property
    def has_new(self) -> bool:
        """Whether a row is still to be submitted."""
        return self.stages.find(Stage.NEW) >= 0

    def next_new(self, most: int) -> list[int]:
        """Return the first rows that are to be submitted."""
        rows: list[int] = []
        position = -1
        while len(rows) < most and (position := self.stages.find(Stage.NEW, position + 1)) >= 0:
            rows.append(position)
        return rows

    def attempt_of(self, row: int, *, same: bool) -> int:
        """Return the number of a row's next submission; the last one's where that is made over under the same key."""
        return max(0, self._attempts[row] - 1) if same else self._attempts[row]

    def first_at(self, row: int) -> float:
        """Return the Unix seconds since which the service may know a row's latest key; repetitions keep the key."""
        return self._first[row].at

    def next_intents(self, most: int, now: float) -> list[Intent]:
        """Return the next submissions of the first rows that are to be submitted, as of ``now`` in Unix seconds."""
        return [
            Intent(
                index=row,
                attempt=self.attempt_of(row, same=row in self.repeated),
                at=now,
                is_repetition=row in self.repeated,
                after_unbilled=row in self.unbilled,
            )
            for row in self.next_new(most)
        ]

    def note_id(self, image_task_id: str) -> None:
        """Note an image task that is on record, of whichever row and generation."""
        self._known_ids.add(hash(image_task_id))

    def knows(self, image_task_id: str) -> bool:
        """Whether an image task is on record."""
        return hash(image_task_id) in self._known_ids

    def delivering(self, row: int) -> None:
        """Note that the service is done with a row; it is not over until its pictures are in place."""
        self.open.pop(row, None)

    def submitted(self, intent: Intent) -> None:
        """Note a submission of the present try."""
        self.submissions[intent.index] += 1
        self.opened(intent)

    def withheld(self, intent: Intent) -> None:
        """Take back a submission that never left."""
        row = intent.index
        self.submissions[row] -= 1
        self.renewed(row, is_unbilled=intent.after_unbilled, repeated=self.repeated.get(row))

    def opened(self, intent: Intent) -> None:
        """Note a submission, or what is newly known of it."""
        row, known = intent.index, self.open.get(intent.index)
        if intent.image_task_id:
            self.note_id(intent.image_task_id)
        self._attempts[row] = max(self._attempts[row], intent.attempt + 1)
        if row not in self._first or self._first[row].attempt != intent.attempt:
            self._first[row] = intent
        if known is not None and known.image_task_id and not intent.image_task_id:
            is_anew = intent.after_unbilled or row in self.else_submit
            if known.attempt == intent.attempt or not is_anew:
                # An old start wrote down late what it was answered, and another one knew nothing of it: the id holds.
                return
        is_settled = intent.after_unbilled or row in self.else_submit
        if known is not None and known.attempt < intent.attempt and not (known.image_task_id or is_settled):
            self.unsettled[row] = known
        if row in self.unsettled and intent.image_task_id and self.unsettled[row].attempt == intent.attempt:
            del self.unsettled[row]
        if intent.taken:
            self.stages[row] = Stage.OPEN
            self.unbilled.discard(row)
            self.else_submit.discard(row)
            self.open[row] = intent
        else:
            self.renewed(row)

    def renewed(
        self,
        row: int,
        *,
        is_unbilled: bool = False,
        repeated: ImageTaskError | None = None,
        unsettled: Intent | None = None,
    ) -> None:
        """Note that a row is to be submitted, whatever it was before.

        :param is_unbilled: whether its last submission turned out to cost nothing.
        :param repeated: why it fails where its last submission is not made over again; None for a new one.
        :param unsettled: a submission of it that may have been taken.
        """
        self.stages[row] = Stage.NEW
        if unsettled is not None:
            self.unsettled[row] = unsettled
        self._closed(row)
        if is_unbilled:
            self.unbilled.add(row)
        if repeated is not None:
            self.repeated[row] = repeated

    def unanswered(self, row: int) -> list[Intent]:
        """Return the open submission of a row of which no id is known, with the first under its key."""
        known = self.open.get(row)
        return [self._first[row], known] if known is not None and not known.image_task_id else []

    def sought(self, row: int, submission: Sequence[Intent]) -> None:
        """Note that a row which was over is looked for once more, and submitted where it is not found.

        :param submission: what :meth:`unanswered` returned of it before.
        """
        self.renewed(row)
        for intent in submission:
            self.opened(intent)
            self.else_submit.add(row)

    def over(self, row: int, *, succeeded: bool) -> None:
        """Note the end of a row."""
        self.stages[row] = Stage.SUCCEEDED if succeeded else Stage.FAILED
        self._closed(row)
        self._first.pop(row, None)
        self.unsettled.pop(row, None)

    def _closed(self, row: int) -> None:
        self.open.pop(row, None)
        self.repeated.pop(row, None)
        self.unbilled.discard(row)
        self.else_submit.discard(row)
        self.fresh.discard(row)


class ProgressReport:
    """Reports progress: to the log every time, with the rate and the time that is left, and to XCom now and then.

    :param push: pushes a value; None where nothing is to be pushed.
    """

    def __init__(self, log: Any, push: Callable[[dict[str, Any]], None] | None) -> None:
        self._log = log
        self._push = push
        self._pushed_at = 0.0
        self._seen: deque[tuple[float, int]] = deque()
        """Unix times of the latest reports, each with the rows that were over then."""

    def __call__(self, counts: Counts, *, last: bool = False) -> None:
        """Log how far it is, and push that as XCom now and then, and the ``last`` time."""
        now = time.time()
        self._log.info("%s", self.line(counts, now))
        if self._push is not None and (last or now - self._pushed_at >= PUSH_SECONDS):
            self._pushed_at = now
            self._push(counts.as_xcom(now))

    def line(self, counts: Counts, now: float) -> str:
        """Return how far it is at ``now`` in Unix seconds, in words."""
        self._seen.append((now, counts.done))
        while len(self._seen) > 2 and self._seen[1][0] < now - _RATE_SECONDS:
            self._seen.popleft()
        parts = [f"{counts.done:,} of {counts.total:,} done, {counts.failed:,} failed, {counts.running:,} running"]
        since, before = self._seen[0]
        rate = (counts.done - before) / (now - since) if now > since else 0.0
        if rate > 0:
            parts.append(f"{rate * 60:,.0f} a minute")
            if counts.done < counts.total:
                parts.append(f"about {_duration((counts.total - counts.done) / rate)} left")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
