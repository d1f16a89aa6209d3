"""The jobs of the GPT-Image MCP server: what was asked for, the files that came of it, and the words for both.

The real server keeps its jobs in a database that outlives it, and does not take up again what it had begun. So does
this: a file beside the pictures remembers which jobs there were.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from airflow_provider_imagetasks.local.task_table import TaskRecord

DEFAULT_PATHS = {
    "generate_image": "generated_image.png",
    "edit_image": "edited_image.png",
    "transform_image": "transformed_image.png",
}
_EMOJI = {"pending": "⏳", "running": "🔄", "completed": "✅", "failed": "❌", "cancelled": "🚫"}
_HINTS = {
    "running": "💡 Job is currently running. Check back in a moment.",
    "completed": "✅ Job completed successfully! Use get_job_result to retrieve the output.",
    "cancelled": "🚫 Job was cancelled.",
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

    def started_text(self) -> str:
        """Return the answer to a start."""
        return (
            f"✅ Job started successfully!\n\n🆔 Job ID: {self.id}\n🛠️  Tool: {self.tool}\n"
            f"💬 Prompt: {_cut(self.prompt, 60)}\n\n"
            "Use check_job_status to monitor progress and get_job_result to retrieve results when completed."
        )

    def status_text(self) -> str:
        """Return the answer to a question for the status."""
        hint = f"❌ Job failed: {self.failure}" if self.failure is not None else _HINTS[self.status]
        return (
            f"📊 Job Status\n\n🆔 Job ID: {self.id}\n{_EMOJI[self.status]} Status: {self.status.upper()}\n"
            f"📈 Progress: {self.progress}%\n🛠️  Tool: {self.tool}\n"
            f"📅 Created: {self.created}\n🔄 Updated: {self.created}\n\n{hint}"
        )

    def result_text(self, *, without_files: bool) -> str:
        """Return the result of a completed job."""
        text = f"✅ Job Result\n\n🆔 Job ID: {self.id}\n🛠️  Tool: {self.tool}\n📅 Completed: {self.created}\n"
        text += f"💬 Prompt: {self.prompt}\n\n"
        if without_files:
            return text
        text += f"📁 Output Files ({len(self.files)}):\n"
        text += "".join(f"  {number}. {_shown(path)}\n" for number, path in enumerate(self.files, start=1))
        return text + f"\n📝 History ID: {self.id}\n💡 Use get_history_by_uuid to see detailed generation info."


class JobTable:
    """All jobs, newest last; the folder is where the pictures go, and the table's own file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "data" / "jobs.jsonl"
        self._jobs: dict[str, Job] = {}
        self._read = False

    def keep(self, job: Job) -> None:
        """Remember a new job, or how one ended."""
        self._all()[job.id] = job
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(replace(job, record=None))) + "\n")

    def get(self, job_id: str) -> Job | None:
        """Return a job, also one of an earlier process."""
        return self._all().get(job_id)

    def newest(self) -> list[Job]:
        """Return all jobs, newest first."""
        return list(reversed(self._all().values()))

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


def list_text(jobs: Sequence[Job], *, offset: int, total: int) -> str:
    """Return a list of jobs."""
    if not jobs:
        return "No jobs found."
    text = f"Found {len(jobs)} job(s):\n\n"
    for job in jobs:
        text += f"{_EMOJI[job.status]} {job.id}\n   Status: {job.status} ({job.progress}%)\n   Tool: {job.tool}\n"
        text += f"   Created: {job.created}\n   Prompt: {_cut(job.prompt, 50)}\n"
        if job.files:
            text += f"   Output: {len(job.files)} file(s)\n"
        if job.failure is not None:
            text += f"   Error: {job.failure}\n"
        text += "\n"
    if offset + len(jobs) < total:
        last = offset + len(jobs)
        return (
            f"{text}\n💡 Showing {offset + 1}-{last} of {total} total jobs\n   Use offset={last} to see the next jobs."
        )
    return f"{text}\n📊 Total: {total} job(s)"


def _cut(prompt: str, length: int) -> str:
    return prompt[:length] + "..." if len(prompt) > length else prompt


def _shown(path: str) -> str:
    home = str(Path.home())
    return path.replace(home, "~", 1) if home != "/" and path.startswith(home) else path
