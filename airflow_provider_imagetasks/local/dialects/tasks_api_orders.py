"""Reads what the image routes of the Tasks API family are sent: requests for new pictures and for edits."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, Submission
from airflow_provider_imagetasks.local.dialects.dialect import bearer_of, read_json
from airflow_provider_imagetasks.local.dialects.fields import text_field, url_list
from airflow_provider_imagetasks.local.dialects.uploads import read_form
from airflow_provider_imagetasks.local.pictures import MEDIA_TYPES
from airflow_provider_imagetasks.local.records import Failure
from airflow_provider_imagetasks.local.references import MOST_REFERENCES, NO_REFERENCES, References

if TYPE_CHECKING:
    from aiohttp import web

    from airflow_provider_imagetasks.local.dialects.tasks_api_records import TasksApiVariant
    from airflow_provider_imagetasks.local.state import ServiceState

_DEFAULT_SIZE = (1024, 1024)
_LONGEST_SIDE = 3840
_MOST_PIXELS = 8_294_400
# The routes for edits take requests without a model; this is what their documentation says they then use.
_DEFAULT_EDIT_MODEL = "dall-e-3"


def is_asynchronous(body: dict[str, Any], variant: TasksApiVariant) -> bool:
    """Tell whether a request is answered with an id at once."""
    return bool(text_field(body, "callback_url")) or (variant.honours_async and body.get("async") is True)


async def read_generation(request: web.Request, state: ServiceState, variant: TasksApiVariant) -> Submission:
    """Understand a request for new pictures.

    :raises RefusedError: when it is not valid.
    """
    return generation(await read_json(request), bearer_of(request), state, variant)


def generation(body: dict[str, Any], bearer: str | None, state: ServiceState, variant: TasksApiVariant) -> Submission:
    """Understand the body of a request for new pictures.

    :raises RefusedError: when it is not valid.
    """
    model = text_field(body, "model", required=True)
    kind = "images" if model.startswith("gpt-image-2") else "images_generations"
    return _submission(bearer, state, variant, body, model=model, kind=kind, references=NO_REFERENCES)


async def read_edit(request: web.Request, state: ServiceState, variant: TasksApiVariant) -> Submission:
    """Understand a request for an edit, which comes as JSON with URLs or as a form with files.

    :raises RefusedError: when it is not valid.
    """
    if request.content_type == "multipart/form-data":
        form = await read_form(request)
        body = form.body
        if form.images:
            references = await state.uploaded(form.images, form.mask)
        else:
            references = await state.referenced(url_list(body, "image", most=MOST_REFERENCES))
    else:
        return await edit_by_url(await read_json(request), bearer_of(request), state, variant)
    return _edit(body, bearer_of(request), state, variant, references)


async def edit_by_url(
    body: dict[str, Any], bearer: str | None, state: ServiceState, variant: TasksApiVariant
) -> Submission:
    """Understand the body of a request for an edit of pictures that are given by their URLs.

    :raises RefusedError: when it is not valid.
    """
    if body.get("mask") is not None:
        raise RefusedError(Reason.INVALID, "mask is a file, and comes in a form")
    references = await state.referenced(url_list(body, "image", most=MOST_REFERENCES, allow_one=True))
    return _edit(body, bearer, state, variant, references)


def _edit(
    body: dict[str, Any], bearer: str | None, state: ServiceState, variant: TasksApiVariant, references: References
) -> Submission:
    if not references.names:
        raise RefusedError(Reason.INVALID, "image is required")
    model = text_field(body, "model") or _DEFAULT_EDIT_MODEL
    kind = "images" if model.startswith("gpt-image-2") else "images_edits"
    return _submission(bearer, state, variant, body, model=model, kind=kind, references=references)


def _submission(
    bearer: str | None,
    state: ServiceState,
    variant: TasksApiVariant,
    body: dict[str, Any],
    *,
    model: str,
    kind: str,
    references: References,
) -> Submission:
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
    trace_id = None if state.options.ignore_trace_id else text_field(body, "trace_id")
    return Submission(
        dialect=variant.name,
        prompt=text_field(body, "prompt", required=True),
        model=model,
        kind=kind,
        body=body,
        bearer=bearer,
        size=size,
        image_count=image_count,
        media_format=media_format,
        in_base64=response_format == "b64_json",
        queryable=is_asynchronous(body, variant),
        trace_id=trace_id or str(uuid.uuid4()),
        failure=failure,
        references=references,
    )


def _size(body: dict[str, Any], model: str, references: References) -> tuple[tuple[int, int], Failure | None]:
    """Return the size to draw, and the failure that this size leads to once the request is accepted."""
    notation = body.get("size") or "auto"
    if notation == "auto":
        return _automatic_size(references), None
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


def _automatic_size(references: References) -> tuple[int, int]:
    """Return the usual size, in the proportions of the first reference where they are known."""
    if references.size is None:
        return _DEFAULT_SIZE
    width, height = references.size
    scale = _DEFAULT_SIZE[0] / max(width, height) / 16
    return max(1, round(width * scale)) * 16, max(1, round(height * scale)) * 16
