"""What AI GPT Image and its siblings have in common: ``createTask``, ``recordInfo``, and a code in each answer."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, Submission
from airflow_provider_imagetasks.local.dialects import mishaps
from airflow_provider_imagetasks.local.dialects.dialect import Dialect, bearer_of, file_url, read_json
from airflow_provider_imagetasks.local.dialects.fields import url_list
from airflow_provider_imagetasks.local.references import MOST_REFERENCES, NO_REFERENCES, References

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.records import TaskRecord
    from airflow_provider_imagetasks.local.state import ServiceState

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
        """Word an image task.

        :param origin: scheme, host and port that the sender used.
        """

    def routes(self) -> list[web.RouteDef]:
        """Return the dialect's routes."""
        return [
            web.post(f"{self.prefix}/api/v1/jobs/createTask", self.handle_submission),
            web.get(f"{self.prefix}/api/v1/jobs/recordInfo", self.handle_status),
        ]

    def request_id(self, request: web.Request) -> str | None:
        """Return what makes a repeated submission known, where the service honours such a thing."""
        return None

    def check_submission(self, body: dict[str, Any]) -> None:
        """Check what only this service knows or does not take.

        :param body: has a model, and an input with a prompt.
        :raises RefusedError: when something is wrong with it.
        """

    async def read_submission(self, request: web.Request) -> Submission:
        """Understand a request for pictures.

        :raises RefusedError: when it is not valid.
        """
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
        return Submission(
            dialect=self.name,
            prompt=prompt,
            model=model,
            kind="generation",
            body=body,
            bearer=bearer_of(request),
            size=self._size(order, references),
            request_id=self.request_id(request),
            references=references,
        )

    async def accepted(self, request: web.Request, record: TaskRecord) -> web.StreamResponse:
        """Answer with the id."""
        return envelope(200, "success", {"taskId": record.id})

    async def status(self, request: web.Request) -> web.StreamResponse:
        """Answer ``recordInfo``.

        :raises RefusedError: when the image task is not there.
        """
        task_id = request.query.get("taskId", "")
        if not task_id:
            raise RefusedError(Reason.INVALID, "taskId is required")
        self.counts.ids_queried += 1
        record = self.find(task_id, bearer_of(request))
        if record is None:
            self.counts.not_found += 1
            raise RefusedError(Reason.NOT_FOUND, "no image task has this id")
        mishaps.note_queried([record])
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
        width, height = (references.size or (1, 1)) if ratio == "auto" else map(int, ratio.split(":"))
        # Multiples of 16 are what image models deliver.
        scale = _LONG_SIDES[resolution] / max(width, height) / 16
        return max(1, round(width * scale)) * 16, max(1, round(height * scale)) * 16


def result_json(record: TaskRecord, origin: str) -> str:
    """Return the result of a successful image task, as the text of a JSON document inside the JSON document."""
    urls = [file_url(origin, record, index) for index in range(record.image_count)]
    return json.dumps({"resultUrls": urls})


def envelope(code: int, message: str, data: Any, *, status: int = 200) -> web.Response:
    """Return an answer of the family."""
    return web.json_response({"code": code, "msg": message, "data": data}, status=status)
