"""The ledger of a batch: intents before submissions, ids right after, outcomes as they come."""

from __future__ import annotations

import json
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_provider_imagetasks.batch.costs import Spending
from airflow_provider_imagetasks.batch.folder import CHECKPOINT_NAME, BatchFolder
from airflow_provider_imagetasks.batch.manifest import SUCCEEDED, Totals, error_on_record, manifest_row, require_outcome
from airflow_provider_imagetasks.batch.requests_file import damaged
from airflow_provider_imagetasks.batch.row_decisions import Action, Checkpoint, Failure, after_failure
from airflow_provider_imagetasks.batch.segments import (
    Intent,
    SegmentName,
    intents_content,
    json_line,
    read_intents,
    read_json_lines,
)
from airflow_provider_imagetasks.batch.state import BatchState, Stage
from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.submissions.departure import REPLACED
from airflow_provider_imagetasks.submissions.submission_record import key_digest

RECENT_SECONDS = 120.0
"""How far back submissions of an earlier start count against the account's rate."""
_READ_AT_ONCE = 16


class BatchLedger:
    """What happens to rows, kept first in the folder, then in memory.

    Its methods block; those that write may be called from several threads.

    :param checkpoint: this start's, already written to the folder.
    :param scratch: a local folder, for a copy of the outcomes.
    :param spending: counts every submission that is found on record.
    :param api_of: says which of the service's APIs an image task is at.
    """

    def __init__(
        self,
        folder: BatchFolder,
        checkpoint: Checkpoint,
        state: BatchState,
        scratch: Path,
        account: Account,
        spending: Spending,
        api_of: Callable[[str], str] = lambda _image_task_id: "",
    ) -> None:
        self.folder = folder
        self.checkpoint = checkpoint
        self.state = state
        self.spending = spending
        self.recent: list[float] = []
        """When earlier starts submitted lately, in Unix seconds."""
        self.known_taken: dict[str, Intent] = {}
        """By API, a submission of this generation that the service certainly took, delivered or not."""
        self.stopped: ImageTaskError | None = None
        """Why an earlier start of this try submitted nothing more."""
        self.on_record = bytearray(state.total)
        """1 for each row of which earlier starts wrote anything."""
        self._account = account
        self._api_of = api_of
        self._lock = threading.Lock()
        self._segment_lock = threading.RLock()
        self._next_number = 0
        self._unwritten: list[bytes] = []
        self._once_written: list[Callable[[], None]] = []
        self._outcomes = (scratch / "outcomes").open("w+b")
        self._outcome_at = array("q", [-1]) * state.total
        self._foreign: set[int] = set()
        self._key_digest = key_digest(account, folder.identity)
        self._key_digests: dict[SegmentName, str | None] = {}
        """Of the API keys that unanswered submissions of earlier starts went out with."""
        self.of_other_account: set[int] = set()
        """Rows whose latest submission went out with another API key, and so perhaps with another account."""
        self.unanswered: dict[SegmentName, Sequence[Intent]] = {}
        """Segments with submissions of which no id is written down."""
        self._found: dict[tuple[int, int], Intent] = {}
        """Submissions, by row and attempt, whose answer was lost and that the service has."""

    def load(self) -> None:
        """Read what earlier starts left, and decide what is to be done with each row.

        :raises InvalidRequestError: rows are open that were submitted with another connection.
        :raises ImageTaskError: it cannot be read.
        """
        now = time.time()
        for name, content in self._contents():
            self._next_number = max(self._next_number, name.number + 1)
            try:
                if name.kind == "intents":
                    self._read_intents(name, content, now)
                else:
                    self._read_outcomes(name, content, now)
            except ImageTaskError:
                raise
            except Exception as error:
                raise damaged(f"{self.folder.uri}/{name} cannot be understood ({error})") from error
        foreign = self._foreign & self.state.open.keys()
        if foreign:
            raise InvalidRequestError(
                f"{len(foreign)} rows of this batch were submitted with another connection or Host, and are not "
                f"finished. Undo the change of connection {self._account.conn_id!r}, then Clear",
                billed="unknown",
            )
        self.recent.sort()
        waiting = {row for row, intent in self.state.open.items() if not intent.image_task_id}
        self.unanswered = {
            name: intents
            for name, intents in self.unanswered.items()
            if waiting.intersection(intent.index for intent in intents)
        }

    def intend(self, intents: Sequence[Intent]) -> SegmentName:
        """Write down that rows are about to be submitted. When this returns, that outlives the process.

        :raises ImageTaskError: another start has taken over, or nothing can be written; nothing may be submitted.
        """
        self.require_latest_start()
        with self._lock:
            name = self._new_name("intents")
        self._write(name, intents)
        try:
            # One that took over before this was there has not read it, and submits the same.
            self.require_latest_start()
        except ImageTaskError:
            self.settle(name, [])
            raise
        return name

    def settle(self, name: SegmentName, intents: Sequence[Intent]) -> None:
        """Write down what became of the submissions of a group, in place of their intents."""
        # What is found meanwhile must not be overwritten by what was known before.
        with self._segment_lock:
            self._write(name, [self._found.get((intent.index, intent.attempt), intent) for intent in intents])

    def found(self, intents: Sequence[Intent]) -> None:
        """Write down the ids of submissions whose answer was lost, with the groups in which they were made.

        :raises ImageTaskError: another start has taken over, or nothing can be written.
        """
        self.require_latest_start()
        found = {(intent.index, intent.attempt): intent for intent in intents}
        with self._segment_lock:
            self._found |= found
            for name, group in list(self.unanswered.items()):
                if any((intent.index, intent.attempt) in found for intent in group):
                    self.settle(name, group)

    def _write(self, name: SegmentName, intents: Sequence[Intent]) -> None:
        self.unanswered.pop(name, None)
        if any(intent.taken and not intent.image_task_id for intent in intents):
            self.unanswered[name] = intents
        digest = self._key_digests.get(name, self._key_digest)
        self.folder.write(str(name), intents_content(intents, self._account, digest))

    def note(self, outcome: dict[str, Any], once_written: Callable[[], None] | None = None) -> None:
        """Note the end of a row; :meth:`flush` writes it down. Until then a restart reads the image task once more.

        :param once_written: called when it is written down, and so does not come again.
        """
        row = outcome["index"]
        is_new = self.state.stages[row] == Stage.NEW and row not in self.state.repeated
        outcome = {**outcome, "attempt": self.state.attempt_of(row, same=not is_new)}
        line = self._remember(outcome)
        with self._lock:
            self._unwritten.append(line)
            if once_written is not None:
                self._once_written.append(once_written)
        self.state.over(outcome["index"], succeeded=outcome["status"] == SUCCEEDED)

    @property
    def unwritten(self) -> int:
        """How many outcomes are not written down."""
        return len(self._unwritten)

    def flush(self) -> None:
        """Write down the outcomes that are not yet.

        :raises ImageTaskError: another start has taken over, or nothing can be written.
        """
        if not self._unwritten:
            return
        self.require_latest_start()
        with self._lock:
            lines, self._unwritten = self._unwritten, []
            calls, self._once_written = self._once_written, []
            name = self._new_name("outcomes")
        try:
            self.folder.write(str(name), b"".join(lines))
        except BaseException:
            with self._lock:
                self._unwritten = lines + self._unwritten
                self._once_written = calls + self._once_written
            raise
        for call in calls:
            call()

    def require_latest_start(self) -> None:
        """Stop where another start of the same batch has begun since: two must not submit.

        :raises ImageTaskError: one has.
        """
        latest = self.folder.checkpoint()
        if latest is None or latest.start != self.checkpoint.start:
            raise replaced(self.folder)

    def write_manifest(self, target: Path) -> Totals:
        """Write the manifest to a local file, in the order of the rows, and return its totals."""
        totals = Totals()
        with target.open("wb") as file:
            for offset in self._outcome_at:
                if offset < 0:
                    continue
                self._outcomes.seek(offset)
                outcome = json.loads(self._outcomes.readline())
                totals.add(outcome)
                file.write(json_line(manifest_row(outcome)))
        return totals

    def finished(self, how: str) -> None:
        """Write down that the batch is over: ``"success"`` or ``"failed"``."""
        self.checkpoint = replace(self.checkpoint, finished=how)
        self.folder.write_checkpoint(self.checkpoint)

    def close(self) -> None:
        """Close the local copy."""
        self._outcomes.close()

    def _new_name(self, kind: Any) -> SegmentName:
        name = SegmentName(self.checkpoint.generation, self._next_number, kind, self.checkpoint.start)
        self._next_number += 1
        return name

    def _contents(self) -> Iterator[tuple[SegmentName, bytes]]:
        names = self.folder.segments(self.checkpoint.generation)
        with ThreadPoolExecutor(_READ_AT_ONCE) as threads:
            for start in range(0, len(names), _READ_AT_ONCE):
                group = names[start : start + _READ_AT_ONCE]
                contents = threads.map(lambda name: self.folder.read(str(name)), group)
                yield from ((name, content or b"") for name, content in zip(group, contents, strict=True))

    def _read_intents(self, name: SegmentName, content: bytes, now: float) -> None:
        head, intents = read_intents(content)
        for intent in intents:
            self._note_row(intent.index)
        note = self.state.submitted if name.number >= self.checkpoint.try_from else self.state.opened
        for intent in intents:
            note(intent)
            self.spending.submitted(intent)
            if intent.submitted_at and intent.submitted_at > now - RECENT_SECONDS:
                self.recent.append(intent.submitted_at)
            if intent.image_task_id:
                self.note_taken(intent)
        if any(intent.taken and not intent.image_task_id for intent in intents):
            self.unanswered[name] = intents
            self._key_digests[name] = head.get("key_digest")
        rows = {intent.index for intent in intents}
        if head.get("key_digest") in (None, self._key_digest):
            self.of_other_account -= rows
        else:
            self.of_other_account |= rows
        if (head.get("conn_id"), head.get("base_url")) == (self._account.conn_id, self._account.base_url):
            self._foreign -= rows
        else:
            self._foreign |= rows

    def note_taken(self, intent: Intent) -> None:
        """Remember a submission that the service certainly took."""
        self.known_taken[self._api_of(intent.image_task_id or "")] = intent

    def _read_outcomes(self, name: SegmentName, content: bytes, now: float) -> None:
        for outcome in read_json_lines(content):
            require_outcome(outcome)
            row, image_task_id = outcome["index"], outcome.get("image_task_id")
            self._note_row(row)
            known, unanswered = self.state.open.get(row), self.state.unanswered(row)
            latest = self.state.attempt_of(row, same=True)
            if outcome["status"] != SUCCEEDED and self._is_stale(outcome, latest):
                continue
            self._remember(outcome)
            self.state.over(row, succeeded=outcome["status"] == SUCCEEDED)
            if image_task_id:
                self.note_taken(Intent(index=row, attempt=latest, at=now, image_task_id=image_task_id))
            if outcome["status"] == SUCCEEDED:
                continue
            error = error_on_record(outcome)
            # Otherwise it speaks of no submission, or of one whose intent says that it was not taken.
            if error.billed == "no" and (image_task_id or outcome.get("never_taken")):
                self.spending.not_billed(row)
            if error.billed == "no" and error.concerns_account and name.number >= self.checkpoint.try_from:
                self.stopped = error
            failed = Failure.of_outcome(outcome)
            if not image_task_id and known is not None and known.image_task_id:
                # An old start wrote down what it was answered, when this had been said.
                image_task_id, failed = known.image_task_id, replace(failed, has_id=True, is_unread=True)
            action = after_failure(failed, name.number, self.checkpoint)
            if action in (Action.SUBMIT, Action.SEARCH_ELSE_SUBMIT):
                self.state.sought(row, unanswered if action is Action.SEARCH_ELSE_SUBMIT else ())
            elif action is not Action.KEEP:
                # It has its time anew from the beginning of the try, and not from that of each start.
                since = self.checkpoint.began_at or now
                intent = Intent(index=row, attempt=latest, at=since, image_task_id=image_task_id, submitted_at=since)
                self.state.opened(intent)
                if action is Action.REATTACH_ELSE_SUBMIT:
                    self.state.else_submit.add(row)

    def _note_row(self, row: int) -> None:
        if not 0 <= row < self.state.total:
            raise ValueError(f"it speaks of row {row}, and the rows are 0 to {self.state.total - 1}")
        self.on_record[row] = 1

    def _is_stale(self, outcome: dict[str, Any], latest: int) -> bool:
        """Whether it comes from a replaced start that did not know that the row was submitted again, or taken."""
        if "attempt" not in outcome:
            return False
        known = self.state.open.get(outcome["index"])
        was_taken = known is not None and known.image_task_id and not outcome.get("image_task_id")
        # An outcome that nobody knew stays one, though an old start learned of an id: rows that are over stay over.
        is_denied = was_taken and error_on_record(outcome).billed == "no"
        return bool(outcome["attempt"] < latest or (is_denied and outcome["attempt"] == latest))

    def _remember(self, outcome: dict[str, Any]) -> bytes:
        line = json_line(outcome)
        if files := outcome.get("files"):
            self.spending.made(outcome["index"], len(files) + outcome.get("left_out", 0))
        self._outcome_at[outcome["index"]] = self._outcomes.seek(0, 2)
        self._outcomes.write(line)
        return line


def replaced(folder: BatchFolder) -> ImageTaskError:
    """Return the error of a start that another start has replaced."""
    return ImageTaskError(
        f"Another process of this task works on the batch (see {folder.uri}/{CHECKPOINT_NAME}), so this one stops. "
        "Airflow considered this one dead, or the task was cleared while it was running",
        code=REPLACED,
        retry_advice="The other process continues from the record.",
    )
