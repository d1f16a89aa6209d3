"""What the store of accounts is asked for and grants: submissions, their turns, and image tasks that ended. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from airflow_provider_imagetasks.services.money import Money
from airflow_provider_imagetasks.tasks import ImageTask, TaskState


@dataclass(frozen=True, kw_only=True)
class PlannedSubmission:
    """A submission that is about to be made.

    :param key: what it goes out with: the same for every try of it.
    :param cost: of all its pictures; None where nobody knows.
    :param is_made_once: whether its pictures are made once, however often it is asked for with its key: the service
        sees to that, or who asks looks for them first.
    """

    key: str
    cost: Money | None = None
    model: str = ""
    dag_id: str = ""
    pictures: int = 1
    is_made_once: bool = True


@dataclass(frozen=True, kw_only=True)
class Excess:
    """The budget that the next submission does not fit into.

    :param ends: when the next span of it begins.
    :param spent_by_dag: millionths.
    :param others: what is spent in other currencies, which cannot be compared; where there is any, that is why.
    """

    name: str
    budget: Money
    ends: datetime
    spent_by_dag: Mapping[str, int]
    cost: int
    others: Sequence[Money] = ()


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The turn of a request among those of all processes.

    :param seconds: in how many it is.
    :param id: by which the store knows it; None where nothing bounds when it leaves.
    :param has_left: whether it is on record as left.
    """

    seconds: float = 0.0
    id: int | None = None
    has_left: bool = False

    @property
    def is_planned(self) -> bool:
        """Whether the store is asked once more right before it leaves."""
        return self.id is not None and not self.has_left


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What the store says to planned submissions.

    :param turns: of the first so many.
    :param excess: why the next one may not at all; None where it only has to wait.
    :param ahead: how many others wait for a place before this one.
    :param running: image tasks that hold the places, for one of all who wait to look at; else empty.
    :param places: that are held now.
    :param used: shares of the budgets that are spent now, by name.
    """

    turns: Sequence[Turn] = ()
    excess: Excess | None = None
    ahead: int = 0
    running: Sequence[str] = ()
    places: int = 0
    used: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EndedImageTask:
    """An image task of which nothing more will come.

    :param is_free: whether the service says that it was not billed.
    :param pictures: how many came of it; None where that is not known.
    """

    image_task_id: str
    is_free: bool = False
    pictures: int | None = None

    @classmethod
    def of(cls, task: ImageTask) -> EndedImageTask:
        """Return the end of an image task, by its final record."""
        is_free = task.state is TaskState.FAILED and task.error is not None and task.error.billed == "no"
        return cls(image_task_id=task.id, is_free=is_free, pictures=len(task.images) or None)
