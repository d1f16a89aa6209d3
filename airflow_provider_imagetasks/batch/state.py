"""What is known of each row while a batch runs: some bytes per row, so that memory does not grow with the batch."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from enum import IntEnum

from airflow_provider_imagetasks.batch.progress import Counts
from airflow_provider_imagetasks.batch.segments import Intent


class Stage(IntEnum):
    """Where a row stands."""

    NEW = 0
    """To be submitted."""
    OPEN = 1
    """Submitted, or meant to be; not over."""
    SUCCEEDED = 2
    FAILED = 3


class BatchState:
    """Every row's stage. What is open is held in full; that is never more than the window.

    :param total: rows of the batch.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._stages = bytearray(total)
        self._attempts = array("H", bytes(2 * total))
        self.open: dict[int, Intent] = {}
        """The latest submission of each open row."""
        self.else_submit: set[int] = set()
        """Open rows of which a new picture is asked for where the image task cannot be had."""

    @property
    def counts(self) -> Counts:
        """The rows by what became of them."""
        succeeded, failed = self._stages.count(Stage.SUCCEEDED), self._stages.count(Stage.FAILED)
        submitted = succeeded + failed + self._stages.count(Stage.OPEN)
        return Counts(total=self.total, submitted=submitted, succeeded=succeeded, failed=failed)

    @property
    def is_over(self) -> bool:
        """Whether no row is left to be submitted or waited for."""
        return not self.open and self._stages.find(Stage.NEW) < 0

    @property
    def has_new(self) -> bool:
        """Whether a row is still to be submitted."""
        return self._stages.find(Stage.NEW) >= 0

    def next_new(self, most: int) -> list[int]:
        """Return the first rows that are to be submitted."""
        rows: list[int] = []
        position = -1
        while len(rows) < most and (position := self._stages.find(Stage.NEW, position + 1)) >= 0:
            rows.append(position)
        return rows

    def attempt_of(self, row: int, *, same: bool) -> int:
        """Return the number of the next submission of a row.

        :param same: whether it is the last one over again, under the same key.
        """
        return max(0, self._attempts[row] - 1) if same else self._attempts[row]

    def next_intent(self, row: int, now: float, *, same: bool) -> Intent:
        """Return the next submission of a row.

        :param same: whether it is the last one over again, under the same key.
        """
        return Intent(index=row, attempt=self.attempt_of(row, same=same), at=now)

    def held(self, intent: Intent) -> None:
        """Keep a row from being taken by anyone else while its intent is being written."""
        self._stages[intent.index] = Stage.OPEN
        self.open[intent.index] = intent

    def delivering(self, row: int) -> None:
        """Note that the service is done with a row; it is not over until its pictures are in place."""
        self.open.pop(row, None)

    def opened(self, intent: Intent) -> None:
        """Note a submission, or what is newly known of it."""
        self._attempts[intent.index] = max(self._attempts[intent.index], intent.attempt + 1)
        if intent.taken:
            self._stages[intent.index] = Stage.OPEN
            self.open[intent.index] = intent
        else:
            self.renewed(intent.index)

    def renewed(self, row: int) -> None:
        """Note that a row is to be submitted, whatever it was before."""
        self._stages[row] = Stage.NEW
        self.open.pop(row, None)
        self.else_submit.discard(row)

    def over(self, row: int, *, succeeded: bool) -> None:
        """Note the end of a row."""
        self._stages[row] = Stage.SUCCEEDED if succeeded else Stage.FAILED
        self.open.pop(row, None)
        self.else_submit.discard(row)

    def stage(self, row: int) -> Stage:
        """Return where a row stands."""
        return Stage(self._stages[row])

    def witnesses(self) -> Iterable[Intent]:
        """Yield submissions that were certainly taken."""
        return (intent for intent in self.open.values() if intent.image_task_id)
