"""Decides whether a file is a whole picture, and of which kind, by its content; reads those that their record holds."""

from __future__ import annotations

import hashlib
import io
import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING

from airflow_provider_imagetasks.exceptions import UnsafeResultError
from airflow_provider_imagetasks.files.picture_structure import (
    Content,
    Structure,
    UnusablePictureError,
    damaged,
    kind_of,
    size_in_header,
    structure_of,
    without_metadata,
)
from airflow_provider_imagetasks.tasks import GeneratedImage

if TYPE_CHECKING:
    import msgspec
    from PIL.ImageFile import ImageFile

LARGEST_BYTES = 200 * 1024 * 1024
"""Results above this are not fetched to their end."""
LARGEST_PIXELS = 100_000_000
"""Pictures above this are refused before they are decoded: a small file can unpack to gigabytes."""
MOST_SCANS = 100
"""Scans of a JPEG: encoders write some ten, and each costs a pass over all pixels for as little as a hundred bytes."""
MOST_SCANNED_PIXELS = 1_500_000_000
"""Pixels of a JPEG times its scans, some three seconds of decoding."""
MOST_HELD_PIXELS = 70_000_000
"""Pixels of four bytes that may be decoded at the same time; what needs more alone is judged by its structure."""
MOST_FRAME_PIXELS = 25_000_000
"""Pixels of an animation that are decoded, a second or two; frames beyond are judged by the file's structure."""
_FRAME_PIXELS = 25_000
"""What a frame costs however small it is."""
_KINDS = {
    "PNG": ("png", "image/png"),
    "JPEG": ("jpg", "image/jpeg"),
    "WEBP": ("webp", "image/webp"),
    "GIF": ("gif", "image/gif"),
    "AVIF": ("avif", "image/avif"),
}
_PLUGINS = {
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "WEBP": ("WebPImagePlugin", "WebPImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "AVIF": ("AvifImagePlugin", "AvifImageFile"),
}
EXTENSIONS = tuple(extension for extension, _ in _KINDS.values())


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A file that turned out to be a picture.

    :param sha256: of the file, as hexadecimal digits.
    :param bytes: its size.
    :param width: in pixels, as ``height``.
    :param extension: by content, without the dot.
    :param has_alpha: whether it can be transparent.
    """

    sha256: str
    bytes: int
    width: int
    height: int
    media_type: str
    extension: str
    has_alpha: bool


class PixelBudget:
    """A bound on the pixels that decoders hold at the same time.

    :param pixels: the bound.
    """

    def __init__(self, pixels: int = MOST_HELD_PIXELS) -> None:
        self.pixels = pixels
        self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def taking(self, pixels: int) -> Iterator[None]:
        """Hold so many pixels while the block runs; waits until they are free."""
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


_decoded = PixelBudget()


def media_type_at(file: IO[bytes]) -> str:
    """Return the media type of the picture that an open file begins with; nothing is decoded.

    :raises UnusablePictureError: it is not a raster picture of a known kind, or has too many pixels.
    """
    beginning = file.read(64)
    kind = _known_kind(beginning)
    _require_few_pixels(size_in_header(kind, beginning))
    return _KINDS[kind][1]


def inspect_picture(content: bytes | Path, *, decode: bool = True) -> Picture:
    """Make sure that a picture is whole, and return what it is. At most some 400 MB and three seconds at a time.

    :param content: the picture, or the local file that holds it.
    :param decode: decode it completely. Without, a PNG is held against the checksums that it carries, which finds
        what was cut off or damaged on the way at a sixth of the cost; other kinds carry none and are decoded anyway,
        as far as their size allows.
    :raises UnusablePictureError: it is not a raster picture of a known kind, is damaged, or is too much to decode.
    """
    with _mapped(content) as mapped:
        structure = structure_of(mapped)
        _require_little(structure)
        size, has_alpha = structure.size, structure.has_alpha
        if decode or structure.kind != "PNG":
            size, has_alpha = _decode(structure, mapped)
    with _opened(content) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    extension, media_type = _KINDS[structure.kind]
    width, height = size or (0, 0)
    return Picture(
        sha256=sha256,
        bytes=len(content) if isinstance(content, bytes) else content.stat().st_size,
        width=width,
        height=height,
        media_type=media_type,
        extension=extension,
        has_alpha=has_alpha,
    )


def open_picture(content: Content) -> tuple[Structure, ImageFile]:
    """Open a picture whose structure is whole, and that is not too much to decode; nothing is decoded yet.

    Not by what Pillow's own ``open`` takes it for: a JPEG with a second picture inside is a JPEG.

    :raises UnusablePictureError: it is not such a picture.
    """
    _known_kind(content[:64])
    structure = structure_of(content)
    _require_little(structure)
    return structure, _image(structure, content)


def _known_kind(beginning: bytes) -> str:
    kind = kind_of(beginning)
    if kind is None:
        # Without a word of what it is: this is said to browsers.
        raise UnusablePictureError("it is not a picture of a known kind")
    return kind


def held_pixels(structure: Structure, size: tuple[int, int], frames: int = 1) -> int:
    """Return how many pixels of four bytes decoding takes, with what its decoder holds besides."""
    pixels = size[0] * size[1]
    if structure.kind in ("WEBP", "AVIF"):
        return 4 * pixels
    if structure.kind == "GIF":
        return 3 * pixels if frames > 1 else pixels // 4
    if structure.kind == "JPEG":
        # Pictures are decoded at an eighth of their size; of several scans, the coefficients are kept until the last.
        return pixels // 64 + (pixels * structure.components // 2 if structure.scans > 1 else 0)
    return pixels


def _decode(structure: Structure, content: Content) -> tuple[tuple[int, int], bool]:
    """Decode what is not too large, and return the size in pixels and whether it can be transparent."""
    image = _image(structure, content)
    size = image.size
    frames = min(
        structure.frames if structure.kind == "GIF" else getattr(image, "n_frames", 1),
        max(1, MOST_FRAME_PIXELS // (size[0] * size[1] + _FRAME_PIXELS)),
    )
    has_alpha = bool(image.has_transparency_data)
    if structure.kind == "JPEG":
        image.draft(None, (max(1, size[0] // 8), max(1, size[1] // 8)))
    if held_pixels(structure, size, frames) > MOST_HELD_PIXELS:
        frames = 1
    held = held_pixels(structure, size, frames)
    if held <= MOST_HELD_PIXELS:
        with _decoded.taking(held), _contained(structure.kind):
            image.load()
            for frame in range(1, frames):
                image.seek(frame)
                image.load()
    return size, has_alpha


def _image(structure: Structure, content: Content) -> ImageFile:
    with _contained(structure.kind):
        plugin = import_module(f"PIL.{_PLUGINS[structure.kind][0]}")
        if not getattr(plugin, "SUPPORTED", True):
            raise ImportError(structure.kind)
        whole = without_metadata(content) if structure.kind == "PNG" else content
        if not isinstance(whole, bytes):
            whole.seek(0)
        file = io.BytesIO(whole) if isinstance(whole, bytes) else whole
        image: ImageFile = getattr(plugin, _PLUGINS[structure.kind][1])(file)
    _require_few_pixels(image.size)
    return image


def _require_little(structure: Structure) -> None:
    _require_few_pixels(structure.size)
    if structure.kind == "JPEG" and structure.size is not None:
        width, height = structure.size
        if structure.scans > MOST_SCANS or structure.scans * width * height > MOST_SCANNED_PIXELS:
            raise UnusablePictureError(
                f"it is a JPEG of {width} x {height} pixels in {structure.scans} scans, which would take very long to "
                "open; encoders write about ten"
            )


def _require_few_pixels(size: tuple[int, int] | None) -> None:
    if size is not None and size[0] * size[1] > LARGEST_PIXELS:
        raise UnusablePictureError(f"it has {size[0]} x {size[1]} pixels, more than {LARGEST_PIXELS:,}")


@contextmanager
def _contained(kind: str) -> Iterator[None]:
    """Let nothing but an ``UnusablePictureError`` leave the block: what Pillow raises is decided by the file."""
    try:
        yield
    except UnusablePictureError:
        raise
    except ImportError as error:
        raise UnusablePictureError(f"it is a {kind} picture, which the installed Pillow cannot read") from error
    except Exception as error:
        raise damaged(kind, f"{type(error).__name__}: {error}"[:200]) from error


@contextmanager
def _mapped(content: bytes | Path) -> Iterator[Content]:
    if isinstance(content, bytes) or not content.stat().st_size:
        yield content if isinstance(content, bytes) else b""
        return
    with content.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield mapped


def _opened(content: bytes | Path) -> io.BytesIO | io.BufferedReader:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def content_of(image: GeneratedImage) -> bytes:
    """Return the content of a picture that has no address.

    :raises UnsafeResultError: it has no content either, or none that can be read, or one that is too large.
    """
    if image.data is None:
        raise UnsafeResultError(f"Picture {image.index} has neither a URL nor content")
    try:
        content = _bytes_in(image)
    except ValueError as error:
        raise UnsafeResultError(f"Picture {image.index} of the record cannot be read: {error}") from error
    if len(content) > LARGEST_BYTES:
        raise UnsafeResultError(f"Picture {image.index} of the record has more than {LARGEST_BYTES:,} bytes")
    return content


def _bytes_in(image: GeneratedImage) -> bytes:
    """Decode base64 in a third of the time that Python's own decoder takes, which says what is wrong with the rest."""
    import msgspec

    if "\\" in (image.data or ""):
        return image.content()
    try:
        return _decoder().decode(f'"{image.data}"')
    except (msgspec.MsgspecError, ValueError):
        return image.content()


@cache
def _decoder() -> msgspec.json.Decoder[bytes]:
    import msgspec

    return msgspec.json.Decoder(type=bytes)
