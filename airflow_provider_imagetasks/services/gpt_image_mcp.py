"""The GPT-Image MCP server of ex-takashima: jobs that live in the server's process. Follows its repository, 1.4.0.

It starts every job that has a tool and a prompt; whatever else is wrong with the request makes the job fail later. Its
results are files on the server's own disk.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    Billed,
    ContentPolicyError,
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services import exchange, gpt_image_texts
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.account_fields import ConnectionField
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.connection_contract import COMMAND_FIELDS
from airflow_provider_imagetasks.services.gpt_image_texts import JobError
from airflow_provider_imagetasks.services.rates import Rate, Window
from airflow_provider_imagetasks.services.refusals import CONTENT_POLICY_CODES, STATUSES, named_refusal
from airflow_provider_imagetasks.services.tool_answers import REFUSING_CODES, require_tools, tool_answer
from airflow_provider_imagetasks.services.wire import Flow, Response, Result, ToolAnswer, ToolCall, excerpt
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageFile, ImageRequest, ImageTask, TaskState

START, STATUS, RESULT = "start_generation_job", "check_job_status", "get_job_result"
CANCEL, LIST = "cancel_job", "list_jobs"
FILTERS = ("status", "tool_name", "limit", "offset")
TOOL_NAMES = ("generate_image", "edit_image", "transform_image")
_REFERENCES = ("reference_image_path", "reference_image_base64")
_EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp"}
_NOT_FOUND = "Job not found"
_STATES = {"pending": TaskState.RUNNING, "running": TaskState.RUNNING, "completed": TaskState.SUCCEEDED}
_OF_CONTENT = re.compile(rf"\b({'|'.join(CONTENT_POLICY_CODES)})\b|\bsafety system\b|\bcontent policy\b", re.IGNORECASE)
"""How OpenAI's refusals of a prompt read; their codes do not arrive."""
_CANCELLED = (
    "The job was marked as cancelled. Its request at OpenAI went on all the same and is billed, and its pictures may "
    "still arrive: a Clear of the sensor looks again"
)


class GptImageMcp(Service):
    """One's own GPT-Image MCP server: behind a bridge to streamable HTTP, or started for one session over stdio."""

    name = "gpt_image_mcp"
    title = "GPT-Image MCP server"
    default_base_url = "http://127.0.0.1:8096/mcp"
    default_model = "gpt-image-2"
    default_edit_model = "gpt-image-2"
    requires_key = False
    is_tool_server = True
    answers_hold_pictures = False
    default_query_rate = Rate((Window(20, 1),))
    requests_per_read = 2
    makes_edits = True
    takes_files = True
    most_edit_images = 1
    image_count_options = ("n", "sample_count")
    connection_fields: ClassVar[Mapping[str, ConnectionField]] = {
        "output_dir": ConnectionField(
            label="MCP: output folder",
            description="the folder in which it writes its pictures, as the server names it.",
        ),
        "path_map": ConnectionField(
            label="MCP: path map",
            description='where workers find the server\'s folders, as JSON: {"/srv/images": "/mnt/images"}.',
        ),
        **COMMAND_FIELDS,
    }
    unfinished_note = (
        "It may still finish there, and be billed. Or the server was restarted meanwhile: what it had begun then stays "
        "like this for ever, and nobody knows whether it was billed"
    )

    def server_environment(self, account: Account) -> Mapping[str, str | None]:
        """Return the variables that the server reads: the key of its account at OpenAI, and where to put pictures."""
        return {"OPENAI_API_KEY": account.key, "OPENAI_IMAGE_OUTPUT_DIR": account.output_dir}

    def complete(self, request: ImageRequest, account: Account) -> ImageRequest:
        """Return the request as it is sent; what the server would only notice after it has begun is refused here."""
        tool_name = _checked_tool(request, account)
        completed = super().complete(request, account)
        return replace(completed, options={**request.options, "tool_name": tool_name})

    def _check_edit(self, request: ImageRequest) -> None:
        if not all(isinstance(image, ImageFile) for image in request.images):
            raise InvalidRequestError(f"images holds a URL, and {self.title} fetches none: give the path of a file")
        super()._check_edit(request)

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        """Start a job; ``key`` becomes a part of the names of its files."""
        return exchange.submit(
            ToolCall(tool=START, arguments=_start_arguments(request, key)),
            lambda response: self._started(response, request),
            service=self.name,
            repeatable=False,
            how_to_look=self.how_to_look,
        )

    @property
    def how_to_look(self) -> str:
        """The place where a person finds out what became of a submission."""
        return (
            f"Look at the server's jobs (its tool {LIST}, or the hook's list_tasks) around that time, and at the usage "
            "of its OpenAI key, before you Clear."
        )

    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        """Ask for the status of a job, and for its result where it is completed: one or two calls."""
        task = yield from self._read(STATUS, image_task_id, self._status)
        if task.state is not TaskState.SUCCEEDED:
            return task
        return (yield from self._read(RESULT, image_task_id, self._result))

    def list_tasks(self, **filters: Any) -> Flow[list[ImageTask]]:
        """Ask for jobs, newest first, without their pictures.

        :param filters: ``status``, ``tool_name``, ``limit`` (1 to 100, by default 20), ``offset``.
        """
        unknown = sorted(set(filters) - set(FILTERS))
        if unknown:
            raise InvalidRequestError(f"{self.title} has no filter {', '.join(unknown)}; it has {', '.join(FILTERS)}")
        arguments = {name: value for name, value in filters.items() if value is not None}
        call = ToolCall(tool=LIST, arguments=arguments)
        return (yield from exchange.patiently(lambda: exchange.read(call, self._listed, service=self.name)))

    def cancel(self, image_task_id: str) -> Flow[str]:
        """Mark a job as cancelled, which stops nothing: it is still billed."""
        call = ToolCall(tool=CANCEL, arguments={"job_id": image_task_id})
        yield from exchange.read(call, lambda response: self._told(response, str), service=self.name)
        return _CANCELLED

    def check_connection(self) -> Flow[str]:
        """Ask which tools the server has, then for its newest job."""
        yield from require_tools((START, STATUS, RESULT, CANCEL, LIST), service=self.name, title=f"a {self.title}")
        yield from self.list_tasks(limit=1)
        return (
            f"The {self.title} answers. Whether its OpenAI key is good, and whether the workers reach output_dir, "
            "shows only when a picture is submitted."
        )

    def _read(
        self, tool: str, image_task_id: str, interpret: Callable[[ToolAnswer, str], ImageTask]
    ) -> Flow[ImageTask]:
        def task(response: Response) -> ImageTask:
            answer = self._answer(response)
            error = gpt_image_texts.read_error(answer)
            return interpret(answer, image_task_id) if error is None else self._error_task(answer, error, image_task_id)

        return exchange.read(ToolCall(tool=tool, arguments={"job_id": image_task_id}), task, service=self.name)

    def _answer(self, response: Response) -> ToolAnswer:
        """Return what a tool said, also where it said it by an error of JSON-RPC."""
        if isinstance(response, ToolAnswer) and response.from_tool:
            return response
        return tool_answer(response, service=self.name)

    def _told(self, response: Response, read: Callable[[str], Result | None]) -> tuple[str, Result]:
        """Return the text of a tool, and what ``read`` finds in it."""
        answer = self._answer(response)
        found = None if answer.is_error else read(answer.text)
        if found is None:
            raise self._error(answer)
        return answer.text, found

    def _started(self, response: Response, request: ImageRequest) -> ImageTask:
        answer = self._answer(response)
        # A job that is named was started, also where the answer is marked as an error.
        job_id = gpt_image_texts.read_started(answer.text)
        if job_id is None:
            raise self._error(answer)
        return self.submitted(job_id, request, response.at, {"text": answer.text})

    def _status(self, answer: ToolAnswer, image_task_id: str) -> ImageTask:
        text, (job_id, status, reason) = self._told(answer, gpt_image_texts.read_status)
        if job_id != image_task_id:
            raise self._error(answer)
        return self._task_in(status, image_task_id, reason=reason, text=text)

    def _result(self, answer: ToolAnswer, image_task_id: str) -> ImageTask:
        text, result = self._told(answer, gpt_image_texts.read_result)
        if result.job_id != image_task_id:
            raise self._error(answer)
        if result.paths is None:
            failure = ImageTaskFailedError(
                "The server says that the job is completed, but names no files: it made the pictures and lost track of "
                "them. They may be in its output folder",
                service=self.name,
                image_task_id=image_task_id,
                code="no_images",
                billed="yes",
            )
            return self._task_in("completed", image_task_id, error=failure, text=text)
        images = tuple(GeneratedImage(index=index, path=path) for index, path in enumerate(result.paths))
        return replace(self._task_in("completed", image_task_id, text=text), images=images, prompt=result.prompt)

    def _listed(self, response: Response) -> list[ImageTask]:
        _text, jobs = self._told(response, gpt_image_texts.read_list)
        return [self._task_in(status, job_id, reason="the list does not say why") for job_id, status in jobs]

    def _error_task(self, answer: ToolAnswer, error: JobError, image_task_id: str) -> ImageTask:
        """Return the image task that an error tells of, where it does."""
        if error.message.startswith(_NOT_FOUND):
            return self.not_found(image_task_id, {"text": answer.text})
        if error.message.startswith("Job is still "):
            return self._task_in("running", image_task_id)
        if error.message.startswith("Job failed: "):
            return self._task_in("failed", image_task_id, reason=error.message.removeprefix("Job failed: "))
        if error.message.startswith("Job was cancelled"):
            return self._task_in("cancelled", image_task_id)
        raise self._error(answer)

    def _task_in(
        self, status: str, image_task_id: str, *, reason: str = "", error: ImageTaskError | None = None, text: str = ""
    ) -> ImageTask:
        """Return an image task by the server's word for its status; words that nobody knows yet are no end.

        :param reason: why it failed, in the server's words.
        :param error: why it failed although the word does not say so.
        """
        if status == "failed":
            error = self._failure(reason, image_task_id)
        if status == "cancelled":
            error = ImageTaskFailedError(
                _CANCELLED, service=self.name, image_task_id=image_task_id, code="cancelled", billed="yes"
            )
        return ImageTask(
            id=image_task_id,
            service=self.name,
            state=TaskState.FAILED if error else _STATES.get(status, TaskState.RUNNING),
            raw_state=status,
            error=error,
            raw={"text": text} if text else {},
        )

    def _failure(self, reason: str, image_task_id: str) -> ImageTaskError:
        """Return why a job failed: the server passes on OpenAI's status and message, and not the code."""
        refusal, said = gpt_image_texts.read_refusal(reason), excerpt(reason)
        facts: dict[str, Any] = {"service": self.name, "image_task_id": image_task_id}
        if refusal is None:
            return ImageTaskFailedError(f"The server reports that the job failed: {said}", **facts)
        status, message = refusal
        facts["code"] = str(status)
        of_content = _OF_CONTENT.search(message)
        if of_content and status in (400, 403):
            facts["code"] = of_content[1] or facts["code"]
            return ContentPolicyError(f"OpenAI refused it because of its content policy: {said}", **facts)
        named = named_refusal(message, status)
        if named and named[0] is QuotaExceededError:
            return QuotaExceededError(
                f"OpenAI refused it because the account of the server's key has no balance: {said}", **facts
            )
        if status in (401, 403):
            return AuthenticationError(
                f"OpenAI refused the server's key or what its organization may do: {said}",
                retry_advice="Correct the OPENAI_API_KEY of the MCP server, then Clear the submit task.",
                **facts,
            )
        if STATUSES.get(status) is InvalidRequestError:
            return InvalidRequestError(f"The job was refused before anything was drawn: {said}", **facts)
        billed: Billed = "unknown" if status == 408 else "no"
        return ImageTaskFailedError(f"The server reports that the job failed: {said}", billed=billed, **facts)

    def _error(self, answer: ToolAnswer) -> ImageTaskError:
        """Return the error of an answer that is none of those that were hoped for."""
        error = gpt_image_texts.read_error(answer)
        where = f"{answer.tool} at {answer.server}"
        if error is None:
            return ProtocolError(
                f"{where} gave an unexpected answer: {excerpt(answer.text) or 'nothing'}", service=self.name
            )
        what = f"{where} refused: {excerpt(error.message) or 'no reason given'}"
        if error.code is None:
            return ProtocolError(what, service=self.name)
        error_class = InvalidRequestError if error.code in REFUSING_CODES else ServiceUnavailableError
        return error_class(what, service=self.name, code=str(error.code))


def _checked_tool(request: ImageRequest, account: Account) -> str:
    """Return the inner tool that a request is for; refuse what would fail, or endanger the pictures of others."""
    if account.output_dir is None:
        raise InvalidRequestError(
            f"Connection {account.conn_id!r} does not say where the pictures will be: set the extra field "
            "'output_dir' to the server's OPENAI_IMAGE_OUTPUT_DIR, and 'path_map' where workers find it elsewhere"
        )
    options = request.options
    tool_name = options.get("tool_name", TOOL_NAMES[bool(request.images)])
    if tool_name not in TOOL_NAMES:
        raise InvalidRequestError(f"options holds tool_name {tool_name!r}; it is one of {', '.join(TOOL_NAMES)}")
    has_reference = bool(request.images) or any(options.get(name) for name in _REFERENCES)
    if has_reference != (tool_name != TOOL_NAMES[0]):
        wanted = "takes no picture: remove images" if has_reference else "needs a picture to start from: give images"
        raise InvalidRequestError(f"{tool_name} {wanted}")
    if "output_path" in options:
        raise InvalidRequestError(
            "options holds output_path, by which one job could overwrite the pictures of another; remove it, and "
            "name the files where they are downloaded"
        )
    if "n" in options and "sample_count" in options:
        raise InvalidRequestError("options holds n and sample_count, which are the same; keep n")
    if options.get("output_format", "png") not in _EXTENSIONS:
        raise InvalidRequestError(
            f"options holds output_format {options['output_format']!r}; it is one of {', '.join(_EXTENSIONS)}"
        )
    return str(tool_name)


def _start_arguments(request: ImageRequest, key: str | None) -> dict[str, Any]:
    """Return the arguments of a start; the server hands those that its schema does not list to the inner tool."""
    arguments = {name: value for name, value in request.options.items() if name != "n"}
    if "n" in request.options:
        arguments["sample_count"] = request.options["n"]
    pictures = {"reference_image_base64": next(iter(request.images), None), "mask_image_base64": request.mask}
    for name, image in pictures.items():
        if isinstance(image, ImageFile):
            arguments[name] = base64.b64encode(image.content).decode()
    extension = _EXTENSIONS[arguments.get("output_format", "png")]
    known = re.sub(r"[^0-9A-Za-z-]", "-", key or "")[:64]
    # The server overwrites what is there, and finds no name for several pictures without an extension.
    name = "-".join(filter(None, ("imagetasks", known, uuid.uuid4().hex[:12])))
    return {**arguments, "prompt": request.prompt, "model": request.model, "output_path": f"{name}.{extension}"}
