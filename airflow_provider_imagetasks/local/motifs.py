"""The things that can stand in a landscape."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from PIL import ImageDraw

Colour = tuple[int, int, int]
Motif = Callable[[ImageDraw.ImageDraw, tuple[int, int], Colour, Colour, random.Random], None]
"""Draws on a picture of the given size, with an accent colour and the colour of the land at the front."""


def blended(first: Colour, second: Colour, share: float) -> Colour:
    """Mix two colours; a share of 0 is the first one, of 1 the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _lighter(colour: Colour, share: float = 0.35) -> Colour:
    return blended(colour, (255, 255, 255), share)


def _darker(colour: Colour, share: float = 0.3) -> Colour:
    return blended(colour, (10, 12, 30), share)


def draw_kites(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], accent: Colour, land: Colour, chance: random.Random
) -> None:
    """Draw one to three kites with their tails and strings."""
    width, height = size
    shorter = min(size)
    count = chance.choice((1, 1, 2, 3))
    for number in range(count):
        x = width * ((number + 0.5) / count + chance.uniform(-0.1, 0.1))
        y = height * chance.uniform(0.26, 0.42)
        length = shorter * (0.17 if count == 1 else 0.12) * chance.uniform(0.9, 1.15)
        lean = chance.uniform(-0.5, 0.5)
        colour = accent if number == 0 else blended(accent, (255, 214, 90), 0.45 * number)
        bottom = _turned((x, y), length, lean, (0, 1))
        foot = (width * chance.uniform(0.3, 0.7), height * 0.9)
        string = [_on_curve(bottom, foot, share / 24, sag=height * 0.05) for share in range(25)]
        draw.line(string, (*_darker(land), 130), max(1, round(shorter * 0.0028)))
        _draw_tail(draw, bottom, length, lean, colour)
        _draw_kite(draw, (x, y), length, lean, colour)


def _draw_kite(
    draw: ImageDraw.ImageDraw, middle: tuple[float, float], length: float, lean: float, colour: Colour
) -> None:
    corners = ((0, -0.8), (0.62, -0.15), (0, 1), (-0.62, -0.15), (0, -0.15))
    top, right, bottom, left, cross = (_turned(middle, length, lean, corner) for corner in corners)
    draw.polygon([top, right, cross], colour)
    draw.polygon([right, bottom, cross], _darker(colour, 0.22))
    draw.polygon([bottom, left, cross], _lighter(colour, 0.18))
    draw.polygon([left, top, cross], _lighter(colour, 0.4))


def _draw_tail(
    draw: ImageDraw.ImageDraw, start: tuple[float, float], length: float, lean: float, colour: Colour
) -> None:
    tail = [
        (start[0] + length * (0.14 * math.sin(step * 0.75) - lean * step / 14), start[1] + length * step * 0.075)
        for step in range(17)
    ]
    draw.line(tail, fill=_darker(colour, 0.15), width=max(1, round(length * 0.035)))
    reach = length * 0.09
    for step in (5, 9, 13, 16):
        x, y = tail[step]
        for side, tone in ((-reach, _lighter(colour)), (reach, colour)):
            draw.polygon([(x, y), (x + side, y - reach * 0.6), (x + side, y + reach * 0.6)], tone)


def _turned(
    middle: tuple[float, float], length: float, lean: float, corner: tuple[float, float]
) -> tuple[float, float]:
    """Place a corner, given in lengths from the middle, on a thing that leans by an angle in radians."""
    across, along = corner[0] * length, corner[1] * length
    return (
        middle[0] + across * math.cos(lean) - along * math.sin(lean),
        middle[1] + across * math.sin(lean) + along * math.cos(lean),
    )


def _on_curve(start: tuple[float, float], end: tuple[float, float], share: float, *, sag: float) -> tuple[float, float]:
    return (
        start[0] + (end[0] - start[0]) * share,
        start[1] + (end[1] - start[1]) * share + sag * math.sin(math.pi * share),
    )


def draw_balloons(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], accent: Colour, land: Colour, chance: random.Random
) -> None:
    """Draw one to three hot-air balloons."""
    width, height = size
    count = chance.choice((1, 2, 3))
    for number in range(count):
        x = width * ((number + 0.5) / count + chance.uniform(-0.08, 0.08))
        y = height * chance.uniform(0.24, 0.42)
        radius = min(size) * chance.uniform(0.07, 0.1) * (1.35 if count == 1 else 1)
        colour = accent if number == 0 else blended(accent, (250, 240, 210), 0.4 * number)
        basket, low = y + radius * 1.75, y + radius * 0.72
        thin = max(1, round(radius * 0.03))
        for side in (-1, 1):
            draw.line([(x + side * radius * 0.62, low), (x + side * radius * 0.16, basket)], _darker(land), thin)
        draw.polygon(
            [
                (x - radius * 0.83, y + radius * 0.55),
                (x + radius * 0.83, y + radius * 0.55),
                (x + radius * 0.2, basket - radius * 0.3),
                (x - radius * 0.2, basket - radius * 0.3),
            ],
            _darker(colour, 0.2),
        )
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        for share, tone in ((0.72, _lighter(colour, 0.55)), (0.4, colour), (0.14, _lighter(colour, 0.55))):
            draw.ellipse((x - radius * share, y - radius, x + radius * share, y + radius), fill=tone)
        draw.rounded_rectangle(
            (x - radius * 0.2, basket, x + radius * 0.2, basket + radius * 0.28),
            radius=radius * 0.06,
            fill=(122, 84, 52),
        )


def draw_boats(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], accent: Colour, land: Colour, chance: random.Random
) -> None:
    """Draw a sea in front of the hills with one or two sailing boats on it."""
    width, height = size
    sea = blended(land, (40, 120, 170), 0.55)
    shore = height * 0.66
    draw.rectangle((0, shore, width, height), fill=sea)
    for _ in range(46):
        x, y = chance.random() * width, shore + chance.random() * (height - shore)
        length = width * chance.uniform(0.02, 0.08)
        draw.line([(x, y), (x + length, y)], (*_lighter(sea, 0.5), 110), max(1, round(height * 0.002)))
    count = chance.choice((1, 2))
    for number in range(count):
        x = width * ((number + 0.5) / count + chance.uniform(-0.12, 0.12))
        length = min(size) * (0.2 if number == 0 else 0.12)
        y = shore + height * (0.07 if number == 0 else 0.03)
        draw.polygon(
            [
                (x - length * 0.5, y),
                (x + length * 0.55, y),
                (x + length * 0.36, y + length * 0.2),
                (x - length * 0.38, y + length * 0.2),
            ],
            _darker(accent, 0.45),
        )
        draw.line([(x, y), (x, y - length * 1.1)], (92, 64, 44), max(1, round(length * 0.03)))
        draw.polygon(
            [
                (x + length * 0.04, y - length * 1.08),
                (x + length * 0.04, y - length * 0.08),
                (x + length * 0.52, y - length * 0.08),
            ],
            accent,
        )
        draw.polygon(
            [
                (x - length * 0.04, y - length * 0.96),
                (x - length * 0.04, y - length * 0.08),
                (x - length * 0.4, y - length * 0.08),
            ],
            _lighter(accent, 0.6),
        )


def draw_birds(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], accent: Colour, land: Colour, chance: random.Random
) -> None:
    """Draw a flock of birds."""
    width, height = size
    middle_x, middle_y = width * chance.uniform(0.35, 0.65), height * chance.uniform(0.26, 0.4)
    for number in range(chance.randint(7, 11)):
        side = -1 if number % 2 else 1
        rank = (number + 1) // 2
        span = min(size) * 0.045 * chance.uniform(0.85, 1.3) * (1.7 if number == 0 else 1)
        x = middle_x + side * rank * width * 0.06 + chance.uniform(-0.01, 0.01) * width
        y = middle_y + rank * height * 0.028 + chance.uniform(-0.012, 0.012) * height
        colour = accent if number == 0 else _darker(blended(accent, land, 0.75), 0.2)
        lift = span * chance.uniform(0.35, 0.6)
        for wing in (-1, 1):
            draw.polygon(
                [
                    (x, y),
                    (x + wing * span * 0.5, y - lift),
                    (x + wing * span, y - lift * 0.6),
                    (x + wing * span * 0.5, y - lift * 0.62),
                    (x, y + span * 0.16),
                ],
                colour,
            )


def draw_trees(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], accent: Colour, land: Colour, chance: random.Random
) -> None:
    """Draw a stand of firs, one of them in the accent colour."""
    width, height = size
    count = chance.randint(9, 14)
    special = chance.randrange(count)
    for number in range(count):
        x = width * ((number + chance.uniform(0.2, 0.8)) / count)
        tall = height * chance.uniform(0.14, 0.26) * (1.15 if number == special else 1)
        foot = height * chance.uniform(0.76, 0.84)
        colour = accent if number == special else blended(land, (70, 130, 90), chance.uniform(0.1, 0.45))
        draw.rectangle((x - tall * 0.03, foot - tall * 0.1, x + tall * 0.03, foot + tall * 0.08), fill=(84, 60, 46))
        for tier, share in enumerate((0.0, 0.26, 0.5)):
            low, high = foot - tall * share, foot - tall * (share + 0.5)
            reach = tall * (0.26 - 0.06 * tier)
            draw.polygon([(x - reach, low), (x + reach, low), (x, high)], colour)
            draw.polygon([(x, low), (x + reach, low), (x, high)], _darker(colour, 0.14))


def draw_town(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], accent: Colour, land: Colour, chance: random.Random
) -> None:
    """Draw a row of houses with lit windows, some with roofs in the accent colour."""
    width, height = size
    foot = height * 0.84
    x = width * 0.04
    while x < width * 0.94:
        wide, tall = width * chance.uniform(0.07, 0.12), height * chance.uniform(0.12, 0.32)
        wall = blended(land, (230, 216, 200), chance.uniform(0.25, 0.7))
        draw.rectangle((x, foot - tall, x + wide, foot + height * 0.03), fill=wall)
        draw.rectangle((x + wide * 0.78, foot - tall, x + wide, foot + height * 0.03), fill=_darker(wall, 0.15))
        if chance.random() < 0.6:
            roof = accent if chance.random() < 0.6 else _darker(accent, 0.3)
            draw.polygon(
                [
                    (x - wide * 0.08, foot - tall),
                    (x + wide * 1.08, foot - tall),
                    (x + wide / 2, foot - tall - wide * 0.55),
                ],
                roof,
            )
        rows = max(2, round(tall / (wide * 0.42)))
        for row in range(rows):
            for column in range(3):
                left = x + wide * (0.12 + 0.22 * column)
                top = foot - tall + tall * (row + 0.25) / rows
                lit = (255, 222, 140) if chance.random() < 0.55 else _darker(wall, 0.45)
                draw.rectangle((left, top, left + wide * 0.13, top + tall * 0.45 / rows), fill=lit)
        x += wide * chance.uniform(1.02, 1.3)


MOTIFS: tuple[tuple[Motif, frozenset[str]], ...] = (
    (draw_kites, frozenset({"kite", "dragon", "diamond", "wind"})),
    (draw_balloons, frozenset({"balloon", "circle", "ball", "apple", "fruit"})),
    (draw_boats, frozenset({"boat", "ship", "sailboat", "sail", "sea", "ocean", "lake", "water", "harbour", "harbor"})),
    (draw_birds, frozenset({"bird", "gull", "swallow", "crane", "flock", "eagle", "owl", "robin"})),
    (draw_trees, frozenset({"tree", "forest", "wood", "fir", "pine", "garden", "fox", "bear"})),
    (draw_town, frozenset({"town", "city", "house", "street", "village", "cottage", "castle", "shop", "cafe"})),
)
"""Every motif with the words (singular) that call for it."""
