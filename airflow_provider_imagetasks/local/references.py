"""The pictures that edits start from: read, checked, and kept small."""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image

LARGEST_FILE = 50 * 1024 * 1024
LARGEST_MASK = 4 * 1024 * 1024
MOST_REFERENCES = 16

_FORMATS = ("PNG", "JPEG", "WEBP")
_MOST_PIXELS = 64_000_000
_KEPT_SIDE = 1_024
_KEPT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What an edit starts from.

    :param names: the SHA-256 of each uploaded file, or each URL as it was sent.
    :param background: the key of the first one's small copy in :class:`Backgrounds`; None when it is not here.
    :param size: width and height of that one.
    :param mask: whether a mask came along.
    """

    names: tuple[str, ...] = ()
    background: str | None = None
    size: tuple[int, int] | None = None
    mask: bool = False


NO_REFERENCES = References()
"""Of a request for a new picture."""


@dataclass(frozen=True, slots=True)
class SmallCopy:
    """A picture, small enough to be kept, and the size that it had."""

    picture: bytes
    size: tuple[int, int]


def digests(files: list[bytes]) -> tuple[str, ...]:
    """Return the SHA-256 of each file in hexadecimal digits. This takes a while too."""
    return tuple(hashlib.sha256(file).hexdigest() for file in files)


class Backgrounds:
    """Keeps the latest 64 MiB of small copies; what is forgotten is no longer drawn on."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._kept_bytes = 0

    def keep(self, picture: bytes) -> str:
        """Remember a picture and return its key."""
        key = hashlib.sha256(picture).hexdigest()
        if key not in self._kept:
            self._kept[key] = picture
            self._kept_bytes += len(picture)
        self._kept.move_to_end(key)
        while self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return key

    def get(self, key: str | None) -> bytes | None:
        """Return the picture of a key, None when it is not there."""
        return None if key is None else self._kept.get(key)


def read_pictures(files: list[bytes], mask: bytes | None) -> SmallCopy:
    """Check uploaded files and return a small copy of the first, transparent where the mask is.

    This takes a while: it is not for the event loop.

    :raises ValueError: when a file is not what the services take.
    """
    for number, file in enumerate(files[1:], start=2):
        _opened(file, f"image {number}")
    first = _opened(files[0], "image 1")
    size = first.size
    if mask is None:
        return SmallCopy(_small(first), size)
    if len(mask) > LARGEST_MASK:
        raise ValueError("mask is larger than 4 MB")
    alpha = _opened(mask, "mask")
    if alpha.format != "PNG" or not alpha.has_transparency_data:
        raise ValueError("mask is a PNG with an alpha channel")
    if alpha.size != size:
        raise ValueError("mask has the size of the first image")
    masked = first.convert("RGBA")
    masked.putalpha(alpha.convert("RGBA").getchannel("A"))
    return SmallCopy(_small(masked), size)


def small_copy(file: bytes) -> SmallCopy:
    """Return a small copy of a picture that this service has drawn itself."""
    image = _opened(file, "image")
    return SmallCopy(_small(image), image.size)


def _opened(file: bytes, name: str) -> Image.Image:
    if len(file) > LARGEST_FILE:
        raise ValueError(f"{name} is larger than 50 MB")
    try:
        image = Image.open(io.BytesIO(file), formats=_FORMATS)
    except Exception as error:
        raise ValueError(f"{name} is no PNG, JPEG or WebP picture") from error
    if image.width * image.height > _MOST_PIXELS:
        raise ValueError(f"{name} has too many pixels")
    try:
        image.load()
    except Exception as error:
        raise ValueError(f"{name} cannot be decoded") from error
    return image


def _small(image: Image.Image) -> bytes:
    small = image.convert("RGBA" if image.has_transparency_data else "RGB")
    small.thumbnail((_KEPT_SIDE, _KEPT_SIDE))
    file = io.BytesIO()
    small.save(file, "WEBP", quality=90, method=2)
    return file.getvalue()
