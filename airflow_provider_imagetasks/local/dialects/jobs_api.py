"""The dialect of AI GPT Image: ``createTask`` and ``recordInfo``, each answer in a ``code, msg, data`` envelope."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, Submission
from airflow_provider_imagetasks.local.dialects.dialect import Dialect, bearer_of, file_url, whole_seconds

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.records import TaskRecord
    from airflow_provider_imagetasks.local.state import ServiceState

_LONGEST_PROMPT = 20_000
_LONG_SIDES = {"1K": 1024, "2K": 2048, "4K": 3840}
_ASPECT_RATIOS = ("auto", "1:1", "4:5", "3:4", "2:3", "16:9", "9:16", "21:9")

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
    Reason.ERROR_IN_200: 500,
}


@dataclass(frozen=True, slots=True)
class JobsApiVariant:
    """One service of the family.

    :param request_ids: whether a repeated ``X-Request-ID`` gets the earlier image task instead of a new one.
    """

    name: str
    prefix: str
    aspect_ratios: tuple[str, ...] = _ASPECT_RATIOS
    request_ids: bool = True


JOBS_API_VARIANTS = (JobsApiVariant(name="aigptimage", prefix="/aigptimage"),)


class JobsApiDialect(Dialect):
    """Speaks one variant of the createTask family."""

    def __init__(self, state: ServiceState, variant: JobsApiVariant) -> None:
        super().__init__(state, name=variant.name, prefix=variant.prefix)
        self._variant = variant

    def routes(self) -> list[web.RouteDef]:
        """Return the dialect's routes."""
        return [
            web.post(f"{self.prefix}/api/v1/jobs/createTask", self.handle_submission),
            web.get(f"{self.prefix}/api/v1/jobs/recordInfo", self.handle_status),
        ]

    def read_submission(self, request: web.Request, body: dict[str, Any]) -> Submission:
        """Understand a request for pictures.

        :raises RefusedError: when it is not valid.
        """
        model, order = body.get("model"), body.get("input")
        if not isinstance(model, str) or not model.strip():
            raise RefusedError(Reason.INVALID, "model is a text and is required")
        if not isinstance(order, dict):
            raise RefusedError(Reason.INVALID, "input is an object and is required")
        prompt = order.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip() or len(prompt) > _LONGEST_PROMPT:
            raise RefusedError(Reason.UNPROCESSABLE, f"input.prompt is a text of 1 to {_LONGEST_PROMPT} characters")
        return Submission(
            dialect=self.name,
            prompt=prompt,
            model=model,
            kind="generation",
            body=body,
            bearer=bearer_of(request),
            size=self._size(order),
            request_id=request.headers.get("X-Request-ID") if self._variant.request_ids else None,
        )

    async def accepted(
        self,
        request: web.Request,
        record: TaskRecord,
    ) -> web.StreamResponse:
        """Answer with the id."""
        return _envelope(200, "success", {"taskId": record.id})

    async def status(self, request: web.Request) -> web.StreamResponse:
        """Answer ``recordInfo``.

        :raises RefusedError: when the image task is not there.
        """
        task_id = request.query.get("taskId", "")
        if not task_id:
            raise RefusedError(Reason.INVALID, "taskId is required")
        self.counts.ids_queried += 1
        record = self.state.tasks.find(self.name, task_id, bearer_of(request))
        if record is None:
            self.counts.not_found += 1
            raise RefusedError(Reason.NOT_FOUND, "no image task has this id")
        self.note_queried([record])
        return _envelope(200, "success", self._record(record, str(request.url.origin())))

    def error(self, refused: RefusedError) -> tuple[web.Response, str]:
        """Word an error; return the answer and the code to count it under."""
        code = refused.status if refused.reason is Reason.SERVER_ERROR else _CODES.get(refused.reason, 500)
        if refused.code is not None and refused.code.isdecimal():
            code = int(refused.code)
        data = None
        if refused.reason is Reason.RATE_LIMITED:
            data = {
                "retryAfter": whole_seconds(refused.retry_after or 0),
                "limit": refused.limit.count if refused.limit else 1,
                "tier": "local",
                "windowSeconds": refused.limit.seconds if refused.limit else 1,
            }
        status = 200 if refused.reason is Reason.ERROR_IN_200 else code
        return _envelope(code, refused.message, data, status=status), str(code)

    def _size(self, order: dict[str, Any]) -> tuple[int, int]:
        ratio = order.get("aspect_ratio") or "auto"
        if ratio not in self._variant.aspect_ratios:
            names = ", ".join(self._variant.aspect_ratios)
            raise RefusedError(Reason.UNPROCESSABLE, f"input.aspect_ratio is one of {names}")
        resolution = order.get("resolution") or "1K"
        if resolution not in tuple(_LONG_SIDES):
            raise RefusedError(Reason.UNPROCESSABLE, f"input.resolution is one of {', '.join(_LONG_SIDES)}")
        width, height = (1, 1) if ratio == "auto" else map(int, ratio.split(":"))
        # Multiples of 16 are what image models deliver.
        scale = _LONG_SIDES[resolution] / max(width, height) / 16
        return round(width * scale) * 16, round(height * scale) * 16

    def _record(self, record: TaskRecord, origin: str) -> dict[str, Any]:
        data: dict[str, Any] = {
            "taskId": record.id,
            "model": record.model,
            "state": "waiting",
            "param": json.dumps(record.request),
            "resultJson": None,
            "failCode": None,
            "failMsg": None,
            "costTime": None,
            "completeTime": None,
            "createTime": int(record.created_at * 1000),
        }
        if not record.finished:
            if record.behaviours.asks("unknown-state"):
                data["state"] = record.behaviours.word("unknown-state", "dreaming")
        elif record.failure is not None:
            data["state"] = "fail"
            data["failCode"] = record.failure.code or ("400" if record.failure.content else "500")
            data["failMsg"] = record.failure.message
        else:
            urls = [file_url(origin, record, index) for index in range(record.image_count)]
            data["state"] = "success"
            data["resultJson"] = json.dumps({"resultUrls": urls})
            data["costTime"] = int(record.latency * 1000)
            data["completeTime"] = int((record.created_at + record.latency) * 1000)
        return data


def _envelope(code: int, message: str, data: Any, *, status: int = 200) -> web.Response:
    return web.json_response({"code": code, "msg": message, "data": data}, status=status)
