"""Identity of a submission among all others, by which a repetition is recognised as one. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class SubmissionSlot:
    """One place in a Dag run that asks for pictures: the same on every try and after every Clear.

    :param map_index: -1 for a task that is not mapped.
    :param item_index: position in a batch.
    :param max_tries: the task instance's today; tells a Clear from a retry.
    :param try_number: the task instance's today.
    :param try_id: Airflow's own id of this try.
    """

    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    max_tries: int
    try_number: int
    item_index: int = 0
    try_id: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What sets it apart from every other slot: Dag, task, run, map index and item."""
        return self.dag_id, self.task_id, self.run_id, str(self.map_index), str(self.item_index)

    def identity(self, generation: int, attempt: int = 0) -> str:
        """Return 64 hexadecimal digits, by which the service may recognise a submission: the same for every try of it.

        :param generation: rises when somebody clears the task to have it done anew; never the try number.
        :param attempt: rises in a batch each time that an item is asked for anew within a generation.
        """
        return _digest(*self.names, str(generation), *([str(attempt)] if attempt else []))


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
    )


def batch_identity(*, dag_id: str, task_id: str, run_id: str, map_index: int) -> str:
    """Return 64 hexadecimal digits that are the same for every start of one batch."""
    return _digest(dag_id, task_id, run_id, str(map_index))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
