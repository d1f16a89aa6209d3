"""How the GPT-Image MCP server words its answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_imagetasks.local.dialects.gpt_image_jobs import Job

_EMOJI = {"pending": "⏳", "running": "🔄", "completed": "✅", "failed": "❌", "cancelled": "🚫"}
_HINTS = {
    "running": "💡 Job is currently running. Check back in a moment.",
    "completed": "✅ Job completed successfully! Use get_job_result to retrieve the output.",
    "cancelled": "🚫 Job was cancelled.",
}


def started(job: Job) -> str:
    """Return the answer to a start."""
    return (
        f"✅ Job started successfully!\n\n🆔 Job ID: {job.id}\n🛠️  Tool: {job.tool}\n"
        f"💬 Prompt: {_cut(job.prompt, 60)}\n\n"
        "Use check_job_status to monitor progress and get_job_result to retrieve results when completed."
    )


def status(job: Job) -> str:
    """Return the answer to a question for the status."""
    hint = f"❌ Job failed: {job.failure}" if job.failure is not None else _HINTS[job.status]
    return (
        f"📊 Job Status\n\n🆔 Job ID: {job.id}\n{_EMOJI[job.status]} Status: {job.status.upper()}\n"
        f"📈 Progress: {job.progress}%\n🛠️  Tool: {job.tool}\n"
        f"📅 Created: {job.created}\n🔄 Updated: {job.created}\n\n{hint}"
    )


def result(job: Job, *, without_files: bool) -> str:
    """Return the result of a completed job."""
    text = f"✅ Job Result\n\n🆔 Job ID: {job.id}\n🛠️  Tool: {job.tool}\n📅 Completed: {job.created}\n"
    text += f"💬 Prompt: {job.prompt}\n\n"
    if without_files:
        return text
    text += f"📁 Output Files ({len(job.files)}):\n"
    text += "".join(f"  {number}. {_shown(path)}\n" for number, path in enumerate(job.files, start=1))
    return text + f"\n📝 History ID: {job.id}\n💡 Use get_history_by_uuid to see detailed generation info."


def listed(jobs: Sequence[Job], *, offset: int, total: int) -> str:
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


def error(code: int, message: str) -> str:
    """Return how the server words an error."""
    return f"Error: MCP error {code}: {message}"


def _cut(prompt: str, length: int) -> str:
    return prompt[:length] + "..." if len(prompt) > length else prompt


def _shown(path: str) -> str:
    home = str(Path.home())
    return path.replace(home, "~", 1) if home != "/" and path.startswith(home) else path
