"""Dry run of a batch: all checks, a count and an estimate, and how far a batch is that was begun."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.batch_ledger import BatchLedger
from airflow_provider_imagetasks.batch.checks import check_cost, check_rows
from airflow_provider_imagetasks.batch.costs import Spending, in_words
from airflow_provider_imagetasks.batch.folder import REQUESTS_NAME
from airflow_provider_imagetasks.batch.requests_file import RequestsSource, freeze
from airflow_provider_imagetasks.batch.start import folder_of, read_kept
from airflow_provider_imagetasks.batch.state import BatchState
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot


def dry_run(
    arguments: BatchArguments, source: RequestsSource, slot: SubmissionSlot, state_store: Any, log: Any
) -> dict[str, Any]:
    """Check, count and estimate a batch, and return a result as of one that did nothing; write and submit nothing.

    :param state_store: Airflow's store for the task instance; None before Airflow 3.3.
    :param log: told what was found.
    :returns: with ``begun`` where an earlier try submitted rows: ``{folder, total, succeeded, failed, running}``.
    :raises InvalidRequestError: an argument or too many rows are wrong.
    :raises ImageTaskError: a batch was begun, and what is on record of it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="imagetasks-") as scratch:
        begun = _begun(arguments, slot, state_store, Path(scratch)) if slot.try_number > 1 else None
        if begun is not None:
            log.warning(
                "An earlier try started this batch: of its %s rows, %s are delivered, %s failed and %s are open. What "
                "was submitted may be paid for and goes on at the service; a dry run neither waits for it nor stores "
                "it. Without dry_run, the next start continues from %s, with the requests that were frozen there.",
                *(begun[name] for name in ("total", "succeeded", "failed", "running", "folder")),
            )
        frozen = freeze(source, Path(scratch) / REQUESTS_NAME, arguments)
    for problem in frozen.problems:
        log.warning("%s", problem[0].upper() + problem[1:])
    cost = f"about {in_words(frozen.cost)}" if frozen.cost is not None else "no price known"
    unpriced = f" (no price for {', '.join(sorted(frozen.unpriced))})" if frozen.unpriced else ""
    log.info(
        "Dry run: %s rows for %s, %s of them invalid, %s repeat an earlier one; cost: %s%s. Nothing was submitted.",
        f"{frozen.total:,}",
        arguments.service.title,
        frozen.invalid,
        frozen.repeated,
        cost,
        unpriced,
    )
    check_rows(frozen, arguments, frozen.problems)
    check_cost(frozen, arguments, log)
    counts = {"total": frozen.total, "succeeded": 0, "failed": frozen.invalid}
    spent = {"usage": None, "cost": frozen.cost, "currency": arguments.currency}
    return {"manifest": None, **counts, **spent, "dry_run": True, **({"begun": begun} if begun else {})}


def _begun(arguments: BatchArguments, slot: SubmissionSlot, state_store: Any, scratch: Path) -> dict[str, Any] | None:
    """Return how far the batch of this task is; None where nothing of it was submitted."""
    kept = read_kept(state_store)
    folder = folder_of(slot, kept, arguments)
    owner, checkpoint = folder.owner(), folder.checkpoint()
    if owner is None or checkpoint is None or kept.get("mark") not in (None, owner.mark):
        return None
    state, spending = BatchState(owner.total), Spending(owner.total, None, lambda _row, _pictures: None)
    ledger = BatchLedger(folder, checkpoint, state, scratch, arguments.account, spending, arguments.service.api_of)
    try:
        ledger.load()
    finally:
        ledger.close()
    counts = state.counts
    done = {"total": counts.total, "succeeded": counts.succeeded, "failed": counts.failed, "running": counts.running}
    return {"folder": folder.uri, **done} if any(ledger.on_record) else None
