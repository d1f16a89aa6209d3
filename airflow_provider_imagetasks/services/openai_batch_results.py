"""Lines of the results of OpenAI's Batch API: pictures, or why there is none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from airflow_provider_imagetasks.exceptions import ImageTaskError, ImageTaskFailedError, ServiceUnavailableError
from airflow_provider_imagetasks.services.fields import mapping, moment, sequence, structure, text, whole_number
from airflow_provider_imagetasks.services.openai_errors import NO_REASON, SERVICE, refusal
from airflow_provider_imagetasks.services.provider_batches import ResultLine
from airflow_provider_imagetasks.services.refusals import perhaps_billed
from airflow_provider_imagetasks.services.wire import has_too_many_values, read_json
from airflow_provider_imagetasks.tasks import GeneratedImage

_CUSTOM_ID = re.compile(rb'"custom_id"\s*:\s*"([A-Za-z0-9_-]{1,64})"')
_NOT_MADE = {
    "batch_expired": "It was not made within the day that the batch had",
    "batch_cancelled": "It was not made before its batch was cancelled",
}
_ERROR_STATUSES = range(300, 600)
_PICTURE = b'"b64_json"'
_SHORTEST_PICTURE = 1024
"""Characters from which on the text of a picture is taken out before a line is parsed."""
_MOST_NAMES = 1_000
"""How often a picture's name is looked for in a line."""
_BETWEEN = re.compile(r"\s*")


def custom_id_in(beginning: bytes) -> str | None:
    """Return the custom id of a line of results by its first bytes; None where they do not tell."""
    found = _CUSTOM_ID.search(beginning)
    return found[1].decode() if found else None


def read_line(line: bytes) -> ResultLine:
    """Return what a line of results says; pictures are not parsed as JSON, which would take as long as all the rest.

    :raises ValueError: it is none.
    """
    rest, pictures = _without_pictures(line)
    said = read_json(rest)
    if not isinstance(said, Mapping) or not isinstance(said.get("custom_id"), str):
        raise ValueError("it has no custom_id")
    response, error = mapping(said.get("response")), _error_in(said)
    body = mapping(response.get("body"))
    images = tuple(
        image
        for index, each in enumerate(map(mapping, sequence(body.get("data"))))
        if (image := _image(each, index, pictures)) is not None
    )
    return ResultLine(
        custom_id=said["custom_id"],
        images=images,
        usage=structure(body.get("usage")),
        created_at=moment(body.get("created")),
        # A picture that is there is paid for, whatever else is said of it.
        error=None if images else _reason(response, body, error),
    )


def results_in(line: bytes) -> Sequence[bytes]:
    """Return the objects that a line holds, and last what is none; the line alone where it holds too much."""
    if has_too_many_values(line):
        return (line,)
    # A character for each byte: the marks of JSON are the same, and places in the text are those in the line.
    told, start, found = line.decode("latin-1"), 0, list[bytes]()
    decoder = json.JSONDecoder(strict=False)
    while (start := _BETWEEN.match(told, start).end()) < len(told):  # type: ignore[union-attr]
        end = len(told)
        if told[start] == "{":
            with suppress(ValueError, RecursionError):
                end = decoder.raw_decode(told, start)[1]
        found.append(line[start:end])
        start = end
    return found


def _reason(response: Mapping[str, Any], body: Mapping[str, Any], error: Mapping[str, Any]) -> ImageTaskError:
    """Return why a line holds no picture; only what was made is billed."""
    status, told = whole_number(response.get("status_code")), error or _error_in(body)
    if error or not response:
        return _not_made(error)
    if status is not None and status in _ERROR_STATUSES:
        refused = refusal(status, told)
        refused.billed = "no"
        return perhaps_billed(refused, used=body.get("usage"))
    if told:
        return perhaps_billed(_not_made(told), used=body.get("usage"))
    what = "OpenAI answered without a picture"
    return ImageTaskFailedError(what, service=SERVICE, code="no_images", billed="unknown")


def _error_in(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the error that a line, or the body of its response, holds; an empty object where there is none."""
    error = holder.get("error")
    return {"message": error} if isinstance(error, str) and error else mapping(error)


def _not_made(error: Mapping[str, Any]) -> ImageTaskError:
    code, advice = text(error.get("code")) or "", "A retry submits it again."
    if code in _NOT_MADE:
        what = _NOT_MADE[code]
        return ServiceUnavailableError(what, service=SERVICE, code=code, billed="no", retry_advice=advice)
    if not error:
        return ServiceUnavailableError("The batch has neither a picture nor an error for it", service=SERVICE)
    # There is no status: only a known code says more than that it was not made.
    told = refusal(500 if code in ("", "server_error") else 400, {**error, "code": code or "server_error"})
    told.message, told.billed = f"OpenAI did not make it: {text(error.get('message')) or code or NO_REASON}", "no"
    return told


def _without_pictures(line: bytes) -> tuple[bytes, list[str]]:
    """Return a line with a number in the place of each picture, and the pictures."""
    pictures: list[str] = []
    parts: list[bytes] = []
    position = 0
    for _ in range(_MOST_NAMES):
        found = line.find(_PICTURE, position)
        if found < 0:
            break
        name_ends = found + len(_PICTURE)
        opening = line.find(b'"', name_ends)
        closing = line.find(b'"', opening + 1) if opening >= 0 else -1
        between = line[name_ends:opening].strip() if 0 <= opening <= name_ends + 16 else b""
        if closing - opening <= _SHORTEST_PICTURE or between != b":" or line.find(b"\\", opening, closing) >= 0:
            # Something short, or written in a way of its own: for the parser.
            parts.append(line[position:name_ends])
            position = name_ends
            continue
        parts += [line[position:opening], str(len(pictures)).encode()]
        # What is no ASCII is no base64 either, which who decodes it says.
        pictures.append(str(memoryview(line)[opening + 1 : closing], "ascii", "replace"))
        position = closing + 1
    return b"".join([*parts, line[position:]]), pictures


def _image(told: Mapping[str, Any], index: int, pictures: list[str]) -> GeneratedImage | None:
    data = told.get("b64_json")
    if isinstance(data, int) and not isinstance(data, bool) and 0 <= data < len(pictures):
        return GeneratedImage(index=index, data=pictures[data])
    if isinstance(data, str) and data:
        return GeneratedImage(index=index, data=data)
    url = text(told.get("url"), most=4_000)
    return GeneratedImage(index=index, url=url) if url else None
