"""Opens a batch at the beginning of a start: freezes it or finds it frozen, and decides what this start is about."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_imagetasks.batch.batch_ledger import BatchRecords
from airflow_provider_imagetasks.batch.folder import REQUESTS_NAME, BatchFolder, Owner, require_owner
from airflow_provider_imagetasks.batch.requests_file import Asking, Frozen, FrozenRequests, RequestsSource, freeze
from airflow_provider_imagetasks.batch.row_decisions import FailureBudget, Life, next_life
from airflow_provider_imagetasks.batch.spending import Spending, in_words, is_within
from airflow_provider_imagetasks.batch.state import BatchState
from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot, batch_identity

MANIFEST_NAME = "manifest.jsonl"
STATE_KEY = "imagetasks_batch"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the operator's arguments ask for.

    :param source: the rows; read only where nothing was frozen before.
    :param max_cost: submit no more than it pays for.
    """

    source: RequestsSource
    asking: Asking
    output_path: str
    budget: FailureBudget
    max_cost: float | None


@dataclass(frozen=True, kw_only=True)
class OpenBatch:
    """A batch that is ready to be worked on. Close it."""

    folder: BatchFolder
    owner: Owner
    life: Life
    records: BatchRecords
    requests: FrozenRequests

    def close(self) -> None:
        """Let the local copies go."""
        self.records.close()
        self.requests.close()


def check_rows(frozen: Frozen | Owner, wanted: Wanted, problems: list[str]) -> None:
    """Refuse a batch that cannot come to a good end, before anything is billed.

    :param problems: what is wrong with its first rows.
    :raises InvalidRequestError: too many rows are invalid.
    """
    allowed = wanted.budget.allowed(frozen.total)
    if frozen.invalid > allowed:
        named = "; ".join(problems)
        more = f"; and {frozen.invalid - len(problems)} more" if frozen.invalid > len(problems) else ""
        raise InvalidRequestError(
            f"{frozen.invalid} of {frozen.total} rows cannot be asked for, and max_failed allows {allowed}. Nothing "
            f"was submitted. {named}{more}"
        )


def check_cost(frozen: Frozen, wanted: Wanted, log: Any) -> None:
    """Refuse a batch whose cost nobody knows though it is limited, before anything is billed.

    :param log: told what becomes of a batch that would cost more than it may.
    :raises InvalidRequestError: a price is missing.
    """
    if wanted.max_cost is None:
        return
    if frozen.cost is None:
        models = ", ".join(sorted(frozen.unpriced))
        raise InvalidRequestError(
            f"max_cost is set, and nobody published what a picture of {models} costs at "
            f"{wanted.asking.service.title}; say it with prices={{{sorted(frozen.unpriced)[0]!r}: ...}}, per picture"
        )
    if not is_within(frozen.cost, wanted.max_cost):
        log.warning(
            "The batch would cost some %s, more than max_cost (%s): rows are submitted in their order until it is "
            "spent, and the rest fail unsubmitted.",
            in_words(frozen.cost),
            in_words(wanted.max_cost),
        )


def open_batch(
    wanted: Wanted, slot: SubmissionSlot, scratch: Path, *, state_store: Any, resumes: bool, log: Any
) -> OpenBatch:
    """Freeze the requests, or find them frozen, and read what earlier starts left.

    :param scratch: a local folder.
    :param state_store: Airflow's store for the task instance; None before Airflow 3.3.
    :param resumes: whether the task comes back from the triggerer.
    :raises InvalidRequestError: the batch, or its folder, cannot be used; nothing was billed by this start.
    """
    kept = _kept(state_store)
    identity = batch_identity(dag_id=slot.dag_id, task_id=slot.task_id, run_id=slot.run_id, map_index=slot.map_index)
    folder = BatchFolder(str(kept.get("output_path") or wanted.output_path), identity)
    owner = folder.owner()
    if owner is None and folder.life() is not None:
        raise ImageTaskError(
            f"{folder.uri} lacks batch.json, which says what was frozen. Without it nothing is submitted, and what "
            "runs at the service goes on",
            code="batch_folder",
        )
    if owner is None:
        mark = str(kept.get("mark") or secrets.token_hex(16))
        frozen = freeze(wanted.source, scratch / REQUESTS_NAME, wanted.asking)
        _say(frozen, log)
        check_rows(frozen, wanted, frozen.problems)
        check_cost(frozen, wanted, log)
        keep(state_store, {"output_path": wanted.output_path, "folder": folder.uri, "mark": mark})
        owner = _freeze(frozen, folder, slot, mark, scratch)
    else:
        names = (slot.dag_id, slot.task_id, slot.run_id, slot.map_index)
        require_owner(owner, names=names, mark=kept.get("mark"), keeps_marks=state_store is not None, uri=folder.uri)
        if not resumes:
            check_rows(owner, wanted, [])
            _say_if_changed(owner, wanted.source, scratch, log)
        if not folder.fetch(REQUESTS_NAME, scratch / REQUESTS_NAME):
            raise ImageTaskError(
                f"The frozen requests are gone: {folder.uri}/{REQUESTS_NAME}. Without them nothing can be submitted, "
                "and what runs at the service goes on",
                code="batch_folder",
            )
    requests = FrozenRequests(scratch / REQUESTS_NAME)
    if len(requests) != owner.total:
        raise ImageTaskError(
            f"{folder.uri}/{REQUESTS_NAME} has {len(requests)} rows, and {owner.total} were frozen", code="batch_folder"
        )
    life = _begin_life(folder, slot, resumes)
    spending = Spending(owner.total, wanted.max_cost, lambda row: requests.cost(row, wanted.asking))
    records = BatchRecords(folder, life, BatchState(owner.total), scratch, wanted.asking.account, spending)
    batch = OpenBatch(folder=folder, owner=owner, life=life, records=records, requests=requests)
    try:
        records.load()
    except BaseException:
        batch.close()
        raise
    return batch


def keep(state_store: Any, entries: Mapping[str, Any]) -> None:
    """Keep folder, generation and counts with Airflow, where it can."""
    if state_store is not None:
        state_store.set(STATE_KEY, {**_kept(state_store), **entries})


def _kept(state_store: Any) -> Mapping[str, Any]:
    value = state_store.get(STATE_KEY) if state_store is not None else None
    return value if isinstance(value, Mapping) else {}


def _freeze(frozen: Frozen, folder: BatchFolder, slot: SubmissionSlot, mark: str, scratch: Path) -> Owner:
    owner = Owner(
        dag_id=slot.dag_id,
        task_id=slot.task_id,
        run_id=slot.run_id,
        map_index=slot.map_index,
        mark=mark,
        created_at=time.time(),
        total=frozen.total,
        invalid=frozen.invalid,
        repeated=frozen.repeated,
        digest=frozen.digest,
        cost=frozen.cost,
        unpriced=tuple(sorted(frozen.unpriced)),
    )
    folder.put(REQUESTS_NAME, scratch / REQUESTS_NAME)
    folder.write_owner(owner)
    return owner


def _begin_life(folder: BatchFolder, slot: SubmissionSlot, resumes: bool) -> Life:
    last = folder.life()
    segments = folder.segments(last.generation) if last else []
    life = next_life(
        last,
        max_tries=slot.max_tries,
        start=secrets.token_hex(8),
        next_number=segments[-1].number + 1 if segments else 0,
        resumes=resumes,
    )
    if last is not None and life.generation != last.generation:
        old = folder.read(MANIFEST_NAME)
        if old is not None:
            folder.write(f"manifest.{last.generation}.jsonl", old)
    folder.write_life(life)
    return life


def _say(frozen: Frozen, log: Any) -> None:
    cost = f", some {in_words(frozen.cost)} by the prices known" if frozen.cost else ""
    log.info("%s requests%s.", f"{frozen.total:,}", cost)
    if frozen.repeated:
        log.warning(
            "%s rows ask for the same as an earlier row. Each is submitted and paid for, as asked.", frozen.repeated
        )
    for problem in frozen.problems:
        log.warning("%s", problem[0].upper() + problem[1:])


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
            "requests_path holds something else than at the first start of this batch. What was frozen then is used, "
            "also after a Clear; for the changed file, start a new Dag run."
        )
