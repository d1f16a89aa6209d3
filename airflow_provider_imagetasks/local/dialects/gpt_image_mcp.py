"""The dialect of the GPT-Image MCP server: jobs, texts for people, and files on its own disk."""

from __future__ import annotations

import asyncio
import base64
import re
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, Submission
from airflow_provider_imagetasks.local.dialects import gpt_image_texts as texts
from airflow_provider_imagetasks.local.dialects import mishaps
from airflow_provider_imagetasks.local.dialects.dialect import bearer_of
from airflow_provider_imagetasks.local.dialects.gpt_image_jobs import DEFAULT_PATHS, Job, JobTable
from airflow_provider_imagetasks.local.dialects.gpt_image_tools import (
    CANCEL,
    INNER_TOOLS,
    LIST,
    RESULT,
    START,
    STATUS,
    TOOLS,
)
from airflow_provider_imagetasks.local.mcp.endpoint import McpEndpoint
from airflow_provider_imagetasks.local.mcp.tools import ToolDescription, ToolResult, ToolServer, UnknownToolError
from airflow_provider_imagetasks.local.pictures import MEDIA_TYPES
from airflow_provider_imagetasks.local.records import Failure
from airflow_provider_imagetasks.local.references import NO_REFERENCES, References

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.state import ServiceState
    from airflow_provider_imagetasks.local.statistics import DialectStatistics

NAME, PREFIX = "gpt_image_mcp", "/mcp/gpt-image"
INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32600, -32601, -32602, -32603
_UNKNOWN_WORDING = "unknown-state"


class _ServerError(Exception):
    """An error as the server throws it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class GptImageMcpServer(ToolServer):
    """Answers the tools as the server does, which starts nearly everything and fails it later."""

    server_name = "openai-gpt-image-mcp-server"
    # As behind a bridge that keeps one server for all its clients.
    stateless = False
    answers_json = False
    name = NAME
    prefix = PREFIX

    def __init__(self, state: ServiceState) -> None:
        self._state = state
        self._endpoint = McpEndpoint(self, PREFIX)
        self._table = JobTable(state.options.output_dir)
        self._writing = asyncio.Lock()
        state.on_reset(self._table.forget)

    @property
    def counts(self) -> DialectStatistics:
        """The server's counts."""
        return self._state.statistics.dialects[NAME]

    def routes(self) -> list[web.RouteDef]:
        """Return the server's routes."""
        return self._endpoint.routes()

    async def close(self) -> None:
        """End all sessions."""
        await self._endpoint.close()

    def tools(self) -> list[ToolDescription]:
        """Return its tools."""
        return list(TOOLS)

    async def call(self, tool: str, arguments: dict[str, Any], request: web.Request | None) -> ToolResult:
        """Call a tool; errors come as a result that is marked as one."""
        calls = {START: self._start, STATUS: self._status, RESULT: self._result, CANCEL: self._cancel, LIST: self._list}
        if tool not in calls:
            raise UnknownToolError(tool)
        try:
            return ToolResult(await calls[tool](arguments))
        except _ServerError as error:
            return ToolResult(texts.error(error.code, str(error)), is_error=True)
        except RefusedError as refused:
            if refused.reason in mishaps.BELOW_ANY_DIALECT:
                raise
            action = "start job" if tool == START else "check job status"
            return ToolResult(texts.error(INTERNAL_ERROR, f"Failed to {action}: {refused.message}"), is_error=True)

    def refusal(self, request: web.Request) -> web.Response | None:
        """Turn away whoever has no key, as a proxy in front would: the server itself asks for none."""
        try:
            self._state.admission.check_key(bearer_of(request))
        except RefusedError:
            return web.Response(status=401, text="Unauthorized", headers={"WWW-Authenticate": "Bearer"})
        return None

    async def go_wrong(self, request: web.Request, refused: RefusedError) -> web.StreamResponse:
        """Answer an HTTP request that is to go wrong."""
        return (await mishaps.broken_answer(request, refused))[0]

    async def _start(self, arguments: dict[str, Any]) -> str:
        self.counts.submissions += 1
        tool, prompt = arguments.get("tool_name"), arguments.get("prompt")
        if tool not in INNER_TOOLS:
            self.counts.refused["tool_name"] += 1
            raise _ServerError(INVALID_PARAMS, f"tool_name must be one of: {', '.join(INNER_TOOLS)}")
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
            job.record, _new = self._state.admission.admit(await self._submission(job, arguments))
        except RefusedError as refused:
            self.counts.refused[refused.reason.value] += 1
            if refused.reason in mishaps.BELOW_ANY_DIALECT:
                raise
            # What OpenAI refuses is only asked for once the job has begun.
            job.failure = _inner_error(refused)
        if job.record is not None:
            job.id = job.record.id
        self._table.add(job)
        if job.record is not None:
            mishaps.check_after_submission(self._state.admission, job.record)
        return texts.started(job)

    async def _submission(self, job: Job, arguments: dict[str, Any]) -> Submission:
        """Return the image task that a job stands for; what is wrong with it makes that fail."""
        failure, references = None, NO_REFERENCES
        try:
            self._table.place(job.output_path, 0, job.sample_count)
            references = await self._references(job.tool, arguments)
        except ValueError as error:
            failure = Failure(str(error))
        notation = str(arguments.get("size") or "auto")
        size = re.fullmatch(r"(\d{1,4})x(\d{1,4})", notation)
        if size is None and notation != "auto":
            failure = Failure(f"Invalid size: {notation}")
        return Submission(
            dialect=NAME,
            prompt=job.prompt,
            model=str(arguments.get("model") or "gpt-image-1"),
            kind=job.tool,
            body={name: value for name, value in arguments.items() if not name.endswith("_base64")},
            bearer=None,
            size=(int(size[1]), int(size[2])) if size and int(size[1]) and int(size[2]) else (1024, 1024),
            image_count=max(1, min(10, job.sample_count)),
            media_format=arguments["output_format"] if arguments.get("output_format") in MEDIA_TYPES else "png",
            failure=failure,
            references=references,
        )

    async def _references(self, tool: str, arguments: dict[str, Any]) -> References:
        encoded, mask = arguments.get("reference_image_base64"), arguments.get("mask_image_base64")
        if tool == INNER_TOOLS[0]:
            return NO_REFERENCES
        if arguments.get("reference_image_path"):
            return References(names=(str(arguments["reference_image_path"]),))
        if not encoded:
            raise ValueError("Either reference_image_base64 or reference_image_path must be provided")
        try:
            return await self._state.uploaded([base64.b64decode(encoded)], base64.b64decode(mask) if mask else None)
        except RefusedError as refused:
            raise ValueError(refused.message) from refused

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
            mishaps.note_queried([job.record])
            await self._bring_up_to_date(job)
        return job

    async def _bring_up_to_date(self, job: Job) -> None:
        """Write the pictures of a job that has ended by now, once, however many ask."""
        async with self._writing:
            await self._write(job)

    async def _write(self, job: Job) -> None:
        record = job.record
        if record is None or not record.finished or job.files or job.failure is not None:
            return
        if record.failure is not None:
            code = record.failure.code or ("moderation_blocked" if record.failure.content else None)
            job.failure = (
                f"MCP error -32603: Failed to generate image: {f'{code}: ' if code else ''}{record.failure.message}"
            )
        else:
            job.files = tuple([str(await self._written(job, index)) for index in range(record.image_count)])
            if not job.files:
                job.files = ("",)
        self._table.ended(job)

    async def _written(self, job: Job, index: int) -> Any:
        if job.record is None:
            raise ValueError("a job of an earlier process makes no pictures")
        path = self._table.place(job.output_path, index, job.sample_count)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(await self._state.picture(job.record, index))
        return job.record.behaviours.word("result-url", str(path))

    async def _status(self, arguments: dict[str, Any]) -> str:
        job = await self._job(arguments)
        if job.record is not None and job.status == "running" and job.record.behaviours.asks(_UNKNOWN_WORDING):
            return texts.status(job).replace(
                "RUNNING", job.record.behaviours.word(_UNKNOWN_WORDING, "dreaming").upper()
            )
        return texts.status(job)

    async def _result(self, arguments: dict[str, Any]) -> str:
        job = await self._job(arguments)
        if job.status == "failed":
            raise _ServerError(INVALID_REQUEST, f"Job failed: {job.failure}")
        if job.status == "cancelled":
            raise _ServerError(INVALID_REQUEST, "Job was cancelled and has no result.")
        if job.status != "completed":
            raise _ServerError(INVALID_REQUEST, f"Job is still {job.status}. Please wait for completion.")
        return texts.result(job, without_files=job.files == ("",))

    async def _cancel(self, arguments: dict[str, Any]) -> str:
        job = await self._job(arguments)
        if job.status != "running":
            raise _ServerError(
                INVALID_REQUEST,
                f"Cannot cancel job in {job.status} status. Only pending/running jobs can be cancelled.",
            )
        job.cancelled = True
        return f"✅ Job cancelled successfully: {job.id}"

    async def _list(self, arguments: dict[str, Any]) -> str:
        self.counts.status_queries += 1
        self.counts.batch_queries += 1
        limit, offset = int(arguments.get("limit", 20)), int(arguments.get("offset", 0))
        if not 1 <= limit <= 100:
            raise _ServerError(INVALID_PARAMS, "limit must be between 1 and 100")
        if offset < 0:
            raise _ServerError(INVALID_PARAMS, "offset must be non-negative")
        for job in self._table.newest():
            await self._bring_up_to_date(job)
        status, tool = arguments.get("status"), arguments.get("tool_name")
        of_status = [job for job in self._table.newest() if status in (None, job.status)]
        matching = [job for job in of_status if tool in (None, job.tool)]
        return texts.listed(matching[offset : offset + limit], offset=offset, total=len(of_status))


def _inner_error(refused: RefusedError) -> str:
    """Return how OpenAI's refusal arrives, nested in the server's own words."""
    status, code = {
        Reason.CONTENT: (400, refused.code or "moderation_blocked"),
        Reason.NO_CREDIT: (429, "insufficient_quota"),
        Reason.RATE_LIMITED: (429, "rate_limit_exceeded"),
        Reason.EXPIRED_KEY: (401, "invalid_api_key"),
    }.get(refused.reason, (500, "server_error"))
    return f"MCP error {INTERNAL_ERROR}: Failed to generate image: {status} {code}: {refused.message}"
