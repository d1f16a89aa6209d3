"""Decides whether a file is a whole picture, and of which kind, by its content."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

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
    """What a file turned out to be.

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


def inspect_picture(path: Path) -> Picture:
    """Decode a local file completely and return what it is.

    :raises UnusablePictureError: it is not a raster picture of a known kind, has too many pixels, or is damaged.
    """
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        # Pillow's own limits warn; ours, checked before anything is decoded, raise.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=list(_KINDS)) as image:
                kind, has_alpha = image.format or "", image.has_transparency_data
                width, height = image.size
                if width * height > LARGEST_PIXELS:
                    raise UnusablePictureError(f"it has {width} x {height} pixels, more than {LARGEST_PIXELS:,}")
                image.load()
        except UnidentifiedImageError as error:
            raise UnusablePictureError(f"it is not a picture; it begins with {_beginning(path)}") from error
        except Image.DecompressionBombError as error:
            raise UnusablePictureError(f"it has too many pixels ({error})") from error
        except UnusablePictureError:
            raise
        except (OSError, SyntaxError, ValueError) as error:
            raise UnusablePictureError(f"it is a damaged picture, or was cut off ({error})", damaged=True) from error
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    extension, media_type = _KINDS[kind]
    return Picture(
        sha256=digest,
        bytes=path.stat().st_size,
        width=width,
        height=height,
        media_type=media_type,
        extension=extension,
        has_alpha=has_alpha,
    )


def _beginning(path: Path) -> str:
    with path.open("rb") as file:
        return repr(file.read(24))
