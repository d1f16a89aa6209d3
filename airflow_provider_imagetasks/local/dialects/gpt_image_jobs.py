"""The jobs of the GPT-Image MCP server: what was asked for, and the files that came of it.

The real server keeps its jobs in a database that outlives it, and does not take up again what it had begun. So does
this: a file beside the pictures remembers which jobs there were.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.records import TaskRecord

DEFAULT_PATHS = {
    "generate_image": "generated_image.png",
    "edit_image": "edited_image.png",
    "transform_image": "transformed_image.png",
}


@dataclass(slots=True, kw_only=True)
class Job:
    """One job.

    :param record: the image task behind it; None for one that failed at its start, or of an earlier process.
    :param failure: why it failed, in the server's words.
    """

    id: str
    tool: str
    prompt: str
    output_path: str
    sample_count: int
    created: str
    failure: str | None = None
    cancelled: bool = False
    record: TaskRecord | None = field(default=None, repr=False)
    files: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """The server's word for how far it is."""
        if self.failure is not None:
            return "failed"
        if self.files:
            return "completed"
        return "cancelled" if self.cancelled else "running"

    @property
    def progress(self) -> int:
        """Percent, as the server counts."""
        return 100 if self.status == "completed" else 30


class JobTable:
    """All jobs, newest last.

    :param folder: where the pictures go; also of the table's own file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "data" / "jobs.jsonl"
        self._jobs: dict[str, Job] = {}
        self._read = False

    def __len__(self) -> int:
        return len(self._all())

    def add(self, job: Job) -> None:
        """Remember a new job."""
        self._all()[job.id] = job
        self._write(job)

    def get(self, job_id: str) -> Job | None:
        """Return a job, also one of an earlier process."""
        return self._all().get(job_id)

    def newest(self) -> list[Job]:
        """Return all jobs, newest first."""
        return list(reversed(self._all().values()))

    def ended(self, job: Job) -> None:
        """Remember how a job ended."""
        self._write(job)

    def forget(self) -> None:
        """Forget all jobs of this process."""
        self._jobs.clear()
        self._read = True

    def place(self, output_path: str, index: int, count: int) -> Path:
        """Return where a picture goes.

        :raises ValueError: outside the folder, or nowhere; the message is the server's.
        """
        path = (self.folder / output_path).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise ValueError(
                "Security error: Access denied. All paths must be within the configured output directory.\n"
                f"Base directory: {self.folder}\nAttempted path: {path}"
            )
        if count == 1:
            return path
        if not path.suffix:
            raise ValueError(f"ENOENT: no such file or directory, open '_{index + 1}.{path}'")
        return path.with_name(f"{path.stem}_{index + 1}{path.suffix}")

    def _all(self) -> dict[str, Job]:
        if not self._read:
            self._read = True
            lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
            for line in lines:
                fields: dict[str, Any] = json.loads(line)
                self._jobs[fields["id"]] = Job(**{**fields, "files": tuple(fields["files"])})
        return self._jobs

    def _write(self, job: Job) -> None:
        record, job.record = job.record, None
        line = json.dumps(asdict(job))
        job.record = record
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
