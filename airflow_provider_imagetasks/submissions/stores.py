"""Where the ledger's records are kept: Airflow's task state store, files that all workers share, both, or nowhere."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from airflow.providers.common.compat.sdk import ObjectStoragePath, conf

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.files.object_storage import fetch_existing, open_folder, put_in_place
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot
from airflow_provider_imagetasks.submissions.submission_record import SubmissionRecord, read_record

STATE_KEY = "imagetasks_submission"
START_KEY = "imagetasks_submission_start"
_AIRFLOW = "Airflow's task state store"


class LedgerStore(Protocol):
    """Keeps the record of one submission.

    Every method raises ``ImageTaskError`` for what it cannot do, which must never be taken for "there is none".
    """

    keeps_records: bool
    """False where a retry finds nothing of what an earlier try did."""

    def read(self) -> SubmissionRecord | None:
        """Return the record, None where there certainly is none."""

    def write(self, record: SubmissionRecord, *, is_first: bool = False) -> None:
        """Keep the record; when this returns, it outlives the process.

        :param is_first: whether none was there before.
        :raises FileExistsError: another was there first; only where the store can tell in one step.
        """

    def latest_start(self) -> str | None:
        """Return which start of the task announced itself last, None where none did."""

    def announce(self, start: str) -> None:
        """Keep that a start begins."""


class TaskStateStore:
    """Airflow 3.3's own store for the state of a task instance, from the context: survives retries and Clear.

    It writes unconditionally, so that a start which was frozen right before it writes may write over what a later try
    wrote meanwhile. So each try after the first keeps what it finds and writes under a key of its own too, which the
    next one reads: of two records the later try's holds.

    :param try_number: of the try that reads and writes; 0 keeps no copies.
    """

    keeps_records = True

    def __init__(self, state: Any, try_number: int = 0) -> None:
        self._state = state
        self._try_number = try_number
        self._found: SubmissionRecord | None = None

    def read(self) -> SubmissionRecord | None:
        """Return the record; None where Airflow has none."""
        with _explained("read", _AIRFLOW):
            record = self._get(STATE_KEY)
            if self._try_number > 1:
                copy = self._get(_copy_key(self._try_number - 1))
                if copy is not None and (record is None or copy.try_number > record.try_number):
                    record = copy
            self._found = record
            return record

    def write(self, record: SubmissionRecord, *, is_first: bool = False) -> None:
        """Keep the record, and see that it is there."""
        with _explained("written", _AIRFLOW):
            if self._try_number > 1:
                self._state.set(_copy_key(self._try_number), record.as_json())
            self._state.set(STATE_KEY, record.as_json())
            if self._get(STATE_KEY) != record:
                raise ValueError("another record is there than was written")

    def _get(self, key: str) -> SubmissionRecord | None:
        value = self._state.get(key)
        return read_record(value) if value is not None else None

    def latest_start(self) -> str | None:
        """Return the start that announced itself last."""
        with _explained("read", _AIRFLOW):
            start = self._state.get(START_KEY)
            return str(start) if start is not None else None

    def announce(self, start: str) -> None:
        """Keep that a start begins."""
        with _explained("written", _AIRFLOW):
            self._state.set(START_KEY, start)
            if self._try_number > 1 and self._found is not None:
                # The next try must find it also where this one writes nothing.
                self._state.set(_copy_key(self._try_number), self._found.as_json())


class FileStore:
    """Small files in a folder that all workers share, for Airflow before 3.3, and beside the store of 3.4.

    :param folder: ``[imagetasks] ledger_path``, on any ``ObjectStoragePath``.
    :param names: of the slot.
    """

    keeps_records = True

    def __init__(self, folder: str, names: tuple[str, ...]) -> None:
        name = hashlib.sha256("\0".join(names).encode()).hexdigest()
        self._path = open_folder(folder, name="[imagetasks] ledger_path") / name[:2] / f"{name}.json"
        self._start_path = self._path.parent / f"{name}.start"

    def read(self) -> SubmissionRecord | None:
        """Return the record; None where there is no file."""
        with _explained("read", self._path):
            content = _content(self._path)
            return read_record(json.loads(content)) if content is not None else None

    def write(self, record: SubmissionRecord, *, is_first: bool = False) -> None:
        """Put the record in place in one step."""
        with _explained("written", self._path):
            put_in_place(json.dumps(record.as_json()).encode(), self._path, replaces=not is_first)

    def latest_start(self) -> str | None:
        """Return the start that announced itself last."""
        with _explained("read", self._start_path):
            content = _content(self._start_path)
            return content.decode() if content is not None else None

    def announce(self, start: str) -> None:
        """Put a small file beside the record that names the start."""
        with _explained("written", self._start_path):
            put_in_place(start.encode(), self._start_path)


class CopiedStore:
    """Airflow 3.4's own store, which some Clears empty, with a copy in files, which none does.

    :param state: Airflow's.
    :param copy: written and read first; what was begun without it, Airflow has.
    """

    keeps_records = True

    def __init__(self, state: TaskStateStore, copy: FileStore) -> None:
        self._state = state
        self._copy = copy

    def read(self) -> SubmissionRecord | None:
        """Return the record; None where neither has one."""
        return self._copy.read() or self._state.read()

    def write(self, record: SubmissionRecord, *, is_first: bool = False) -> None:
        """Keep the record in both."""
        # The files first, since they see that another start wrote before.
        self._copy.write(record, is_first=is_first)
        self._state.write(record)

    def latest_start(self) -> str | None:
        """Return the start that announced itself last."""
        return self._copy.latest_start() or self._state.latest_start()

    def announce(self, start: str) -> None:
        """Keep that a start begins in both."""
        self._state.announce(start)
        self._copy.announce(start)


class NoStore:
    """Airflow before 3.3 without ``ledger_path``: only the service can say what an earlier try did."""

    keeps_records = False

    def read(self) -> SubmissionRecord | None:
        """Return None: nothing is known, which does not mean that nothing was submitted."""
        return None

    def write(self, record: SubmissionRecord, *, is_first: bool = False) -> None:
        """Do nothing: there is no store."""

    def latest_start(self) -> str | None:
        """Return None: no start knows of another."""
        return None

    def announce(self, start: str) -> None:
        """Do nothing: no other start would read it."""


def store_for(context: Mapping[str, Any], slot: SubmissionSlot) -> LedgerStore:
    """Return the best store that this Airflow offers.

    :param context: the task's.
    :raises InvalidRequestError: ``[imagetasks] ledger_path`` cannot be used.
    """
    state = context.get("task_state_store")
    folder = conf.get("imagetasks", "ledger_path", fallback="")
    if state is not None:
        own = TaskStateStore(state, slot.try_number)
        return CopiedStore(own, FileStore(folder, slot.names)) if folder and slot.clear_empties_state else own
    return FileStore(folder, slot.names) if folder else NoStore()


def _copy_key(try_number: int) -> str:
    return f"{STATE_KEY}_of_try_{try_number}"


def _content(path: ObjectStoragePath) -> bytes | None:
    with tempfile.TemporaryDirectory(prefix="imagetasks-") as scratch:
        copy = Path(scratch) / "copy"
        return copy.read_bytes() if fetch_existing(path, copy) else None


@contextmanager
def _explained(what: str, place: object) -> Iterator[None]:
    """Raise whatever goes wrong in the block as an error that says what it means for money."""
    try:
        yield
    except FileExistsError:
        raise
    except Exception as error:
        raise ImageTaskError(
            f"The record of this submission cannot be {what} ({place}: {error})",
            code="ledger",
            billed="no" if what == "read" else "unknown",
            retryable=True,
            retry_advice="Without it nobody can tell whether a picture was paid for already; a retry looks again. If "
            "it is damaged for good, look at the service for what was submitted, and start a new Dag run.",
        ) from error
