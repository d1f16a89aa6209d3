"""The dialects of kie's families beside its market: routes and names of their own for one thing."""

from __future__ import annotations

import json
from abc import abstractmethod
from datetime import UTC, datetime
from typing import Any, ClassVar

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, require
from airflow_provider_imagetasks.local.dialects.dialect import Body, bearer_of, file_url, read_json
from airflow_provider_imagetasks.local.dialects.kie_dialect import KieDialect
from airflow_provider_imagetasks.local.drawing import in_proportion
from airflow_provider_imagetasks.local.task_table import TaskRecord

_LONG_SIDE = 1024


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
