"""The cards that the gallery shows, made of XComs. Pure, and wary: whoever can push an XCom can put anything there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.services.fields import LONGEST_PROMPT, LONGEST_TEXT, cleaned, mapping
from airflow_provider_imagetasks.ui import clears

if TYPE_CHECKING:
    from airflow_provider_imagetasks.ui.airflow_records import XCom

PictureOf = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""Makes of a Dag id and a stored file's record what the browser needs to show it."""
Place = tuple[int, str, int, str]
"""A task instance: run key, task id, map index and, in a loop, the region of the iteration."""
TaskStates = Mapping[Place, str | None]
_FINISHED_RUNS = ("success", "failed")
_GIVEN_UP = ("failed", "upstream_failed")
_RUN_AGAIN = (None, "up_for_retry", "scheduled", "queued")
"""States of a task instance that failed and that Airflow runs again, by itself or since somebody cleared it."""
_LONGEST_CURRENCY = 12
_LONGEST_SHOWN_ID = 200
_MOST_PICTURES = 100
"""Pictures of one image task that are shown: whoever can push an XCom can name any number."""
_OF_DOWNLOADS = ("DownloadError", "UnsafeResultError", "ResultExpiredError")
"""Errors beside which pictures may be in place that belong to the same image task."""


@dataclass(frozen=True)
class Results:
    """What came back for the image tasks of some runs, each by run key and image task id."""

    records: dict[tuple[int, str], Mapping[str, Any]] = field(default_factory=dict)
    files: dict[tuple[int, str], list[Mapping[str, Any]]] = field(default_factory=dict)
    failures: dict[tuple[int, str], tuple[Mapping[str, Any], XCom]] = field(default_factory=dict)
    """Each with the XCom that tells of it."""
    batches: dict[Place, dict[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Progress and summary of batches."""
    errors: dict[Place, XCom] = field(default_factory=dict)
    """The XComs ``image_task_error``, which say why a task instance failed as a whole."""
    sources: dict[tuple[int, str], XCom] = field(default_factory=dict)
    """The first XCom that told of an image task."""

    def is_complete(self, submission: XCom) -> bool:
        """Whether nothing more can be known of what was asked for: its pictures are stored, or it failed."""
        if submission.key != "image_task" or not isinstance(submission.value, Mapping):
            return True
        key = (submission.run_key, str(submission.value.get("id")))
        return key in self.files or key in self.failures

    def summary_of(self, batch: XCom) -> Mapping[str, Any] | None:
        """Return the result of a batch, once there is one."""
        return self.batches.get(batch.place, {}).get("summary")

    def nameless_errors(self) -> list[XCom]:
        """Return why task instances failed that said of no image task that it did."""
        told = {xcom.place for _, xcom in self.failures.values()}
        return [xcom for place, xcom in self.errors.items() if place not in told and place not in self.batches]

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
                if isinstance(failure.get("id"), str):
                    before, teller = results.failures.get((xcom.run_key, failure["id"]), ({}, None))
                    # Of several pictures' failures that is kept which a Clear may mend for nothing.
                    if teller is not xcom or clears.may_need_new_picture(_text(before.get("class"))):
                        results.failures[xcom.run_key, failure["id"]] = failure, xcom
        elif xcom.key == "image_task_error":
            results.errors[xcom.place] = xcom
        elif xcom.key == "progress" or "manifest" in told:
            name = "progress" if xcom.key == "progress" else "summary"
            results.batches.setdefault(xcom.place, {})[name] = told
        elif "files" in told:
            for file in _mappings(told["files"]):
                if image_task_id := _id(file.get("image_task_id")):
                    ids.append(image_task_id)
                    results.files.setdefault((xcom.run_key, image_task_id), []).append(file)
        else:
            for record in _mappings([told] if told else xcom.value):
                if "service" in record and _id(record.get("id")):
                    ids.append(record["id"])
                    results.records[xcom.run_key, record["id"]] = record
        for image_task_id in ids:
            if isinstance(image_task_id, str):
                results.sources.setdefault((xcom.run_key, image_task_id), xcom)
    return results


def card(
    submission: XCom, results: Results, run_state: str, picture: PictureOf, states: TaskStates | None = None
) -> dict[str, Any]:
    """Return the card of one image task that was submitted, or whose submission was refused.

    :param states: of the task instances that told of failures.
    """
    told = mapping(submission.value)
    if submission.key == "image_task_refused":
        error = mapping(told.get("error"))
        return {
            **_place(submission),
            **_facts(told),
            "pictures": [],
            **_failed(error, submission, submission, states, advice=_text(told.get("advice"))),
        }
    return card_of(_id(told.get("id")), submission, results, run_state, picture, states)


def card_of(
    image_task_id: str,
    source: XCom,
    results: Results,
    run_state: str,
    picture: PictureOf,
    states: TaskStates | None = None,
) -> dict[str, Any]:
    """Return the card of an image task.

    :param source: its submission, or where it is not known, an XCom of the task instance that a link leads to.
    """
    key = (source.run_key, image_task_id)
    submission = mapping(source.value) if source.key == "image_task" else {}
    record, failure = results.records.get(key, {}), results.failures.get(key)
    files = sorted(results.files.get(key, []), key=lambda file: whole(file.get("index")) or 0)
    is_over = run_state in _FINISHED_RUNS
    became: dict[str, Any] = {"error": None, "advice": None, "clears": []}
    if failure is not None and (not files or failure[0].get("class") in _OF_DOWNLOADS):
        became = _failed(*failure, source if source.key == "image_task" else None, states)
    elif files:
        became["state"] = "stored"
    elif record.get("state") == "succeeded":
        became["state"] = "not_stored" if is_over else "ready"
    else:
        became["state"] = "unfinished" if is_over else "waiting"
    facts = _facts({**submission, **{name: value for name, value in record.items() if value is not None}})
    return {
        **_place(source),
        **facts,
        "submitted_at": _moment(submission.get("submitted_at"))
        or facts["submitted_at"]
        or source.timestamp.isoformat(),
        "image_task_id": cleaned(image_task_id, most=_LONGEST_SHOWN_ID),
        "pictures": [picture(source.dag_id, file) for file in files[:_MOST_PICTURES]],
        **became,
    }


def error_card(told: XCom, states: TaskStates) -> dict[str, Any]:
    """Return the card of a task instance that failed as a whole, before it was known for which image tasks."""
    failed = _failed(mapping(told.value), told, None, states)
    return {**_place(told), **_facts({}), "submitted_at": told.timestamp.isoformat(), "pictures": [], **failed}


def batch_card(
    submission: XCom,
    results: Results,
    task_state: str | None,
    pictures: Sequence[dict[str, Any]],
    at_deferral: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the card of a batch: how far it is, with some of its pictures.

    ``ready`` of its rows were made by the service and are not in place; they count as running.

    :param at_deferral: the counts with which it was deferred, while it is.
    """
    told = mapping(submission.value)
    known = results.batches.get(submission.place, {})
    summary, progress = known.get("summary"), known.get("progress", {})
    names = ("total", "submitted", "succeeded", "failed", "running")
    counts = {name: _count(progress.get(name)) for name in names}
    counts["total"] = counts["total"] or _count(told.get("total"))
    ready = 0
    if summary is None and at_deferral is not None:
        # The triggerer counts what is ready as succeeded.
        stored = min(counts["succeeded"], _count(at_deferral.get("succeeded")))
        ready = counts["succeeded"] - stored
        counts |= {"succeeded": stored, "running": counts["running"] + ready}
    if summary is not None:
        done = {name: _count(summary.get(name)) for name in ("total", "succeeded", "failed")}
        counts |= {**done, "submitted": done["total"], "running": 0}
    counts["total"] = max(counts["total"], counts["succeeded"] + counts["failed"])
    is_over = summary is not None or task_state == "success"
    state = "failed" if task_state in _GIVEN_UP else "stored" if is_over else "waiting"
    why = results.errors.get(submission.place)
    told_error = mapping(why.value) if why is not None else {}
    return {
        **_place(submission),
        **_facts(told),
        "kind": "batch",
        "state": state,
        "counts": counts,
        "updated_at": _moment(progress.get("updated_at")),
        "usage": _plain(summary.get("usage")) if summary else None,
        "cost": _number(summary.get("cost")) if summary else None,
        "currency": _text(mapping(summary).get("currency"), most=_LONGEST_CURRENCY),
        "ready": ready,
        "error": _error(told_error) if why is not None else None,
        "advice": (_text(told_error.get("advice")) or clears.advice_of_batch(task_state))
        if state == "failed"
        else None,
        "log_at": _log_at(submission),
        "clears": clears.clears_of_batch(submission, task_state),
        "manifest": summary is not None,
        "pictures": list(pictures),
    }


def row_card(
    submission: XCom, row: Mapping[str, Any], picture: PictureOf, task_state: str | None = None
) -> dict[str, Any]:
    """Return the card of one row of a batch that has come to its end.

    :param task_state: of the batch's task instance.
    """
    error, files, place = row.get("error"), _mappings(row.get("files")), _place(submission)
    failed, index = isinstance(error, Mapping) or row.get("status") == "failed", whole(row.get("index"))
    return {
        **place,
        **_facts({**mapping(submission.value), **row}),
        # An id may look like another row's number.
        "key": f"{place['key']}/{_text(row.get('id')) if index is None else index}",
        "index": index,
        "row_id": _text(row.get("id")),
        "image_task_id": _text(row.get("image_task_id"), most=_LONGEST_SHOWN_ID) or "",
        "state": "failed" if failed else "stored" if files else "ready",
        "error": _error(mapping(error)) if failed else None,
        "advice": clears.advice_of_batch(task_state) if failed else None,
        "log_at": _log_at(submission),
        "clears": clears.clears_of_batch(submission, task_state) if failed else [],
        "cost": _number(row.get("cost")),
        "currency": _text(row.get("currency"), most=_LONGEST_CURRENCY),
        "pictures": [picture(submission.dag_id, file) for file in files[:_MOST_PICTURES]],
    }


def _failed(
    error: Mapping[str, Any],
    told: XCom,
    submission: XCom | None,
    states: TaskStates | None,
    advice: str | None = None,
) -> dict[str, Any]:
    """Return what a card says of a failure, and which task instance has it in its log."""
    told_error = _error(error)
    return {
        "state": "retried" if (states or {}).get(told.place, "failed") in _RUN_AGAIN else "failed",
        "error": told_error,
        "advice": advice or _text(error.get("advice")) or clears.advice_of(told_error["class"]),
        "log_at": _log_at(told),
        "clears": clears.clears_of(told_error["class"], told, submission),
    }


def _log_at(xcom: XCom) -> dict[str, Any]:
    return {"task_id": xcom.task_id, **xcom.coordinates}


def _place(xcom: XCom) -> dict[str, Any]:
    return {
        "kind": "picture",
        "key": "/".join(str(part) for part in xcom.place if part != ""),
        "dag_id": xcom.dag_id,
        "run_id": xcom.run_id,
        "task_id": xcom.task_id,
        **xcom.coordinates,
        "told_at": xcom.timestamp.isoformat(),
    }


def _facts(told: Mapping[str, Any]) -> dict[str, Any]:
    prompt, duration = told.get("prompt"), _number(told.get("duration"))
    return {
        **{name: _text(told.get(name)) for name in ("model", "service", "conn_id", "trace_id")},
        "prompt": prompt[:LONGEST_PROMPT] or None if isinstance(prompt, str) else None,
        "submitted_at": _moment(told.get("submitted_at")) or _moment(told.get("created_at")),
        "finished_at": _moment(told.get("finished_at")),
        "duration": duration if duration is not None and duration >= 0 else None,
        "usage": _plain(told.get("usage")),
    }


def _error(error: Mapping[str, Any]) -> dict[str, str | None]:
    return {name: _text(error.get(name)) for name in ("class", "code", "message", "billed")}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list | tuple) else []


def _text(value: Any, *, most: int = LONGEST_TEXT) -> str | None:
    return cleaned(value, most=most) or None if isinstance(value, str) else None


def _id(value: Any) -> str:
    """Return an image task's id whole, as it is: that of a service that answers at once is the record itself."""
    return value if isinstance(value, str) else ""


def _moment(value: Any) -> str | None:
    """Return a moment as any browser reads it."""
    with suppress(ValueError, OverflowError):
        told = datetime.fromisoformat(value) if isinstance(value, str) else None
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).isoformat() if told is not None else None
    return None


def _count(value: Any) -> int:
    return max(0, whole(value) or 0)


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12 else None


def whole(value: Any) -> int | None:
    """Return a whole number within sense; None for anything else."""
    number = _number(value)
    return int(number) if number is not None else None


def _plain(value: Any) -> dict[str, float | str] | None:
    """Return the numbers and words of a usage record, without what is nested in it."""
    if not isinstance(value, Mapping):
        return None
    kept = {cleaned(str(name), most=60): each for name, each in list(value.items())[:20]}
    return {name: each for name, each in kept.items() if _number(each) is not None or _is_word(each)}


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) < 60 and value.isprintable()
