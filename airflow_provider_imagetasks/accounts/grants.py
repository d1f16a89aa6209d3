"""What the account store is asked for and grants: submissions, their turns, and image tasks that ended. Pure."""

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
    :param cost: of all its pictures; None where it is not known.
    :param is_made_once: whether its pictures are made once, however often it is submitted with its key: the service
        ensures that, or the caller looks for them first.
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
    :param others: what is spent in other currencies, which cannot be compared; if there is any, it is the reason.
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

    :param seconds: how many seconds from now it is.
    :param id: the store's; None where nothing bounds when the request leaves.
    :param has_left: whether it is on record as left.
    :param is_again: whether the submission left before under its key, in an earlier try of which nobody knows what came
        of it: what refuses it now says nothing of that.
    """

    seconds: float = 0.0
    id: int | None = None
    has_left: bool = False
    is_again: bool = False

    @property
    def is_planned(self) -> bool:
        """Whether the store is asked once more right before it leaves."""
        return self.id is not None and not self.has_left


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What the store grants to planned submissions.

    :param turns: of the first submissions: as many as may leave.
    :param excess: why the next one may not be made at all; None where it only has to wait.
    :param ahead: how many others wait for a place before this one.
    :param running: image tasks that hold the places, for one of all waiting callers to look at; else empty.
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
    """An image task that is over.

    :param is_free: whether the service says that it was not billed.
    :param pictures: how many it made; None where that is not known.
    """

    image_task_id: str
    is_free: bool = False
    pictures: int | None = None

    @classmethod
    def of(cls, task: ImageTask) -> EndedImageTask:
        """Return what the final record of an image task says of its end."""
        is_free = task.state is TaskState.FAILED and task.error is not None and task.error.billed == "no"
        return cls(image_task_id=task.id, is_free=is_free, pictures=len(task.images) + task.left_out or None)
