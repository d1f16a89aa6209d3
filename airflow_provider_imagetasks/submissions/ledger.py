"""Ledger of one submission: what is on record of it, what that demands, and what came of it. It submits nothing."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from typing import Any

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.submissions.decisions import Decision, Submit, decide
from airflow_provider_imagetasks.submissions.departure import REPLACED
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot, is_earlier, start_text, try_of
from airflow_provider_imagetasks.submissions.stores import LedgerStore
from airflow_provider_imagetasks.submissions.submission_record import SubmissionRecord, fingerprint, key_digest
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, moment_of_submission, utc_moment

_MOST_EARLIER_IDS = 50


class SubmissionLedger:
    """Record of one submission in its store. Every method that writes raises ``ImageTaskError`` where it cannot.

    A start announces itself, reads the record, writes its intent, and looks right before the request leaves that no
    other start has announced itself since. So of two starts at once, whichever store they share, one at most submits:
    the one that announced itself later either finds the other's intent, or is what the other finds. From then on the
    other writes nothing either.

    :param store: where the record is kept.
    :param slot: which submission it is.
    :param request: completed, its files read; what is asked for now.
    :param account: of whom.
    """

    def __init__(self, store: LedgerStore, slot: SubmissionSlot, request: ImageRequest, account: Account) -> None:
        self._store = store
        self._slot = slot
        self._trace_id = request.trace_id
        self._fingerprint = fingerprint(request, account)
        self._key_digest = key_digest(account, slot.identity(0))
        self._start = start_text(slot.try_id, secrets.token_hex(8), slot.try_number)
        self._record: SubmissionRecord | None = None

    @property
    def record(self) -> SubmissionRecord:
        """What is on record; there is something once :meth:`decide` found it, or :meth:`intend` wrote it."""
        if self._record is None:
            raise ValueError("nothing is on record of this submission")
        return self._record

    @property
    def key(self) -> str:
        """What the submission on record goes out with, so that the service may recognise it."""
        return self._slot.identity(self.record.generation, nonce=self.record.nonce)

    @property
    def has_other_account(self) -> bool:
        """Whether the API key is another than what is on record went out with, and so perhaps the account too."""
        return self.record.key_digest not in (None, self._key_digest)

    @property
    def was_told_of_before(self) -> bool:
        """Whether a person was told of the unknown outcome on record, and this start may be the Clear that follows."""
        is_told = self.record.reported_unknown and self.record.max_tries == self._slot.max_tries
        return is_told and self._slot.may_be_clear

    @property
    def earlier_keys(self) -> list[str]:
        """What earlier tries may have submitted under, of which nothing is on record; at most 49."""
        return self._slot.earlier_identities(49)

    def decide(self) -> Decision:
        """Announce this start, read the store, and return what is to be done.

        :raises ImageTaskError: the store cannot be read, or a later start was here; nothing may be submitted.
        """
        before, latest = self._store.read(), self._store.latest_start()
        if is_earlier(self._start, latest):
            raise self.replaced()
        self._store.announce(self._start)
        record = self._record = self._store.read()
        if record != before:
            # A later start came and wrote between the look and the announcement.
            raise self.replaced()
        if record is None and not self._store.keeps_records:
            # Only a Clear changes max_tries, so that a retry goes out under the same key and a Clear under another.
            is_repetition = self._slot.try_number > 1
            # A trace id of the user's own may also be that of an older run.
            return Submit(generation=self._slot.max_tries, asks_first=is_repetition and not self._trace_id)
        if record is None:
            # Since Airflow 3.4 a Clear throws the record away of what may be paid for.
            return Submit(generation=self._slot.generation_without_record, names_earlier=self._slot.was_cleared)
        # Tries of one Dag run are counted up: what this one or a later one wrote is of a run that was deleted. But one
        # try may start several times, since Airflow 3.4, under one id.
        is_left_over = record.try_number >= self._slot.try_number and try_of(latest) != self._slot.try_id
        return decide(
            record,
            fingerprint=self._fingerprint,
            max_tries=self._slot.max_tries,
            is_left_over=is_left_over,
            key_digest=self._key_digest,
        )

    def require_latest_start(self) -> None:
        """Refuse to go on once another start of the task has begun, which may have submitted the same.

        :raises ImageTaskError: one has, or the store cannot be read.
        """
        if not self._is_latest():
            raise self.replaced()

    def replaced(self, *, image_task_id: str | None = None, has_left: bool = False) -> ImageTaskError:
        """Return what to raise where another start has taken over.

        :param image_task_id: what came of the request of this one.
        :param has_left: whether a request of this one left.
        """
        when = "after a request of this one had left" if has_left else "before a request of this one left"
        return ImageTaskError(
            f"Another start of this task took over {when}, so this one stops. Airflow took this one for dead, or the "
            "task was cleared while it ran",
            image_task_id=image_task_id,
            billed="unknown" if has_left else "no",
            code=REPLACED,
            retryable=True,
            retry_advice="The other process continues from the record.",
        )

    def intend(self, decision: Submit) -> None:
        """Write down that the request is about to leave, as which of the submissions of this task instance.

        :raises ImageTaskError: another start has taken over, or it cannot be written; nothing may be submitted.
        """
        self.require_latest_start()
        known: list[str] = []
        if self._record is not None:
            nonce, own = self._record.nonce, self._record.image_task_id
            known = [*([own] if own else []), *self._record.earlier_ids][:_MOST_EARLIER_IDS]
        else:
            # Where a Clear may throw the record away, the next start asks the service for what its key says by itself.
            nonce = secrets.token_hex(8) if self._store.keeps_records and not self._slot.clear_empties_state else ""
        record = SubmissionRecord(
            fingerprint=self._fingerprint,
            generation=decision.generation,
            max_tries=self._slot.max_tries,
            intent_at=time.time(),
            trace_id=self._trace_id or self._slot.identity(decision.generation, nonce=nonce),
            try_number=self._slot.try_number,
            unsettled_at=decision.unsettled_at,
            key_digest=self._key_digest,
            nonce=nonce,
            earlier_id=known[0] if known else None,
            older_ids=known[1:],
        )
        try:
            self._store.write(record, is_first=self._record is None)
        except FileExistsError:
            # A store that is asked twice for one write finds what it wrote itself.
            if self._store.read() != record:
                raise self.replaced() from None
        self._record = record

    def note_taken(self, task: ImageTask) -> None:
        """Write down the id that the service answered.

        :raises ImageTaskError: another start has taken over; the id is on record where that start knows of none.
        """
        submitted_at = moment_of_submission(task.created_at, self.record.intent_at)
        taken: dict[str, Any] = {"image_task_id": task.id, "submitted_at": submitted_at}
        if self._is_latest():
            self._change(**taken)
            return
        record = self._store.read()
        if record is None and self._store.latest_start() is None:
            # The task was cleared, and Airflow threw away what is on record: the next start is to find the picture.
            record = self.record
        if record is not None and record.generation == self.record.generation and not record.image_task_id:
            self._store.write(replace(record, **taken))
        raise self.replaced(image_task_id=task.id, has_left=True)

    def note_reported_unknown(self) -> None:
        """Write down that a person is told of an outcome that nobody can hand on, so that a Clear submits anew."""
        told = {"reported_unknown": True, "reported_with": self._key_digest}
        self._change(max_tries=self._slot.max_tries, **told)

    def note_leaves_again(self) -> None:
        """Write down that the same request leaves once more, so that a person who was told of it knows too little."""
        if self.record.reported_unknown:
            self._change(reported_unknown=False)

    def note_refused(self) -> None:
        """Write down that the service took nothing of this generation, whose key has gone out with this request."""
        self._change(refused=True)

    def finish(self) -> None:
        """Write down that the id was handed on, so that a Clear means a new picture."""
        if self._record is not None and self._record.image_task_id:
            self._change(finished=True, max_tries=self._slot.max_tries)

    def _change(self, **fields: Any) -> None:
        """Write the record with these fields, unless it is another start's by now."""
        if not self._is_latest():
            return
        record = replace(self.record, try_number=self._slot.try_number, **fields)
        self._store.write(record)
        self._record = record

    def _is_latest(self) -> bool:
        return not self._store.keeps_records or self._store.latest_start() == self._start


def say_what_is_on_record(error: ImageTaskError, store: LedgerStore, slot: SubmissionSlot) -> None:
    """Correct an error that says "not billed" of its own try, where another one may have submitted. Raises nothing.

    :param error: changed in place.
    :param store: where the record is kept.
    :param slot: of the try that failed.
    """
    if error.billed != "no" or error.code == REPLACED:
        return
    is_first = slot.try_number == 1
    try:
        # What this try wrote when it had been frozen may stand over what a later one wrote.
        is_overtaken = is_earlier(start_text(slot.try_id, "", slot.try_number), store.latest_start())
        record = None if is_first else store.read()
    except ImageTaskError:
        error.billed = "no" if is_first else "unknown"
        return
    earlier = ""
    if is_overtaken:
        earlier = "Another start of this task has begun since, and may have submitted the same"
    elif not is_first and not store.keeps_records:
        earlier = "There is no record of what earlier tries submitted, because [imagetasks] ledger_path is not set"
    elif record is not None and record.try_number <= slot.try_number:
        earlier = _unsettled(record)
    if earlier:
        error.billed = "unknown"
        error.message = f"{error.message.rstrip('.')}. {earlier}. That may be billed"


def _unsettled(record: SubmissionRecord) -> str:
    """Return what may be paid for, and was not handed on; empty where nothing is."""
    if record.finished:
        return ""
    if record.image_task_id:
        return f"An earlier try submitted image task {record.image_task_id[:80]}, which goes on"
    moment = record.unsettled_at if record.refused else record.intent_at
    return f"Nobody knows whether the submission at {utc_moment(moment)} was accepted" if moment is not None else ""
