"""Airflow's structured task logs as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# Which run and task a line belongs to: the same on every line, so worth none of them.
REPEATED_FIELDS = frozenset(
    {"dag_id", "run_id", "task_id", "map_index", "try_number", "ti_id", "logger", "filename", "lineno", "loc"}
)
SHOWN_FRAMES = 4
SOURCES_MARK = "::group::Log message source details"
END_MARK = "::endgroup::"


def log_text(content: Iterable[Any]) -> str:
    """Return the entries of a task log as lines of text, tracebacks included."""
    return "\n".join(line for entry in content for line in _lines(entry))


def last_lines(text: str, count: int) -> str:
    """Return the last lines of a log, without where it was read from and without the marks for folding it."""
    lines = text.splitlines()
    if lines and SOURCES_MARK in lines[0] and END_MARK in lines:
        lines = lines[lines.index(END_MARK) + 1 :]
    return "\n".join([line for line in lines if "::group::" not in line and END_MARK not in line][-count:])


def _lines(entry: Any) -> list[str]:
    if not isinstance(entry, Mapping):
        return [str(entry)]
    parts = [entry.get("timestamp"), entry.get("level"), entry.get("event")]
    more = {
        name: value
        for name, value in entry.items()
        if name not in REPEATED_FIELDS and name not in {"timestamp", "level", "event", "error_detail"}
    }
    parts += [f"{name}={value!r}" for name, value in more.items()]
    lines = [" ".join(str(part) for part in parts if part)]
    for error in entry.get("error_detail") or []:
        lines += _error_lines(error)
    return lines


def _error_lines(error: Mapping[str, Any]) -> list[str]:
    frames = error.get("frames") or []
    lines = [f"    {frame['filename']}:{frame['lineno']} in {frame['name']}" for frame in frames[-SHOWN_FRAMES:]]
    return [*lines, f"  {error.get('exc_type')}: {error.get('exc_value')}"]
