"""Reads a form with files, as the image routes for edits take it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import BodyPartReader
from aiohttp.http_exceptions import HttpProcessingError

from airflow_provider_imagetasks.local.admission import Reason, RefusedError
from airflow_provider_imagetasks.local.references import LARGEST_FILE, MOST_REFERENCES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

_LARGEST_TEXT = 1024 * 1024
_LARGEST_FORM = 256 * 1024 * 1024
_PIECE = 64 * 1024


@dataclass(slots=True)
class Form:
    """A form: its fields as JSON would have them, and its files."""

    body: dict[str, Any] = field(default_factory=dict)
    images: list[bytes] = field(default_factory=list)
    mask: bytes | None = None


async def read_form(request: web.Request) -> Form:
    """Read a form with files.

    :raises RefusedError: when it is not one, or larger than the service takes.
    """
    form, urls, names, total = Form(), [], [], 0
    async for part, is_file in _parts(request):
        name = part.name or ""
        if is_file and name not in ("image", "mask"):
            raise RefusedError(Reason.INVALID, f"{name} is not a file")
        content = await _content(part, LARGEST_FILE if is_file else _LARGEST_TEXT)
        total += len(content)
        if total > _LARGEST_FORM:
            raise RefusedError(Reason.INVALID, "the files are too large altogether")
        if is_file and name == "image":
            form.images.append(content)
            names.append(part.filename)
        elif is_file:
            if form.mask is not None:
                raise RefusedError(Reason.INVALID, "there is one mask only")
            form.mask = content
            form.body["mask"] = part.filename
        elif name == "mask":
            raise RefusedError(Reason.INVALID, "mask is a file")
        elif name == "image":
            urls.append(_text(content, name))
        else:
            form.body[name] = _typed(name, _text(content, name))
        if len(form.images) + len(urls) > MOST_REFERENCES:
            raise RefusedError(Reason.INVALID, f"image comes at most {MOST_REFERENCES} times")
    if urls and (form.images or form.mask is not None):
        raise RefusedError(Reason.INVALID, "URLs do not go with files")
    form.body["image"] = names or urls
    return form


async def _parts(request: web.Request) -> AsyncIterator[tuple[BodyPartReader, bool]]:
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader):
                raise RefusedError(Reason.INVALID, "a form holds no form")
            yield part, part.filename is not None
    except (ValueError, LookupError, HttpProcessingError) as error:
        raise RefusedError(Reason.INVALID, "the request body is not a readable form") from error


async def _content(part: BodyPartReader, most: int) -> bytes:
    content = bytearray()
    while piece := await part.read_chunk(_PIECE):
        content += piece
        if len(content) > most:
            raise RefusedError(Reason.INVALID, f"{part.name} is larger than {most // 1024 // 1024} MB")
    return bytes(content)


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise RefusedError(Reason.INVALID, f"{name} is a text") from error


def _typed(name: str, text: str) -> Any:
    """Return a field as JSON would have it: a form knows texts only."""
    if name == "n" and text.isascii() and text.isdecimal() and len(text) < 4:
        return int(text)
    if name == "async" and text in ("true", "false"):
        return text == "true"
    return text
