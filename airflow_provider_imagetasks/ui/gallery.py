"""Turns what XComs say into what the gallery shows. Pure, and wary: whoever can push an XCom can put anything there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

PictureOf = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""Makes of a Dag id and a stored file's record what the browser needs to show it."""
_FINISHED_RUNS = ("success", "failed")
_LONGEST_TEXT = 2_000


class Entry(Protocol):
    """What is read of an XCom."""

    @property
    def run_key(self) -> int:
        """The run's primary key."""

    @property
    def dag_id(self) -> str:
        """Its Dag."""

    @property
    def run_id(self) -> str:
        """Its run."""

    @property
    def task_id(self) -> str:
        """The task that pushed it."""

    @property
    def map_index(self) -> int:
        """Which instance of the task; -1 for one that is not mapped."""

    @property
    def key(self) -> str:
        """The XCom's key."""

    @property
    def value(self) -> Any:
        """The XCom's value."""

    @property
    def timestamp(self) -> datetime:
        """When it was pushed."""


@dataclass(frozen=True)
class Findings:
    """What is known of the image tasks of some runs, each by run key and image task id."""

    records: dict[tuple[int, str], Mapping[str, Any]] = field(default_factory=dict)
    files: dict[tuple[int, str], list[Mapping[str, Any]]] = field(default_factory=dict)
    failures: dict[tuple[int, str], Mapping[str, Any]] = field(default_factory=dict)
    batches: dict[tuple[int, str, int], dict[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Progress and summary of batches, by run key, task id and map index."""
    origins: dict[tuple[int, str], Entry] = field(default_factory=dict)
    """Where a record or file of it was pushed."""

    def is_complete(self, announcement: Entry) -> bool:
        """Whether nothing more can be known of what was asked for: its pictures are stored, or it failed."""
        told = announcement.value
        if announcement.key != "image_task" or not isinstance(told, Mapping):
            return True
        key = (announcement.run_key, str(told.get("id")))
        return key in self.files or key in self.failures

    def ids_of(self, run_key: int) -> list[str]:
        """Return the image tasks of a run of which something came back."""
        return list(dict.fromkeys(each for key, each in self.origins if key == run_key))


def findings(entries: Iterable[Entry]) -> Findings:
    """Sort what sensors, downloads and batches pushed by the image tasks that it is about."""
    found = Findings()
    for entry in entries:
        value = entry.value
        if entry.key == "progress":
            if isinstance(value, Mapping):
                _batch(found, entry)["progress"] = value
        elif entry.key == "image_task_failures":
            for failure in _mappings(value):
                found.failures[entry.run_key, _text(failure.get("id")) or ""] = failure
                _remember(found, entry, failure.get("id"))
        elif isinstance(value, Mapping) and "manifest" in value:
            _batch(found, entry)["summary"] = value
        elif isinstance(value, Mapping) and "files" in value:
            for file in _mappings(value["files"]):
                image_task_id = _text(file.get("image_task_id"))
                if image_task_id:
                    found.files.setdefault((entry.run_key, image_task_id), []).append(file)
                    _remember(found, entry, image_task_id)
        else:
            for record in _mappings([value] if isinstance(value, Mapping) else value):
                if "service" in record and _text(record.get("id")):
                    found.records[entry.run_key, record["id"]] = record
                    _remember(found, entry, record["id"])
    return found


def card(announcement: Entry, found: Findings, run_state: str, picture: PictureOf) -> dict[str, Any]:
    """Return the card of one image task that was submitted, or whose submission was refused."""
    told = announcement.value if isinstance(announcement.value, Mapping) else {}
    if announcement.key == "image_task_refused":
        error = told.get("error")
        why = _error(error if isinstance(error, Mapping) else {})
        return {**_place(announcement), **_facts(told), "state": "failed", "error": why, "pictures": []}
    image_task_id = _text(told.get("id")) or ""
    return card_of(image_task_id, announcement, told, found, run_state, picture)


def card_of(
    image_task_id: str,
    place: Entry,
    told: Mapping[str, Any],
    found: Findings,
    run_state: str,
    picture: PictureOf,
) -> dict[str, Any]:
    """Return the card of an image task.

    :param place: where a link from the card leads to.
    :param told: what was said at its submission; may be empty.
    """
    key = (place.run_key, image_task_id)
    record = found.records.get(key, {})
    files = sorted(found.files.get(key, []), key=lambda file: _whole(file.get("index")) or 0)
    failure = found.failures.get(key)
    if files:
        state = "stored"
    elif record.get("state") == "succeeded":
        state = "ready"
    elif failure is not None:
        state = "failed"
    elif run_state in _FINISHED_RUNS:
        state = "unfinished"
    else:
        state = "waiting"
    facts = _facts({**told, **{name: value for name, value in record.items() if value is not None}})
    return {
        **_place(place),
        **facts,
        "submitted_at": _text(told.get("submitted_at")) or facts["submitted_at"] or place.timestamp.isoformat(),
        "image_task_id": image_task_id[:200],
        "state": state,
        "error": _error(failure) if state == "failed" and failure is not None else None,
        "pictures": [picture(place.dag_id, file) for file in files],
    }


def batch_card(
    announcement: Entry, found: Findings, task_state: str | None, pictures: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the card of a batch: how far it is, with some of its pictures."""
    told = announcement.value if isinstance(announcement.value, Mapping) else {}
    known = found.batches.get((announcement.run_key, announcement.task_id, announcement.map_index), {})
    summary, progress = known.get("summary"), known.get("progress") or {}
    counts = {
        name: _whole(progress.get(name)) or 0 for name in ("total", "submitted", "succeeded", "failed", "running")
    }
    counts["total"] = counts["total"] or _whole(told.get("total")) or 0
    if summary is not None:
        done = {name: _whole(summary.get(name)) or 0 for name in ("total", "succeeded", "failed")}
        counts |= {**done, "submitted": done["total"], "running": 0}
    return {
        **_place(announcement),
        **_facts(told),
        "kind": "batch",
        "state": _batch_state(task_state, is_over=summary is not None),
        "counts": counts,
        "updated_at": _text(progress.get("updated_at")),
        "usage": _plain(summary.get("usage")) if summary else None,
        "cost": _number(summary.get("cost")) if summary else None,
        "pictures": list(pictures),
    }


def row_card(announcement: Entry, row: Mapping[str, Any], picture: PictureOf) -> dict[str, Any]:
    """Return the card of one row of a batch that has come to its end."""
    told = announcement.value if isinstance(announcement.value, Mapping) else {}
    error = row.get("error")
    files = _mappings(row.get("files"))
    place = _place(announcement)
    return {
        **place,
        **_facts({**told, **row}),
        "key": f"{place['key']}/{_text(row.get('id')) or _whole(row.get('index'))}",
        "index": _whole(row.get("index")),
        "image_task_id": (_text(row.get("image_task_id")) or "")[:200],
        "state": "failed" if row.get("status") == "failed" else "stored" if files else "ready",
        "error": _error(error) if isinstance(error, Mapping) else None,
        "cost": _number(row.get("cost")),
        "pictures": [picture(announcement.dag_id, file) for file in files],
    }


def _batch_state(task_state: str | None, *, is_over: bool) -> str:
    if task_state in ("failed", "upstream_failed"):
        return "failed"
    if is_over or task_state == "success":
        return "stored"
    return "waiting"


def _place(entry: Entry) -> dict[str, Any]:
    return {
        "kind": "picture",
        "key": f"{entry.run_key}/{entry.task_id}/{entry.map_index}",
        "dag_id": entry.dag_id,
        "run_id": entry.run_id,
        "task_id": entry.task_id,
        "map_index": entry.map_index,
    }


def _facts(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt": _text(told.get("prompt")),
        "model": _text(told.get("model")),
        "service": _text(told.get("service")),
        "conn_id": _text(told.get("conn_id")),
        "submitted_at": _text(told.get("submitted_at")) or _text(told.get("created_at")),
        "finished_at": _text(told.get("finished_at")),
        "duration": _number(told.get("duration")),
        "usage": _plain(told.get("usage")),
    }


def _error(error: Mapping[str, Any]) -> dict[str, str | None]:
    return {name: _text(error.get(name)) for name in ("class", "code", "message", "billed")}


def _batch(found: Findings, entry: Entry) -> dict[str, Mapping[str, Any]]:
    return found.batches.setdefault((entry.run_key, entry.task_id, entry.map_index), {})


def _remember(found: Findings, entry: Entry, image_task_id: Any) -> None:
    if isinstance(image_task_id, str):
        found.origins.setdefault((entry.run_key, image_task_id), entry)


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list | tuple) else []


def _text(value: Any) -> str | None:
    return value[:_LONGEST_TEXT] if isinstance(value, str) and value else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12 else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None else None


def _plain(value: Any) -> dict[str, float | str] | None:
    """Return the numbers and words of a usage record, without what is nested in it."""
    if not isinstance(value, Mapping):
        return None
    kept = {str(name)[:60]: each for name, each in list(value.items())[:20]}
    return {name: each for name, each in kept.items() if _number(each) is not None or (_text(each) and len(each) < 60)}
