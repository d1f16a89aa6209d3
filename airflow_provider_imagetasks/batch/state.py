"""State of a batch's rows while it runs: some bytes per row, so that memory does not grow with the batch."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Set as AbstractSet
from enum import IntEnum

from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.polling.batch_wait import Counts


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
        self.stages = bytearray(total)
        self._attempts = array("H", bytes(2 * total))
        self.open: dict[int, Intent] = {}
        """The latest submission of each open row."""
        self.else_submit: set[int] = set()
        """Open rows of which a new picture is asked for where the image task cannot be had."""

        self.tries: Counter[int] = Counter()
        """How often each row has failed in this start, while it is not over."""
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
        return not self.open and self.stages.find(Stage.NEW) < 0

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
        """Return the number of the next submission of a row.

        :param same: whether it is the last one over again, under the same key.
        """
        return max(0, self._attempts[row] - 1) if same else self._attempts[row]

    def next_intents(self, most: int, now: float, *, repeated: AbstractSet[int]) -> list[Intent]:
        """Return the next submissions of the first rows that are to be submitted.

        :param now: Unix seconds.
        :param repeated: rows of which the last one is made over again, under the same key.
        """
        return [
            Intent(index=row, attempt=self.attempt_of(row, same=row in repeated), at=now) for row in self.next_new(most)
        ]

    def delivering(self, row: int) -> None:
        """Note that the service is done with a row; it is not over until its pictures are in place."""
        self.open.pop(row, None)

    def opened(self, intent: Intent) -> None:
        """Note a submission, or what is newly known of it."""
        self._attempts[intent.index] = max(self._attempts[intent.index], intent.attempt + 1)
        if intent.taken:
            self.stages[intent.index] = Stage.OPEN
            self.open[intent.index] = intent
        else:
            self.renewed(intent.index)

    def renewed(self, row: int) -> None:
        """Note that a row is to be submitted, whatever it was before."""
        self.stages[row] = Stage.NEW
        self._closed(row)

    def over(self, row: int, *, succeeded: bool) -> None:
        """Note the end of a row."""
        self.stages[row] = Stage.SUCCEEDED if succeeded else Stage.FAILED
        self.tries.pop(row, None)
        self._closed(row)

    def _closed(self, row: int) -> None:
        self.open.pop(row, None)
        self.else_submit.discard(row)
        self.fresh.discard(row)
