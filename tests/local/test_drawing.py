from __future__ import annotations

import io

import pytest
from PIL import Image

from airflow_provider_imagetasks.local.drawing import PictureOrder, paint
from airflow_provider_imagetasks.local.landscapes import draw_landscape


def picture(text, *, index=0, size=(256, 256), media_format="png"):
    order = PictureOrder(text=text, model="any", index=index, count=2, size=size, media_format=media_format)
    return paint(order)


def test_text_and_index_decide_the_picture():
    assert picture("a red kite") == picture("a red kite")
    assert len({picture("a red kite"), picture("a red kite", index=1), picture("a blue kite")}) == 3


def test_a_colour_word_is_to_be_seen():
    pixels = Image.open(io.BytesIO(picture("a red kite"))).convert("RGB").get_flattened_data()
    assert sum(1 for red, green, blue in pixels if red > 180 and green < 90 and blue < 90) > 100


@pytest.mark.parametrize("thing", ["balloon", "lighthouse", "boat", "kite"])
def test_a_number_in_words_is_heeded(thing):
    covered = []
    for number in ("one", "ten"):
        empty = Image.new("RGB", (256, 256))
        drawn = draw_landscape(f"{number} white {thing}s", 0, empty.size, onto=empty).get_flattened_data()
        covered.append(sum(1 for pixel in drawn if any(pixel)))
    assert covered[1] > covered[0] * 2


@pytest.mark.parametrize("media_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("size", [(1, 1), (3840, 1), (1, 3840), (95, 97), (640, 96), (1600, 1200)])
def test_any_size_can_be_drawn(size, media_format):
    drawn = Image.open(io.BytesIO(picture("a red kite", size=size, media_format=media_format)))
    drawn.load()
    assert (drawn.size, drawn.format) == (size, media_format.upper())


FOREIGN = ["風の中の赤い凧", "ein Käfer \u2013 süß", "مرحبا بالعالم", "😀👩‍👩‍👧"]
ODD = ["", "\ud800\x00\x1b[31m", "a\nb\tc", "W" * 5000, "凧" * 5000]


@pytest.mark.parametrize("text", FOREIGN + ODD)
def test_any_text_can_be_written(text):
    assert picture(text)
