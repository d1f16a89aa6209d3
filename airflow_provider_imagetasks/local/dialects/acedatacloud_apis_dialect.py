"""The dialects of AceDataCloud's image APIs beside OpenAI's: a route for images each, and the Tasks API's records."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from aiohttp import web

from airflow_provider_imagetasks.local.admission import require
from airflow_provider_imagetasks.local.dialects.dialect import Body, bearer_of, file_url, read_json
from airflow_provider_imagetasks.local.dialects.tasks_api_dialect import TasksApiDialect
from airflow_provider_imagetasks.local.drawing import in_proportion
from airflow_provider_imagetasks.local.task_table import TaskRecord

_LONG_SIDES = {"1K": 1024, "2K": 2048, "3K": 3072, "4K": 3840}
_LARGEST_SIDE = 3840
_SIZE = re.compile(r"(\d{1,5})([x*:])(\d{1,5})")


class FurtherApiDialect(TasksApiDialect):
    """Speaks as one of them does."""

    images_routes: ClassVar[tuple[str, ...]] = ("images",)
    model_field: ClassVar[str] = "model"
    count_field: ClassVar[str] = "count"
    most_images: ClassVar[int] = 4
    images_field: ClassVar[str]
    most_references: ClassVar[int] = 16
    requires: ClassVar[tuple[str, ...]] = ("prompt",)
    usual_side: ClassVar[int] = 1024

    def routes(self) -> list[web.RouteDef]:
        """Return the API's routes."""
        submissions = [web.post(f"{self.prefix}/{route}", self.handle_submission) for route in self.images_routes]
        return [*submissions, web.post(f"{self.prefix}/tasks", self.handle_status)]

    async def read_submission(self, request: web.Request) -> TaskRecord:
        """Understand a request for new pictures, or for an edit of some that are given by their URLs."""
        body = await read_json(request)
        for field in self.requires:
            body.text(field, required=True)
        urls = body.urls(self.images_field, most=self.most_references, allow_one=True)
        self.check(body, urls, request.path)
        references = await self.state.referenced(urls)
        count = body.whole(self.count_field, 1)
        require(1 <= count <= self.most_images, f"{self.count_field} is a whole number from 1 to {self.most_images}")
        trace_id = None if self.state.options.ignore_trace_id else body.text("trace_id")
        return TaskRecord(
            dialect=self.name,
            prompt=body.text("prompt"),
            model=body.text(self.model_field) or self.name,
            kind="images",
            request=body,
            bearer=bearer_of(request),
            size=self.size(body, references.size),
            image_count=count,
            queryable=bool(body.text("callback_url")) or body.get("async") is True,
            trace_id=trace_id or str(uuid.uuid4()),
            references=references,
        )

    def check(self, body: Body, urls: list[str], path: str) -> None:
        """Check what only this API asks for."""
        if "action" in self.requires:
            require(body["action"] in ("generate", "edit"), "action is generate or edit")
            require((body["action"] == "edit") is bool(urls), f"{self.images_field} goes with the action edit")

    def size(self, body: Body, reference: tuple[int, int] | None) -> tuple[int, int]:
        """Return the size to draw, in pixels."""
        notation, ratio = body.text("size") or body.text("resolution"), body.text("aspect_ratio")
        side = _LONG_SIDES.get(notation, self.usual_side)
        found = _SIZE.fullmatch(notation) or _SIZE.fullmatch(ratio)
        if found is None:
            require(notation in ("", "auto", *_LONG_SIDES), "size is in pixels, or one of the names that there are")
            return in_proportion(reference or (1, 1), side)
        width, height = int(found[1]), int(found[3])
        require(width and height, "no side is 0")
        return in_proportion((width, height), side if found[2] == ":" else min(_LARGEST_SIDE, max(width, height)))

    async def response(self, record: TaskRecord, origin: str) -> dict[str, Any]:
        """Return the result of a finished image task."""
        usual = await super().response(record, origin)
        if "error" in usual:
            return usual
        said = {name: usual[name] for name in ("success", "task_id", "trace_id")}
        return said | self.result_of(record, [file_url(origin, record, index) for index in range(record.image_count)])

    async def callback(self, record: TaskRecord, origin: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the result, as a synchronous answer has it; nothing signs it."""
        return {"task_id": record.id, "trace_id": record.trace_id, **await self.response(record, origin)}, {}

    def result_of(self, record: TaskRecord, urls: list[str]) -> dict[str, Any]:
        """Return what a result says of its pictures."""
        return {"data": [{"prompt": record.prompt, "image_url": url, **self.details(record)} for url in urls]}

    def details(self, record: TaskRecord) -> Mapping[str, Any]:
        """Return what is said of each picture besides."""
        return {}


class FluxDialect(FurtherApiDialect):
    """Flux: by ``action``, one picture to edit, and only by models that do."""

    name, prefix = "acedatacloud/flux", "/acedatacloud/flux"
    requires = ("action", "prompt")
    images_field, most_references = "image_url", 1

    def check(self, body: Body, urls: list[str], path: str) -> None:
        """Check what only this API asks for."""
        super().check(body, urls, path)
        require(not urls or body.text("model").startswith("flux-kontext"), "only flux-kontext models edit")

    def details(self, record: TaskRecord) -> Mapping[str, Any]:
        """Return the seed and how long it took."""
        return {"seed": 281520112, "timings": {"inference": record.latency}}


class NanoBananaDialect(FurtherApiDialect):
    """Nano Banana: by ``action``, with ``resolution`` and ``aspect_ratio``."""

    name, prefix = "acedatacloud/nano-banana", "/acedatacloud/nano-banana"
    requires = ("action", "prompt")
    images_field = "image_urls"


class SeedreamDialect(FurtherApiDialect):
    """Seedream: a model is required."""

    name, prefix = "acedatacloud/seedream", "/acedatacloud/seedream"
    requires = ("model", "prompt")
    images_field, most_references = "image", 10
    usual_side = 2048

    def details(self, record: TaskRecord) -> Mapping[str, Any]:
        """Return the size."""
        return {"size": "x".join(map(str, record.size))}


class QwenImageDialect(FurtherApiDialect):
    """Qwen Image: results say what they cost."""

    name, prefix = "acedatacloud/qwen-image", "/acedatacloud/qwen-image"
    count_field, most_images = "n", 6
    images_field, most_references = "image_urls", 3

    def result_of(self, record: TaskRecord, urls: list[str]) -> dict[str, Any]:
        """Return the pictures, what was used and what it cost."""
        count, (width, height) = len(urls), record.size
        usage = {"input_image_count": len(record.references.names), "output_image_count": count}
        cost = {"amount": round(0.322 * count, 3), "currency": "credit", "list_amount": round(0.35 * count, 3)}
        pictures = [{"image_url": url} for url in urls]
        return {"data": pictures, "usage": {**usage, "output_width": width, "output_height": height}, "cost": cost}


class MidjourneyDialect(FurtherApiDialect):
    """Midjourney: a picture of four with its thumbnail, and the four where they are asked for. It has versions."""

    name, prefix = "acedatacloud/midjourney", "/acedatacloud/midjourney"
    images_routes = ("imagine", "edits")
    model_field = "version"
    images_field, most_references = "image_url", 1
    usual_side = 2048

    def check(self, body: Body, urls: list[str], path: str) -> None:
        """Check what only this API asks for."""
        require(path.endswith("/edits") is bool(urls), "image_url goes with edits")
        require(body.get("model") is None, "there is no model")

    async def read_submission(self, request: web.Request) -> TaskRecord:
        """Understand a request; the picture of four is one, and its parts four more."""
        record = await super().read_submission(request)
        record.kind, record.image_count = "imagine", 5 if record.request.get("split_images") is True else 1
        return record

    def result_of(self, record: TaskRecord, urls: list[str]) -> dict[str, Any]:
        """Return the picture, flat."""
        if not urls:
            return {"progress": 100, "actions": []}
        whole, *parts = urls
        (width, height), mine = record.size, f"{whole}?imageMogr2/thumbnail/!50p"
        return {
            **({"sub_image_urls": parts} if parts else {}),
            "image_url": mine,
            "image_width": width // 2,
            "image_height": height // 2,
            "raw_image_url": whole,
            "raw_image_width": width,
            "raw_image_height": height,
            "image_id": str(record.created_at),
            "progress": 100,
            "actions": ["upscale1", "variation1", "reroll"],
        }


FURTHER_APIS = (FluxDialect, NanoBananaDialect, SeedreamDialect, QwenImageDialect, MidjourneyDialect)
