"""Pictures with their prompt on them: a landscape, or what an edit started from."""

from __future__ import annotations

import io
import math
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import cast

from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.ImageFont import FreeTypeFont

from airflow_provider_imagetasks.local.landscapes import draw_landscape

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
"""The formats that can be drawn, with their media types; the names double as file extensions."""

# Up to this many pixels a picture is drawn at twice its size and scaled down, which smooths its edges.
_SMOOTHED_PIXELS = 1_600_000
_SMALLEST_WITH_TEXT = 96
_LONGEST_TEXT = 400
# Pillow's own font has ASCII and little more; these are the usual names of fonts that have more.
_WESTERN_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "arial.ttf")
_EASTERN_FONTS = (
    *("NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "DroidSansFallbackFull.ttf", "PingFang.ttc", "msyh.ttc"),
)
_DASHES = {ord(dash): "-" for dash in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureOrder:
    """All that a picture depends on: the same order always gives the same bytes.

    :param index: which picture of the image task, from 0, out of ``count``.
    :param size: width and height in pixels.
    :param media_format: one of :data:`MEDIA_TYPES`.
    :param note: what else to write behind the count.
    :param background: the file of a picture to draw on, instead of a landscape.
    """

    text: str
    model: str
    index: int
    count: int
    size: tuple[int, int]
    media_format: str
    note: str = ""
    background: bytes | None = None


def paint(order: PictureOrder) -> bytes:
    """Draw a picture and return it as a file's bytes. This takes a while: it is not for the event loop."""
    width, height = order.size
    scale = 2 if width * height <= _SMOOTHED_PIXELS else 1
    large = (width * scale, height * scale)
    drawn_on = None if order.background is None else ImageOps.fit(Image.open(io.BytesIO(order.background)), large)
    if drawn_on is not None and drawn_on.mode == "RGBA":
        # Where the picture is transparent, as a mask makes it, a landscape shows.
        image = draw_landscape(order.text, order.index, large)
        image.paste(drawn_on, mask=drawn_on.getchannel("A"))
    else:
        image = draw_landscape(order.text, order.index, large, onto=drawn_on)
    image = image.reduce(scale)
    signature = f"local image service · {order.model} · {order.index + 1}/{order.count}{order.note}"
    _write_caption(image, order.text, signature, hides=drawn_on is not None)
    file = io.BytesIO()
    options = {"png": {"compress_level": 3}, "jpeg": {"quality": 88}, "webp": {"quality": 85, "method": 2}}
    image.save(file, order.media_format, **options[order.media_format])
    return file.getvalue()


def _write_caption(image: Image.Image, text: str, signature: str, *, hides: bool) -> None:
    """Write a text and a small line below it where they can be read; it may hide what is there, such as a caption."""
    (width, height), shorter = image.size, min(image.size)
    if shorter < _SMALLEST_WITH_TEXT:
        return
    margin, padding = round(shorter * 0.035), round(shorter * 0.028)
    room = width - 2 * (margin + padding)
    lines = _lines(text, max(11, round(shorter * 0.036)), room, most=3)
    lines += _lines(signature, max(9, round(shorter * 0.023)), room, most=1)
    top = height - margin - 2 * padding - sum(round(font.size * 1.3) for _, font in lines)
    draw = ImageDraw.Draw(image, "RGBA")
    panel = (margin, top, width - margin, height - margin)
    draw.rounded_rectangle(panel, radius=padding, fill=(16, 22, 34, 255 if hides else 150))
    top += padding
    for line, font in lines:
        draw.text((margin + padding, top), line, (255, 255, 255, 190 if font is lines[-1][1] else 255), font)
        top += round(font.size * 1.3)


def _lines(text: str, size: int, room: int, *, most: int) -> list[tuple[str, FreeTypeFont]]:
    """Break a text into lines that fit into the room (in pixels), each with its font."""
    # No font can be asked for lone surrogates and controls.
    encodable = text.encode("utf-8", "replace").decode("utf-8").translate(_DASHES)
    rest = " ".join("".join(c if c.isprintable() else " " for c in encodable).split())[:_LONGEST_TEXT]
    font = _font(size, None if rest.replace("·", "").isascii() else max(rest) >= "\u2e80")
    if font is None:
        rest = "".join(c for c in unicodedata.normalize("NFKD", rest) if not unicodedata.combining(c))
        font = cast(FreeTypeFont, _font(size, None))
    lines: list[str] = []
    while rest and len(lines) < most:
        length = max(1, bisect_right(range(1, len(rest) + 1), room, key=partial(_width, font, rest)))
        if length == len(rest):
            lines.append(rest)
        elif len(lines) == most - 1:
            lines.append(rest[: max(1, length - 3)].rstrip() + "...")
        else:
            # Languages without spaces, and words longer than a line, break anywhere.
            length = max(rest.rfind(" ", 1, length + 1), 0) or length
            lines.append(rest[:length].rstrip())
        rest = rest[length:].lstrip()
    return [(line, font) for line in lines]


def _width(font: FreeTypeFont, text: str, count: int) -> int:
    return math.ceil(font.getlength(text[:count]))


@lru_cache(maxsize=64)
def _font(size: int, eastern: bool | None) -> FreeTypeFont | None:
    """Return a font of this machine for eastern or western texts, if it has one; for None, Pillow's own."""
    if eastern is None:
        return cast(FreeTypeFont, ImageFont.load_default(size=size))
    for name in _EASTERN_FONTS + _WESTERN_FONTS if eastern else _WESTERN_FONTS + _EASTERN_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return None


def in_proportion(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Return the size with these proportions and the longest side, in the multiples of 16 that image models deliver."""
    scale = longest / max(size) / 16
    return max(1, round(size[0] * scale)) * 16, max(1, round(size[1] * scale)) * 16
