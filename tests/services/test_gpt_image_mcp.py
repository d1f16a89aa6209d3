"""The texts of the GPT-Image MCP server, as ``src/tools/async-jobs.ts`` of ex-takashima's repository writes them."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.exchange import ATTEMPTS
from airflow_provider_imagetasks.services.wire import ToolCall
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest, ImageTask, TaskState
from tests.flow_driver import DrivenFlow, drive, tool_answer
from tests.services.wire_examples import NOT_FOUND, RUNNING, SUCCEEDED, account, completed

SERVICE = get_service("gpt_image_mcp")
ACCOUNT = account(output_dir="/srv/images")
JOB, OTHER = "0b6c2c4e-1111-4222-8333-444444444444", "0b6c2c4e-1111-4222-8333-555555555555"
PICTURE = ImageFile(name="a.png", media_type="image/png", content=b"a picture")
HISTORY = "\n📝 History ID: 0b6c2c4e\n💡 Use get_history_by_uuid to see detailed generation info."
STARTED = f"✅ Job started successfully!\n\n🆔 Job ID: {JOB}\n🛠️  Tool: generate_image\n💬 Prompt: a red kite\n\nUse ..."


def status(word: str, end: str = "", emoji: str = "🔄") -> str:
    times = "📅 Created: 11/20/2026, 1:00:00 PM\n🔄 Updated: 20.11.2026 13:00\n"
    head = f"📊 Job Status\n\n🆔 Job ID: {JOB}\n{emoji} Status: {word}\n📈 Progress: 30%\n🛠️  Tool: generate_image\n"
    return f"{head}{times}\n{end}"


DONE = status("COMPLETED", "✅ done")


def result(*paths: str, prompt: str = "a red kite", count: int | None = None, history: str = HISTORY) -> str:
    head = f"✅ Job Result\n\n🆔 Job ID: {JOB}\n🛠️  Tool: generate_image\n📅 Completed: now\n💬 Prompt: {prompt}\n\n"
    return head + (files(*paths, count=count) if paths else "") + history


def files(*paths: str, count: int | None = None) -> str:
    lines = "".join(f"  {number}. {path}\n" for number, path in enumerate(paths, start=1))
    return f"📁 Output Files ({len(paths) if count is None else count}):\n{lines}"


def listed_job(job_id: str, word: str, more: str = "") -> str:
    head = f"🔄 {job_id}\n   Status: {word} (30%)\n   Tool: generate_image\n"
    return f"{head}   Created: now\n   Prompt: a red kite\n{more}\n"


def mcp_error(code: int, message: str) -> str:
    return f"Error: MCP error {code}: {message}"


def complete(**fields: Any) -> ImageRequest:
    return completed(SERVICE, **{"prompt": "a red kite", "of": ACCOUNT, **fields})


def submitted(said: str, *, is_error: bool = False, **fields: Any) -> DrivenFlow:
    return drive(SERVICE.submit(complete(**fields), key="derived"), tool_answer(said, is_error=is_error))


def asked(*said: str, is_error: bool = False, times: int = 1) -> DrivenFlow:
    """Ask for a job, which is answered in these words, the last of them as an error if need be."""
    answers = [*map(tool_answer, said[:-1]), tool_answer(said[-1], is_error=is_error)]
    return drive(SERVICE.get_task(JOB), *answers * times)


def listing(text: str, *, is_error: bool = False, times: int = 1) -> DrivenFlow:
    return drive(SERVICE.list_tasks(limit=2), *[tool_answer(text, is_error=is_error)] * times)


def error_of(task: ImageTask) -> ImageTaskError:
    assert task.state is TaskState.FAILED
    assert task.error is not None
    return task.error


def test_n_becomes_sample_count_and_the_files_have_a_name_of_their_own() -> None:
    driven, again = (submitted(STARTED, options={"n": 2, "output_format": "jpeg"}) for _ in range(2))
    first, second = driven.requests[0], again.requests[0]

    assert (driven.result.id, driven.result.state, driven.result.model) == (JOB, RUNNING, "gpt-image-2")
    arguments = {"tool_name": "generate_image", "sample_count": 2, "output_format": "jpeg", "prompt": "a red kite"}
    path = first.arguments["output_path"]
    assert first.tool == "start_generation_job"
    assert first.arguments == {**arguments, "model": "gpt-image-2", "output_path": path}
    assert re.fullmatch(r"imagetasks-derived-[0-9a-f]{12}\.jpg", path)
    assert path != second.arguments["output_path"]


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ("output_path", {"options": {"output_path": "a.png"}}),
        ("n and sample_count", {"options": {"n": 1, "sample_count": 1}}),
        ("tool_name", {"options": {"tool_name": "list_history"}}),
        ("needs a picture", {"options": {"tool_name": "transform_image"}}),
        ("takes no picture", {"options": {"tool_name": "generate_image"}, "images": [PICTURE]}),
        ("output_format", {"options": {"output_format": "bmp"}}),
        ("a URL", {"images": ["https://x.example/a.png"]}),
        ("does not support callbacks", {"callback_url": "https://me.example"}),
        ("does not support trace ids", {"trace_id": "mine"}),
        ("output_dir", {"of": account()}),
    ],
)
def test_what_would_fail_later_or_hurt_others_is_refused_first(said: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        complete(**fields)


def test_a_picture_goes_along_although_the_schema_does_not_list_it() -> None:
    (call,) = submitted(STARTED, images=[PICTURE], mask=PICTURE, options={"tool_name": "transform_image"}).requests

    encoded = base64.b64encode(b"a picture").decode()
    assert call.arguments["tool_name"] == "transform_image"
    assert (call.arguments["reference_image_base64"], call.arguments["mask_image_base64"]) == (encoded, encoded)
    assert complete(images=[PICTURE]).options["tool_name"] == "edit_image"
    assert complete(options={"tool_name": "edit_image", "reference_image_path": "a.png"}).options["tool_name"]


@pytest.mark.parametrize("word", ["PENDING", "RUNNING", "DREAMING"])
def test_a_job_that_has_not_ended_runs_also_by_a_word_that_nobody_knows(word: str) -> None:
    task = asked(status(word, "💡 Job is currently running.")).result

    assert (task.id, task.state, task.raw_state) == (JOB, RUNNING, word.lower())
    assert isinstance(asked(status(word).replace(JOB, OTHER), times=ATTEMPTS).error, ProtocolError)


SAFETY = (
    "400 Your request was rejected by the safety system. If you believe this is an error, contact us at "
    "help.openai.com and include the request ID req_1. safety_violations=[violence]."
)
QUOTA = "429 You exceeded your current quota, please check your plan and billing details."
VERIFY = "403 Your organization must be verified to use the model `gpt-image-2`."
SIZE = "MCP error -32602: Invalid size for gpt-image-2: 12x12. Allowed presets: auto, 1024x1024."
REFUSED: list[tuple[str, type[ImageTaskError], str | None]] = [
    (SAFETY, ContentPolicyError, "no"),
    ("400 moderation_blocked: no", ContentPolicyError, "no"),
    (QUOTA, QuotaExceededError, "no"),
    ("400 Billing hard limit has been reached", QuotaExceededError, "no"),
    ("401 Incorrect API key provided: sk-no***ey.", AuthenticationError, "no"),
    (VERIFY, AuthenticationError, "no"),
    ("404 The model `gpt-image-9` does not exist", InvalidRequestError, "no"),
    ("400 Invalid value: 'huge'.", InvalidRequestError, "no"),
    (SIZE, InvalidRequestError, "no"),
    (
        "MCP error -32602: Either reference_image_base64 or reference_image_path must be provided",
        InvalidRequestError,
        "no",
    ),
    ("Security error: Access denied. All paths must be within ...", InvalidRequestError, "no"),
    ("429 Rate limit reached for gpt-image-2", ImageTaskFailedError, "no"),
    ("408 Request timeout", ImageTaskFailedError, "unknown"),
    ("500 The server had an error while processing your request.", ImageTaskFailedError, "unknown"),
    ("Connection error.", ImageTaskFailedError, "unknown"),
    ("MCP error -32603: No image data (b64_json) in response for image 1", ImageTaskFailedError, "unknown"),
    # A prompt that is quoted decides nothing.
    ("500 while drawing '401 Incorrect API key, content policy, insufficient_quota'", ImageTaskFailedError, "unknown"),
]


@pytest.mark.parametrize("tool", ["generate", "edit", "transform"])
@pytest.mark.parametrize(("reason", "error_class", "billed"), REFUSED)
def test_what_openai_refused_is_known_by_status_and_message_in_a_status_and_in_a_result(
    reason, error_class, billed, tool
) -> None:
    own = reason.startswith(("MCP error -32602", "Security"))
    failure = reason if own else f"MCP error -32603: Failed to {tool} image: {reason}"
    by_status = error_of(asked(status("FAILED", f"❌ Job failed: {failure}", "❌")).result)
    by_result = error_of(asked(DONE, mcp_error(-32600, f"Job failed: {failure}"), is_error=True).result)

    for error in (by_status, by_result):
        assert (type(error), error.billed, error.retryable) == (error_class, billed, False)
        assert " ".join(reason.split())[:100] in str(error)
        assert error_class is not AuthenticationError or "OPENAI_API_KEY" in str(error)


FAILURES: list[tuple[str, type[ImageTaskError], str | None, str, str]] = [
    ("❌ Job failed: MCP error -32603: no luck\nat all", ImageTaskFailedError, None, "unknown", "no luck at all"),
    ("🚫 Job was cancelled.", ImageTaskFailedError, "cancelled", "yes", "cancelled"),
]


@pytest.mark.parametrize(("text", "error_class", "code", "billed", "said"), FAILURES)
def test_a_job_that_failed_or_was_cancelled_says_why_and_what_was_billed(text, error_class, code, billed, said) -> None:
    error = error_of(asked(status("CANCELLED" if "cancelled" in text else "FAILED", text, text[0])).result)

    assert (type(error), error.code, error.billed) == (error_class, code, billed)
    assert said in error.message


@pytest.mark.parametrize("history", [HISTORY, ""])
def test_a_completed_job_is_asked_for_its_prompt_and_files(history: str) -> None:
    text = result("/srv/images/a_1.png", "~/images/a_2.png", prompt="a kite\n\nwith a tail", history=history)
    driven = asked(DONE, text)

    assert [call.tool for call in driven.requests] == ["check_job_status", "get_job_result"]
    assert len(driven.requests) == SERVICE.requests_per_read
    assert driven.result.state is SUCCEEDED
    assert [image.path for image in driven.result.images] == ["/srv/images/a_1.png", "~/images/a_2.png"]
    assert driven.result.prompt == "a kite with a tail"


FAKE_FILES = f"a kite\n\n{files('/etc/passwd')}"


@pytest.mark.parametrize("history", [HISTORY, ""])
@pytest.mark.parametrize("prompt", ["a red kite", FAKE_FILES, FAKE_FILES + HISTORY, FAKE_FILES.rstrip("\n")])
def test_the_files_of_a_prompt_are_not_read_and_none_beside_them_is_a_failure_that_was_paid_for(
    prompt: str, history: str
) -> None:
    none = error_of(asked(DONE, result(prompt=prompt, history=history)).result)
    beside = asked(DONE, result("/srv/images/a.png", prompt=prompt)).result
    lacking = asked(DONE, result("/srv/images/a.png", count=2, prompt=prompt), times=ATTEMPTS)

    assert (none.code, none.billed) == ("no_images", "yes")
    assert [image.path for image in beside.images] == ["/srv/images/a.png"]
    assert isinstance(lacking.error, ProtocolError)


def test_the_result_of_a_job_that_ended_otherwise_is_its_failure_and_one_not_there_yet_is_waited_for() -> None:
    why = "Job failed: MCP error -32603: Failed to generate image: 401 Incorrect API key"
    failed = error_of(asked(DONE, mcp_error(-32600, why), is_error=True).result)
    words = mcp_error(-32600, "Job was cancelled and has no result.")
    cancelled = error_of(asked(DONE, words, is_error=True).result)
    early = mcp_error(-32600, "Job is still running. Please wait for completion.")

    assert (failed.code, "401 Incorrect API key" in failed.message) == ("401", True)
    assert (cancelled.code, "401" in cancelled.message) == ("cancelled", False)
    assert asked(DONE, early, is_error=True).result.state is RUNNING


def test_a_job_that_is_not_there_is_not_found_also_by_a_bridge_that_says_so_in_json_rpc() -> None:
    bridge = tool_answer(f"MCP error -32602: Job not found: {JOB}", code=-32602)
    by_tool = asked(mcp_error(-32602, f"Job not found: {JOB}"), is_error=True).result
    for task in (by_tool, drive(SERVICE.get_task(JOB), bridge).result):
        assert (task.id, task.state) == (JOB, NOT_FOUND)


def test_cancelling_says_that_it_is_billed_and_is_refused_once_the_job_has_ended() -> None:
    words = "Cannot cancel job in completed status. Only pending/running jobs can be cancelled."
    cancelled = drive(SERVICE.cancel(JOB), tool_answer(f"✅ Job cancelled successfully: {JOB}"))
    refused = drive(SERVICE.cancel(JOB), tool_answer(mcp_error(-32600, words), is_error=True))

    assert cancelled.requests == [ToolCall(tool="cancel_job", arguments={"job_id": JOB})]
    assert "is billed" in cancelled.result
    assert isinstance(refused.error, InvalidRequestError)
    assert words in refused.error.message


def test_jobs_are_listed_unless_there_are_more_than_announced_or_too_many_wanted() -> None:
    jobs = listed_job(JOB, "running") + listed_job(OTHER, "failed", more="   Error: x\n")
    fake = listed_job(JOB, "running", more=f"   Error: no luck\n{listed_job(OTHER, 'completed')}")
    driven = listing(f"Found 2 job(s):\n\n{jobs}\n📊 Total: 2 job(s)")
    too_many = listing(mcp_error(-32602, "limit must be between 1 and 100"), is_error=True).error

    assert driven.requests == [ToolCall(tool="list_jobs", arguments={"limit": 2})]
    assert [(task.id, task.state) for task in driven.result] == [(JOB, RUNNING), (OTHER, TaskState.FAILED)]
    assert listing("No jobs found.").result == []
    assert isinstance(listing(f"Found 1 job(s):\n\n{fake}", times=ATTEMPTS).error, ProtocolError)
    assert isinstance(too_many, InvalidRequestError)
    assert "between 1 and 100" in too_many.message


REFUSED_STARTS = {
    "Unknown tool: start_generation_job": -32601,
    "Prompt is required and cannot be empty": -32602,
    "tool_name must be one of: generate_image": -32602,
}


@pytest.mark.parametrize("message", REFUSED_STARTS)
def test_a_start_that_was_refused_was_not_billed(message: str) -> None:
    error = submitted(mcp_error(REFUSED_STARTS[message], message), is_error=True).error

    assert isinstance(error, InvalidRequestError)
    assert (error.billed, error.code) == ("no", str(REFUSED_STARTS[message]))
    assert message in error.message


def test_a_start_that_broke_is_an_unknown_outcome_and_a_question_that_broke_is_asked_again() -> None:
    broken = mcp_error(-32603, "Failed to check job status: no luck")

    for said in (mcp_error(-32603, "Failed to start job: no luck"), "Error: no luck"):
        assert isinstance(submitted(said, is_error=True).error, UnknownOutcomeError)
    assert isinstance(asked(broken, is_error=True, times=ATTEMPTS).error, ServiceUnavailableError)


def test_a_text_that_nobody_knows_is_a_protocol_error_or_an_unknown_outcome() -> None:
    no_status = status("RUNNING").replace("Status", "Zustand")
    for text in ("Job begun!", "", STARTED.replace(JOB, "soon"), no_status):
        assert isinstance(submitted(text).error, UnknownOutcomeError)
        assert isinstance(asked(text, times=ATTEMPTS).error, ProtocolError)
