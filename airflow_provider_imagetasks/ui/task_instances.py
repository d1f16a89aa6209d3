"""Reads of the task instances in Airflow's metadata database: their states, what they wait for and were asked."""

from __future__ import annotations

import ast
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from airflow_provider_imagetasks.ui.airflow_records import Place, XCom, groups, word
from airflow_provider_imagetasks.ui.xcom_rows import HAS_ATTEMPTS, is_instance, region_text

_BATCH_TRIGGER = "airflow_provider_imagetasks.triggers.image_batch.ImageBatchTrigger"
_CUT = "Truncated. You can change this behaviour in [core]max_templated_field_length. "
"""How Airflow begins a rendered argument that was too long for it to keep."""
_COORDINATES = (TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index)


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A task instance.

    :param started_at: now, where it has not started.
    :param waits_for: the image task ids that its trigger waits for, while it is deferred.
    :param region: as of an ``XCom`` that it pushes.
    """

    state: str | None
    started_at: datetime
    waits_for: tuple[str, ...] = ()
    region: str = ""


def task_instance(
    session: Session, dag_id: str, run_id: str, task_id: str, map_index: int, region: str = ""
) -> Instance | None:
    """Return a task instance, and what its trigger waits for."""
    place = (TaskInstance.region_id, TaskInstance.region_index) if HAS_ATTEMPTS else ()
    columns = select(TaskInstance.state, TaskInstance.start_date, TaskInstance.trigger_id, *place)
    row = session.execute(columns.where(is_instance(dag_id, run_id, task_id, map_index, region))).first()
    if row is None:
        return None
    trigger = session.get(Trigger, row[2]) if row[2] is not None else None
    return Instance(
        state=word(row[0]),
        started_at=row[1] or datetime.now(UTC),
        waits_for=awaited_ids(trigger),
        region=region_text(row[3], row[4]) if HAS_ATTEMPTS else "",
    )


def rendered_fields(
    session: Session, dag_id: str, run_id: str, task_id: str, map_index: int, region: str = ""
) -> Mapping[str, Any]:
    """Return the arguments of a task instance as they were rendered; none where Airflow does not keep them any more."""
    fields: Any = RenderedTaskInstanceFields
    if HAS_ATTEMPTS:
        own = select(TaskInstance.id).where(is_instance(dag_id, run_id, task_id, map_index, region))
        instance_id = session.scalars(own).first()
        kept = fields.get_for_attempt(instance_id, session=session) if instance_id else None
        found = kept.rendered_fields if kept is not None else None
    else:
        place = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
        found = session.scalars(select(fields.rendered_fields).filter_by(**place)).first()
    return found if isinstance(found, Mapping) else {}


def without_cuts(fields: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    """Return rendered arguments without those that Airflow has not kept whole, and the names of these.

    What it has kept of a prompt is left, with an ellipsis.
    """
    cut = {
        name: value[len(_CUT) :] for name, value in fields.items() if isinstance(value, str) and value.startswith(_CUT)
    }
    beginning = cut.get("prompt", "").rstrip().removesuffix("...")
    # Older ones keep it as Python writes texts.
    with suppress(ValueError, SyntaxError):
        beginning = str(ast.literal_eval(beginning))
    prompt = {"prompt": f"{beginning}…"} if beginning else {}
    return {name: value for name, value in fields.items() if name not in cut} | prompt, sorted(cut)


def states_of(session: Session, xcoms: Iterable[XCom]) -> dict[Place, str | None]:
    """Return the states of the task instances that pushed these."""
    found = {}
    for columns, are_wanted, place_of in _instances_of(xcoms):
        for *instance, state in session.execute(select(*columns, TaskInstance.state).where(are_wanted)):
            found[place_of(instance)] = word(state)
    return found


def counts_at_deferral(session: Session, xcoms: Iterable[XCom]) -> dict[Place, Mapping[str, Any]]:
    """Return the counts with which batches that are deferred were, by the batch's task instance."""
    found = {}
    for columns, are_wanted, place_of in _instances_of(xcoms):
        wanted = (
            select(*columns, Trigger)
            .join(Trigger, TaskInstance.trigger_id == Trigger.id)
            .where(Trigger.classpath == _BATCH_TRIGGER, are_wanted)
        )
        for *instance, trigger in session.execute(wanted):
            counts = trigger.kwargs.get("counts")
            if isinstance(counts, Mapping):
                found[place_of(instance)] = counts
    return found


def awaited_ids(trigger: Trigger | None) -> tuple[str, ...]:
    """Return the image task ids that a trigger of ours waits for; none for others."""
    if trigger is None or not trigger.classpath.startswith("airflow_provider_imagetasks."):
        return ()
    ids = trigger.kwargs.get("image_task_ids")
    return tuple(each for each in ids if isinstance(each, str)) if isinstance(ids, list | tuple) else ()


def _instances_of(
    xcoms: Iterable[XCom],
) -> Iterator[tuple[Sequence[Any], Any, Callable[[Sequence[Any]], Place]]]:
    """Yield for some of the task instances at a time what to select them by, and how to tell which a row is of."""
    if HAS_ATTEMPTS:
        by_id = {uuid.UUID(xcom.instance_id): xcom.place for xcom in xcoms if xcom.instance_id}
        for ids in groups(list(by_id)):
            yield (TaskInstance.id,), TaskInstance.id.in_(ids), lambda row: by_id[row[0]]
        return
    places = {(xcom.dag_id, xcom.run_id, xcom.task_id, xcom.map_index): xcom.place for xcom in xcoms}
    for group in groups(sorted(places)):
        are_wanted = or_(*(is_instance(*each) for each in group))
        yield _COORDINATES, are_wanted, lambda row: places[row[0], row[1], row[2], row[3]]
