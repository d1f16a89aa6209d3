"""The dialect of AI GPT Image: errors are HTTP errors, and a repeated ``X-Request-ID`` is not charged twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.local.admission import Reason, RefusedError
from airflow_provider_imagetasks.local.dialects.dialect import whole_seconds
from airflow_provider_imagetasks.local.dialects.jobs_api import JobsApiDialect, envelope, result_json

if TYPE_CHECKING:
    from aiohttp import web

    from airflow_provider_imagetasks.local.records import TaskRecord

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


class AiGptImageDialect(JobsApiDialect):
    """Speaks as AI GPT Image does."""

    service = "aigptimage"
    aspect_ratios = ("auto", "1:1", "4:5", "3:4", "2:3", "16:9", "9:16", "21:9")

    def request_id(self, request: web.Request) -> str | None:
        """Return the ``X-Request-ID``."""
        return request.headers.get("X-Request-ID")

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
        status = 200 if refused.reason is Reason.ERROR_IN_200 else code if 400 <= code < 600 else 400
        return envelope(code, refused.message, data, status=status), str(code)

    def record(self, record: TaskRecord, origin: str) -> dict[str, Any]:
        """Word an image task: nothing but its state changes until it succeeds."""
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
            data["state"] = "success"
            data["resultJson"] = result_json(record, origin)
            data["costTime"] = int(record.latency * 1000)
            data["completeTime"] = int((record.created_at + record.latency) * 1000)
        return data
