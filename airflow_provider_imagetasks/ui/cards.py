"""The cards that the gallery shows, made of XComs. Pure, and wary: whoever can push an XCom can put anything there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.services.fields import mapping

if TYPE_CHECKING:
    from airflow_provider_imagetasks.ui.airflow_records import XCom

PictureOf = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""Makes of a Dag id and a stored file's record what the browser needs to show it."""
_FINISHED_RUNS = ("success", "failed")
_LONGEST_TEXT = 2_000


@dataclass(frozen=True)
class Results:
    """What came back for the image tasks of some runs, each by run key and image task id."""

    records: dict[tuple[int, str], Mapping[str, Any]] = field(default_factory=dict)
    files: dict[tuple[int, str], list[Mapping[str, Any]]] = field(default_factory=dict)
    failures: dict[tuple[int, str], Mapping[str, Any]] = field(default_factory=dict)
    batches: dict[tuple[int, str, int], dict[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Progress and summary of batches, by run key, task id and map index."""
    sources: dict[tuple[int, str], XCom] = field(default_factory=dict)
    """The first XCom that told of an image task."""

    def is_complete(self, submission: XCom) -> bool:
        """Whether nothing more can be known of what was asked for: its pictures are stored, or it failed."""
        if submission.key != "image_task" or not isinstance(submission.value, Mapping):
            return True
        key = (submission.run_key, str(submission.value.get("id")))
        return key in self.files or key in self.failures

    def ids_of(self, run_key: int) -> list[str]:
        """Return the image tasks of a run of which something came back."""
        return [each for key, each in self.sources if key == run_key]


def collect_results(xcoms: Iterable[XCom]) -> Results:
    """Sort what sensors, downloads and batches pushed by the image tasks that it is about."""
    results = Results()
    for xcom in xcoms:
        told = mapping(xcom.value)
        ids: list[Any] = []
        if xcom.key == "image_task_failures":
            for failure in _mappings(xcom.value):
                ids.append(failure.get("id"))
                results.failures[xcom.run_key, _text(failure.get("id")) or ""] = failure
        elif xcom.key == "progress" or "manifest" in told:
            name = "progress" if xcom.key == "progress" else "summary"
            results.batches.setdefault(xcom.place, {})[name] = told
        elif "files" in told:
            for file in _mappings(told["files"]):
                if image_task_id := _text(file.get("image_task_id")):
                    ids.append(image_task_id)
                    results.files.setdefault((xcom.run_key, image_task_id), []).append(file)
        else:
            for record in _mappings([told] if told else xcom.value):
                if "service" in record and _text(record.get("id")):
                    ids.append(record["id"])
                    results.records[xcom.run_key, record["id"]] = record
        for image_task_id in ids:
            if isinstance(image_task_id, str):
                results.sources.setdefault((xcom.run_key, image_task_id), xcom)
    return results


def card(submission: XCom, results: Results, run_state: str, picture: PictureOf) -> dict[str, Any]:
    """Return the card of one image task that was submitted, or whose submission was refused."""
    told = mapping(submission.value)
    if submission.key == "image_task_refused":
        error = _error(mapping(told.get("error")))
        return {**_place(submission), **_facts(told), "state": "failed", "error": error, "pictures": []}
    return card_of(_text(told.get("id")) or "", submission, results, run_state, picture)


def card_of(image_task_id: str, source: XCom, results: Results, run_state: str, picture: PictureOf) -> dict[str, Any]:
    """Return the card of an image task.

    :param source: its submission, or where it is not known, an XCom of the task instance that a link leads to.
    """
    key = (source.run_key, image_task_id)
    submission = mapping(source.value) if source.key == "image_task" else {}
    record, failure = results.records.get(key, {}), results.failures.get(key)
    files = sorted(results.files.get(key, []), key=lambda file: _whole(file.get("index")) or 0)
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
    facts = _facts({**submission, **{name: value for name, value in record.items() if value is not None}})
    return {
        **_place(source),
        **facts,
        "submitted_at": _text(submission.get("submitted_at")) or facts["submitted_at"] or source.timestamp.isoformat(),
        "image_task_id": image_task_id[:200],
        "state": state,
        "error": _error(failure) if state == "failed" and failure is not None else None,
        "pictures": [picture(source.dag_id, file) for file in files],
    }


def batch_card(
    submission: XCom, results: Results, task_state: str | None, pictures: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the card of a batch: how far it is, with some of its pictures."""
    told = mapping(submission.value)
    known = results.batches.get(submission.place, {})
    summary, progress = known.get("summary"), known.get("progress", {})
    names = ("total", "submitted", "succeeded", "failed", "running")
    counts = {name: _whole(progress.get(name)) or 0 for name in names}
    counts["total"] = counts["total"] or _whole(told.get("total")) or 0
    if summary is not None:
        done = {name: _whole(summary.get(name)) or 0 for name in ("total", "succeeded", "failed")}
        counts |= {**done, "submitted": done["total"], "running": 0}
    is_over = summary is not None or task_state == "success"
    state = "failed" if task_state in ("failed", "upstream_failed") else "stored" if is_over else "waiting"
    return {
        **_place(submission),
        **_facts(told),
        "kind": "batch",
        "state": state,
        "counts": counts,
        "updated_at": _text(progress.get("updated_at")),
        "usage": _plain(summary.get("usage")) if summary else None,
        "cost": _number(summary.get("cost")) if summary else None,
        "pictures": list(pictures),
    }


def row_card(submission: XCom, row: Mapping[str, Any], picture: PictureOf) -> dict[str, Any]:
    """Return the card of one row of a batch that has come to its end."""
    error, files, place = row.get("error"), _mappings(row.get("files")), _place(submission)
    return {
        **place,
        **_facts({**mapping(submission.value), **row}),
        "key": f"{place['key']}/{_text(row.get('id')) or _whole(row.get('index'))}",
        "index": _whole(row.get("index")),
        "image_task_id": (_text(row.get("image_task_id")) or "")[:200],
        "state": "failed" if row.get("status") == "failed" else "stored" if files else "ready",
        "error": _error(error) if isinstance(error, Mapping) else None,
        "cost": _number(row.get("cost")),
        "pictures": [picture(submission.dag_id, file) for file in files],
    }


def _place(xcom: XCom) -> dict[str, Any]:
    return {
        "kind": "picture",
        "key": f"{xcom.run_key}/{xcom.task_id}/{xcom.map_index}",
        "dag_id": xcom.dag_id,
        "run_id": xcom.run_id,
        "task_id": xcom.task_id,
        "map_index": xcom.map_index,
    }


def _facts(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: _text(told.get(name)) for name in ("prompt", "model", "service", "conn_id", "finished_at")},
        "submitted_at": _text(told.get("submitted_at")) or _text(told.get("created_at")),
        "duration": _number(told.get("duration")),
        "usage": _plain(told.get("usage")),
    }


def _error(error: Mapping[str, Any]) -> dict[str, str | None]:
    return {name: _text(error.get(name)) for name in ("class", "code", "message", "billed")}


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
