"""What a batch leaves behind: a row for each request, and their totals. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_imagetasks.exceptions import ImageTaskError

SUCCEEDED, FAILED = "succeeded", "failed"
ROW_KEYS = ("id", "index", "prompt", "status", "image_task_id", "files", "error", "usage", "cost")


def outcome_row(
    frozen: Mapping[str, Any],
    *,
    image_task_id: str | None,
    files: Sequence[Mapping[str, Any]] = (),
    error: ImageTaskError | None = None,
    usage: Mapping[str, Any] | None = None,
    cost: float | None = None,
) -> dict[str, Any]:
    """Return what became of a row: the manifest's keys, and besides ``retryable`` for the starts to come.

    :param frozen: the row's line.
    :param error: why it failed; None where it succeeded.
    :param cost: by the prices known; None where they are not.
    """
    row: dict[str, Any] = {
        "id": frozen.get("id"),
        "index": frozen["index"],
        "prompt": frozen.get("prompt"),
        "status": FAILED if error else SUCCEEDED,
        "image_task_id": image_task_id,
        "files": list(files),
        "error": error.as_xcom() if error else None,
        "usage": dict(usage) if usage else None,
        "cost": cost,
    }
    if error is not None:
        row["retryable"] = error.retryable
    return row


def manifest_row(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of the manifest."""
    return {key: outcome.get(key) for key in ROW_KEYS}


def is_mendable(outcome: Mapping[str, Any]) -> bool:
    """Whether a retry takes a failed row up again: it may help, and costs nothing."""
    error = outcome.get("error") or {}
    delivers = error.get("class") == "DownloadError" and bool(outcome.get("image_task_id"))
    return bool(outcome.get("retryable")) and (error.get("billed") == "no" or delivers)


@dataclass
class Totals:
    """Counts what the rows of a manifest come to.

    :param usage: the services' own numbers, added up by name.
    :param cost: added up where it is known; None where it is known of no row.
    """

    succeeded: int = 0
    failed: int = 0
    usage: dict[str, float] = field(default_factory=dict)
    cost: float | None = None
    classes: dict[str, int] = field(default_factory=dict)
    mendable: int = 0
    billed: set[str] = field(default_factory=set)
    examples: list[str] = field(default_factory=list)

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
            self.cost = (self.cost or 0.0) + cost

    def _add_failure(self, outcome: Mapping[str, Any]) -> None:
        error = outcome.get("error") or {}
        name = str(error.get("class"))
        self.classes[name] = self.classes.get(name, 0) + 1
        self.mendable += is_mendable(outcome)
        self.billed.add(str(error.get("billed")))
        if self.classes[name] == 1 and len(self.examples) < 5:
            self.examples.append(f"row {outcome['index']}: {str(error.get('message')).rstrip('.')[:200]}")
