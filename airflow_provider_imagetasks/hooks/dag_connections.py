"""The connections that a Dag's own tasks name, among which data may choose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any


def conn_ids_of_dag(task: Any, context: Any) -> frozenset[str]:
    """Return every ``conn_id`` of the tasks of a task's Dag, rendered as for the run of ``context``.

    One that cannot be rendered here, or that a mapped task takes from an upstream, is not among them.
    """
    if not task.has_dag():
        return frozenset()
    found: set[str] = set()
    for given in {value for other in task.dag.tasks for value in _named_by(other)}:
        with suppress(Exception):
            found.add(str(task.render_template(given, context)))
    return frozenset(found)


def _named_by(task: Any) -> Iterator[str]:
    values = [getattr(task, "conn_id", None), getattr(task, "partial_kwargs", {}).get("conn_id")]
    expanded = getattr(getattr(task, "expand_input", None), "value", None)
    listed = expanded.get("conn_id") if isinstance(expanded, dict) else None
    values += listed if isinstance(listed, list | tuple) else []
    yield from (value for value in values if isinstance(value, str))
