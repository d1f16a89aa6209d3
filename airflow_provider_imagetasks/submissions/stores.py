"""Where the ledger's records are kept: Airflow's task state store, else files that all workers share, else nowhere."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from airflow.providers.common.compat.sdk import conf

from airflow_provider_imagetasks.exceptions import DownloadError, ImageTaskError
from airflow_provider_imagetasks.files.object_storage import fetch_existing, open_folder, put_in_place
from airflow_provider_imagetasks.submissions.records import SubmissionRecord, read_record

STATE_KEY = "imagetasks_submission"


class LedgerStore(Protocol):
    """Keeps one record for each submission of a task instance."""

    keeps_records: bool
    """False where a retry finds nothing of what an earlier try did."""

    def read(self) -> SubmissionRecord | None:
        """Return the record, None where there certainly is none.

        :raises ImageTaskError: it cannot be read, which must never be taken for "there is none".
        """

    def write(self, record: SubmissionRecord) -> None:
        """Keep the record; when this returns, it outlives the process.

        :raises ImageTaskError: it cannot be kept.
        """

    def delete(self) -> None:
        """Forget the record.

        :raises ImageTaskError: it cannot be deleted.
        """


class TaskStateStore:
    """Airflow 3.3's own store for the state of a task instance: survives retries and Clear.

    :param state: ``context["task_state_store"]``.
    :param item_index: position in a batch.
    """

    keeps_records = True

    def __init__(self, state: Any, item_index: int = 0) -> None:
        self._state = state
        self._key = STATE_KEY if item_index == 0 else f"{STATE_KEY}_{item_index}"

    def read(self) -> SubmissionRecord | None:
        """Return the record; None where Airflow has none."""
        try:
            value = self._state.get(self._key)
            return read_record(value) if value is not None else None
        except Exception as error:
            raise _unusable("read", "Airflow's task state store", error) from error

    def write(self, record: SubmissionRecord) -> None:
        """Keep the record, and see that it is there."""
        try:
            self._state.set(self._key, record.as_json())
            if read_record(self._state.get(self._key)) != record:
                raise ValueError("another record is there than was written")
        except Exception as error:
            raise _unusable("written", "Airflow's task state store", error) from error

    def delete(self) -> None:
        """Forget the record."""
        try:
            self._state.delete(self._key)
        except Exception as error:
            raise _unusable("deleted", "Airflow's task state store", error) from error


class FileStore:
    """Small files in a folder that all workers share, for Airflow before 3.3.

    :param folder: ``[imagetasks] ledger_path``, on any ``ObjectStoragePath``.
    :param slot: names the submission: Dag, task, run, map index and item.
    """

    keeps_records = True

    def __init__(self, folder: str, slot: tuple[str, ...]) -> None:
        name = hashlib.sha256("\0".join(slot).encode()).hexdigest()
        self._path = open_folder(folder) / name[:2] / f"{name}.json"

    def read(self) -> SubmissionRecord | None:
        """Return the record; None where there is no file."""
        with tempfile.TemporaryDirectory(prefix="imagetasks-") as scratch:
            copy = Path(scratch) / "record"
            try:
                return read_record(json.loads(copy.read_bytes())) if fetch_existing(self._path, copy) else None
            except (DownloadError, OSError, ValueError) as error:
                raise _unusable("read", str(self._path), error) from error

    def write(self, record: SubmissionRecord) -> None:
        """Put the record in place in one step."""
        with tempfile.TemporaryDirectory(prefix="imagetasks-") as scratch:
            copy = Path(scratch) / "record"
            try:
                copy.write_text(json.dumps(record.as_json()))
                put_in_place(copy, self._path)
            except (DownloadError, OSError) as error:
                raise _unusable("written", str(self._path), error) from error

    def delete(self) -> None:
        """Remove the file."""
        try:
            self._path.fs.rm_file(self._path.path)
        except FileNotFoundError:
            return
        except Exception as error:
            raise _unusable("deleted", str(self._path), error) from error


class NoStore:
    """Airflow before 3.3 without ``ledger_path``: only the service can say what an earlier try did."""

    keeps_records = False

    def read(self) -> SubmissionRecord | None:
        """Return None: nothing is known, which is not the same as that nothing was done."""
        return None

    def write(self, record: SubmissionRecord) -> None:
        """Keep nothing."""

    def delete(self) -> None:
        """Forget nothing."""


def store_for(context: Mapping[str, Any], *, slot: tuple[str, ...], item_index: int = 0) -> LedgerStore:
    """Return the best store that this Airflow offers.

    :param context: the task's.
    :param slot: names the submission.
    :raises InvalidRequestError: ``[imagetasks] ledger_path`` cannot be used.
    """
    state = context.get("task_state_store")
    if state is not None:
        return TaskStateStore(state, item_index)
    folder = conf.get("imagetasks", "ledger_path", fallback="")
    return FileStore(folder, (*slot, str(item_index))) if folder else NoStore()


def _unusable(what: str, place: str, error: Exception) -> ImageTaskError:
    return ImageTaskError(
        f"The record of this submission cannot be {what} ({place}: {error})",
        code="ledger",
        billed="no" if what == "read" else "unknown",
        retryable=True,
        retry_advice="Without it nobody can tell whether a picture was paid for already; a retry looks again.",
    )
