"""Requests of the Tasks API family for new pictures and for edits, as its services take them."""

from __future__ import annotations

import re
import uuid

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, require
from airflow_provider_imagetasks.local.dialects.dialect import Body, Dialect, bearer_of, read_json
from airflow_provider_imagetasks.local.drawing import MEDIA_TYPES, in_proportion
from airflow_provider_imagetasks.local.task_table import NO_REFERENCES, Failure, References, TaskRecord
from airflow_provider_imagetasks.local.uploads import MOST_REFERENCES, read_form

_DEFAULT_SIZE = (1024, 1024)
_LONGEST_SIDE = 3840
_MOST_PIXELS = 8_294_400
# The routes for edits take requests without a model; this is what their documentation says they then use.
_DEFAULT_EDIT_MODEL = "dall-e-3"


class TasksApiRequests(Dialect):
    """Understands the requests of the family."""

    callback_field = "callback_url"
    honours_async = True
    """Whether ``async`` alone makes an image task, without a callback URL."""

    async def read_submission(self, request: web.Request) -> TaskRecord:
        """Understand a request for new pictures, or for an edit: as JSON with URLs, or as a form with files."""
        bearer = bearer_of(request)
        if request.match_info["operation"] == "generations":
            return self.asked(await read_json(request), bearer)
        if request.content_type != "multipart/form-data":
            return await self.edit_by_url(await read_json(request), bearer)
        fields, images, mask = await read_form(request)
        form = Body(fields)
        if not images:
            references = await self.state.referenced(form.urls("image", most=MOST_REFERENCES))
        else:
            try:
                references = await self.state.uploaded(images, mask)
            except ValueError as error:
                raise RefusedError(Reason.INVALID, str(error)) from error
        return self.asked(form, bearer, references)

    async def edit_by_url(self, body: Body, bearer: str | None) -> TaskRecord:
        """Understand the body of a request for an edit of pictures that are given by their URLs."""
        require(body.get("mask") is None, "mask is a file, and comes in a form")
        urls = body.urls("image", most=MOST_REFERENCES, allow_one=True)
        return self.asked(body, bearer, await self.state.referenced(urls))

    def asked(self, body: Body, bearer: str | None, edited: References | None = None) -> TaskRecord:
        """Understand the body of a request for new pictures, or for an edit of others."""
        require(edited is None or edited.names, "image is required")
        model = body.text("model", required=edited is None) or _DEFAULT_EDIT_MODEL
        references = edited or NO_REFERENCES
        size, failure = _size(body, model, references)
        kind = "images_generations" if edited is None else "images_edits"
        media_format = body.text("output_format") or "png"
        require(media_format in MEDIA_TYPES, f"output_format is one of {', '.join(MEDIA_TYPES)}")
        response_format = body.text("response_format") or "url"
        require(response_format in ("url", "b64_json"), "response_format is url or b64_json")
        image_count = body.get("n") or 1
        is_fine = isinstance(image_count, int) and not isinstance(image_count, bool) and 1 <= image_count <= 10
        require(is_fine, "n is a whole number from 1 to 10")
        require(response_format == "url" or image_count == 1, "response_format b64_json allows one picture only")
        trace_id = None if self.state.options.ignore_trace_id else body.text("trace_id")
        return TaskRecord(
            dialect=self.name,
            prompt=body.text("prompt", required=True),
            model=model,
            kind="images" if model.startswith("gpt-image-2") else kind,
            request=body,
            bearer=bearer,
            size=size,
            image_count=image_count,
            media_format=media_format,
            in_base64=response_format == "b64_json",
            queryable=bool(body.text("callback_url")) or (self.honours_async and body.get("async") is True),
            trace_id=trace_id or str(uuid.uuid4()),
            failure=failure,
            references=references,
        )


def _size(body: Body, model: str, references: References) -> tuple[tuple[int, int], Failure | None]:
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
