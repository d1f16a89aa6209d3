"""The dialect of kie: errors come in HTTP 200, new records come late, odd clients are turned away at the door."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from abc import abstractmethod
from datetime import UTC, datetime
from typing import Any, ClassVar

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, require
from airflow_provider_imagetasks.local.dialects.dialect import Body, bearer_of, file_url, read_json
from airflow_provider_imagetasks.local.dialects.jobs_api_dialect import JobsApiDialect, envelope
from airflow_provider_imagetasks.local.drawing import in_proportion
from airflow_provider_imagetasks.local.task_table import TaskRecord

_ODD_CLIENTS = re.compile(r"|python-urllib/.*|python-requests/.*|python/\S+ aiohttp/.*", re.IGNORECASE)
_CREDITS = 1_000
_COSTS = {"1K": 6, "2K": 10, "4K": 16}
# A state has to change while one looks, however long the image task takes.
_LONGEST_START = 8.0
_LONG_SIDE = 1024


class KieDialect(JobsApiDialect):
    """Speaks as kie does."""

    name, prefix = "kie", "/kie"
    failure_code = "501"
    says_when_to_return = False
    callback_field = "callBackUrl"
    aspect_ratios = ("auto", "1:1", "9:16", "16:9", "4:3", "3:4", "2:3", "3:2", "4:5", "5:4", "21:9")

    def routes(self) -> list[web.RouteDef]:
        """Return the dialect's routes."""
        return [*super().routes(), web.get(f"{self.prefix}/api/v1/chat/credit", self.handle_credit)]

    def check_client(self, request: web.Request) -> None:
        """Turn away clients that do not say who they are."""
        agent = request.headers.get("User-Agent", "").strip()
        require(not _ODD_CLIENTS.fullmatch(agent), "this User-Agent is not welcome", Reason.ODD_CLIENT)

    async def handle_credit(self, request: web.Request) -> web.StreamResponse:
        """Answer how many credits are left; there are always as many."""
        self.counts.credit_queries += 1
        try:
            self.check_client(request)
            self.state.admission.check_key(bearer_of(request))
        except RefusedError as refused:
            return self.error(refused)[0]
        return envelope(200, "success", _CREDITS)

    def check_submission(self, body: Body) -> None:
        """Check the callback URL, and what does not go together."""
        body.text(self.callback_field)
        model, order = body["model"], body["input"]
        ratio, resolution = order.get("aspect_ratio"), order.get("resolution") or "1K"
        if not model.startswith("gpt-image-2"):
            return
        is_fine = (ratio, resolution) != ("1:1", "4K")
        require(is_fine, "input.aspect_ratio 1:1 does not go with 4K", Reason.UNPROCESSABLE)
        is_fine = ratio != "auto" or resolution == "1K"
        require(is_fine, "input.aspect_ratio auto goes with 1K only", Reason.UNPROCESSABLE)

    async def callback(self, record: TaskRecord, origin: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what is told of the result; the id and the time are signed, and not the body."""
        code, message = (501, record.failure.message) if record.failure else (200, "success")
        body = {"code": code, "msg": message, "data": self.told(record, origin)}
        secret = self.state.options.webhook_secret
        if secret is None:
            return body, {}
        timestamp = str(int(time.time()))
        digest = hmac.new(secret.encode(), f"{record.id}.{timestamp}".encode(), hashlib.sha256).digest()
        signature = base64.b64encode(digest).decode("ascii")
        return body, {"X-Webhook-Timestamp": timestamp, "X-Webhook-Signature": signature}

    def told(self, record: TaskRecord, origin: str) -> dict[str, Any]:
        """Return what a callback tells of an image task: the record with two more fields."""
        data = self.record(record, origin)
        data["consumeCredits"] = data.pop("creditsConsumed")
        data["remainedCredits"] = _CREDITS
        data.setdefault("resultJson", "")
        return data

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

    def beginning(self, record: TaskRecord, end: float | None) -> dict[str, Any]:
        """Return what a record says besides its result; ``resultJson`` is there only when it succeeded."""
        share = (time.monotonic() - record.accepted) / min(max(record.latency, 0.001), _LONGEST_START)
        cost = _COSTS[record.request["input"].get("resolution") or "1K"]
        return {
            "state": "waiting" if share < 0.25 else "queuing" if share < 0.5 else "generating",
            **dict.fromkeys(("failCode", "failMsg"), ""),
            "completeTime": None if end is None else int(end * 1000),
            "updateTime": int((time.time() if end is None else end) * 1000),
            "creditsConsumed": 0 if end is None or record.failure else cost,
        }


class KieFamilyDialect(KieDialect):
    """Speaks as one of the families does."""

    prefix = "/kie"
    path: ClassVar[str]
    images_field: ClassVar[str]
    takes_one: ClassVar[bool] = False
    most_references: ClassVar[int] = 16
    ratio_field: ClassVar[str] = "aspectRatio"
    ratios: ClassVar[tuple[str, ...]]
    needs_prompt: ClassVar[bool] = True

    def routes(self) -> list[web.RouteDef]:
        """Return the family's routes."""
        return [
            web.post(f"{self.prefix}{self.path}/generate", self.handle_submission),
            web.get(f"{self.prefix}{self.path}/record-info", self.handle_status),
        ]

    async def read_submission(self, request: web.Request) -> TaskRecord:
        """Understand a request for pictures."""
        body = await read_json(request)
        try:
            prompt = body.text("prompt", required=self.needs_prompt)
            body.text(self.callback_field)
            if self.takes_one:
                body.text(self.images_field)
            urls = body.urls(self.images_field, most=self.most_references, allow_one=self.takes_one)
            ratio = body.text(self.ratio_field) or "1:1"
            require(ratio in self.ratios, f"{self.ratio_field} is one of {', '.join(self.ratios)}")
            count = self.count(body, urls)
        except RefusedError as refused:
            raise RefusedError(Reason.UNPROCESSABLE, refused.message) from refused
        width, _, height = ratio.partition(":")
        return TaskRecord(
            dialect=self.name,
            prompt=prompt,
            model=body.text("model") or body.text("version") or self.name,
            kind="generation",
            request=body,
            bearer=bearer_of(request),
            size=in_proportion((int(width), int(height)), _LONG_SIDE),
            image_count=count,
            references=await self.state.referenced(urls),
        )

    def count(self, body: Body, urls: list[str]) -> int:
        """Return how many pictures a request comes to, and refuse what only this family does."""
        return 1

    @abstractmethod
    def result(self, urls: list[str]) -> dict[str, Any]:
        """Return what a record says of its pictures."""

    def record(self, record: TaskRecord, origin: str) -> dict[str, Any]:
        """Word an image task."""
        end, failure = record.finished_at, record.failure
        told: dict[str, Any] = {
            "taskId": record.id,
            "paramJson": json.dumps(record.request),
            "createTime": self.time(record.created_at),
            "completeTime": None if end is None else self.time(end),
            "successFlag": 0,
            "errorCode": None,
            "errorMessage": "",
        }
        if end is None:
            return told | ({"successFlag": 9} if record.behaviours.asks("unknown-state") else {})
        if failure is not None:
            word = failure.code or ("400" if failure.content else "500")
            code = int(word) if word.isdecimal() else word
            return told | {"successFlag": 3, "errorCode": code, "errorMessage": failure.message}
        urls = [file_url(origin, record, index) for index in range(record.image_count)]
        return told | {"successFlag": 1} | self.result(urls)

    def time(self, moment: float) -> Any:
        """Word a moment that is given in Unix seconds."""
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def told(self, record: TaskRecord, origin: str) -> dict[str, Any]:
        """Return what a callback tells of an image task: its pictures, and no record."""
        urls = [file_url(origin, record, index) for index in range(record.image_count)]
        return {"taskId": record.id, "info": {"result_urls": urls}}


class FourOImageDialect(KieFamilyDialect):
    """4o Image: one, two or four variants of a prompt, of pictures, or of both."""

    name, path = "kie/4o-image", "/api/v1/gpt4o-image"
    images_field, most_references = "filesUrl", 5
    ratio_field, ratios = "size", ("1:1", "3:2", "2:3")
    needs_prompt = False

    def count(self, body: Body, urls: list[str]) -> int:
        """Return how many variants are asked for."""
        require(body.text("prompt") or urls, "prompt or filesUrl is required")
        variants = body.whole("nVariants", 1)
        require(variants in (1, 2, 4), "nVariants is 1, 2 or 4")
        return variants

    def time(self, moment: float) -> Any:
        """Word a moment in milliseconds."""
        return int(moment * 1000)

    def result(self, urls: list[str]) -> dict[str, Any]:
        """Return what a record says of its pictures."""
        return {"status": "SUCCESS", "progress": "1.00", "response": {"resultUrls": urls}}


class FluxKontextDialect(KieFamilyDialect):
    """Flux Kontext: one picture, from a prompt or another picture."""

    name, path = "kie/flux-kontext", "/api/v1/flux/kontext"
    images_field, takes_one, most_references = "inputImage", True, 1
    ratios = ("21:9", "16:9", "4:3", "1:1", "3:4", "9:16")

    def count(self, body: Body, urls: list[str]) -> int:
        """Check the model."""
        require(body.get("model") in (None, "flux-kontext-pro", "flux-kontext-max"), "model is no Flux Kontext model")
        return 1

    def result(self, urls: list[str]) -> dict[str, Any]:
        """Return what a record says of its picture."""
        return {"response": {"originImageUrl": None, "resultImageUrl": urls[0] if urls else None}}


class KieMidjourneyDialect(KieFamilyDialect):
    """Midjourney: four pictures for each request."""

    name, path = "kie/mj", "/api/v1/mj"
    images_field = "fileUrls"
    ratios = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "2:1", "1:2")

    def count(self, body: Body, urls: list[str]) -> int:
        """Check the kind of task."""
        kind = body.text("taskType", required=True)
        require(kind in ("mj_txt2img", "mj_img2img", "mj_style_reference", "mj_omni_reference"), "taskType is unknown")
        require((kind == "mj_txt2img") is not bool(urls), "fileUrls goes with other task types than mj_txt2img")
        return 4

    def result(self, urls: list[str]) -> dict[str, Any]:
        """Return what a record says of its pictures."""
        return {"resultInfoJson": {"resultUrls": [{"resultUrl": url} for url in urls]}}


KIE_FAMILIES = (FourOImageDialect, FluxKontextDialect, KieMidjourneyDialect)
