"""The folder of a batch on any object storage: its owner, the names it claims, its frozen requests and its segments."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from airflow_provider_imagetasks.batch.row_decisions import Checkpoint
from airflow_provider_imagetasks.batch.segments import SCHEMA, SegmentName, json_line, read_json_lines, read_name
from airflow_provider_imagetasks.exceptions import DownloadError, ImageTaskError, InvalidRequestError
from airflow_provider_imagetasks.files.filenames import holds
from airflow_provider_imagetasks.files.object_storage import fetch_existing, open_folder, put_in_place, uri_of
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot
from airflow_provider_imagetasks.submissions.submission_record import read_stored

FOLDER = ".imagetasks"
OWNER_NAME = "batch.json"
REQUESTS_NAME = "requests.jsonl"
CHECKPOINT_NAME = "life.json"
"""The name by which earlier versions stored it; likewise the field ``mark`` below."""
NOTES = "names"


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whose folder it is, and what was frozen there. Written last, so that its presence means that all is frozen.

    From ``total`` on it says what :class:`~airflow_provider_imagetasks.batch.requests_file.Frozen` does.

    :param mark: drawn at random by the first start; Airflow keeps it too, where it can.
    :param mode: how its rows go out.
    :param keys_by_mark: whether the mark is part of the keys of its rows; not so in what an earlier version froze.
    """

    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    mark: str
    created_at: float
    total: int = 0
    invalid: int = 0
    repeated: int = 0
    digest: str | None = None
    cost: float | None = None
    unpriced: tuple[str, ...] = ()
    keys_by_mark: bool = False
    mode: str = "tasks"


Kept = TypeVar("Kept", Owner, Checkpoint)


class BatchFolder:
    """Reads and writes the files of one batch.

    Every method raises ``ImageTaskError`` for what it cannot do, which must never be taken for "there is none".

    :param output_path: where the pictures go; the folder lies below it.
    :param identity: names the batch among all others.
    """

    def __init__(self, output_path: str, identity: str) -> None:
        self.output_path = output_path
        self.identity = identity
        self.pictures = open_folder(output_path)
        self._path = self.pictures / FOLDER / identity
        self.uri = uri_of(self._path)
        self.is_local = self.uri.startswith("file://")

    def read(self, name: str) -> bytes | None:
        """Return a small file, None where there is none."""
        with tempfile.TemporaryDirectory(prefix="imagetasks-") as scratch:
            copy = Path(scratch) / "copy"
            return copy.read_bytes() if self.fetch(name, copy) else None

    def fetch(self, name: str, target: Path) -> bool:
        """Copy a file to a local one; return False where there is none."""
        try:
            return fetch_existing(self._path / name, target)
        except (DownloadError, OSError) as error:
            raise self._unusable("read", name, error) from error

    def write(self, name: str, source: bytes | Path) -> None:
        """Put content, or a copy of a local file, in place in one step."""
        try:
            put_in_place(source, self._path / name)
        except (DownloadError, OSError) as error:
            raise self._unusable("written", name, error) from error

    def segments(self, generation: int) -> list[SegmentName]:
        """Return the segments of a generation, in the order in which they were written."""
        names = map(read_name, self.names())
        return sorted(name for name in names if name is not None and name.generation == generation)

    def names(self) -> list[str]:
        """Return the names of the files."""
        filesystem = self._path.fs
        try:
            filesystem.invalidate_cache(self._path.path)
            listed = filesystem.ls(self._path.path, detail=False)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._unusable("listed", "", error) from error
        return [str(entry).rstrip("/").rpartition("/")[2] for entry in listed]

    def remove(self, name: str) -> None:
        """Remove a file."""
        try:
            self._path.fs.rm_file((self._path / name).path)
        except FileNotFoundError:
            return
        except Exception as error:
            raise self._unusable("written", name, error) from error

    def owner(self) -> Owner | None:
        """Return whose folder it is, None where nothing was frozen yet."""
        return self._stored(OWNER_NAME, Owner)

    def write_owner(self, owner: Owner) -> None:
        """Keep whose folder it is, once everything is frozen."""
        self.write(OWNER_NAME, json_line({"schema": SCHEMA, **asdict(owner)}))

    def checkpoint(self) -> Checkpoint | None:
        """Return where the batch stands, None before its first start."""
        return self._stored(CHECKPOINT_NAME, Checkpoint)

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep where the batch stands."""
        self.write(CHECKPOINT_NAME, json_line({"schema": SCHEMA, **asdict(checkpoint)}))

    def _stored(self, name: str, kind: type[Kept]) -> Kept | None:
        """Return a dataclass from what was kept of it, leaving out what a newer version added."""
        content = self.read(name)
        if content is None:
            return None
        try:
            value = json.loads(content)
            if not isinstance(value, dict) or not isinstance(value.get("schema"), int):
                raise ValueError("it is not an object with a schema")
        except ValueError as error:
            raise self._unusable("understood", name, error) from error
        if value["schema"] > SCHEMA:
            raise self._unusable("understood", name, ValueError("a newer version of the provider wrote it"))
        value = {name: tuple(entry) if isinstance(entry, list) else entry for name, entry in value.items()}
        try:
            return read_stored(kind, value, "it")
        except ValueError as error:
            raise self._unusable("understood", name, error) from error

    def _unusable(self, what: str, name: str, error: Exception) -> ImageTaskError:
        return ImageTaskError(
            f"The folder of the batch cannot be {what} ({self.uri}/{name}: {error})",
            code="batch_folder",
            billed="no" if what != "written" else "unknown",
            retryable=True,
            retry_advice="Without it nobody can tell what was already paid for. A retry looks again. If it is "
            "gone for good, start a new Dag run.",
        )


@dataclass(frozen=True, kw_only=True)
class NamesNote:
    """Note of who uses which picture names in a folder, for names without image task ids: no two batches share one.

    Each Airflow task that gives such names leaves a note in ``.imagetasks/names/`` of the folder. A later run of the
    same task may replace its pictures; another task, or another map index, may not.

    :param identity: names the folder of the latest batch of this task, with its requests.
    :param filename: the pattern of the names.
    """

    dag_id: str
    task_id: str
    map_index: int
    run_id: str
    identity: str
    filename: str

    @property
    def name(self) -> str:
        """The name of the note, the same for every run of the task."""
        whose = "\0".join((self.dag_id, self.task_id, str(self.map_index)))
        return f"{hashlib.sha256(whose.encode()).hexdigest()[:32]}.json"

    def __str__(self) -> str:
        """The task in words."""
        mapped = f", map index {self.map_index}" if self.map_index >= 0 else ""
        return f"Dag {self.dag_id}, task {self.task_id}{mapped} (last in run {self.run_id})"


def claim_names(folder: BatchFolder, slot: SubmissionSlot, filename: str, requests: Path) -> None:
    """Claim the names of a batch's pictures, before anything is billed. Does nothing where they hold the id.

    Two that claim the same names at the same moment may both be refused.

    :param folder: of the batch, its requests already written there.
    :param filename: pattern of the names, checked.
    :param requests: a local copy of the frozen requests.
    :raises InvalidRequestError: another task gives pictures in the same folder the same names.
    :raises ImageTaskError: the notes cannot be read or written.
    """
    if holds(filename, "image_task_id"):
        return
    own = NamesNote(
        dag_id=slot.dag_id,
        task_id=slot.task_id,
        map_index=slot.map_index,
        run_id=slot.run_id,
        identity=folder.identity,
        filename=filename,
    )
    notes = BatchFolder(folder.output_path, NOTES)
    before = notes.read(own.name)
    # First, so that of two at once one at least sees the other.
    notes.write(own.name, json_line({"schema": SCHEMA, **asdict(own)}))
    for name, other in _others(notes, own):
        if not _meet(own, other, folder, requests):
            continue
        if before is None:
            notes.remove(own.name)
        else:
            notes.write(own.name, before)
        raise InvalidRequestError(
            f"filename {filename!r} gives the pictures of this batch the same names as those of the batch of {other}, "
            "in the same folder: one would overwrite the other's. Nothing was submitted. Put {image_task_id} into "
            "filename, or give each batch its own output_path. If the other batch's pictures are no longer needed, "
            f"remove {notes.uri}/{name}, then Clear"
        )


def _others(notes: BatchFolder, own: NamesNote) -> Iterator[tuple[str, NamesNote]]:
    for name in notes.names():
        content = notes.read(name) if name.endswith(".json") and name != own.name else None
        if content is not None:
            try:
                yield name, read_stored(NamesNote, json.loads(content), "it")
            except ValueError:
                # Somebody else's file.
                continue


def _meet(own: NamesNote, other: NamesNote, folder: BatchFolder, requests: Path) -> bool:
    """Whether two batches have a name in common."""
    if own.filename.lower() == other.filename.lower() and not holds(own.filename, "id"):
        return True
    theirs = BatchFolder(folder.output_path, other.identity).read(REQUESTS_NAME)
    try:
        return theirs is not None and not _names(requests.read_bytes()).isdisjoint(_names(theirs))
    except ValueError:
        return False


def _names(requests: bytes) -> set[str]:
    """Return the names of all rows, the numbers and kinds of their pictures left open."""
    lines = read_json_lines(requests)
    return {line["filename"].lower() for line in lines if isinstance(line.get("filename"), str)}
