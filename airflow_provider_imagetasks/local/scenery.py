"""Draws a landscape that depends on a text: its hash decides, and the words it recognises decide more."""

from __future__ import annotations

import hashlib
import math
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageOps

from airflow_provider_imagetasks.local.motifs import MOTIFS, Colour, blended

if TYPE_CHECKING:
    from collections.abc import Callable

_HILL_POINTS = 72
_LARGEST_GRADIENT = 512


@dataclass(frozen=True, slots=True)
class _Palette:
    """Sky from top to horizon, land from far to near, the light in the sky and what stands out."""

    top: Colour
    middle: Colour
    horizon: Colour
    far: Colour
    near: Colour
    light: Colour
    accent: Colour
    is_night: bool = False


_PALETTES = (
    _Palette(
        top=(58, 123, 213),
        middle=(126, 186, 232),
        horizon=(226, 240, 243),
        far=(126, 176, 160),
        near=(38, 98, 78),
        light=(255, 244, 200),
        accent=(226, 74, 59),
    ),
    _Palette(
        top=(72, 52, 117),
        middle=(226, 106, 106),
        horizon=(255, 205, 145),
        far=(150, 88, 122),
        near=(58, 34, 72),
        light=(255, 232, 184),
        accent=(255, 198, 72),
    ),
    _Palette(
        top=(14, 22, 56),
        middle=(38, 58, 112),
        horizon=(112, 128, 178),
        far=(44, 62, 104),
        near=(12, 20, 42),
        light=(240, 240, 222),
        accent=(255, 168, 92),
        is_night=True,
    ),
    _Palette(
        top=(36, 130, 140),
        middle=(118, 200, 186),
        horizon=(238, 244, 214),
        far=(104, 164, 124),
        near=(26, 84, 82),
        light=(255, 250, 224),
        accent=(246, 128, 92),
    ),
    _Palette(
        top=(230, 130, 70),
        middle=(248, 190, 112),
        horizon=(255, 236, 190),
        far=(206, 142, 92),
        near=(116, 62, 46),
        light=(255, 250, 222),
        accent=(38, 118, 140),
    ),
    _Palette(
        top=(120, 96, 186),
        middle=(190, 160, 216),
        horizon=(250, 218, 226),
        far=(146, 124, 180),
        near=(66, 52, 112),
        light=(255, 240, 226),
        accent=(240, 96, 130),
    ),
    _Palette(
        top=(84, 148, 196),
        middle=(186, 214, 226),
        horizon=(250, 236, 222),
        far=(152, 172, 190),
        near=(70, 92, 118),
        light=(255, 250, 236),
        accent=(216, 70, 88),
    ),
    _Palette(
        top=(24, 18, 48),
        middle=(86, 40, 104),
        horizon=(214, 88, 122),
        far=(84, 44, 98),
        near=(24, 14, 40),
        light=(255, 214, 190),
        accent=(94, 214, 214),
        is_night=True,
    ),
)

_COLOUR_WORDS: dict[str, Colour] = {
    "red": (214, 50, 48),
    "orange": (240, 136, 42),
    "yellow": (246, 204, 62),
    "green": (54, 158, 88),
    "blue": (46, 108, 206),
    "purple": (132, 74, 180),
    "pink": (238, 118, 160),
    "black": (34, 34, 40),
    "white": (246, 246, 242),
    "gold": (222, 172, 60),
    "golden": (222, 172, 60),
    "brown": (128, 84, 54),
    "grey": (136, 140, 146),
    "gray": (136, 140, 146),
}
_NIGHT_WORDS = frozenset({"night", "moon", "moonlight", "midnight", "star", "stars", "dark"})


def draw_scenery(text: str, index: int, size: tuple[int, int]) -> Image.Image:
    """Draw a landscape.

    :param text: decides colours and contents; colour words and the names of motifs in it are heeded.
    :param index: another index gives another landscape for the same text.
    :param size: width and height in pixels.
    """
    chance = _chance(text, index)
    words = _words(text)
    palettes = [one for one in _PALETTES if one.is_night] if _NIGHT_WORDS.intersection(words) else _PALETTES
    palette = chance.choice(palettes)
    accent = next((_COLOUR_WORDS[word] for word in words if word in _COLOUR_WORDS), palette.accent)
    motif = _motif_of(words) or chance.choice([motif for motif, _ in MOTIFS])

    image = _sky(palette, size)
    _draw_light(image, palette, chance)
    draw = ImageDraw.Draw(image, "RGBA")
    _draw_clouds(draw, palette, size, chance)
    _draw_hills(draw, palette, size, chance)
    motif(draw, size, accent, palette.near, chance)
    return image


def draw_motif(image: Image.Image, text: str, index: int) -> None:
    """Draw what a text speaks of on a picture that is there already."""
    chance, words = _chance(text, index), _words(text)
    palette = chance.choice(_PALETTES)
    accent = next((_COLOUR_WORDS[word] for word in words if word in _COLOUR_WORDS), palette.accent)
    motif = _motif_of(words) or chance.choice([motif for motif, _ in MOTIFS])
    motif(ImageDraw.Draw(image, "RGBA"), image.size, accent, palette.near, chance)


def _chance(text: str, index: int) -> random.Random:
    return random.Random(hashlib.sha256(f"{index}:{text}".encode("utf-8", "surrogatepass")).digest())


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _motif_of(words: list[str]) -> Callable[..., None] | None:
    for word in words:
        for motif, names in MOTIFS:
            if word in names or (word.endswith("s") and word[:-1] in names):
                return motif
    return None


def _sky(palette: _Palette, size: tuple[int, int]) -> Image.Image:
    ramp = Image.linear_gradient("L").resize((1, min(size[1], _LARGEST_GRADIENT)))
    sky = ImageOps.colorize(ramp, palette.top, palette.horizon, mid=palette.middle, midpoint=120)
    return sky.resize(size, Image.Resampling.BICUBIC)


def _draw_light(image: Image.Image, palette: _Palette, chance: random.Random) -> None:
    """Draw the sun or the moon with its glow, and stars at night."""
    width, height = image.size
    shorter = min(width, height)
    draw = ImageDraw.Draw(image, "RGBA")
    if palette.is_night:
        for _ in range(70):
            x, y = chance.random() * width, chance.random() ** 1.4 * height * 0.6
            radius = shorter * chance.uniform(0.001, 0.0032)
            draw.ellipse(
                (x - radius, y - radius, x + radius, y + radius), fill=(255, 255, 240, chance.randint(90, 230))
            )
    x, y = width * chance.uniform(0.16, 0.84), height * chance.uniform(0.16, 0.36)
    radius = shorter * chance.uniform(0.06, 0.1)
    reach = max(1, round(radius * 4.5))
    strength = 110 if palette.is_night else 170
    glow = Image.radial_gradient("L").point([_glow(distance, strength) for distance in range(256)])
    glow = glow.resize((2 * reach, 2 * reach), Image.Resampling.BICUBIC)
    image.paste(palette.light, (round(x - reach), round(y - reach)), glow)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=palette.light)
    if palette.is_night:
        for dx, dy, share in ((-0.3, -0.2, 0.2), (0.35, 0.1, 0.14), (-0.05, 0.42, 0.12)):
            cx, cy, crater = x + dx * radius, y + dy * radius, share * radius
            draw.ellipse((cx - crater, cy - crater, cx + crater, cy + crater), fill=(120, 120, 130, 50))


def _glow(distance: int, strength: int) -> int:
    """Return how strong a glow is at a distance from its middle; 181 is the middle of an edge of Pillow's gradient."""
    return round(strength * max(0.0, 1 - distance / 178) ** 2)


def _draw_clouds(draw: ImageDraw.ImageDraw, palette: _Palette, size: tuple[int, int], chance: random.Random) -> None:
    width, height = size
    colour = (*blended(palette.horizon, (255, 255, 255), 0.6), 70 if palette.is_night else 165)
    for _ in range(chance.randint(2, 4)):
        x, y = chance.uniform(-0.05, 0.95) * width, chance.uniform(0.08, 0.42) * height
        length, thickness = chance.uniform(0.14, 0.3) * width, chance.uniform(0.014, 0.026) * height
        for row, (start, end) in enumerate(((0.18, 0.7), (0.0, 0.86), (0.1, 1.0))):
            top = y + row * thickness * 1.02
            draw.rounded_rectangle(
                (x + start * length, top, x + end * length, top + thickness), radius=thickness / 2, fill=colour
            )


def _draw_hills(draw: ImageDraw.ImageDraw, palette: _Palette, size: tuple[int, int], chance: random.Random) -> None:
    width, height = size
    layers = chance.randint(3, 5)
    for layer in range(layers):
        depth = layer / (layers - 1)
        base = height * (0.56 + 0.24 * depth)
        waves = [
            (
                chance.uniform(0.6, 1.6) * (number + 1),
                chance.uniform(0, math.tau),
                chance.uniform(0.3, 1) / (number + 1),
            )
            for number in range(3)
        ]
        rise = height * chance.uniform(0.035, 0.08) * (1.25 - 0.5 * depth)
        outline = []
        for step in range(_HILL_POINTS + 1):
            share = step / _HILL_POINTS
            swing = sum(weight * math.sin(share * math.pi * speed + phase) for speed, phase, weight in waves)
            outline.append((share * width, base - rise * swing))
        draw.polygon([*outline, (width, height), (0, height)], fill=blended(palette.far, palette.near, depth))
