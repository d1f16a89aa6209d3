"""The dialect of the GPT-Image MCP server: jobs, texts for people, and files on its own disk."""

from __future__ import annotations

import asyncio
import base64
import re
import uuid
from datetime import datetime
from typing import Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, note_queried
from airflow_provider_imagetasks.local.dialects.dialect import bearer_of
from airflow_provider_imagetasks.local.dialects.gpt_image_jobs import DEFAULT_PATHS, Job, JobTable, list_text
from airflow_provider_imagetasks.local.dialects.mcp_server import TEXT, Tool, ToolResult, ToolServer, choice
from airflow_provider_imagetasks.local.drawing import MEDIA_TYPES
from airflow_provider_imagetasks.local.service_state import DialectStatistics, ServiceState
from airflow_provider_imagetasks.local.task_table import NO_REFERENCES, References, TaskRecord

INVALID_REQUEST, INVALID_PARAMS, INTERNAL_ERROR = -32600, -32602, -32603
START, STATUS, RESULT = "start_generation_job", "check_job_status", "get_job_result"
CANCEL, LIST = "cancel_job", "list_jobs"
CONTENT_CODES = ("content_policy_violation", "moderation_blocked")
_REFUSED_PROMPT = (
    "400 Your request was rejected by the safety system. If you believe this is an error, contact us at "
    "help.openai.com and include the request ID req_local. safety_violations=[violence]."
)
_REFUSALS = {
    Reason.CONTENT: _REFUSED_PROMPT,
    Reason.NO_CREDIT: "429 You exceeded your current quota, please check your plan and billing details.",
    Reason.RATE_LIMITED: "429 Rate limit reached for gpt-image-2 on images per min.",
    Reason.EXPIRED_KEY: "401 Incorrect API key provided: sk-lo***cal. You can find your API key at OpenAI.",
}
_INNER_TOOLS = tuple(DEFAULT_PATHS)
_SMALL_SIZES = ("1024x1024", "1024x1536", "1536x1024")
_LARGE_SIZES = ("2048x2048", "2048x1152", "1152x2048", "3840x2160", "2160x3840")
_JOB = {"job_id": TEXT}
_PICTURES = {
    "tool_name": choice(*_INNER_TOOLS),
    "prompt": TEXT,
    "output_path": TEXT,
    "model": choice("gpt-image-1", "gpt-image-1.5", "gpt-image-2"),
    "size": choice(*_SMALL_SIZES, *_LARGE_SIZES, "auto"),
    "quality": choice("low", "medium", "high", "auto"),
    "output_format": choice("png", "jpeg", "webp"),
    "sample_count": {"type": "number", "minimum": 1, "maximum": 10},
    "input_fidelity": choice("low", "high"),
}
_PAGE = {
    "status": choice("pending", "running", "completed", "failed", "cancelled"),
    "tool_name": TEXT,
    "limit": {"type": "number", "minimum": 1, "maximum": 100},
    "offset": {"type": "number", "minimum": 0},
}
# Those that have to do with jobs; the server lists what it takes without enforcing it.
_TOOLS = (
    Tool(START, "Start a job.", _PICTURES, ("tool_name", "prompt")),
    Tool(STATUS, "Check a job.", _JOB, ("job_id",)),
    Tool(RESULT, "Get the result of a job.", _JOB, ("job_id",)),
    Tool(CANCEL, "Cancel a job.", _JOB, ("job_id",)),
    Tool(LIST, "List jobs.", _PAGE),
)


class _ServerError(Exception):
    """An error as the server throws it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"MCP error {code}: {message}")


class GptImageMcpServer(ToolServer):
    """Answers the tools as the server does, which starts nearly everything and fails it later."""

    server_name = "openai-gpt-image-mcp-server"
    unknown_tool = "Error: MCP error -32601: Unknown tool: {}"
    # As behind a bridge that keeps one server for all its clients.
    stateless = False
    answers_json = False
    name = "gpt_image_mcp"
    prefix = "/mcp/gpt-image"
    tools = _TOOLS

    def __init__(self, state: ServiceState) -> None:
        self._state = state
        self._table = JobTable(state.options.output_dir)
        self._writing = asyncio.Lock()
        state.on_reset.append(self._table.forget)

    @property
    def counts(self) -> DialectStatistics:
        """The server's counts."""
        return self._state.statistics.dialects[self.name]

    async def call(self, tool: Tool, arguments: dict[str, Any], request: web.Request | None) -> ToolResult:
        """Call a tool; errors come as a result that is marked as one."""
        calls = {START: self._start, STATUS: self._status, RESULT: self._result, CANCEL: self._cancel, LIST: self._list}
        try:
            return ToolResult(await calls[tool.name](arguments))
        except _ServerError as error:
            return ToolResult(f"Error: {error}", is_error=True)
        except RefusedError as refused:
            if refused.is_below_any_dialect:
                raise
            action = "start job" if tool.name == START else "check job status"
            failure = _ServerError(INTERNAL_ERROR, f"Failed to {action}: {refused.message}")
            return ToolResult(f"Error: {failure}", is_error=True)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Turn away whoever has no key, as a proxy in front would: the server itself asks for none."""
        try:
            self._state.admission.check_key(bearer_of(request))
        except RefusedError:
            return web.Response(status=401, text="Unauthorized", headers={"WWW-Authenticate": "Bearer"})
        return await super().handle(request)

    async def _start(self, arguments: dict[str, Any]) -> str:
        self.counts.submissions += 1
        tool, prompt = arguments.get("tool_name"), arguments.get("prompt")
        if tool not in _INNER_TOOLS:
            self.counts.refused["tool_name"] += 1
            raise _ServerError(INVALID_PARAMS, f"tool_name must be one of: {', '.join(_INNER_TOOLS)}")
        if not isinstance(prompt, str) or not prompt.strip():
            self.counts.refused["prompt"] += 1
            raise _ServerError(INVALID_PARAMS, "Prompt is required and cannot be empty")
        job = Job(
            id=str(uuid.uuid4()),
            tool=tool,
            prompt=prompt,
            output_path=str(arguments.get("output_path") or DEFAULT_PATHS[tool]),
            sample_count=int(arguments.get("sample_count") or 1),
            created=datetime.now().strftime("%m/%d/%Y, %I:%M:%S %p"),  # noqa: DTZ005 - in the server's own words
        )
        try:
            job.record, _ = self._state.admit(await self._asked(job, arguments))
            job.id, said = job.record.id, job.record.request["prompt"]
            job.prompt = said.encode(errors="ignore").decode()
        except (_ServerError, ValueError) as problem:
            job.failure = str(problem)
        except RefusedError as refused:
            self.counts.refused[refused.reason.value] += 1
            if refused.is_below_any_dialect:
                raise
            # What OpenAI refuses is only asked for once the job has begun.
            job.failure = _inner_error(refused, job)
        self._table.keep(job)
        if job.record is not None:
            self._state.admission.check_answer(job.record)
        return job.started_text()

    async def _asked(self, job: Job, arguments: dict[str, Any]) -> TaskRecord:
        """Return the image task that a job stands for; raise what the server fails it with before it asks OpenAI."""
        self._table.place(job.output_path, 0, job.sample_count)
        references = await self._references(job.tool, arguments)
        model = str(arguments.get("model") or "gpt-image-1")
        return TaskRecord(
            dialect=self.name,
            prompt=job.prompt,
            model=model,
            kind=job.tool,
            request={name: value for name, value in arguments.items() if not name.endswith("_base64")},
            bearer=None,
            size=_size(str(arguments.get("size") or "auto"), model),
            image_count=max(1, min(10, job.sample_count)),
            media_format=arguments["output_format"] if arguments.get("output_format") in MEDIA_TYPES else "png",
            references=references,
        )

    async def _references(self, tool: str, arguments: dict[str, Any]) -> References:
        if tool == _INNER_TOOLS[0]:
            return NO_REFERENCES
        encoded, mask = arguments.get("reference_image_base64"), arguments.get("mask_image_base64")
        if arguments.get("reference_image_path"):
            return References(names=(str(arguments["reference_image_path"]),))
        if not encoded:
            raise _ServerError(INVALID_PARAMS, "Either reference_image_base64 or reference_image_path must be provided")
        return await self._state.uploaded([base64.b64decode(encoded)], base64.b64decode(mask) if mask else None)

    async def _job(self, arguments: dict[str, Any]) -> Job:
        self.counts.status_queries += 1
        self.counts.ids_queried += 1
        job_id = str(arguments.get("job_id") or "")
        if not job_id.strip():
            raise _ServerError(INVALID_PARAMS, "job_id is required")
        job = self._table.get(job_id)
        if job is None or (job.record is not None and not job.record.visible):
            self.counts.not_found += 1
            raise _ServerError(INVALID_PARAMS, f"Job not found: {job_id}")
        if job.record is not None:
            note_queried([job.record])
            await self._bring_up_to_date(job)
        return job

    async def _bring_up_to_date(self, job: Job) -> None:
        """Write the pictures of a job that has ended by now, once, however many ask."""
        async with self._writing:
            record = job.record
            if record is None or not record.finished or job.files or job.failure is not None:
                return
            if record.failure is not None:
                is_content = record.failure.content or record.failure.code in CONTENT_CODES
                job.failure = _failed(job, _REFUSED_PROMPT if is_content else f"500 {record.failure.message}")
            else:
                files = [await self._written(job, record, index) for index in range(record.image_count)]
                job.files = tuple(files) or ("",)
            self._table.keep(job)

    async def _written(self, job: Job, record: TaskRecord, index: int) -> str:
        path = self._table.place(job.output_path, index, job.sample_count)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(await self._state.picture(record, index))
        return record.behaviours.word("result-url", str(path))

    async def _status(self, arguments: dict[str, Any]) -> str:
        job = await self._job(arguments)
        text = job.status_text()
        if job.record is not None and job.status == "running" and job.record.behaviours.asks("unknown-state"):
            return text.replace("RUNNING", job.record.behaviours.word("unknown-state", "dreaming").upper())
        return text

    async def _result(self, arguments: dict[str, Any]) -> str:
        job = await self._job(arguments)
        if job.status != "completed":
            without = {"failed": f"Job failed: {job.failure}", "cancelled": "Job was cancelled and has no result."}
            still = f"Job is still {job.status}. Please wait for completion."
            raise _ServerError(INVALID_REQUEST, without.get(job.status, still))
        return job.result_text(without_files=job.files == ("",))

    async def _cancel(self, arguments: dict[str, Any]) -> str:
        job = await self._job(arguments)
        if job.status != "running":
            words = f"Cannot cancel job in {job.status} status. Only pending/running jobs can be cancelled."
            raise _ServerError(INVALID_REQUEST, words)
        job.cancelled = True
        return f"✅ Job cancelled successfully: {job.id}"

    async def _list(self, arguments: dict[str, Any]) -> str:
        self.counts.status_queries += 1
        self.counts.batch_queries += 1
        limit, offset = int(arguments.get("limit", 20)), int(arguments.get("offset", 0))
        if not 1 <= limit <= 100 or offset < 0:
            problem = "offset must be non-negative" if 1 <= limit <= 100 else "limit must be between 1 and 100"
            raise _ServerError(INVALID_PARAMS, problem)
        for job in self._table.newest():
            await self._bring_up_to_date(job)
        status, tool = arguments.get("status"), arguments.get("tool_name")
        of_status = [job for job in self._table.newest() if status in (None, job.status)]
        matching = [job for job in of_status if tool in (None, job.tool)]
        return list_text(matching[offset : offset + limit], offset=offset, total=len(of_status))


def _size(notation: str, model: str) -> tuple[int, int]:
    """Return width and height; refuse what the server refuses, except for sizes that are only too small.

    Small pictures are drawn, although the server wants 655,360 pixels, so that tests are fast.
    """
    if notation == "auto":
        return 1024, 1024
    size = re.fullmatch(r"(\d{1,4})x(\d{1,4})", notation)
    width, height = (int(size[1]), int(size[2])) if size else (0, 0)
    fits = width % 16 == height % 16 == 0 and 0 < max(width, height) <= 3840
    if not fits or max(width, height) > 3 * min(width, height) or width * height > 8_294_400:
        words = f"Invalid size for {model}: {notation}. Allowed presets: {', '.join(('auto', *_SMALL_SIZES))}."
        raise _ServerError(INVALID_PARAMS, words)
    return width, height


def _inner_error(refused: RefusedError, job: Job) -> str:
    """Return how OpenAI's refusal arrives, nested in the server's own words: status and message, without a code."""
    return _failed(job, _REFUSALS.get(refused.reason, "500 The server had an error while processing your request."))


def _failed(job: Job, said: str) -> str:
    return f"MCP error {INTERNAL_ERROR}: Failed to {job.tool.removesuffix('_image')} image: {said}"
