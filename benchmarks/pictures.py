"""Pictures to download: real PNG files of about one megabyte, which do not compress further."""

from __future__ import annotations

import io
import random
from enum import StrEnum

_DIFFERENT = 4


class PictureKind(StrEnum):
    """How a megabyte of PNG comes about."""

    NOISE = "noise"
    """Pure noise, 590 x 590 pixels: a megabyte that costs little to decode."""
    PHOTO = "photo"
    """1024 x 1024 pixels with the grain of a photograph: what image services deliver."""


def noise_pictures(kind: PictureKind) -> list[bytes]:
    """Return a few different pictures, always the same ones."""
    return [_picture(kind, number) for number in range(_DIFFERENT)]


def _picture(kind: PictureKind, number: int) -> bytes:
    from PIL import Image, ImageChops

    source = random.Random(number)
    side = 590 if kind is PictureKind.NOISE else 1024
    picture = Image.frombytes("RGB", (side, side), source.randbytes(side * side * 3))
    if kind is PictureKind.PHOTO:
        gradient = Image.merge("RGB", [Image.linear_gradient("L").resize((side, side))] * 3)
        picture = ImageChops.add(gradient, picture.point(lambda value: value & 3))
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()
