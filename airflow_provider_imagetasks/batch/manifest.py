"""The manifest of a batch: a row for each request, their totals, and what assets and lineage report of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any, get_args

from airflow_provider_imagetasks import exceptions
from airflow_provider_imagetasks.batch.requests_file import FrozenRequests
from airflow_provider_imagetasks.batch.row_decisions import Action, Failure, Occasion, next_action
from airflow_provider_imagetasks.exceptions import Billed, ImageTaskError, ImageTaskFailedError
from airflow_provider_imagetasks.observability.assets import MOST_EVENTS, Announcement, picture_extra
from airflow_provider_imagetasks.observability.lineage import MOST_DATASETS, Lineage, Made

SUCCEEDED, FAILED = "succeeded", "failed"
MANIFEST_NAME = "manifest.jsonl"
MOST_MODELS = 20
LONGEST_EXAMPLE = 300
"""Characters of a row's error that the error of the batch quotes."""
ROW_KEYS = (
    *("id", "index", "prompt", "status", "image_task_id", "files", "error"),
    *("duration", "usage", "cost", "currency"),
)

COST_ALONE = "cost_one_by_one"
"""What the pictures of a row would have cost as single pictures; in the manifest of a provider batch."""


def outcome_row(
    frozen: Mapping[str, Any],
    *,
    image_task_id: str | None,
    files: Sequence[Mapping[str, Any]] = (),
    left_out: int = 0,
    error: ImageTaskError | None = None,
    duration: float | None = None,
    usage: Mapping[str, Any] | None = None,
    cost: float | None = None,
    currency: str | None = None,
    price_share: float = 1.0,
    unread: bool = False,
    never_taken: bool = False,
    unanswered: bool = False,
) -> dict[str, Any]:
    """Return what became of a row: the manifest's keys, and some more for later starts.

    :param frozen: the row's line.
    :param left_out: how many further pictures were charged that show nothing.
    :param error: why it failed; None where it succeeded.
    :param duration: seconds that the service worked on it, where it says so.
    :param cost: by the prices known; None where they are not.
    :param currency: of the cost; None where the prices name none.
    :param price_share: what a picture costs in this batch, as a share of its price alone.
    :param unread: whether the image task could not be read: later starts look for it before they pay for another.
    :param never_taken: whether the service is known not to have taken its last submission, which so cost nothing.
    :param unanswered: whether nobody knows what came of that, of which the service may tell later.
    """
    row: dict[str, Any] = {
        "id": frozen.get("id"),
        "index": frozen["index"],
        "prompt": frozen.get("prompt"),
        "status": FAILED if error else SUCCEEDED,
        "image_task_id": image_task_id,
        "files": list(files),
        "error": error.as_xcom() if error else None,
        "duration": duration,
        "usage": dict(usage) if usage else None,
        "cost": cost,
        "currency": currency if cost is not None else None,
    }
    if cost is not None and price_share != 1.0:
        row[COST_ALONE] = cost / price_share
    if left_out:
        row["left_out"] = left_out
    if error is not None:
        row["retryable"] = error.retryable
        known = {"unread": unread, "never_taken": never_taken, "unanswered": unanswered}
        row |= {name: True for name, holds in known.items() if holds}
    return row


def require_outcome(outcome: Mapping[str, Any]) -> None:
    """Refuse a value that is not the outcome of a row, as :func:`outcome_row` returns it.

    :raises ValueError: says what of it is damaged.
    """
    error, files = outcome.get("error"), outcome.get("files")
    is_sound = {
        "index": type(outcome.get("index")) is int,
        "attempt": type(outcome.get("attempt", 0)) is int,
        "left_out": type(outcome.get("left_out", 0)) is int,
        "status": outcome.get("status") in (SUCCEEDED, FAILED),
        "image_task_id": isinstance(outcome.get("image_task_id"), str | None),
        "error": error is None if outcome.get("status") == SUCCEEDED else isinstance(error, dict),
        "billed": not isinstance(error, dict) or error.get("billed") in get_args(Billed),
        "files": isinstance(files, list)
        and all(isinstance(file, dict) and {"uri", "bytes"} <= {*file} for file in files),
        "usage": isinstance(outcome.get("usage"), dict | None),
    }
    damaged = [name for name, sound in is_sound.items() if not sound]
    if damaged:
        raise ValueError(f"the outcome of row {str(outcome.get('index'))[:20]} has a damaged {', '.join(damaged)}")


def error_on_record(outcome: Mapping[str, Any]) -> ImageTaskError:
    """Return why a row failed, as far as its outcome says."""
    error = outcome.get("error") or {}
    return _error_class(str(error.get("class")))(
        str(error.get("message")),
        image_task_id=outcome.get("image_task_id"),
        code=error.get("code"),
        billed=error.get("billed"),
        retryable=bool(outcome.get("retryable")),
    )


def _error_class(name: str) -> type[ImageTaskError]:
    known = getattr(exceptions, name, None)
    return known if isinstance(known, type) and issubclass(known, ImageTaskError) else ImageTaskFailedError


def manifest_row(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the manifest."""
    alone = {COST_ALONE: outcome[COST_ALONE]} if COST_ALONE in outcome else {}
    return {key: outcome.get(key) for key in ROW_KEYS} | alone


@dataclass
class Totals:
    """Totals of the rows of a manifest.

    :param usage: the services' own numbers, added up by name.
    :param currencies: in which costs are known.
    :param mendable: failed rows that a retry takes up again, at no risk of paying twice.
    :param sought: failed rows whose submission a Clear looks for before it asks for a new picture, if it does.
    """

    succeeded: int = 0
    failed: int = 0
    usage: dict[str, float] = field(default_factory=dict)
    currencies: set[str] = field(default_factory=set)
    classes: dict[str, int] = field(default_factory=dict)
    mendable: int = 0
    sought: int = 0
    billed: set[str] = field(default_factory=set)
    examples: list[str] = field(default_factory=list)
    _cost: float | None = None
    _cost_alone: float | None = None

    def add(self, outcome: Mapping[str, Any]) -> None:
        """Count one row."""
        if outcome["status"] == SUCCEEDED:
            self.succeeded += 1
        else:
            self.failed += 1
            self._add_failure(outcome)
        for name, value in (outcome.get("usage") or {}).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                self.usage[name] = self.usage.get(name, 0) + value
        cost = outcome.get("cost")
        if isinstance(cost, int | float):
            self._cost = (self._cost or 0.0) + cost
            if outcome.get("currency"):
                self.currencies.add(outcome["currency"])
            if isinstance(alone := outcome.get(COST_ALONE), int | float):
                self._cost_alone = (self._cost_alone or 0.0) + alone

    @property
    def cost(self) -> float | None:
        """Costs added up where they are known; None where they are known of no row, or in several currencies."""
        return self._cost if len(self.currencies) < 2 else None

    def spent(self) -> dict[str, Any]:
        """Return ``{usage, cost, currency}``; the currency is None where prices name none.

        Also what the same would have cost one by one, as ``cost_one_by_one``, where that is more.
        """
        currency = next(iter(self.currencies), None) if self.cost is not None else None
        alone = {COST_ALONE: self._cost_alone} if self.cost is not None and self._cost_alone is not None else {}
        return {"usage": self.usage or None, "cost": self.cost, "currency": currency, **alone}

    def failures_of(self, total: int) -> str:
        """Return how many of a batch's rows failed, and of which classes."""
        classes = ", ".join(f"{count} x {name}" for name, count in self.classes.items())
        return f"{self.failed} of {total} rows failed ({classes})"

    def _add_failure(self, outcome: Mapping[str, Any]) -> None:
        error = outcome.get("error") or {}
        name = str(error.get("class"))
        self.classes[name] = self.classes.get(name, 0) + 1
        failure = Failure.of_outcome(outcome)
        self.mendable += next_action(failure, Occasion.RETRY) is not Action.KEEP
        self.sought += next_action(failure, Occasion.CLEAR) is not Action.SUBMIT
        self.billed.add(str(error.get("billed")))
        if self.classes[name] == 1 and len(self.examples) < 5:
            message = shorten(str(error.get("message")), LONGEST_EXAMPLE, placeholder=" ...").rstrip(".")
            self.examples.append(f"row {outcome['index']}: {message}")


def error_of(totals: Totals, total: int, allowed: int, *, manifest: str) -> ImageTaskError | None:
    """Return why the task fails, None where no more rows failed than may.

    :param allowed: rows that may fail.
    :param manifest: its URI, for the message.
    """
    if totals.failed <= allowed:
        return None
    names = list(totals.classes)
    error_class = _error_class(names[0]) if len(names) == 1 else ImageTaskFailedError
    billed: Billed = totals.billed.pop() if len(totals.billed) == 1 else "unknown"  # type: ignore[assignment]
    retry = (
        f"repeats {totals.mendable} of the failed rows, at no risk of paying twice"
        if totals.mendable
        else "would not help"
    )
    clear = "submits the failed rows again"
    if totals.sought:
        are_all = totals.sought == totals.failed
        clear = (
            "looks for what was submitted" if are_all else f"looks for what was submitted of {totals.sought} of them"
        )
        clear += " before it pays for anything" if are_all else ", and submits the others again"
    advice = f"A retry {retry}; Clear {clear}."
    kept = f" The {totals.succeeded} that succeeded are in place and will be kept." if totals.succeeded else ""
    return error_class(
        f"{totals.failures_of(total)}, more than max_failed allows ({allowed}).{kept} "
        f"{'; '.join(totals.examples)}. All rows: {manifest}",
        billed=billed,
        retryable=totals.mendable > 0,
        retry_advice=advice,
    )


class PictureSummary:
    """Pictures that a manifest's rows delivered, as far as assets and lineage use them, in bounded memory.

    :param service: name of the service.
    :param requests: what was asked for.
    :param manifest: a local file.
    """

    def __init__(self, service: str, requests: FrozenRequests, manifest: Path) -> None:
        self._service = service
        self._requests = requests
        self._pictures: list[dict[str, Any]] = []
        self._files: list[Made] = []
        self._references: dict[str, None] = {}
        self._models: dict[str, None] = {}
        self._rows = self._count = self._bytes = 0
        with manifest.open("rb") as file:
            for line in file:
                self._add(json.loads(line))

    def announcement(self, manifest: str) -> Announcement:
        """Return what asset events say, with the URI of the manifest."""
        return Announcement(pictures=self._pictures, count=self._count, bytes=self._bytes, manifest=manifest)

    def lineage(self, folder: str) -> Lineage:
        """Return what was read, and what was made in a folder, without the image tasks in between."""
        is_much = self._count > MOST_DATASETS
        files = [Made(uri=folder, size=self._bytes, count=self._count)] if is_much else self._files
        return Lineage(
            service=self._service,
            models=list(self._models),
            image_task_ids=[],
            references=list(self._references),
            files=files,
            image_task_count=self._rows,
        )

    def _add(self, row: Mapping[str, Any]) -> None:
        files = row.get("files") or []
        if not files:
            return
        asked = self._requests.line(row["index"])
        model = asked.get("model")
        self._rows += 1
        if model and len(self._models) < MOST_MODELS:
            self._models.setdefault(model)
        for reference in (*(asked.get("images") or ()), asked.get("mask")):
            if reference and len(self._references) < MOST_DATASETS:
                self._references.setdefault(reference)
        for file in files:
            self._count += 1
            self._bytes += file["bytes"]
            if len(self._files) < MOST_DATASETS:
                self._files.append(Made(uri=file["uri"], size=file["bytes"]))
            if len(self._pictures) < MOST_EVENTS:
                extra = picture_extra(
                    file, service=self._service, model=model, prompt=row.get("prompt"), usage=row.get("usage")
                )
                self._pictures.append(extra)
