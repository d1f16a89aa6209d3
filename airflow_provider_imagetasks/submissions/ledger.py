"""Ledger of one submission: what is on record of it, what that demands, and what came of it. It submits nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.submissions.decisions import Decision, Submit, decide
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot
from airflow_provider_imagetasks.submissions.stores import LedgerStore
from airflow_provider_imagetasks.submissions.submission_record import SubmissionRecord, fingerprint
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, moment_of_submission


class SubmissionLedger:
    """Record of one submission in its store. Every method that writes raises ``ImageTaskError`` where it cannot.

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
        return self._slot.identity(self.record.generation)

    def decide(self) -> Decision:
        """Read the store, and return what is to be done.

        :raises ImageTaskError: the store cannot be read; nothing may be submitted.
        """
        self._record = self._store.read()
        if self._record is None and not self._store.keeps_records:
            # Only a Clear changes max_tries, so that a retry goes out under the same key and a Clear under another.
            is_repetition = self._slot.try_number > 1
            # A trace id of the user's own may also be that of an older run.
            return Submit(generation=self._slot.max_tries, asks_first=is_repetition and not self._trace_id)
        return decide(self._record, fingerprint=self._fingerprint, max_tries=self._slot.max_tries)

    def intend(self, generation: int) -> None:
        """Write down that the request is about to leave, as which of the submissions of this task instance."""
        self._write(
            SubmissionRecord(
                fingerprint=self._fingerprint,
                generation=generation,
                max_tries=self._slot.max_tries,
                intent_at=time.time(),
                trace_id=self._trace_id or self._slot.identity(generation),
            )
        )

    def note_taken(self, task: ImageTask) -> None:
        """Write down the id that the service answered."""
        self._change(image_task_id=task.id, submitted_at=moment_of_submission(task.created_at, self.record.intent_at))

    def note_reported_unknown(self) -> None:
        """Write down that a person is told of an outcome that nobody can hand on, so that a Clear submits anew."""
        self._change(reported_unknown=True, max_tries=self._slot.max_tries)

    def forget(self) -> None:
        """Remove the record, since the service definitely refused the request."""
        self._store.delete()
        self._record = None

    def finish(self) -> None:
        """Write down that the id was handed on, so that a Clear means a new picture."""
        if self._record is not None and self._record.image_task_id:
            self._change(finished=True, max_tries=self._slot.max_tries)

    def _change(self, **fields: Any) -> None:
        self._write(replace(self.record, **fields))

    def _write(self, record: SubmissionRecord) -> None:
        self._store.write(record)
        self._record = record
