"""Decides whether a file is a whole picture, and of which kind, by its content."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

LARGEST_BYTES = 200 * 1024 * 1024
"""Results above this are not fetched to their end."""
LARGEST_PIXELS = 100_000_000
"""Pictures above this are refused before they are decoded: a small file can unpack to gigabytes."""
_KINDS = {
    "PNG": ("png", "image/png"),
    "JPEG": ("jpg", "image/jpeg"),
    "WEBP": ("webp", "image/webp"),
    "GIF": ("gif", "image/gif"),
}
EXTENSIONS = tuple(extension for extension, _ in _KINDS.values())


class UnusablePictureError(ValueError):
    """A file is not a whole raster picture of a known kind and a sane size.

    :param damaged: it seems to be one, but is cut off or broken, so that fetching it again may help.
    """

    def __init__(self, reason: str, *, damaged: bool = False) -> None:
        super().__init__(reason)
        self.damaged = damaged


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


def peek_picture(file: IO[bytes]) -> ImageFile:
    """Read the header of an open file and return the picture that it tells of; nothing is decoded.

    :raises UnusablePictureError: it is not a raster picture of a known kind, or has too many pixels.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image = Image.open(file, formats=list(_KINDS))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UnusablePictureError("it is not a picture of a known kind") from error
    width, height = image.size
    if width * height > LARGEST_PIXELS:
        raise UnusablePictureError(f"it has {width} x {height} pixels, more than {LARGEST_PIXELS:,}")
    return image


def media_type_of(image: ImageFile) -> str:
    """Return the media type of a picture that was peeked at."""
    return _KINDS[image.format or ""][1]


def inspect_picture(content: bytes | Path, *, decode: bool = True) -> Picture:
    """Make sure that a picture is whole, and return what it is.

    :param content: the picture, or the local file that holds it.
    :param decode: decode it completely. Without, a PNG is held against the checksums that it carries, which finds
        what was cut off or damaged on the way at a sixth of the cost; other kinds carry none and are decoded anyway.
    :raises UnusablePictureError: it is not a raster picture of a known kind, has too many pixels, or is damaged.
    """
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        # Pillow's own limits warn; ours, checked before anything is decoded, raise.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with _opened(content) as file, Image.open(file, formats=list(_KINDS)) as image:
                kind, has_alpha = image.format or "", image.has_transparency_data
                width, height = image.size
                if width * height > LARGEST_PIXELS:
                    raise UnusablePictureError(f"it has {width} x {height} pixels, more than {LARGEST_PIXELS:,}")
                if decode or kind != "PNG":
                    image.load()
                else:
                    image.verify()
        except UnidentifiedImageError as error:
            with _opened(content) as file:
                beginning = file.read(24)
            raise UnusablePictureError(f"it is not a picture; it begins with {beginning!r}") from error
        except Image.DecompressionBombError as error:
            raise UnusablePictureError(f"it has too many pixels ({error})") from error
        except UnusablePictureError:
            raise
        except (OSError, SyntaxError, ValueError) as error:
            raise UnusablePictureError(f"it is a damaged picture, or was cut off ({error})", damaged=True) from error
    with _opened(content) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    extension, media_type = _KINDS[kind]
    return Picture(
        sha256=sha256,
        bytes=len(content) if isinstance(content, bytes) else content.stat().st_size,
        width=width,
        height=height,
        media_type=media_type,
        extension=extension,
        has_alpha=has_alpha,
    )


def _opened(content: bytes | Path) -> io.BytesIO | io.BufferedReader:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")
