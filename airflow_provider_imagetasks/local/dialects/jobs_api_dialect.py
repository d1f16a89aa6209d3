"""The createTask family: ``createTask``, ``recordInfo``, a code in each answer; and the dialect of AI GPT Image."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from typing import Any, ClassVar

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, note_queried
from airflow_provider_imagetasks.local.dialects.dialect import (
    Dialect,
    bearer_of,
    file_url,
    in_proportion,
    read_json,
    url_list,
)
from airflow_provider_imagetasks.local.service_state import ServiceState
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
_REFERENCE_FIELDS = ("input_urls", "image_urls", "image_input")
_EDIT_SUFFIX = "image-to-image"
_LONG_SIDES = {"1K": 1024, "2K": 2048, "4K": 3840}


class JobsApiDialect(Dialect):
    """Speaks the createTask family, except for what each service does its own way."""

    service: ClassVar[str]
    """The service's name in a connection, and the path below which its dialect is spoken."""
    aspect_ratios: ClassVar[tuple[str, ...]]
    """What ``input.aspect_ratio`` may be."""

    def __init__(self, state: ServiceState) -> None:
        super().__init__(state, name=self.service, prefix=f"/{self.service}")

    @abstractmethod
    def record(self, record: TaskRecord, origin: str) -> dict[str, Any]:
        """Word an image task."""

    def routes(self) -> list[web.RouteDef]:
        """Return the dialect's routes."""
        return [
            web.post(f"{self.prefix}/api/v1/jobs/createTask", self.handle_submission),
            web.get(f"{self.prefix}/api/v1/jobs/recordInfo", self.handle_status),
        ]

    def request_id(self, request: web.Request) -> str | None:
        """Return what makes a repeated submission known, where the service honours such a thing."""
        return None

    def code(self, refused: RefusedError) -> int:
        """Return the usual code of an error, or the one that a prompt asks for."""
        if refused.code is not None and refused.code.isdecimal():
            return int(refused.code)
        return refused.status if refused.reason is Reason.SERVER_ERROR else _CODES.get(refused.reason, 500)

    def check_submission(self, body: dict[str, Any]) -> None:
        """Check what only this service knows or does not take, of a body with a model and an input with a prompt."""

    async def read_submission(self, request: web.Request) -> TaskRecord:
        """Understand a request for pictures."""
        body = await read_json(request)
        model, order = body.get("model"), body.get("input")
        if not isinstance(model, str) or not model.strip():
            raise RefusedError(Reason.INVALID, "model is a text and is required")
        if not isinstance(order, dict):
            raise RefusedError(Reason.INVALID, "input is an object and is required")
        prompt = order.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip() or len(prompt) > _LONGEST_PROMPT:
            raise RefusedError(Reason.UNPROCESSABLE, f"input.prompt is a text of 1 to {_LONGEST_PROMPT} characters")
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
            request_id=self.request_id(request),
            references=references,
        )

    async def accepted(self, request: web.Request, record: TaskRecord) -> web.StreamResponse:
        """Answer with the id."""
        return envelope(200, "success", {"taskId": record.id})

    async def status(self, request: web.Request) -> web.StreamResponse:
        """Answer ``recordInfo``."""
        task_id = request.query.get("taskId", "")
        if not task_id:
            raise RefusedError(Reason.INVALID, "taskId is required")
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

    async def _references(self, model: str, order: dict[str, Any]) -> References:
        try:
            found = [urls for field in _REFERENCE_FIELDS if (urls := url_list(order, field, most=MOST_REFERENCES))]
        except RefusedError as refused:
            raise RefusedError(Reason.UNPROCESSABLE, f"input.{refused.message}") from refused
        if not found and model.endswith(_EDIT_SUFFIX):
            raise RefusedError(Reason.UNPROCESSABLE, f"input.{_REFERENCE_FIELDS[0]} is required by {model}")
        return await self.state.referenced(found[0]) if found else NO_REFERENCES

    def _size(self, order: dict[str, Any], references: References) -> tuple[int, int]:
        ratio = order.get("aspect_ratio") or "auto"
        if ratio not in self.aspect_ratios:
            names = ", ".join(self.aspect_ratios)
            raise RefusedError(Reason.UNPROCESSABLE, f"input.aspect_ratio is one of {names}")
        resolution = order.get("resolution") or "1K"
        if resolution not in tuple(_LONG_SIDES):
            raise RefusedError(Reason.UNPROCESSABLE, f"input.resolution is one of {', '.join(_LONG_SIDES)}")
        if ratio == "auto":
            return in_proportion(references.size or (1, 1), _LONG_SIDES[resolution])
        width, _, height = ratio.partition(":")
        return in_proportion((int(width), int(height)), _LONG_SIDES[resolution])


class AiGptImageDialect(JobsApiDialect):
    """Speaks as AI GPT Image does: errors are HTTP errors, and a repeated ``X-Request-ID`` is not charged twice."""

    service = "aigptimage"
    aspect_ratios = ("auto", "1:1", "4:5", "3:4", "2:3", "16:9", "9:16", "21:9")

    def request_id(self, request: web.Request) -> str | None:
        """Return the ``X-Request-ID``."""
        return request.headers.get("X-Request-ID")

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

    def record(self, record: TaskRecord, origin: str) -> dict[str, Any]:
        """Word an image task: nothing but its state changes until it succeeds."""
        data = {**beginning(record, "waiting"), **dict.fromkeys(("resultJson", "failCode", "failMsg", "completeTime"))}
        if record.finished:
            data |= ending(record, origin, failure_code="500")
            if record.failure is None:
                data["completeTime"] = int((record.created_at + record.latency) * 1000)
        elif record.behaviours.asks("unknown-state"):
            data["state"] = record.behaviours.word("unknown-state", "dreaming")
        return data


def beginning(record: TaskRecord, state: str) -> dict[str, Any]:
    """Return what every record says of its image task."""
    told = {"taskId": record.id, "model": record.model, "state": state, "param": json.dumps(record.request)}
    return {**told, "costTime": None, "createTime": int(record.created_at * 1000)}


def ending(record: TaskRecord, origin: str, *, failure_code: str) -> dict[str, Any]:
    """Return what a record says of the end of its image task.

    :param failure_code: the service's usual code of a failure that is not for the content.
    """
    if record.failure is not None:
        code = record.failure.code or ("400" if record.failure.content else failure_code)
        return {"state": "fail", "failCode": code, "failMsg": record.failure.message}
    urls = [file_url(origin, record, index) for index in range(record.image_count)]
    result = json.dumps({"resultUrls": urls})
    return {"state": "success", "resultJson": result, "costTime": int(record.latency * 1000)}


def envelope(code: int, message: str, data: Any, *, status: int = 200) -> web.Response:
    """Return an answer of the family."""
    return web.json_response({"code": code, "msg": message, "data": data}, status=status)
