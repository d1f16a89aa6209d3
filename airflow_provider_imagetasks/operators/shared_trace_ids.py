"""Trace ids of the users' own that several tasks of a Dag submit under, so that none is told from the others by it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any


def has_shared_trace_id(task: Any, context: Any) -> bool:
    """Whether another task of the Dag, or another map index of the same, submits under the trace id of a task.

    What a mapped task takes from an upstream is not known here, and counts as different.

    :param task: of which the arguments are rendered for the run of ``context``.
    """
    if not task.trace_id or not task.has_dag():
        return False
    for other in task.dag.tasks:
        kind, mapped = getattr(other, "operator_class", type(other)), getattr(other, "partial_kwargs", {})
        if not (isinstance(kind, type) and issubclass(kind, type(task))):
            continue
        given = mapped.get("trace_id") if mapped else getattr(other, "trace_id", None)
        if not isinstance(given, str):
            continue
        if other.task_id == task.task_id:
            if mapped and "map_index" not in given:
                return True
            continue
        with suppress(Exception):
            if str(task.render_template(given, context)).strip() == str(task.trace_id).strip():
                return True
    return False
