"""Landscapes that depend on a text: its hash decides, and the words that it recognises decide more."""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections import namedtuple
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageOps

Colour = tuple[int, int, int]
Corners = tuple[tuple[float, float], ...]
Shapes = tuple[tuple[float | str, Corners], ...]

_WHITE, _DUSK, _CREAM, _GOLD, _GREEN = (255, 255, 255), (10, 12, 30), (230, 216, 200), (255, 214, 90), (46, 104, 74)
_COUNT_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NIGHT_WORDS = frozenset({"night", "moon", "moonlight", "midnight", "star", "stars", "dark"})


def _colour(code: str) -> Colour:
    red, green, blue = bytes.fromhex(code)
    return red, green, blue


def _blended(first: Colour, second: Colour, share: float) -> Colour:
    """Mix two colours; a share of 0 is the first one, of 1 the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


# Sky from top to horizon, land from far to near, the light in the sky and what stands out.
_Palette = namedtuple("_Palette", "top middle horizon far near light accent")
_PALETTES = tuple(
    _Palette(*map(_colour, codes.split()))
    for codes in (
        "3a7bd5 7ebae8 e2f0f3 7eb0a0 26624e fff4c8 e24a3b",
        "483475 e26a6a ffcd91 96587a 3a2248 ffe8b8 ffc648",
        "24828c 76c8ba eef4d6 68a47c 1a5452 fffae0 f6805c",
        "e68246 f8be70 ffecbe ce8e5c 743e2e fffade 26768c",
        "7860ba bea0d8 fadae2 927cb4 423470 fff0e2 f06082",
        "5494c4 bad6e2 faecde 98acbe 465c76 fffaec d84658",
        "0e1638 263a70 7080b2 2c3e68 0c142a f0f0de ffa85c",
        "181230 562868 d6587a 542c62 180e28 ffd6be 5ed6d6",
    )
)
_NIGHTS = _PALETTES[-2:]
_COLOUR_WORDS = (
    "red=d63230 orange=f0882a yellow=f6cc3e green=369e58 blue=2e6cce purple=844ab4 pink=ee76a0 black=222228 "
    "white=f6f6f2 gold=deac3c golden=deac3c brown=805436 grey=888c92 gray=888c92"
)
_COLOURS = {pair[:-7]: _colour(pair[-6:]) for pair in _COLOUR_WORDS.split()}


class _Motif(NamedTuple):
    """Things that can stand in a landscape.

    A shape is a tone (how much lighter or darker than the thing, or a name) and its corners, in sizes of the thing.
    Heights and sizes are shares of the picture; all things but one tend to the colour of the others.
    """

    shapes: Shapes
    counts: Sequence[int]
    heights: tuple[float, float]
    sizes: tuple[float, float]
    lean: float
    others: Colour
    words: str


def _box(left: float, top: float, right: float, bottom: float) -> Corners:
    return (left, top), (right, top), (right, bottom), (left, bottom)


def _round(across: float) -> Corners:
    return tuple((across * math.cos(turn * math.tau / 40), math.sin(turn * math.tau / 40)) for turn in range(40))


_TAIL = tuple((0.14 * math.sin(step * 0.75), 1 + step * 0.075) for step in range(17))
_KITE: Shapes = (
    ("string", tuple((1.4 * math.sin(step / 8), 1 + step * 0.13) for step in range(25))),
    ("string", _TAIL),
    *((side * 2, ((x, y), (x + side, y - 0.06), (x + side, y + 0.06))) for x, y in _TAIL[4::4] for side in (0.1, -0.1)),
    (0, ((0, -0.8), (0.62, -0.15), (0, -0.15))),
    (-0.22, ((0.62, -0.15), (0, 1), (0, -0.15))),
    (0.18, ((0, 1), (-0.62, -0.15), (0, -0.15))),
    (0.4, ((-0.62, -0.15), (0, -0.8), (0, -0.15))),
)
_BALLOON: Shapes = (
    *(("string", ((side * 0.62, 0.72), (side * 0.16, 1.75))) for side in (-1, 1)),
    (-0.2, ((-0.83, 0.55), (0.83, 0.55), (0.2, 1.45), (-0.2, 1.45))),
    *((tone, _round(share)) for tone, share in ((0, 1), (0.55, 0.72), (0, 0.4), (0.55, 0.14))),
    ("wood", _box(-0.2, 1.75, 0.2, 2.03)),
)
_BOAT: Shapes = (
    (-0.45, ((-0.5, 0), (0.55, 0), (0.36, 0.2), (-0.38, 0.2))),
    ("wood", _box(-0.02, -1.1, 0.02, 0)),
    (0, ((0.04, -1.08), (0.04, -0.08), (0.52, -0.08))),
    (0.6, ((-0.04, -0.96), (-0.04, -0.08), (-0.4, -0.08))),
)
_BIRD: Shapes = tuple((0, ((0, 0), (tip * 0.5, -0.5), (tip, -0.3), (tip * 0.5, -0.31), (0, 0.16))) for tip in (-1, 1))
_FIR: Shapes = (
    ("wood", _box(-0.03, -0.1, 0.03, 0.08)),
    *(
        (tone, ((-reach * side, -low), (reach, -low), (0, -low - 0.5)))
        for low, reach in ((0, 0.26), (0.26, 0.2), (0.5, 0.14))
        for tone, side in ((0, 1), (-0.14, 0))
    ),
)
_HOUSE: Shapes = (
    ("wall", _box(0, -2, 1, 0.3)),
    ("shade", _box(0.78, -2, 1, 0.3)),
    (0, ((-0.08, -2), (1.08, -2), (0.5, -2.5))),
    *(("window", _box(x, y, x + 0.14, y + 0.26)) for y in (-1.75, -1.3, -0.85, -0.4) for x in (0.12, 0.34, 0.56)),
)
_STRIPES = ((-0.2, 0.143, 0.132), (-0.6, 0.122, 0.111))
_LIGHTHOUSE: Shapes = (
    ("stone", ((-0.5, 0.14), (-0.3, -0.06), (0.3, -0.06), (0.5, 0.14))),
    ("white", ((-0.15, -0.04), (0.15, -0.04), (0.1, -1), (-0.1, -1))),
    *((0, ((-low, y), (low, y), (high, y - 0.2), (-high, y - 0.2))) for y, low, high in _STRIPES),
    ("lamp", _box(-0.07, -1.16, 0.07, -1)),
    (-0.2, ((-0.1, -1.16), (0.1, -1.16), (0, -1.28))),
    *(("beam", ((0, -1.08), (side * 4, -1.5), (side * 4, -0.66))) for side in (-1, 1)),
)
_AT_SEA = "boat ship sailboat sail sea ocean lake water puddle harbour harbor"
_IN_TOWN = "town city house hut street village cottage castle shop cafe"
_MOTIFS = (
    _Motif(_KITE, (1, 1, 2, 3), (0.26, 0.42), (0.12, 0.19), 0.5, _GOLD, "kite dragon diamond wind"),
    _Motif(_BALLOON, (1, 2, 3), (0.24, 0.42), (0.07, 0.13), 0.0, _CREAM, "balloon circle ball apple fruit"),
    _Motif(_BOAT, (1, 2), (0.69, 0.73), (0.12, 0.2), 0, _CREAM, _AT_SEA),
    _Motif(_BIRD, range(7, 12), (0.2, 0.46), (0.04, 0.08), 0.2, _DUSK, "bird gull swallow crane flock eagle owl robin"),
    _Motif(
        _FIR, range(9, 15), (0.76, 0.84), (0.14, 0.3), 0.0, _GREEN, "tree forest wood fir pine orchard garden fox bear"
    ),
    _Motif(_HOUSE, (8, 9, 10), (0.8, 0.86), (0.07, 0.11), 0, _DUSK, _IN_TOWN),
    _Motif(_LIGHTHOUSE, (1,), (0.7, 0.76), (0.34, 0.4), 0, _CREAM, "lighthouse beacon"),
)


def draw_landscape(text: str, index: int, size: tuple[int, int], *, onto: Image.Image | None = None) -> Image.Image:
    """Draw a landscape.

    :param text: decides colours and contents; colour words and the names of motifs in it are heeded.
    :param index: another index gives another landscape for the same text.
    :param size: width and height in pixels.
    :param onto: a picture on which only that is drawn which the text speaks of.
    """
    digest = hashlib.sha256(f"{index}:{text}".encode("utf-8", "surrogatepass")).digest()
    words, chance = re.findall(r"[a-z]+", text.lower()), random.Random(digest)
    palette = chance.choice(_NIGHTS if _NIGHT_WORDS.intersection(words) else _PALETTES)
    if onto is not None:
        image = onto.convert("RGB")
    else:
        ramp = Image.linear_gradient("L").resize((1, min(size[1], 512)))
        sky = ImageOps.colorize(ramp, palette.top, palette.horizon, mid=palette.middle, midpoint=120)
        image = sky.resize(size, Image.Resampling.BICUBIC)
        _draw_sky(image, palette, chance)
        _draw_hills(image, palette, chance)
    _draw_motif(image, words, palette, chance, with_sea=onto is None)
    return image


def _draw_sky(image: Image.Image, palette: _Palette, chance: random.Random) -> None:
    """Draw the sun or the moon with its glow, stars at night, and clouds."""
    width, height = image.size
    shorter, draw, is_night = min(image.size), ImageDraw.Draw(image, "RGBA"), palette in _NIGHTS
    for _ in range(70 if is_night else 0):
        place = chance.random() * width, chance.random() ** 1.4 * height * 0.6
        draw.circle(place, shorter * chance.uniform(0.001, 0.0032), fill=(255, 255, 240, chance.randint(90, 230)))
    x, y = width * chance.uniform(0.16, 0.84), height * chance.uniform(0.16, 0.36)
    radius, strength = shorter * chance.uniform(0.06, 0.1), 110 if is_night else 170
    reach = max(1, round(radius * 4.5))
    # 181 is the middle of an edge of Pillow's gradient: nothing may glow there.
    fading = [round(strength * max(0.0, 1 - distance / 178) ** 2) for distance in range(256)]
    glow = Image.radial_gradient("L").point(fading).resize((2 * reach, 2 * reach), Image.Resampling.BICUBIC)
    image.paste(palette.light, (round(x - reach), round(y - reach)), glow)
    draw.circle((x, y), radius, fill=palette.light)
    for dx, dy, share in ((-0.3, -0.2, 0.2), (0.35, 0.1, 0.14), (-0.05, 0.42, 0.12)) if is_night else ():
        draw.circle((x + dx * radius, y + dy * radius), share * radius, fill=(120, 120, 130, 50))
    colour = (*_blended(palette.horizon, _WHITE, 0.6), 70 if is_night else 165)
    for _ in range(chance.randint(2, 4)):
        x, y = chance.uniform(-0.05, 0.95) * width, chance.uniform(0.08, 0.42) * height
        length, thick = chance.uniform(0.14, 0.3) * width, chance.uniform(0.014, 0.026) * height
        for row, (start, end) in enumerate(((0.18, 0.7), (0.0, 0.86), (0.1, 1.0))):
            box = (x + start * length, y + row * thick * 1.02, x + end * length, y + row * thick * 1.02 + thick)
            draw.rounded_rectangle(box, radius=thick / 2, fill=colour)


def _draw_hills(image: Image.Image, palette: _Palette, chance: random.Random) -> None:
    width, height = image.size
    draw, layers = ImageDraw.Draw(image, "RGBA"), chance.randint(3, 5)
    for depth in (layer / (layers - 1) for layer in range(layers)):
        waves = [
            (chance.uniform(0.6, 1.6) * number, chance.uniform(0, math.tau), chance.uniform(0.3, 1) / number)
            for number in (1, 2, 3)
        ]
        rise = height * chance.uniform(0.035, 0.08) * (1.25 - 0.5 * depth)
        outline = [(float(width), float(height)), (0.0, float(height))]
        for share in (step / 72 for step in range(73)):
            swing = sum(weight * math.sin(share * math.pi * speed + phase) for speed, phase, weight in waves)
            outline.append((share * width, height * (0.56 + 0.24 * depth) - rise * swing))
        draw.polygon(outline, fill=_blended(palette.far, palette.near, depth))


def _draw_motif(
    image: Image.Image, words: list[str], palette: _Palette, chance: random.Random, *, with_sea: bool
) -> None:
    width, height = image.size
    draw, shorter = ImageDraw.Draw(image, "RGBA"), min(image.size)
    named = (one for word in words for one in _MOTIFS if {word, word.removesuffix("s")} & set(one.words.split()))
    motif = next(named, None) or chance.choice(_MOTIFS)
    accent = next((_COLOURS[word] for word in words if word in _COLOURS), palette.accent)
    if motif.shapes is _BOAT and with_sea:
        sea = _blended(palette.near, (40, 120, 170), 0.55)
        draw.rectangle((0, height * 0.66, width, height), fill=sea)
        for _ in range(46):
            x, y = chance.random() * width, height * chance.uniform(0.66, 1)
            wave = (x, y, x + width * chance.uniform(0.02, 0.08), y)
            draw.line(wave, (*_blended(sea, _WHITE, 0.5), 110), max(1, round(height * 0.002)))
    wall = _blended(palette.near, _CREAM, 0.45)
    fills = {"wood": (112, 78, 52), "wall": wall, "shade": _blended(wall, _DUSK, 0.15), "window": (255, 222, 140)}
    fills |= {"stone": _blended(palette.near, _DUSK, 0.35), "white": (244, 242, 236), "lamp": (255, 226, 150)}
    usual = round(chance.choice(motif.counts) * max(1, min(2, width / height)))
    count = next((_COUNT_WORDS.index(word) + 1 for word in words if word in _COUNT_WORDS), usual)
    special = chance.randrange(count)
    for number in range(count):
        x = width * (number + 0.5 + chance.uniform(-0.25, 0.25)) / count
        y, length = height * chance.uniform(*motif.heights), shorter * chance.uniform(*motif.sizes)
        lean = chance.uniform(-motif.lean, motif.lean)
        across, along = length * math.cos(lean), length * math.sin(lean)
        colour = accent if number == special else _blended(accent, motif.others, chance.uniform(0.45, 0.9))
        for tone, corners in motif.shapes:
            places = [(x + a * across - b * along, y + a * along + b * across) for a, b in corners]
            if tone == "string":
                draw.line(places, (*_blended(palette.near, _DUSK, 0.3), 150), max(1, round(shorter * 0.003)))
            elif tone == "beam":
                draw.polygon(places, (*fills["lamp"], 60))
            elif isinstance(tone, str):
                unlit = tone == "window" and chance.random() < 0.45
                draw.polygon(places, _blended(fills[tone], _DUSK, 0.6 if unlit else 0))
            else:
                draw.polygon(places, _blended(colour, _WHITE if tone > 0 else _DUSK, abs(tone)))
