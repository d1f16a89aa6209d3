"""The dialect of OpenAI's Responses API: background responses that call the image generation tool."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from typing import Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, note_queried, require
from airflow_provider_imagetasks.local.callback_sender import signed_event
from airflow_provider_imagetasks.local.dialects.dialect import Body, Dialect, bearer_of, read_json
from airflow_provider_imagetasks.local.drawing import MEDIA_TYPES, in_proportion
from airflow_provider_imagetasks.local.task_table import NO_REFERENCES, References, TaskRecord
from airflow_provider_imagetasks.local.uploads import MOST_REFERENCES

TOOL = "image_generation"
LONGEST_SIDE, MOST_PIXELS = 3840, 8_294_400
_LARGEST_BODY = 256 * 1024 * 1024
"""Bytes; files of an edit come in base64."""
_CANCELLED = "cancelled"
_INCOMPLETE = ("max_output_tokens", "content_filter")
_QUALITIES = ("low", "medium", "high", "xhigh", "max", "auto")
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,(.*)", re.DOTALL)
_ERRORS: dict[Reason, tuple[int, str, str | None]] = {
    Reason.INVALID: (400, "invalid_request_error", None),
    Reason.UNPROCESSABLE: (400, "invalid_request_error", None),
    Reason.CONTENT: (400, "image_generation_user_error", "moderation_blocked"),
    Reason.MISSING_KEY: (401, "invalid_request_error", None),
    Reason.WRONG_KEY: (401, "invalid_request_error", "invalid_api_key"),
    Reason.EXPIRED_KEY: (401, "invalid_request_error", "invalid_api_key"),
    Reason.NO_CREDIT: (429, "insufficient_quota", "insufficient_quota"),
    Reason.NOT_FOUND: (404, "invalid_request_error", None),
    Reason.RATE_LIMITED: (429, "requests", "rate_limit_exceeded"),
    Reason.ERROR_IN_200: (200, "server_error", "server_error"),
}
"""Status, type and code of each."""


class OpenAIDialect(Dialect):
    """Speaks as OpenAI does. Its webhook is set up once for all image tasks, by the option ``webhook_url``."""

    name, prefix = "openai", "/openai/v1"
    cancelled_code = _CANCELLED
    unknown_id = "Response with id '{id}' not found."

    def routes(self) -> list[web.RouteDef]:
        """Return the dialect's routes."""
        responses = f"{self.prefix}/responses"
        return [
            web.post(responses, self.handle_submission),
            web.get(f"{responses}/{{id}}", self.handle_status),
            web.post(f"{responses}/{{id}}/cancel", self.handle_cancel),
        ]

    async def read_submission(self, request: web.Request) -> TaskRecord:
        """Understand a request for a picture."""
        body = await read_json(request.clone(client_max_size=_LARGEST_BODY))
        body.text("model", required=True)
        require(body.get("background") is True, "this double answers background responses only: set background to true")
        require(body.get("store") is not False, "background responses are stored")
        tool = _tool_of(body)
        prompt, pictures = _input_of(body)
        quality, media_format = tool.text("quality") or "auto", tool.text("output_format") or "png"
        require(quality in _QUALITIES, f"quality is one of {', '.join(_QUALITIES)}")
        require(media_format in MEDIA_TYPES, f"output_format is one of {', '.join(MEDIA_TYPES)}")
        references = await self._references(pictures, tool)
        return TaskRecord(
            id=f"resp_{uuid.uuid4().hex}",
            dialect=self.name,
            prompt=prompt,
            model=tool.text("model") or "gpt-image-1",
            kind="edit" if pictures else "generation",
            request={**body, "tools": [tool]},
            bearer=bearer_of(request),
            size=size_of(tool.get("size"), references),
            media_format=media_format,
            in_base64=True,
            references=references,
        )

    async def accepted(self, request: web.Request, record: TaskRecord) -> web.StreamResponse:
        """Answer with the response that has just been made."""
        return web.json_response(await self.response(record, is_new=True))

    async def status(self, request: web.Request) -> web.StreamResponse:
        """Answer with a response, and the picture in it once it is there."""
        self.counts.ids_queried += 1
        record = self.record_of(request)
        note_queried([record])
        return web.json_response(await self.response(record))

    def promise_callback(self, request: web.Request, record: TaskRecord) -> None:
        """Promise the call of the webhook, if there is one."""
        if self.state.options.webhook_url:
            origin = str(request.url.origin())
            self.state.callbacks.promise(record, self.state.options.webhook_url, lambda: self.callback(record, origin))

    async def callback(self, record: TaskRecord, origin: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the event and the headers that sign it."""
        at = record.finished_at or record.created_at
        return signed_event(f"response.{_word_of(record)}", record.id, at=at, options=self.state.options)

    async def response(self, record: TaskRecord, *, is_new: bool = False) -> dict[str, Any]:
        """Word an image task.

        :param is_new: whether that answers its submission, when it is only about to start.
        """
        finished, failure = record.finished and not is_new, record.failure
        status = "queued" if is_new or not record.status_queries else "in_progress"
        if record.behaviours.asks("unknown-state"):
            status = record.behaviours.word("unknown-state", "dreaming")
        status = _word_of(record) if finished else status
        asked, code = Body(record.request), failure and failure.code
        words = len(record.behaviours.text.split())
        tool = {name: value for name, value in asked["tools"][0].items() if name != "input_image_mask"}
        error = None
        if status == "failed" and failure is not None:
            usual = "image_content_policy_violation" if failure.content else "server_error"
            error = {"code": code or usual, "message": failure.message}
        return {
            "id": record.id,
            "object": "response",
            "created_at": int(record.created_at),
            "completed_at": record.finished_at if status == "completed" else None,
            "status": status,
            "background": True,
            "store": True,
            "error": error,
            "incomplete_details": {"reason": code} if status == "incomplete" else None,
            "instructions": asked.get("instructions"),
            "max_output_tokens": asked.get("max_output_tokens"),
            "max_tool_calls": asked.get("max_tool_calls"),
            "metadata": asked.get("metadata") or {},
            "model": asked["model"],
            "output": await self._output(record, tool) if status == "completed" else [],
            "parallel_tool_calls": True,
            "tool_choice": asked.get("tool_choice", "auto"),
            "tools": [tool],
            "usage": _tokens(words, 20) if finished else None,
            "tool_usage": {"image_gen": _tokens(words, 1056 * record.image_count)} if finished else None,
        }

    def error(self, refused: RefusedError) -> tuple[web.Response, str]:
        """Word an error; return the answer and the code to count it under."""
        status, kind, code = self.worded(refused)
        body = {"error": {"message": refused.message, "type": kind, "param": None, "code": code}}
        return web.json_response(body, status=status), code or kind

    @staticmethod
    def worded(refused: RefusedError) -> tuple[int, str, str | None]:
        """Return status, type and code of an error."""
        status, kind, code = _ERRORS.get(refused.reason, (refused.status, "server_error", "server_error"))
        return status, kind, refused.code or code

    async def _references(self, pictures: list[str], tool: Body) -> References:
        """Take over the pictures of an edit: files as base64, or URLs."""
        if not pictures:
            return NO_REFERENCES
        files = [content for content in map(_file_in, pictures) if content is not None]
        if not files:
            return await self.state.referenced(pictures)
        require(len(files) == len(pictures), "this double takes either URLs or files")
        mask = tool.get("input_image_mask")
        try:
            return await self.state.uploaded(files, _file_in(mask["image_url"]) if isinstance(mask, dict) else None)
        except (KeyError, ValueError) as error:
            raise RefusedError(Reason.INVALID, str(error), code="invalid_image") from error

    async def _output(self, record: TaskRecord, tool: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the calls of the tool, one a picture, and what the model says at the end."""
        calls = []
        for index in range(record.image_count):
            picture = await self.state.picture(record, index)
            calls.append(
                {
                    "id": f"ig_{uuid.uuid4().hex}",
                    "type": f"{TOOL}_call",
                    "status": "completed",
                    "action": record.kind if record.kind == "edit" else "generate",
                    "background": "opaque",
                    "output_format": record.media_format,
                    "quality": tool.get("quality") or "auto",
                    "size": f"{record.size[0]}x{record.size[1]}",
                    "revised_prompt": record.behaviours.text,
                    "result": base64.b64encode(picture).decode("ascii"),
                }
            )
        said = "" if calls else "I have made no picture."
        content = [{"type": "output_text", "text": said, "annotations": [], "logprobs": []}]
        message = {"id": f"msg_{uuid.uuid4().hex}", "type": "message", "status": "completed", "role": "assistant"}
        return [*calls, {**message, "content": content}]

    async def stopped(self, request: web.Request, record: TaskRecord, was_running: bool) -> web.StreamResponse:
        """Answer a cancel with the response; one that is over stays as it is."""
        return web.json_response(await self.response(record))


def size_of(notation: Any, references: References) -> tuple[int, int]:
    """Return the size to draw: ``WIDTHxHEIGHT``, or one in the proportions of what is edited."""
    if notation in (None, "auto"):
        return in_proportion(references.size or (1, 1), 1024)
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", notation) if isinstance(notation, str) else None
    require(match is not None, "size is auto or WIDTHxHEIGHT")
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    is_fine = width and height and max(width, height) <= LONGEST_SIDE and width * height <= MOST_PIXELS
    require(is_fine and not width % 16 and not height % 16, "both sides of size are multiples of 16, up to 3840x2160")
    return width, height


def _tool_of(body: Body) -> Body:
    tools = body.get("tools")
    found = [tool for tool in tools if isinstance(tool, dict) and tool.get("type") == TOOL] if tools else []
    require(isinstance(tools, list) and len(found) == len(tools) == 1, f"this double has one tool, {TOOL}")
    return Body(found[0])


def _input_of(body: Body) -> tuple[str, list[str]]:
    """Return the prompt and the addresses of the pictures to edit."""
    asked: Any = body.get("input")
    if isinstance(asked, str):
        asked = [{"role": "user", "content": [{"type": "input_text", "text": asked}]}]
    require(isinstance(asked, list) and all(isinstance(item, dict) for item in asked), "input is a text or messages")
    texts: list[str] = []
    pictures: list[str] = []
    for item in asked:
        content = item.get("content")
        parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
        if not (isinstance(parts, list) and all(isinstance(part, dict) for part in parts)):
            raise RefusedError(Reason.INVALID, "content is a list of parts")
        texts += [part["text"] for part in parts if isinstance(part.get("text"), str)]
        pictures += [part["image_url"] for part in parts if isinstance(part.get("image_url"), str)]
    prompt = "\n".join(texts)
    require(prompt.strip(), "input is required")
    require(len(pictures) <= MOST_REFERENCES, f"at most {MOST_REFERENCES} pictures are given")
    return prompt, pictures


def _file_in(url: str) -> bytes | None:
    """Return the file that a ``data:`` URL holds; None for any other."""
    match = _DATA_URL.fullmatch(url)
    try:
        return base64.b64decode(match[1], validate=True) if match else None
    except binascii.Error as error:
        raise RefusedError(Reason.INVALID, "image_url is not base64", code="invalid_base64_image") from error


def _word_of(record: TaskRecord) -> str:
    """Return the state of an image task that has ended."""
    failure = record.failure
    if failure is None:
        return "completed"
    if failure.code == _CANCELLED:
        return "cancelled"
    return "incomplete" if failure.code in _INCOMPLETE else "failed"


def _tokens(input_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input_tokens + output_tokens,
    }
