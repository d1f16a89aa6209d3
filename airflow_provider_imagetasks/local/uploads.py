"""Uploads: the form that the files of an edit come in, and the pictures in it, checked and made small."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from PIL import Image

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, require

if TYPE_CHECKING:
    from multidict import MultiDictProxy

MOST_REFERENCES = 16
_LARGEST_FILE = 50 * 1024 * 1024
_LARGEST_MASK = 4 * 1024 * 1024
_MOST_PIXELS = 64_000_000
_SMALL_SIDE = 1_024
_LARGEST_TEXT = 1024 * 1024
_LARGEST_FORM = 256 * 1024 * 1024


async def posted_form(request: web.Request, largest: int) -> MultiDictProxy[Any]:
    """Return the fields of a form.

    :param largest: bytes that it may have.
    :raises RefusedError: it is not one, or larger.
    """
    try:
        return await request.clone(client_max_size=largest).post()
    except web.HTTPRequestEntityTooLarge as error:
        raise RefusedError(Reason.INVALID, "the files are too large altogether") from error
    except (ValueError, LookupError, HttpProcessingError) as error:
        raise RefusedError(Reason.INVALID, "the request body is not a readable form") from error


async def read_form(request: web.Request) -> tuple[dict[str, Any], list[bytes], bytes | None]:
    """Return the fields of a form as JSON would have them, its images and its mask.

    :raises RefusedError: when it is not one, or larger than the service takes.
    """
    posted = await posted_form(request, _LARGEST_FORM)
    files: dict[str, list[tuple[str, bytes]]] = {"image": [], "mask": []}
    texts: dict[str, list[Any]] = {"image": []}
    for name, value in posted.items():
        if isinstance(value, web.FileField):
            with value.file as file:
                files.setdefault(name, []).append((value.filename, file.read()))
        else:
            texts.setdefault(name, []).append(value)
    require(len(files["mask"]) < 2, "there is one mask only")
    require("mask" not in texts, "mask is a file")
    for name in files:
        require(name in ("image", "mask"), f"{name} is not a file")
    for name, values in texts.items():
        require(all(isinstance(value, str) for value in values), f"{name} is a text")
        require(all(len(value) <= _LARGEST_TEXT for value in values), f"{name} is larger than 1 MB")
    urls = texts.pop("image")
    require(len(files["image"]) + len(urls) <= MOST_REFERENCES, f"image comes at most {MOST_REFERENCES} times")
    require(not urls or not (files["image"] or files["mask"]), "URLs do not go with files")
    body = {name: _typed(name, values[-1]) for name, values in texts.items()}
    body["image"] = [filename for filename, _ in files["image"]] or urls
    if files["mask"]:
        body["mask"] = files["mask"][0][0]
    return body, [image for _, image in files["image"]], files["mask"][0][1] if files["mask"] else None


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
