"""Writes the prompt and a signature on a picture."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import cast

from PIL import Image, ImageDraw, ImageFont

_SMALLEST_SIDE = 96
_MOST_LINES = 3
_LONGEST_TEXT = 400
_ELLIPSIS = "..."


# Pillow's own font has ASCII and little more; these are the usual names of fonts that have more.
_WESTERN_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "arial.ttf")
_EASTERN_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "PingFang.ttc",
    "Arial Unicode.ttf",
    "msyh.ttc",
)
_FIRST_EASTERN_CHARACTER = "\u2e80"
_DASHES = {ord(dash): "-" for dash in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"}


@lru_cache(maxsize=64)
def _own_font(size: int) -> ImageFont.FreeTypeFont:
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size=size))


@lru_cache(maxsize=64)
def _system_font(size: int, eastern: bool) -> ImageFont.FreeTypeFont | None:
    names = _EASTERN_FONTS + _WESTERN_FONTS if eastern else _WESTERN_FONTS + _EASTERN_FONTS
    for name in names:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return None


def _font_for(text: str, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """Choose a font that has the text's characters; return the text as that font can best show it."""
    text = text.translate(_DASHES)
    if text.replace("·", "").isascii():
        return text, _own_font(size)
    font = _system_font(size, max(text) >= _FIRST_EASTERN_CHARACTER)
    if font is not None:
        return text, font
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return plain, _own_font(size)


def write_caption(image: Image.Image, text: str, signature: str, *, covers: bool = False) -> None:
    """Write a caption on the lower part of a picture; pictures too small to be read stay as they are.

    :param text: the prompt, wrapped to at most three lines.
    :param signature: one small line below it.
    :param covers: whether to hide what is below, such as an earlier caption.
    """
    width, height = image.size
    shorter = min(width, height)
    if shorter < _SMALLEST_SIDE:
        return
    draw = ImageDraw.Draw(image, "RGBA")
    text, font = _font_for(_printable(text), max(11, round(shorter * 0.036)))
    signature, small = _font_for(_printable(signature), max(9, round(shorter * 0.023)))
    margin, padding = round(shorter * 0.035), round(shorter * 0.028)
    room = width - 2 * margin - 2 * padding
    lines = _wrapped(draw, text, font, room)
    signature = _shortened(draw, signature, small, room)
    line_height, small_height = round(font.size * 1.3), round(small.size * 1.3)
    panel_height = len(lines) * line_height + small_height + 2 * padding
    top = height - margin - panel_height
    draw.rounded_rectangle(
        (margin, top, width - margin, height - margin), radius=padding, fill=(16, 22, 34, 255 if covers else 150)
    )
    line_top = top + padding
    for line in lines:
        draw.text((margin + padding, line_top), line, font=font, fill=(255, 255, 255, 255))
        line_top += line_height
    draw.text((margin + padding, line_top + small_height * 0.1), signature, font=small, fill=(255, 255, 255, 190))


def _printable(text: str) -> str:
    """Return the text on one line, without what a font cannot be asked for (lone surrogates, controls)."""
    encodable = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(c if c.isprintable() else " " for c in encodable).split())[:_LONGEST_TEXT]


def _wrapped(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, room: int) -> list[str]:
    lines: list[str] = []
    rest = text
    while rest:
        if len(lines) == _MOST_LINES - 1:
            lines.append(_shortened(draw, rest, font, room))
            break
        length = _fitting(draw, rest, font, room)
        if length < len(rest):
            # Languages without spaces, and words longer than a line, break anywhere.
            length = rest.rfind(" ", 1, length + 1) if rest.rfind(" ", 1, length + 1) > 0 else length
        lines.append(rest[:length].rstrip())
        rest = rest[length:].lstrip()
    return lines


def _shortened(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    if _fitting(draw, text, font, room) == len(text):
        return text
    return text[: _fitting(draw, text, font, room - int(draw.textlength(_ELLIPSIS, font)))].rstrip() + _ELLIPSIS


def _fitting(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, room: int) -> int:
    """Return how many of the first characters fit into the room (in pixels), at least one."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if draw.textlength(text[:middle], font) <= room:
            low = middle
        else:
            high = middle - 1
    return high
