"""Uploads: the form that the files of an edit come in, and the pictures in it, checked and made small."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from PIL import Image

from airflow_provider_imagetasks.local.admission import Reason, RefusedError

MOST_REFERENCES = 16
_LARGEST_FILE = 50 * 1024 * 1024
_LARGEST_MASK = 4 * 1024 * 1024
_MOST_PIXELS = 64_000_000
_SMALL_SIDE = 1_024
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
        content = await _content(part, _LARGEST_FILE if is_file else _LARGEST_TEXT)
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


def read_uploads(files: list[bytes], mask: bytes | None) -> tuple[tuple[str, ...], bytes, tuple[int, int]]:
    """Check the pictures of an edit. This takes a while: it is not for the event loop.

    :returns: their SHA-256, a small copy of the first (transparent where the mask is), and the size of that one.

    :raises ValueError: when a file is not what the services take.
    """
    first, *_ = [_opened(file, f"image {number}") for number, file in enumerate(files, start=1)]
    size = first.size
    if mask is not None:
        if len(mask) > _LARGEST_MASK:
            raise ValueError("mask is larger than 4 MB")
        alpha = _opened(mask, "mask")
        if alpha.format != "PNG" or not alpha.has_transparency_data:
            raise ValueError("mask is a PNG with an alpha channel")
        if alpha.size != size:
            raise ValueError("mask has the size of the first image")
        first = first.convert("RGBA")
        first.putalpha(alpha.convert("RGBA").getchannel("A"))
    small = first.convert("RGBA" if first.has_transparency_data else "RGB")
    small.thumbnail((_SMALL_SIDE, _SMALL_SIDE))
    copy = io.BytesIO()
    # WebP forgets of a mask that lets nothing through that there was one.
    small.save(copy, "WEBP" if mask is None else "PNG", quality=90, method=2)
    return tuple(hashlib.sha256(file).hexdigest() for file in files), copy.getvalue(), size


def _opened(file: bytes, name: str) -> Image.Image:
    if len(file) > _LARGEST_FILE:
        raise ValueError(f"{name} is larger than 50 MB")
    try:
        image = Image.open(io.BytesIO(file), formats=("PNG", "JPEG", "WEBP"))
    except Exception as error:
        raise ValueError(f"{name} is no PNG, JPEG or WebP picture") from error
    if image.width * image.height > _MOST_PIXELS:
        raise ValueError(f"{name} has too many pixels")
    try:
        image.load()
    except Exception as error:
        raise ValueError(f"{name} cannot be decoded") from error
    return image
