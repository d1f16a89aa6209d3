"""Requests of the Tasks API family for new pictures and for edits, as its services take them."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError
from airflow_provider_imagetasks.local.dialects.dialect import bearer_of, in_proportion, read_json, text_field, url_list
from airflow_provider_imagetasks.local.drawing import MEDIA_TYPES
from airflow_provider_imagetasks.local.service_state import ServiceState
from airflow_provider_imagetasks.local.task_table import NO_REFERENCES, Failure, References, TaskRecord
from airflow_provider_imagetasks.local.uploads import MOST_REFERENCES, read_form

_DEFAULT_SIZE = (1024, 1024)
_LONGEST_SIDE = 3840
_MOST_PIXELS = 8_294_400
# The routes for edits take requests without a model; this is what their documentation says they then use.
_DEFAULT_EDIT_MODEL = "dall-e-3"


@dataclass(frozen=True, slots=True)
class TasksApiVariant:
    """One service of the family.

    :param honours_async: whether ``async`` alone makes an image task, without a callback URL.
    :param newer_times: whether records have ``started_at`` and ``elapsed`` instead of ``duration``.
    :param says_success_in_batch: whether good responses have their ``success`` in a batch too.
    """

    name: str
    prefix: str
    honours_async: bool = True
    newer_times: bool = True
    says_success_in_batch: bool = True


class RequestReader:
    """Understands the requests that one service of the family takes; others raise ``RefusedError``."""

    def __init__(self, state: ServiceState, variant: TasksApiVariant) -> None:
        self._state = state
        self._variant = variant

    def is_asynchronous(self, body: dict[str, Any]) -> bool:
        """Tell whether a request is answered with an id at once."""
        return bool(text_field(body, "callback_url")) or (self._variant.honours_async and body.get("async") is True)

    async def read(self, request: web.Request, *, is_edit: bool) -> TaskRecord:
        """Understand a request for new pictures, or for an edit: as JSON with URLs, or as a form with files."""
        bearer = bearer_of(request)
        if not is_edit:
            return self.generation(await read_json(request), bearer)
        if request.content_type != "multipart/form-data":
            return await self.edit_by_url(await read_json(request), bearer)
        form = await read_form(request)
        if not form.images:
            references = await self._state.referenced(url_list(form.body, "image", most=MOST_REFERENCES))
        else:
            try:
                references = await self._state.uploaded(form.images, form.mask)
            except ValueError as error:
                raise RefusedError(Reason.INVALID, str(error)) from error
        return self._edit(form.body, bearer, references)

    def generation(self, body: dict[str, Any], bearer: str | None) -> TaskRecord:
        """Understand the body of a request for new pictures."""
        return self._asked(body, bearer, text_field(body, "model", required=True), "images_generations", NO_REFERENCES)

    async def edit_by_url(self, body: dict[str, Any], bearer: str | None) -> TaskRecord:
        """Understand the body of a request for an edit of pictures that are given by their URLs."""
        if body.get("mask") is not None:
            raise RefusedError(Reason.INVALID, "mask is a file, and comes in a form")
        urls = url_list(body, "image", most=MOST_REFERENCES, allow_one=True)
        return self._edit(body, bearer, await self._state.referenced(urls))

    def _edit(self, body: dict[str, Any], bearer: str | None, references: References) -> TaskRecord:
        if not references.names:
            raise RefusedError(Reason.INVALID, "image is required")
        return self._asked(body, bearer, text_field(body, "model") or _DEFAULT_EDIT_MODEL, "images_edits", references)

    def _asked(
        self, body: dict[str, Any], bearer: str | None, model: str, kind: str, references: References
    ) -> TaskRecord:
        size, failure = _size(body, model, references)
        media_format = text_field(body, "output_format") or "png"
        if media_format not in MEDIA_TYPES:
            raise RefusedError(Reason.INVALID, f"output_format is one of {', '.join(MEDIA_TYPES)}")
        response_format = text_field(body, "response_format") or "url"
        if response_format not in ("url", "b64_json"):
            raise RefusedError(Reason.INVALID, "response_format is url or b64_json")
        image_count = body.get("n") or 1
        if not isinstance(image_count, int) or isinstance(image_count, bool) or not 1 <= image_count <= 10:
            raise RefusedError(Reason.INVALID, "n is a whole number from 1 to 10")
        if response_format == "b64_json" and image_count > 1:
            raise RefusedError(Reason.INVALID, "response_format b64_json allows one picture only")
        trace_id = None if self._state.options.ignore_trace_id else text_field(body, "trace_id")
        return TaskRecord(
            dialect=self._variant.name,
            prompt=text_field(body, "prompt", required=True),
            model=model,
            kind="images" if model.startswith("gpt-image-2") else kind,
            request=body,
            bearer=bearer,
            size=size,
            image_count=image_count,
            media_format=media_format,
            in_base64=response_format == "b64_json",
            queryable=self.is_asynchronous(body),
            trace_id=trace_id or str(uuid.uuid4()),
            failure=failure,
            references=references,
        )


def _size(body: dict[str, Any], model: str, references: References) -> tuple[tuple[int, int], Failure | None]:
    """Return the size to draw, and the failure that this size leads to once the request is accepted."""
    notation = body.get("size") or "auto"
    if notation == "auto":
        return in_proportion(references.size or (1, 1), _DEFAULT_SIZE[0]), None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", notation) if isinstance(notation, str) else None
    if match is None:
        raise RefusedError(Reason.INVALID, "size is auto or WIDTHxHEIGHT")
    width, height = int(match[1]), int(match[2])
    if not width or not height or max(width, height) > _LONGEST_SIDE or width * height > _MOST_PIXELS:
        message = f"size allows sides of 1 to {_LONGEST_SIDE} and {_MOST_PIXELS} pixels in all"
        return _DEFAULT_SIZE, Failure(message, "bad_request")
    if model.startswith("gpt-image-2") and (width % 16 or height % 16):
        return _DEFAULT_SIZE, Failure("both sides of size have to be multiples of 16", "bad_request")
    return (width, height), None
