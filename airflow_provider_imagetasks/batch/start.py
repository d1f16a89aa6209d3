"""Start and end of a batch in a worker: frozen or found frozen, opened, and in the end summed up in its manifest."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.batch_ledger import BatchLedger, replaced
from airflow_provider_imagetasks.batch.checks import check_cost, check_rows, say
from airflow_provider_imagetasks.batch.costs import Spending
from airflow_provider_imagetasks.batch.folder import OWNER_NAME, REQUESTS_NAME, BatchFolder, Owner, claim_names
from airflow_provider_imagetasks.batch.manifest import MANIFEST_NAME, error_of
from airflow_provider_imagetasks.batch.requests_file import Frozen, FrozenRequests, RequestsSource, damaged, freeze
from airflow_provider_imagetasks.batch.row_decisions import Checkpoint, allowed_failures, next_checkpoint
from airflow_provider_imagetasks.batch.segments import Intent, read_json_lines
from airflow_provider_imagetasks.batch.state import BatchState
from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError
from airflow_provider_imagetasks.polling.batch_wait import Counts
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.fields import mapping, whole_number
from airflow_provider_imagetasks.submissions.identity import (
    CLEAR_ONCE_MORE,
    SubmissionSlot,
    batch_identity,
    is_earlier,
    start_text,
)

STATE_KEY = "imagetasks_batch"
_NAMES = ("dag_id", "task_id", "run_id", "map_index")
"""What names a batch among all others."""


@dataclass(frozen=True, kw_only=True)
class OpenBatch:
    """A batch that is ready to be worked on. Close it."""

    slot: SubmissionSlot
    folder: BatchFolder
    owner: Owner
    ledger: BatchLedger
    requests: FrozenRequests

    @property
    def generation(self) -> int:
        """How often somebody had all pictures made anew."""
        return self.ledger.checkpoint.generation

    def key_of(self, intent: Intent) -> str:
        """Return the key by which the service may recognise a submission."""
        nonce = self.owner.mark if self.owner.keys_by_mark else ""
        return self.slot.identity(self.generation, intent.attempt, nonce, item_index=intent.index)

    def note_earlier_ids(self) -> None:
        """Read which image tasks the pictures of earlier generations are of."""
        for generation in range(self.generation):
            # What somebody made of the file cannot be told from what it was: those image tasks are not known then.
            with suppress(ValueError):
                for row in read_json_lines(self.folder.read(f"manifest.{generation}.jsonl") or b""):
                    if isinstance(image_task_id := row.get("image_task_id"), str):
                        self.ledger.state.note_id(image_task_id)

    def finish(self, scratch: Path, max_failed: float, log: Any) -> dict[str, Any]:
        """Write the manifest, and that the batch is over where too many rows failed; return the task's result.

        :param scratch: a local folder, where a copy of the manifest stays.
        :param max_failed: how many rows may fail.
        :returns: ``{manifest, total, succeeded, failed, usage, cost, currency}``.
        :raises ImageTaskError: more rows failed than may.
        """
        total, allowed = self.owner.total, allowed_failures(max_failed, self.owner.total)
        totals = self.ledger.write_manifest(scratch / MANIFEST_NAME)
        self.ledger.require_latest_start()
        self.folder.write(MANIFEST_NAME, scratch / MANIFEST_NAME)
        manifest = f"{self.folder.uri}/{MANIFEST_NAME}"
        log.info("%s of %s rows succeeded. Manifest: %s", totals.succeeded, total, manifest)
        error = error_of(totals, total, allowed, manifest=manifest)
        if error is not None:
            checkpoint = self.ledger.checkpoint
            if self.slot.may_be_clear and checkpoint.retried_at > checkpoint.cleared_at:
                error.retry_advice = f"{error.retry_advice} {CLEAR_ONCE_MORE}"
            self.ledger.finished("failed")
            raise error
        if totals.failed:
            log.warning("%s, as max_failed allows. %s", totals.failures_of(total), "; ".join(totals.examples))
        counts = {"total": total, "succeeded": totals.succeeded, "failed": totals.failed}
        return {"manifest": manifest, **counts, **totals.spent()}

    def keep_counts(self, state_store: Any, counts: Counts, log: Any) -> None:
        """Keep with Airflow how far the batch is, where it can; also proves to later starts that it was begun."""
        try:
            keep(state_store, {"generation": self.generation, "counts": counts.as_numbers()})
        except Exception as error:  # noqa: BLE001 - the folder is what counts
            log.warning("Airflow did not keep the counts of the batch: %s", error)

    def shortest_life(self, service: Service) -> float | None:
        """Return the seconds for which the pictures of all open rows can be fetched; None where that is not known."""
        lives = (self.requests.life(service, row) for row in self.ledger.state.open)
        return min((life for life in lives if life is not None), default=None)

    def close(self) -> None:
        """Close the local copies."""
        self.ledger.close()
        self.requests.close()


def open_batch(
    arguments: BatchArguments,
    source: RequestsSource,
    slot: SubmissionSlot,
    scratch: Path,
    *,
    state_store: Any,
    resumes: bool,
    log: Any,
) -> OpenBatch:
    """Freeze the requests, or find them frozen, and read what earlier starts left.

    :param source: the rows; read only where nothing was frozen before.
    :param scratch: a local folder.
    :param state_store: Airflow's store for the task instance; None before Airflow 3.3.
    :param resumes: whether the task comes back from the triggerer.
    :raises InvalidRequestError: the batch, or its folder, cannot be used; nothing was billed by this start.
    :raises ImageTaskError: the folder of a batch that was begun is not there, or lacks something; nothing is submitted.
    """
    kept = read_kept(state_store)
    folder = folder_of(slot, kept, arguments)
    owner, first_generation = folder.owner(), 0
    if owner is None:
        _require_first_start(folder, began=resumes or "counts" in kept or "generation" in kept)
        mark = str(kept.get("mark") or secrets.token_hex(16))
        if state_store is not None and not kept and slot.was_cleared:
            # What Airflow threw away may have been of a batch elsewhere: no row may go out under a key of that one.
            first_generation = slot.try_number - 1
            log.warning(
                "This task was cleared, and there is no record of earlier tries, neither in Airflow nor in %s: the "
                "batch starts over. If it was started in another folder, its rows are paid for again.",
                folder.uri,
            )
        frozen = freeze(source, scratch / REQUESTS_NAME, arguments)
        say(frozen, log)
        check_rows(frozen, arguments, frozen.problems)
        check_cost(frozen, arguments, log)
        folder.write(REQUESTS_NAME, scratch / REQUESTS_NAME)
        claim_names(folder, slot, arguments.filename, scratch / REQUESTS_NAME)
        keep(state_store, {"output_path": arguments.output_path, "folder": folder.uri, "mark": mark})
        owner = _freeze(frozen, folder, slot, mark, arguments.mode)
        # From here on rows may be paid for: a later start must find this folder, or submit nothing.
        keep(state_store, {"generation": first_generation})
    else:
        # Before Airflow 3.3 nothing is kept by which to tell, and since 3.4 a Clear throws it away. What comes back
        # from the triggerer names the folder that it left.
        was_emptied = resumes or (slot.clear_empties_state and slot.was_cleared)
        is_forgotten = state_store is None or ("mark" not in kept and was_emptied)
        _require_owner(owner, slot, mark=owner.mark if is_forgotten else kept.get("mark"), uri=folder.uri)
        if owner.mode != arguments.mode:
            raise InvalidRequestError(
                f"This batch was started with mode={owner.mode!r}, and can only be continued in that mode. "
                f"Nothing was submitted. Undo the change to {arguments.mode!r} and Clear, or start a new Dag run",
                billed="unknown",
            )
        if state_store is not None and is_forgotten:
            log.warning("Airflow has no record of this batch, as after a Clear; continuing from %s.", folder.uri)
            keep(state_store, {"output_path": folder.output_path, "folder": folder.uri, "mark": owner.mark})
        if state_store is None and slot.try_number == 1 and not resumes:
            raise InvalidRequestError(
                f"The folder {folder.uri} existed before the first try of this task, so it belongs to an earlier Dag "
                "run with the same run id, which was deleted. Nothing was submitted. For new pictures, remove the "
                "folder or set another output_path. If you Clear it unchanged, the task continues the batch of that run"
            )
        if not resumes:
            check_rows(owner, arguments)
            _say_if_changed(owner, source, scratch, log)
        if not folder.fetch(REQUESTS_NAME, scratch / REQUESTS_NAME):
            raise damaged(f"The file of the frozen requests, {folder.uri}/{REQUESTS_NAME}, is gone")
    with ExitStack() as opened:
        requests = FrozenRequests(scratch / REQUESTS_NAME)
        opened.callback(requests.close)
        if len(requests) != owner.total:
            raise damaged(f"{folder.uri}/{REQUESTS_NAME} has {len(requests)} rows, but {owner.total} were frozen")
        checkpoint = new_checkpoint(folder, slot, resumes, kept, first_generation)
        spending = Spending(owner.total, arguments.max_cost, partial(requests.cost, arguments))
        ledger = BatchLedger(
            folder, checkpoint, BatchState(owner.total), scratch, arguments.account, spending, arguments.service.api_of
        )
        opened.callback(ledger.close)
        ledger.load()
        submitted = _counted(kept, checkpoint.generation, "submitted")
        if lost := max(0, submitted - ledger.on_record.count(1)):
            raise _incomplete(
                folder, f"Airflow counted {submitted} submitted rows of this batch", missing=f"{lost} of them"
            )
        opened.pop_all()
    return OpenBatch(slot=slot, folder=folder, owner=owner, ledger=ledger, requests=requests)


def folder_of(slot: SubmissionSlot, kept: Mapping[str, Any], arguments: BatchArguments) -> BatchFolder:
    """Return the folder of a task's batch: where it was begun, as far as that is known."""
    identity = batch_identity(**{name: getattr(slot, name) for name in _NAMES}, region=slot.region)
    return BatchFolder(str(kept.get("output_path") or arguments.output_path), identity)


def _require_owner(owner: Owner, slot: SubmissionSlot, *, mark: str | None, uri: str) -> None:
    """Refuse a folder that another batch owns, or a batch with another mark than Airflow keeps of this one."""
    same_names = all(getattr(owner, name) == getattr(slot, name) for name in _NAMES)
    if same_names and owner.mark == mark:
        return
    whose = (
        f"of Dag {owner.dag_id}, task {owner.task_id}, run {owner.run_id}"
        if not same_names
        else "of the same names, of which this Airflow knows nothing: of a Dag run of the same run id that was "
        "deleted, or of another deployment that writes to the same place"
    )
    raise InvalidRequestError(
        f"The folder {uri} belongs to another batch, one {whose}. Nothing was submitted, and a Clear "
        "alone does not help. For new pictures, which are paid for, give this batch its own output_path, or "
        "remove the folder if the pictures that it records as paid for are no longer needed"
    )


def _require_first_start(folder: BatchFolder, *, began: bool) -> None:
    """Refuse to begin what an earlier start began, as the folder or Airflow knows: it would be paid for again."""
    if folder.checkpoint() is not None:
        raise damaged(f"The file {folder.uri}/{OWNER_NAME}, which says what was frozen, is gone")
    if began:
        raise ImageTaskError(
            f"This batch was started before, but nothing of it is in {folder.uri}. Is that the folder where it was "
            "started, on a disk that this worker shares? Nothing is submitted again, and what runs at the service goes "
            "on",
            code="batch_folder",
            retryable=True,
            retry_advice="A retry or Clear looks for it again. If it is gone for good, start a new Dag run.",
        )


def keep(state_store: Any, entries: Mapping[str, Any]) -> None:
    """Keep folder, generation and counts with Airflow, where it can."""
    if state_store is not None:
        state_store.set(STATE_KEY, {**read_kept(state_store), **entries})


def read_kept(state_store: Any) -> Mapping[str, Any]:
    """Return what Airflow keeps of a batch: where it is, whose, and how far."""
    value = state_store.get(STATE_KEY) if state_store is not None else None
    return value if isinstance(value, Mapping) else {}


def _freeze(frozen: Frozen, folder: BatchFolder, slot: SubmissionSlot, mark: str, mode: str) -> Owner:
    owner = Owner(
        **{name: getattr(slot, name) for name in _NAMES},
        **{name: getattr(frozen, name) for name in ("total", "invalid", "repeated", "digest", "cost")},
        mark=mark,
        created_at=time.time(),
        unpriced=tuple(sorted(frozen.unpriced)),
        keys_by_mark=True,
        mode=mode,
    )
    folder.write_owner(owner)
    return owner


def new_checkpoint(
    folder: BatchFolder, slot: SubmissionSlot, resumes: bool, kept: Mapping[str, Any], first_generation: int
) -> Checkpoint:
    """Write down that a start begins, and return where the batch stands with it.

    :param kept: what Airflow keeps of the batch.
    :param first_generation: of a batch that has had no start.
    :raises ImageTaskError: a later try has begun, or the folder lacks what was submitted; nothing is submitted.
    """
    last = folder.checkpoint()
    start = secrets.token_hex(8)
    own = start_text(slot.try_id, start, slot.try_number)
    if last is not None and is_earlier(own, start_text(last.try_id, last.start, last.try_number)):
        # By its max_tries, which a Clear raised since, it would count as a Clear itself.
        raise replaced(folder)
    generation = last.generation if last else first_generation
    segments = folder.segments(generation)
    submitted, failed = (_counted(kept, generation, name) for name in ("submitted", "failed"))
    # What was never submitted, for want of money, counts as failed, and has outcomes.
    was_submitted = resumes or submitted > (failed if segments else 0)
    if (was_submitted and not any(name.kind == "intents" for name in segments)) or (last is None and segments):
        raise _incomplete(folder, "Rows of this batch were submitted")
    checkpoint = next_checkpoint(
        last,
        max_tries=slot.max_tries,
        start=start,
        next_number=segments[-1].number + 1 if segments else 0,
        resumes=resumes,
        now=time.time(),
        first_generation=first_generation,
    )
    checkpoint = replace(checkpoint, try_id=slot.try_id, try_number=slot.try_number)
    if last is not None and checkpoint.generation != last.generation:
        old = folder.read(MANIFEST_NAME)
        if old is not None:
            folder.write(f"manifest.{last.generation}.jsonl", old)
    folder.write_checkpoint(checkpoint)
    return checkpoint


def _counted(kept: Mapping[str, Any], generation: int, name: str) -> int:
    """Return how many rows Airflow knows of, as the last start of this generation that ended told it."""
    counts = mapping(kept.get("counts") if kept.get("generation") == generation else None)
    return whole_number(counts.get(name)) or 0


def _incomplete(folder: BatchFolder, what: str, missing: str = "them") -> ImageTaskError:
    return ImageTaskError(
        f"{what}, but {folder.uri} has no record of {missing}. Restore it: without it nothing is submitted, and "
        "what runs at the service goes on",
        code="batch_folder",
        retryable=True,
        retry_advice="A retry looks again. If it is gone for good, start a new Dag run.",
    )


def _say_if_changed(owner: Owner, source: RequestsSource, scratch: Path, log: Any) -> None:
    if owner.digest is None:
        return
    try:
        changed = source.fetch(scratch / "changed") != owner.digest
    except ImageTaskError as error:
        log.warning("%s. The requests that were frozen at the first start are used.", error.message.rstrip("."))
        return
    if changed:
        log.warning(
            "requests_path has changed since the first start of this batch. The requests that were frozen then are "
            "used, even after a Clear. To use the changed file, start a new Dag run."
        )
