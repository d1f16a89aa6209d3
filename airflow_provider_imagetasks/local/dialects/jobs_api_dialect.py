"""The createTask family: ``createTask``, ``recordInfo``, a code in each answer; and the dialect of AI GPT Image."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from typing import Any, ClassVar

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, note_queried, require
from airflow_provider_imagetasks.local.dialects.dialect import Body, Dialect, bearer_of, file_url, read_json
from airflow_provider_imagetasks.local.drawing import in_proportion
from airflow_provider_imagetasks.local.task_table import NO_REFERENCES, References, TaskRecord
from airflow_provider_imagetasks.local.uploads import MOST_REFERENCES

_CODES = {
    Reason.INVALID: 400,
    Reason.UNPROCESSABLE: 422,
    Reason.CONTENT: 400,
    Reason.MISSING_KEY: 401,
    Reason.WRONG_KEY: 401,
    Reason.EXPIRED_KEY: 401,
    Reason.NO_CREDIT: 402,
    Reason.NOT_FOUND: 404,
    Reason.RATE_LIMITED: 429,
}
_LONGEST_PROMPT = 20_000
_REFERENCE_LISTS = ("input_urls", "image_urls", "image_input")
_SINGLE_REFERENCES = ("image_url", "image")
_EDIT_SUFFIX = "image-to-image"
_REQUIRED_REFERENCES = {
    "recraft/": "image",
    **dict.fromkeys(("topaz/", "ideogram/v3-reframe", "qwen/image-edit", "qwen/image-to-image"), "image_url"),
    **dict.fromkeys(("google/nano-banana-edit", "bytedance/seedream-v4-edit", "seedream/4.5-edit"), "image_urls"),
    **dict.fromkeys(("seedream/5-lite-image", "grok-imagine/image-to-image"), "image_urls"),
}
"""Where models that start from a picture want it, by how their names begin."""
_WITHOUT_PROMPT = ("recraft/", "topaz/", "ideogram/v3-reframe")
_LONG_SIDES = {"1K": 1024, "2K": 2048, "4K": 3840}


class JobsApiDialect(Dialect):
    """Speaks the createTask family, except for what each service does its own way."""

    aspect_ratios: ClassVar[tuple[str, ...]]
    """What ``input.aspect_ratio`` may be."""
    request_id_header: ClassVar[str | None] = None
    """What makes a repeated submission known, where the service honours such a thing."""
    failure_code: ClassVar[str]
    """The usual code of a failure that is not for the content."""

    @abstractmethod
    def beginning(self, record: TaskRecord, end: float | None) -> dict[str, Any]:
        """Return what a record says besides its result; ``end`` is None while the image task runs."""

    def routes(self) -> list[web.RouteDef]:
        """Return the dialect's routes."""
        return [
            web.post(f"{self.prefix}/api/v1/jobs/createTask", self.handle_submission),
            web.get(f"{self.prefix}/api/v1/jobs/recordInfo", self.handle_status),
        ]

    def code(self, refused: RefusedError) -> int:
        """Return the usual code of an error, or the one that a prompt asks for."""
        if refused.code is not None and refused.code.isdecimal():
            return int(refused.code)
        return refused.status if refused.reason is Reason.SERVER_ERROR else _CODES.get(refused.reason, 500)

    def check_submission(self, body: Body) -> None:
        """Check what only this service knows or does not take, of a body with a model and an input with a prompt."""

    async def read_submission(self, request: web.Request) -> TaskRecord:
        """Understand a request for pictures."""
        body = await read_json(request)
        model = body.text("model", required=True)
        require(isinstance(body.get("input"), dict), "input is an object and is required")
        order = Body(body["input"])
        prompt, needs_none = order.get("prompt", ""), model.startswith(_WITHOUT_PROMPT)
        require(not (needs_none and prompt), f"input.prompt is unknown to {model}", Reason.UNPROCESSABLE)
        is_text = isinstance(prompt, str) and prompt.strip() and len(prompt) <= _LONGEST_PROMPT
        is_fine = is_text or needs_none
        words = f"input.prompt is a text of 1 to {_LONGEST_PROMPT} characters"
        require(is_fine, words, Reason.UNPROCESSABLE)
        self.check_submission(body)
        references = await self._references(model, order)
        return TaskRecord(
            dialect=self.name,
            prompt=prompt,
            model=model,
            kind="generation",
            request=body,
            bearer=bearer_of(request),
            size=self._size(order, references),
            request_id=request.headers.get(self.request_id_header) if self.request_id_header else None,
            references=references,
        )

    def record(self, record: TaskRecord, origin: str) -> dict[str, Any]:
        """Word an image task."""
        end, behaviours, failure = record.finished_at, record.behaviours, record.failure
        told: dict[str, Any] = {
            "taskId": record.id,
            "model": record.model,
            "param": json.dumps(record.request),
            "costTime": None,
            "createTime": int(record.created_at * 1000),
            **self.beginning(record, end),
        }
        if end is None and behaviours.asks("unknown-state"):
            told["state"] = behaviours.word("unknown-state", "dreaming")
        elif end is not None and failure is not None:
            code = failure.code or ("400" if failure.content else self.failure_code)
            told |= {"state": "fail", "failCode": code, "failMsg": failure.message}
        elif end is not None:
            urls = [file_url(origin, record, index) for index in range(record.image_count)]
            result = json.dumps({"resultUrls": urls})
            told |= {"state": "success", "resultJson": result, "costTime": int(record.latency * 1000)}
        return told

    async def accepted(self, request: web.Request, record: TaskRecord) -> web.StreamResponse:
        """Answer with the id."""
        return envelope(200, "success", {"taskId": record.id})

    async def status(self, request: web.Request) -> web.StreamResponse:
        """Answer ``recordInfo``."""
        task_id = request.query.get("taskId", "")
        require(task_id, "taskId is required")
        self.counts.ids_queried += 1
        record = self.find(task_id, bearer_of(request))
        if record is None:
            self.counts.not_found += 1
            raise RefusedError(Reason.NOT_FOUND, "no image task has this id")
        note_queried([record])
        return envelope(200, "success", self.record(record, str(request.url.origin())))

    def find(self, task_id: str, bearer: str | None) -> TaskRecord | None:
        """Return the image task that a status query finds."""
        return self.state.tasks.find(self.name, task_id, bearer)

    async def _references(self, model: str, order: Body) -> References:
        fields = (*_REFERENCE_LISTS, *_SINGLE_REFERENCES)
        try:
            found = {
                field: urls
                for field in fields
                if (urls := order.urls(field, most=MOST_REFERENCES, allow_one=field in _SINGLE_REFERENCES))
            }
        except RefusedError as refused:
            raise RefusedError(Reason.UNPROCESSABLE, f"input.{refused.message}") from refused
        needed = next((field for start, field in _REQUIRED_REFERENCES.items() if model.startswith(start)), None)
        if needed or model.endswith(_EDIT_SUFFIX):
            is_there = needed in found if needed else bool(found)
            words = f"input.{needed or _REFERENCE_LISTS[0]} is required by {model}"
            require(is_there, words, Reason.UNPROCESSABLE)
        return await self.state.referenced(next(iter(found.values()))) if found else NO_REFERENCES

    def _size(self, order: Body, references: References) -> tuple[int, int]:
        ratio, resolution = order.get("aspect_ratio") or "auto", order.get("resolution") or "1K"
        ratios, resolutions = ", ".join(self.aspect_ratios), ", ".join(_LONG_SIDES)
        require(ratio in self.aspect_ratios, f"input.aspect_ratio is one of {ratios}", Reason.UNPROCESSABLE)
        require(resolution in tuple(_LONG_SIDES), f"input.resolution is one of {resolutions}", Reason.UNPROCESSABLE)
        if ratio == "auto":
            return in_proportion(references.size or (1, 1), _LONG_SIDES[resolution])
        width, _, height = ratio.partition(":")
        return in_proportion((int(width), int(height)), _LONG_SIDES[resolution])


class AiGptImageDialect(JobsApiDialect):
    """Speaks as AI GPT Image does: errors are HTTP errors, and a repeated ``X-Request-ID`` is not charged twice."""

    name, prefix = "aigptimage", "/aigptimage"
    request_id_header = "X-Request-ID"
    failure_code = "500"
    aspect_ratios = ("auto", "1:1", "4:5", "3:4", "2:3", "16:9", "9:16", "21:9")

    def error(self, refused: RefusedError) -> tuple[web.Response, str]:
        """Word an error; return the answer and the code to count it under."""
        code = self.code(refused)
        data = None
        if refused.reason is Reason.RATE_LIMITED:
            data = {
                "retryAfter": math.ceil(refused.retry_after or 0),
                "limit": refused.limit.count if refused.limit else 1,
                "tier": "local",
                "windowSeconds": refused.limit.seconds if refused.limit else 1,
            }
        status = 200 if refused.reason is Reason.ERROR_IN_200 else code if 400 <= code < 600 else 400
        return envelope(code, refused.message, data, status=status), str(code)

    def beginning(self, record: TaskRecord, end: float | None) -> dict[str, Any]:
        """Return what a record says besides its result: nothing but its state changes until it succeeds."""
        ended = None if end is None or record.failure else int(end * 1000)
        return {"state": "waiting", **dict.fromkeys(("resultJson", "failCode", "failMsg")), "completeTime": ended}


def envelope(code: int, message: str, data: Any, *, status: int = 200) -> web.Response:
    """Return an answer of the family."""
    return web.json_response({"code": code, "msg": message, "data": data}, status=status)
