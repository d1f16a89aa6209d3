"""Names of a batch's pictures that do not hold their image tasks' ids: no two batches give them in one folder.

Each Airflow task that gives such names leaves a note in ``.imagetasks/names/`` of the folder. A later run of the same
task may replace its pictures; another task, or another map index, may not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from airflow_provider_imagetasks.batch.folder import REQUESTS_NAME, BatchFolder
from airflow_provider_imagetasks.batch.segments import SCHEMA, json_line, read_json_lines
from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.files.filenames import holds
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot
from airflow_provider_imagetasks.submissions.submission_record import read_stored

NOTES = "names"


@dataclass(frozen=True, kw_only=True)
class NamesNote:
    """Whose names they are.

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
    """Note whose the names of a batch's pictures are, before anything is billed. Costs nothing where they hold the id.

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
            f"filename {filename!r} gives this batch pictures of the names that the batch of {other} gives, in the "
            "same folder: one would overwrite the other's. Nothing was submitted. Put {image_task_id} into filename, "
            "or give each batch an output_path of its own. If the other's pictures do not matter any more, remove "
            f"{notes.uri}/{name}, then Clear"
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
    """Whether two batches give a name both."""
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
