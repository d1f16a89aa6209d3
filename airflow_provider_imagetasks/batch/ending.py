"""Ends a batch: writes the manifest, and says whether that many failures are too many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_provider_imagetasks import exceptions
from airflow_provider_imagetasks.batch.manifest import Totals
from airflow_provider_imagetasks.batch.row_decisions import FailureBudget
from airflow_provider_imagetasks.batch.start import MANIFEST_NAME, OpenBatch
from airflow_provider_imagetasks.exceptions import Billed, ImageTaskError, ImageTaskFailedError
from airflow_provider_imagetasks.files.object_storage import uri_of


def finish(batch: OpenBatch, scratch: Path, *, budget: FailureBudget) -> tuple[Totals, dict[str, Any]]:
    """Write the manifest, then that the batch is over; return its totals and the task's result.

    :returns: ``{manifest, total, succeeded, failed, usage, cost}`` as the result.
    """
    totals = batch.records.write_manifest(scratch / MANIFEST_NAME)
    batch.records.require_latest_start()
    batch.folder.put(MANIFEST_NAME, scratch / MANIFEST_NAME)
    batch.records.finished("success" if totals.failed <= budget.allowed(batch.owner.total) else "failed")
    return totals, {
        "manifest": uri_of(batch.folder.path_of(MANIFEST_NAME)),
        "total": batch.owner.total,
        "succeeded": totals.succeeded,
        "failed": totals.failed,
        "usage": totals.usage or None,
        "cost": totals.cost,
    }


def failure_of(totals: Totals, total: int, allowed: int, *, manifest: str) -> ImageTaskError | None:
    """Return why the task fails, None where no more rows failed than may.

    :param allowed: rows that may fail.
    :param manifest: its URI, for the message.
    """
    if totals.failed <= allowed:
        return None
    names = list(totals.classes)
    known = getattr(exceptions, names[0], None) if len(names) == 1 else None
    error_class = known if isinstance(known, type) and issubclass(known, ImageTaskError) else ImageTaskFailedError
    classes = ", ".join(f"{count} x {name}" for name, count in totals.classes.items())
    billed: Billed = totals.billed.pop() if len(totals.billed) == 1 else "unknown"  # type: ignore[assignment]
    retryable = totals.mendable > 0
    advice = (
        f"A retry repeats the {totals.mendable} rows that it may mend, at no risk of paying twice; Clear repeats all "
        "failed rows."
        if retryable
        else "A retry would not mend them; Clear repeats all failed rows and keeps the others."
    )
    return error_class(
        f"{totals.failed} of {total} rows failed ({classes}), more than max_failed allows ({allowed}). The others are "
        f"in place. {'; '.join(totals.examples)}. All rows: {manifest}",
        billed=billed,
        retryable=retryable,
        retry_advice=advice,
    )
