"""The pictures of the demo at one glance: a file with all of them, and the same in a terminal that has colours."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from PIL import Image, ImageOps

COLUMNS = 3
EDGE, GAP = 320, 12
WIDEST = 72


def contact_sheet(pictures: Sequence[Path]) -> Image.Image:
    """Return one image with all pictures side by side, three in a row.

    :param pictures: at least one file.
    """
    columns = min(COLUMNS, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * (EDGE + GAP) - GAP, rows * (EDGE + GAP) - GAP), "white")
    for number, path in enumerate(pictures):
        row, column = divmod(number, columns)
        with Image.open(path) as picture:
            small = ImageOps.fit(picture.convert("RGB"), (EDGE, EDGE))
        sheet.paste(small, (column * (EDGE + GAP), row * (EDGE + GAP)))
    return sheet


def shows_colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal that says of itself that it has all colours."""
    return (
        stream.isatty() and os.environ.get("COLORTERM", "") in ("truecolor", "24bit") and "NO_COLOR" not in os.environ
    )


def in_a_terminal(sheet: Image.Image, columns: int | None = None) -> str:
    """Return a sheet as lines of text: each character is two dots, one above the other, in their colours.

    :param columns: characters in a line; by default those of the terminal, up to 72.
    """
    width = columns or min(WIDEST, shutil.get_terminal_size().columns - 2)
    # A character is as wide as one dot and as high as two.
    height = 2 * math.ceil(sheet.height * width / sheet.width / 2)
    dots = sheet.resize((width, height))
    lines = []
    for upper in range(0, height, 2):
        characters = []
        for column in range(width):
            above, below = (dots.getpixel((column, row)) for row in (upper, upper + 1))
            characters.append(f"\x1b[38;2;{_numbers(above)}m\x1b[48;2;{_numbers(below)}m\u2580")
        lines.append(f"  {''.join(characters)}\x1b[0m")
    return "\n".join(lines)


def _numbers(colour: object) -> str:
    assert isinstance(colour, tuple)
    return ";".join(str(part) for part in colour)
