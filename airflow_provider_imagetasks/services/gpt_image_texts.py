"""Reads the texts of the GPT-Image MCP server, which are written for people (``src/tools/async-jobs.ts``).

A prompt or an error message stands in them as it was given, and may contain anything, an imitation of the rest of the
text too. So everything is found by where it has to stand: from the beginning to the first free text, and from the end.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from airflow_provider_imagetasks.services.wire import ToolAnswer

_ID = r"[0-9A-Fa-f-]{36}"
_STARTED = re.compile(rf"\A✅ Job started successfully!\n\n🆔 Job ID: ({_ID})\n")
_STATUS = re.compile(rf"\A📊 Job Status\n\n🆔 Job ID: ({_ID})\n\S+ Status: ([A-Z_]+)\n📈 Progress: \d+%\n")
_FAILED = re.compile(r"\n\n❌ Job failed: (.*)\Z", re.DOTALL)
_RESULT = re.compile(
    rf"\A✅ Job Result\n\n🆔 Job ID: ({_ID})\n🛠️  Tool: [^\n]*\n📅 Completed: [^\n]*\n💬 Prompt: (.*)\Z", re.DOTALL
)
_FILES = re.compile(r"\n\n📁 Output Files \((\d+)\):\n((?:  \d+\. [^\n]+\n)+)(?:\n📝 History ID: [^\n]*\n💡 [^\n]*)?\Z")
_FILE = re.compile(r"^  (\d+)\. ([^\n]+)$", re.MULTILINE)
_LISTED = re.compile(r"\AFound (\d+) job\(s\):\n\n")
_LISTED_JOB = re.compile(
    rf"^\S+ ({_ID})\n   Status: (\w+) \(\d+%\)\n   Tool: \S+\n   Created: [^\n]*\n   Prompt: ", re.M
)
_REFUSED_BY_OPENAI = re.compile(
    r"\AMCP error -32603: Failed to (?:generate|edit|transform) image: (4\d\d) (.*)\Z", re.DOTALL
)
_NEVER_SENT = re.compile(r"\A(?:MCP error -3260[02]: |Security error: )")
_ERROR = re.compile(r"\A(?:Error: )?MCP error (-?\d+): (.*)\Z", re.DOTALL)
NO_JOBS = "No jobs found."


class JobError(NamedTuple):
    """An error in the server's words, instead of a result; the code is JSON-RPC's, where the server said one."""

    code: int | None
    message: str


class JobResult(NamedTuple):
    """A finished job.

    :param paths: as the server shows them; its home folder as ``~``. None where the text names no files at its end.
    """

    job_id: str
    prompt: str
    paths: tuple[str, ...] | None


def read_error(answer: ToolAnswer) -> JobError | None:
    """Return the error that an answer is, None where it is none."""
    if not answer.is_error:
        return None
    found = _ERROR.match(answer.text)
    if found:
        return JobError(int(found[1]), found[2])
    return JobError(answer.code, answer.text)


def read_started(text: str) -> str | None:
    """Return the id of a job that was started."""
    found = _STARTED.match(text)
    return found[1] if found else None


def read_status(text: str) -> tuple[str, str, str] | None:
    """Return a job's id, its status in the server's own word, and why it failed if it did."""
    found = _STATUS.match(text)
    # The text before it holds nothing that somebody else wrote.
    failure = _FAILED.search(text)
    return (found[1], found[2].lower(), failure[1].strip() if failure else "no reason given") if found else None


def read_refusal(failure: str) -> tuple[int, str] | None:
    """Return HTTP status and message with which OpenAI refused a job; None where it did not, or nobody knows.

    What the server refused itself, before it asked OpenAI, is a 400.

    :param failure: why the job failed.
    """
    found = _REFUSED_BY_OPENAI.match(failure)
    if found:
        return int(found[1]), found[2]
    return (400, failure) if _NEVER_SENT.match(failure) else None


def read_result(text: str) -> JobResult | None:
    """Return what a finished job came to, None for another text, or one whose numbers do not agree."""
    result = _RESULT.match(text)
    if result is None:
        return None
    files = _FILES.search(text)
    if files is None:
        return JobResult(result[1], result[2].rstrip("\n"), None)
    numbered = _FILE.findall(files[2])
    if [int(number) for number, _path in numbered] != list(range(1, int(files[1]) + 1)):
        return None
    prompt = text[result.start(2) : files.start()]
    return JobResult(result[1], prompt, tuple(path for _number, path in numbered))


def read_list(text: str) -> list[tuple[str, str]] | None:
    """Return id and status of each job of a list, None for another text, or one whose numbers do not agree."""
    if text.strip() == NO_JOBS:
        return []
    head = _LISTED.match(text)
    jobs = _LISTED_JOB.findall(text)
    return jobs if head is not None and len(jobs) == int(head[1]) else None
