"""Identity of a submission among all others, by which a repetition is recognised as one. Pure."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

CLEAR_ONCE_MORE = (
    "If somebody has just cleared this task, that looked like a retry, because the Dag's retries was lowered before: "
    "Clear once more."
)
"""What is said where :attr:`SubmissionSlot.may_be_clear`, and a retry changes nothing."""
_GENERATIONS_OF_A_TRY = 1_000
"""More than any try begins, so that generations which are counted from different tries never meet."""


@dataclass(frozen=True, kw_only=True)
class SubmissionSlot:
    """One place in a Dag run that asks for pictures: the same on every try and after every Clear.

    :param map_index: -1 for a task that is not mapped.
    :param item_index: position in a batch.
    :param max_tries: the task instance's today; tells a Clear from a retry.
    :param try_number: the task instance's today.
    :param try_id: Airflow's own id of this try.
    :param region: which iteration of a loop, or expansion of a mapped task, Airflow 3.4 runs; else empty.
    :param retries: the task's, as its Dag says today; None where that is not known.
    :param clear_empties_state: whether a Clear throws away what Airflow keeps of the task.
    """

    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    max_tries: int
    try_number: int
    item_index: int = 0
    try_id: str = ""
    region: str = ""
    retries: int | None = None
    clear_empties_state: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What sets it apart from every other slot: Dag, task, run, map index, item, and in a loop the iteration."""
        return self._names_of(self.item_index)

    def _names_of(self, item_index: int) -> tuple[str, ...]:
        names = (self.dag_id, self.task_id, self.run_id, str(self.map_index), str(item_index))
        return (*names, self.region) if self.region else names

    @property
    def was_cleared(self) -> bool:
        """Whether somebody cleared the task before this try, as far as can be told without a record."""
        return self.try_number > 1 and (self.retries is None or self.max_tries > self.retries)

    @property
    def may_be_clear(self) -> bool:
        """Whether a start that looks like a retry may be a Clear all the same: ``max_tries`` is what a Clear makes it.

        A Clear that follows lowered ``retries`` may leave it as it was.
        """
        return self.try_number > 1 and self.retries is not None and self.max_tries == self.try_number - 1 + self.retries

    @property
    def generation_without_record(self) -> int:
        """Generation of a start that finds no record: one that no earlier try can have submitted as."""
        return _GENERATIONS_OF_A_TRY * (self.try_number - 1)

    def earlier_identities(self, most: int) -> list[str]:
        """Return what earlier tries may have submitted under; each began at most one generation more than the last.

        :param most: how many at most.
        """
        generations = (
            _GENERATIONS_OF_A_TRY * (first - 1) + later
            for first in range(1, self.try_number)
            for later in range(self.try_number - first)
        )
        return [self.identity(generation) for generation, _ in zip(generations, range(most), strict=False)]

    def identity(self, generation: int, attempt: int = 0, nonce: str = "", *, item_index: int | None = None) -> str:
        """Return 64 hexadecimal digits, by which the service may recognise a submission: the same for every try of it.

        :param generation: rises when somebody clears the task to have it done anew; never the try number.
        :param attempt: rises in a batch each time that an item is asked for anew within a generation.
        :param nonce: drawn once and kept on record, so that a Dag run which is made again under the run id of a deleted
            one shares no key with it; empty in what an earlier version wrote, and where the record may be lost.
        :param item_index: of another item of the task than the slot's own.
        """
        names = self.names if item_index is None else self._names_of(item_index)
        return _digest(*names, str(generation), *([str(attempt)] if attempt or nonce else []), *filter(None, [nonce]))


def slot_of(context: Any) -> SubmissionSlot:
    """Return the slot of the task instance that runs with this context."""
    instance = context["ti"]
    return SubmissionSlot(
        dag_id=instance.dag_id,
        task_id=instance.task_id,
        run_id=instance.run_id,
        map_index=instance.map_index if instance.map_index is not None else -1,
        max_tries=instance.max_tries,
        try_number=instance.try_number,
        try_id=str(getattr(instance, "id", "")),
        region=region_of(getattr(instance, "region_id", None), getattr(instance, "region_index", None)),
        retries=getattr(getattr(instance, "task", None), "retries", None),
        clear_empties_state=clear_empties_state(instance),
    )


def clear_empties_state(instance: Any) -> bool:
    """Whether Airflow's Clear throws away what it keeps of a task instance: 3.4, the first with regions, does."""
    return hasattr(instance, "region_id")


def region_of(region_id: Any, region_index: Any) -> str:
    """Return which iteration of a loop, or expansion of a mapped task, Airflow 3.4 means; empty before it.

    An iteration that Airflow makes anew after a Clear has another region and the same index.
    """
    # All zeros is the region of what is neither.
    return f"{region_id}/{region_index}" if region_id is not None and int(region_id) else ""


def batch_identity(*, dag_id: str, task_id: str, run_id: str, map_index: int, region: str = "") -> str:
    """Return 64 hexadecimal digits that are the same for every start of one batch."""
    return _digest(dag_id, task_id, run_id, str(map_index), *([region] if region else []))


def start_text(try_id: str, start: str, try_number: int) -> str:
    """Return the text with which a start announces itself.

    :param start: sets it apart from other starts of the same try.
    :param try_number: 0 where an earlier version did not keep it.
    """
    return " ".join((try_id, start, *([str(try_number)] if try_number else [])))


def is_earlier(start: str, latest: str | None) -> bool:
    """Whether a start is certainly of an earlier try than the latest that announced itself.

    Airflow gives each try an id that begins with the moment, so that later ones are greater, also in a Dag run that is
    made again; ids of another kind have no order. But where a clock was set back, a later try has an earlier id: a
    greater try number is never of an earlier one.

    :param start: see :func:`start_text`.
    """
    ids = [try_of(text) for text in (start, latest)]
    numbers = [(text or "").split(" ")[2:] for text in (start, latest)]
    if all(number and number[0].isdecimal() for number in numbers) and int(numbers[0][0]) > int(numbers[1][0]):
        return False
    try:
        has_order = all(uuid.UUID(text).version == 7 for text in ids)
    except ValueError:
        return False
    return has_order and ids[0] < ids[1]


def try_of(start: str | None) -> str:
    """Return the id of the try that a start announced itself with."""
    return (start or "").partition(" ")[0]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
