"""The dialect of kie: errors come in HTTP 200, new records come late, odd clients are turned away at the door."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from typing import Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError
from airflow_provider_imagetasks.local.dialects.dialect import bearer_of, text_field
from airflow_provider_imagetasks.local.dialects.jobs_api_dialect import JobsApiDialect, beginning, ending, envelope
from airflow_provider_imagetasks.local.task_table import TaskRecord

_ODD_CLIENTS = re.compile(r"|python-urllib/.*|python-requests/.*|python/\S+ aiohttp/.*", re.IGNORECASE)
_CREDITS = 1_000
_COSTS = {"1K": 6, "2K": 10, "4K": 16}
# A state has to change while one looks, however long the image task takes.
_LONGEST_START = 8.0


class KieDialect(JobsApiDialect):
    """Speaks as kie does."""

    service = "kie"
    says_when_to_return = False
    callback_field = "callBackUrl"
    aspect_ratios = ("auto", "1:1", "9:16", "16:9", "4:3", "3:4", "2:3", "3:2", "4:5", "5:4", "21:9")

    def routes(self) -> list[web.RouteDef]:
        """Return the dialect's routes."""
        return [*super().routes(), web.get(f"{self.prefix}/api/v1/chat/credit", self.handle_credit)]

    def check_client(self, request: web.Request) -> None:
        """Turn away clients that do not say who they are."""
        if _ODD_CLIENTS.fullmatch(request.headers.get("User-Agent", "").strip()):
            raise RefusedError(Reason.ODD_CLIENT, "this User-Agent is not welcome")

    async def handle_credit(self, request: web.Request) -> web.StreamResponse:
        """Answer how many credits are left; there are always as many."""
        self.counts.credit_queries += 1
        try:
            self.check_client(request)
            self.state.admission.check_key(bearer_of(request))
        except RefusedError as refused:
            return self.error(refused)[0]
        return envelope(200, "success", _CREDITS)

    def check_submission(self, body: dict[str, Any]) -> None:
        """Check the callback URL, and what does not go together."""
        text_field(body, self.callback_field)
        model, order = body["model"], body["input"]
        ratio, resolution = order.get("aspect_ratio"), order.get("resolution") or "1K"
        if not model.startswith("gpt-image-2"):
            return
        if ratio == "1:1" and resolution == "4K":
            raise RefusedError(Reason.UNPROCESSABLE, "input.aspect_ratio 1:1 does not go with 4K")
        if ratio == "auto" and resolution != "1K":
            raise RefusedError(Reason.UNPROCESSABLE, "input.aspect_ratio auto goes with 1K only")

    async def callback(self, record: TaskRecord, origin: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the record with two more fields; the id and the time are signed, and not the body."""
        data = self.record(record, origin)
        data["consumeCredits"] = data.pop("creditsConsumed")
        data["remainedCredits"] = _CREDITS
        data.setdefault("resultJson", "")
        body = {"code": 501 if record.failure else 200, "msg": data["failMsg"] or "success", "data": data}
        secret = self.state.options.webhook_secret
        if secret is None:
            return body, {}
        timestamp = str(int(time.time()))
        digest = hmac.new(secret.encode(), f"{record.id}.{timestamp}".encode(), hashlib.sha256).digest()
        signature = base64.b64encode(digest).decode("ascii")
        return body, {"X-Webhook-Timestamp": timestamp, "X-Webhook-Signature": signature}

    async def accepted(self, request: web.Request, record: TaskRecord) -> web.StreamResponse:
        """Answer with the id, which comes twice."""
        return envelope(200, "success", {"taskId": record.id, "recordId": record.id})

    def find(self, task_id: str, bearer: str | None) -> TaskRecord | None:
        """Return the image task that a status query finds: not the first time, and not too soon."""
        record = super().find(task_id, bearer)
        delay = self.state.options.record_delay
        if record is None or not delay or record.behaviours.asks("late-record"):
            return record
        # Where image tasks are ready at once, waiting half a second for each would be all that a test does.
        too_soon = time.monotonic() - record.accepted < min(delay, record.latency)
        if too_soon or not record.status_queries:
            record.status_queries += 1
            return None
        return record

    def error(self, refused: RefusedError) -> tuple[web.Response, str]:
        """Word an error; return the answer and the code to count it under."""
        if refused.reason is Reason.ODD_CLIENT:
            return web.Response(status=403, text="error code: 1010"), "1010"
        # About an id that it does not know, kie says what it also says of a request that is not processable.
        code = 422 if refused.reason is Reason.NOT_FOUND else self.code(refused)
        if code == 401:
            return web.json_response({"code": 401, "msg": "You do not have access permissions"}), "401"
        message = "recordInfo is null" if refused.reason is Reason.NOT_FOUND else refused.message
        return envelope(code, message, None), str(code)

    def record(self, record: TaskRecord, origin: str) -> dict[str, Any]:
        """Word an image task; ``resultJson`` is there only when it succeeded."""
        end = record.finished_at
        data: dict[str, Any] = {
            **beginning(record, _running_state(record)),
            **dict.fromkeys(("failCode", "failMsg"), ""),
            "completeTime": None if end is None else int(end * 1000),
            "updateTime": int((time.time() if end is None else end) * 1000),
            "creditsConsumed": 0,
        }
        if end is not None:
            data |= ending(record, origin, failure_code="501")
            if record.failure is None:
                data["creditsConsumed"] = _COSTS[record.request["input"].get("resolution") or "1K"]
        return data


def _running_state(record: TaskRecord) -> str:
    if record.behaviours.asks("unknown-state"):
        return record.behaviours.word("unknown-state", "dreaming")
    share = (time.monotonic() - record.accepted) / min(max(record.latency, 0.001), _LONGEST_START)
    return "waiting" if share < 0.25 else "queuing" if share < 0.5 else "generating"
