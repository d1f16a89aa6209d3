from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from dev.contact_sheet import EDGE, GAP, contact_sheet, in_a_terminal, shows_colours

COLOURS = ["red", "green", "blue", "yellow"]


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{colour}.png" for colour in COLOURS]
    for path, colour in zip(paths, COLOURS, strict=True):
        Image.new("RGB", (40, 60), colour).save(path)
    return paths


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_sheet_has_every_picture_three_in_a_row(pictures: list[Path]) -> None:
    sheet = contact_sheet(pictures)

    assert sheet.size == (3 * EDGE + 2 * GAP, 2 * EDGE + GAP)
    middle, step = EDGE // 2, EDGE + GAP
    seen = [sheet.getpixel((middle + column * step, middle)) for column in range(3)]
    assert seen == [(255, 0, 0), (0, 128, 0), (0, 0, 255)]
    assert sheet.getpixel((middle, middle + step)) == (255, 255, 0)
    assert contact_sheet(pictures[:1]).size == (EDGE, EDGE)


def test_a_terminal_is_shown_two_dots_in_a_character_and_its_own_colours_afterwards() -> None:
    sheet = Image.new("RGB", (2, 2), "red")
    sheet.paste((0, 0, 255), (0, 1, 2, 2))

    (line,) = in_a_terminal(sheet, columns=2).splitlines()

    assert line.count("\u2580") == 2
    assert "\x1b[38;2;255;0;0m\x1b[48;2;0;0;255m\u2580" in line
    assert line.endswith("\x1b[0m")


@pytest.mark.parametrize(
    ("stream", "variables", "shows"),
    [
        (Terminal(), {"COLORTERM": "truecolor"}, True),
        (Terminal(), {"COLORTERM": "24bit"}, True),
        (Terminal(), {}, False),
        (Terminal(), {"COLORTERM": "truecolor", "NO_COLOR": "1"}, False),
        (io.StringIO(), {"COLORTERM": "truecolor"}, False),
    ],
)
def test_only_a_terminal_that_has_all_colours_is_drawn_on(
    stream: io.StringIO, variables: dict[str, str], shows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COLORTERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert shows_colours(stream) == shows
