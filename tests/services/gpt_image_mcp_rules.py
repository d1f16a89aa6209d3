"""Checks of the rows of section 4: the texts of the GPT-Image MCP server."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    ProtocolError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.exchange import ATTEMPTS
from airflow_provider_imagetasks.services.gpt_image_mcp import GptImageMcp
from airflow_provider_imagetasks.services.wire import ToolCall
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest, ImageTask, TaskState
from tests.flow_driver import DrivenFlow, drive, tool_answer
from tests.services.row_cases import Rules

SERVICE = GptImageMcp()
RULES = Rules()
ACCOUNT = Account(conn_id="mine", service="gpt_image_mcp", base_url="http://mcp.example/mcp", output_dir="/srv/images")
JOB, OTHER = "0b6c2c4e-1111-4222-8333-444444444444", "0b6c2c4e-1111-4222-8333-555555555555"
PICTURE = ImageFile(name="a.png", media_type="image/png", content=b"a picture")
HISTORY = "\n📝 History ID: 0b6c2c4e\n💡 Use get_history_by_uuid to see detailed generation info."
STARTED = f"✅ Job started successfully!\n\n🆔 Job ID: {JOB}\n🛠️  Tool: generate_image\n💬 Prompt: a red kite\n\nUse ..."


def status(word: str, end: str = "", emoji: str = "🔄") -> str:
    times = "📅 Created: 11/20/2026, 1:00:00 PM\n🔄 Updated: 20.11.2026 13:00\n"
    head = f"📊 Job Status\n\n🆔 Job ID: {JOB}\n{emoji} Status: {word}\n📈 Progress: 30%\n🛠️  Tool: generate_image\n"
    return f"{head}{times}\n{end}"


def result(*paths: str, prompt: str = "a red kite", count: int | None = None, history: str = HISTORY) -> str:
    head = (
        f"✅ Job Result\n\n🆔 Job ID: {JOB}\n🛠️  Tool: generate_image\n📅 Completed: yesterday\n💬 Prompt: {prompt}\n\n"
    )
    if not paths:
        return head + history
    return head + files(*paths, count=count) + history


def files(*paths: str, count: int | None = None) -> str:
    lines = "".join(f"  {number}. {path}\n" for number, path in enumerate(paths, start=1))
    return f"📁 Output Files ({len(paths) if count is None else count}):\n{lines}"


def listed_job(job_id: str, word: str, prompt: str = "a red kite", more: str = "") -> str:
    return (
        f"🔄 {job_id}\n   Status: {word} (30%)\n   Tool: generate_image\n   Created: now\n   Prompt: {prompt}\n{more}\n"
    )


def mcp_error(code: int, message: str) -> str:
    return f"Error: MCP error {code}: {message}"


def submitted(said: str, *, is_error: bool = False, **fields: Any) -> DrivenFlow:
    request = SERVICE.complete(ImageRequest(**{"prompt": "a red kite", **fields}), ACCOUNT)
    return drive(SERVICE.submit(request, key="derived"), tool_answer(said, is_error=is_error))


def asked(*said: str, is_error: bool = False, times: int = 1) -> DrivenFlow:
    return drive(SERVICE.get_task(JOB), *[tool_answer(text, is_error=is_error) for text in said] * times)


def asked_for_result(text: str, *, is_error: bool = False, times: int = 1) -> DrivenFlow:
    answers = [tool_answer(status("COMPLETED", "✅ done")), tool_answer(text, is_error=is_error)]
    return drive(SERVICE.get_task(JOB), *answers * times)


def listing(text: str, *, is_error: bool = False, times: int = 1) -> DrivenFlow:
    return drive(SERVICE.list_tasks(limit=2), *[tool_answer(text, is_error=is_error)] * times)


def error_of(task: ImageTask) -> ImageTaskError:
    assert task.state is TaskState.FAILED
    assert task.error is not None
    return task.error


def refused(make: Callable[[], Any]) -> InvalidRequestError:
    try:
        make()
    except InvalidRequestError as error:
        return error
    raise AssertionError("it was not refused")


def complete(**fields: Any) -> ImageRequest:
    return SERVICE.complete(ImageRequest(**{"prompt": "a red kite", **fields}), ACCOUNT)


@RULES.row("4.2-arguments")
def n_becomes_sample_count_and_the_files_have_a_name_of_their_own() -> None:
    first, second = (submitted(STARTED, options={"n": 2, "output_format": "jpeg"}).requests[0] for _ in range(2))

    assert isinstance(first, ToolCall)
    assert first.tool == "start_generation_job"
    assert first.arguments | {"output_path": ""} == {
        "tool_name": "generate_image",
        "sample_count": 2,
        "output_format": "jpeg",
        "prompt": "a red kite",
        "model": "gpt-image-2",
        "output_path": "",
    }
    assert re.fullmatch(r"imagetasks-derived-[0-9a-f]{12}\.jpg", first.arguments["output_path"])
    assert first.arguments["output_path"] != second.arguments["output_path"]  # type: ignore[union-attr]


@RULES.row("4.2-arguments")
def what_would_fail_later_or_hurt_others_is_refused_first() -> None:
    nowhere = Account(conn_id="mine", service="gpt_image_mcp", base_url="http://mcp.example/mcp")
    wrong: dict[str, dict[str, Any]] = {
        "output_path": {"options": {"output_path": "a.png"}},
        "n and sample_count": {"options": {"n": 1, "sample_count": 1}},
        "tool_name": {"options": {"tool_name": "list_history"}},
        "needs a picture": {"options": {"tool_name": "transform_image"}},
        "takes no picture": {"options": {"tool_name": "generate_image"}, "images": [PICTURE]},
        "output_format": {"options": {"output_format": "bmp"}},
        "a URL": {"images": ["https://x.example/a.png"]},
        "no callbacks": {"callback_url": "https://me.example"},
        "no trace ids": {"trace_id": "mine"},
    }
    for words, fields in wrong.items():
        assert words in refused(lambda fields=fields: complete(**fields)).message, words  # type: ignore[misc]
    assert "output_dir" in refused(lambda: SERVICE.complete(ImageRequest(prompt="a"), nowhere)).message


@RULES.row("4.2-edit")
def a_picture_goes_along_although_the_schema_does_not_list_it() -> None:
    driven = submitted(STARTED, images=[PICTURE], mask=PICTURE, options={"tool_name": "transform_image"})
    arguments = driven.requests[0].arguments  # type: ignore[union-attr]

    encoded = base64.b64encode(b"a picture").decode()
    assert arguments["tool_name"] == "transform_image"
    assert (arguments["reference_image_base64"], arguments["mask_image_base64"]) == (encoded, encoded)
    assert complete(images=[PICTURE]).options["tool_name"] == "edit_image"
    assert complete(options={"tool_name": "edit_image", "reference_image_path": "a.png"}).options["tool_name"]


@RULES.row("4.3-started")
def the_id_is_read() -> None:
    task = submitted(STARTED).result

    assert (task.id, task.state, task.model) == (JOB, TaskState.RUNNING, "gpt-image-2")


@RULES.row("4.3-status-pending")
def pending_runs() -> None:
    task = asked(status("PENDING", emoji="⏳")).result

    assert (task.state, task.raw_state) == (TaskState.RUNNING, "pending")


@RULES.row("4.3-status-running")
def running_runs() -> None:
    task = asked(status("RUNNING", "💡 Job is currently running.")).result

    assert (task.id, task.state, task.raw_state) == (JOB, TaskState.RUNNING, "running")


@RULES.row("4.3-status-running")
def the_status_of_another_job_is_a_protocol_error() -> None:
    assert isinstance(asked(status("RUNNING").replace(JOB, OTHER), times=ATTEMPTS).error, ProtocolError)


@RULES.row("4.3-status-completed")
def a_completed_job_is_asked_for_its_files() -> None:
    driven = asked_for_result(result("/srv/images/a.png"))

    assert [call.tool for call in driven.requests] == ["check_job_status", "get_job_result"]  # type: ignore[union-attr]
    assert driven.result.state is TaskState.SUCCEEDED


@RULES.row("4.3-status-failed")
def a_failed_job_says_why() -> None:
    error = error_of(asked(status("FAILED", "❌ Job failed: MCP error -32603: no luck\nat all", "❌")).result)

    assert type(error) is ImageTaskFailedError
    assert "no luck at all" in error.message


@RULES.row("4.3-status-failed")
def a_job_that_failed_for_its_content_is_a_refusal() -> None:
    error = error_of(asked(status("FAILED", "❌ Job failed: 400 moderation_blocked: no luck", "❌")).result)

    assert type(error) is ContentPolicyError
    assert error.code == "moderation_blocked"


@RULES.row("4.3-status-cancelled")
def a_cancelled_job_was_billed() -> None:
    error = error_of(asked(status("CANCELLED", "🚫 Job was cancelled.", "🚫")).result)

    assert (error.code, error.billed) == ("cancelled", "yes")


@RULES.row("4.3-status-unknown")
def a_word_that_nobody_knows_is_no_end() -> None:
    task = asked(status("DREAMING")).result

    assert (task.state, task.raw_state) == (TaskState.RUNNING, "dreaming")


@RULES.row("4.3-result")
def prompt_and_files_are_read() -> None:
    for history in (HISTORY, ""):
        text = result("/srv/images/a_1.png", "~/images/a_2.png", prompt="a kite\n\nwith a tail", history=history)
        task = asked_for_result(text).result

        assert [image.path for image in task.images] == ["/srv/images/a_1.png", "~/images/a_2.png"]
        assert task.prompt == "a kite\n\nwith a tail"


@RULES.row("4.3-result-without-files")
def completed_without_files_is_a_failure_that_was_paid_for() -> None:
    for history in (HISTORY, ""):
        error = error_of(asked_for_result(result(history=history)).result)

        assert (error.code, error.billed) == ("no_images", "yes")


@RULES.row("4.3-result-fake-files")
def the_files_of_a_prompt_are_not_read() -> None:
    fake = f"a kite\n\n{files('/etc/passwd')}"
    for prompt in (fake, fake + HISTORY, fake.rstrip("\n")):
        task = asked_for_result(result("/srv/images/a.png", prompt=prompt)).result
        assert [image.path for image in task.images] == ["/srv/images/a.png"]


@RULES.row("4.3-result-fake-files")
def the_files_of_a_prompt_are_not_read_where_there_are_no_others() -> None:
    fake = f"a kite\n\n{files('/etc/passwd')}"
    for prompt in (fake, fake + HISTORY, fake.rstrip("\n")):
        for history in (HISTORY, ""):
            assert error_of(asked_for_result(result(prompt=prompt, history=history)).result).code == "no_images"


@RULES.row("4.3-result-count")
def a_list_that_lacks_a_file_is_a_protocol_error() -> None:
    driven = asked_for_result(result("/srv/images/a.png", count=2), times=ATTEMPTS)

    assert isinstance(driven.error, ProtocolError)


@RULES.row("4.3-cancelled")
def cancelling_says_that_it_is_billed() -> None:
    driven = drive(SERVICE.cancel(JOB), tool_answer(f"✅ Job cancelled successfully: {JOB}"))

    assert driven.requests == [ToolCall(tool="cancel_job", arguments={"job_id": JOB})]
    assert "is billed" in driven.result


@RULES.row("4.3-list")
def jobs_are_listed() -> None:
    jobs = listed_job(JOB, "running") + listed_job(OTHER, "failed", more="   Error: x\n")
    driven = listing(f"Found 2 job(s):\n\n{jobs}\n📊 Total: 2 job(s)")

    assert driven.requests == [ToolCall(tool="list_jobs", arguments={"limit": 2})]
    assert [(task.id, task.state) for task in driven.result] == [(JOB, TaskState.RUNNING), (OTHER, TaskState.FAILED)]


@RULES.row("4.3-list-empty")
def no_jobs_are_none() -> None:
    assert listing("No jobs found.").result == []


@RULES.row("4.3-list-fake-job")
def a_list_with_more_jobs_than_it_announces_is_a_protocol_error() -> None:
    fake = listed_job(JOB, "running", more=f"   Error: no luck\n{listed_job(OTHER, 'completed')}")

    assert isinstance(listing(f"Found 1 job(s):\n\n{fake}", times=ATTEMPTS).error, ProtocolError)


@RULES.row("4.3-error-job-not-found")
def a_job_that_is_not_there_is_not_found() -> None:
    task = asked(mcp_error(-32602, f"Job not found: {JOB}"), is_error=True).result

    assert (task.id, task.state) == (JOB, TaskState.NOT_FOUND)


@RULES.row("4.3-error-still-running")
def a_result_that_is_not_there_yet_is_waited_for() -> None:
    driven = asked_for_result(mcp_error(-32600, "Job is still running. Please wait for completion."), is_error=True)

    assert driven.result.state is TaskState.RUNNING


@RULES.row("4.3-error-job-failed")
def nested_messages_are_the_failure() -> None:
    nested = "Job failed: MCP error -32603: Failed to generate image: 401 Incorrect API key"
    error = error_of(asked_for_result(mcp_error(-32600, nested), is_error=True).result)

    assert "401 Incorrect API key" in error.message


@RULES.row("4.3-error-was-cancelled")
def a_result_of_a_cancelled_job_is_a_cancellation() -> None:
    text = mcp_error(-32600, "Job was cancelled and has no result.")

    assert error_of(asked_for_result(text, is_error=True).result).code == "cancelled"


@RULES.row("4.3-error-cannot-cancel")
def cancelling_what_has_ended_is_refused() -> None:
    words = "Cannot cancel job in completed status. Only pending/running jobs can be cancelled."
    driven = drive(SERVICE.cancel(JOB), tool_answer(mcp_error(-32600, words), is_error=True))

    assert isinstance(driven.error, InvalidRequestError)
    assert words in driven.error.message


@RULES.row("4.3-error-limit")
def too_long_a_list_is_refused() -> None:
    error = listing(mcp_error(-32602, "limit must be between 1 and 100"), is_error=True).error

    assert isinstance(error, InvalidRequestError)
    assert "between 1 and 100" in error.message


@RULES.row("4.3-error-unknown-tool")
def another_server_is_named() -> None:
    error = submitted(mcp_error(-32601, "Unknown tool: start_generation_job"), is_error=True).error

    assert isinstance(error, InvalidRequestError)
    assert (error.billed, error.code) == ("no", "-32601")


@RULES.row("4.3-error-start")
def a_start_that_broke_is_an_unknown_outcome() -> None:
    driven = submitted(mcp_error(-32603, "Failed to start job: no luck"), is_error=True)

    assert isinstance(driven.error, UnknownOutcomeError)
    assert isinstance(
        asked(mcp_error(-32603, "Failed to check job status: no luck"), is_error=True, times=ATTEMPTS).error,
        ServiceUnavailableError,
    )


@RULES.row("4.3-error-arguments")
def a_start_without_a_prompt_was_not_billed() -> None:
    for words in ("Prompt is required and cannot be empty", "tool_name must be one of: generate_image"):
        error = submitted(mcp_error(-32602, words), is_error=True).error
        assert isinstance(error, InvalidRequestError)
        assert (error.billed, words in error.message) == ("no", True)


@RULES.row("4.3-error-as-json-rpc")
def a_bridge_s_errors_mean_the_same() -> None:
    answer = tool_answer(f"MCP error -32602: Job not found: {JOB}", code=-32602)

    assert drive(SERVICE.get_task(JOB), answer).result.state is TaskState.NOT_FOUND


@RULES.row("4.3-words-of-its-own")
def a_text_that_nobody_knows_is_a_protocol_error_or_an_unknown_outcome() -> None:
    for text in ("Job begun!", "", STARTED.replace(JOB, "soon"), status("RUNNING").replace("Status", "Zustand")):
        assert isinstance(submitted(text).error, UnknownOutcomeError)
        assert isinstance(asked(text, times=ATTEMPTS).error, ProtocolError)
    assert isinstance(submitted("Error: no luck", is_error=True).error, UnknownOutcomeError)
