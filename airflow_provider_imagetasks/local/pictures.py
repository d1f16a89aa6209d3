"""Draws pictures off the event loop, and keeps the latest ones."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from PIL import Image, ImageOps

from airflow_provider_imagetasks.local.captions import write_caption
from airflow_provider_imagetasks.local.scenery import draw_motif, draw_scenery

if TYPE_CHECKING:
    from collections.abc import Callable

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
"""The formats that can be drawn, with their media types; the names double as file extensions."""

_KEPT_BYTES = 64 * 1024 * 1024
_THREADS = 2
# Up to this many pixels a picture is drawn at twice its size and scaled down, which smooths its edges.
_SMOOTHED_PIXELS = 1_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureOrder:
    """All that a picture depends on: the same order always gives the same bytes.

    :param index: which picture of the image task, from 0, out of ``count``.
    :param size: width and height in pixels.
    :param media_format: one of :data:`MEDIA_TYPES`.
    :param note: what else to write on it.
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


class Painter:
    """Draws pictures in threads of its own and remembers the latest 64 MiB of them."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="painter")
        self._kept: OrderedDict[PictureOrder, bytes] = OrderedDict()
        self._kept_bytes = 0

    async def paint(self, order: PictureOrder) -> bytes:
        """Return the picture as a file's bytes."""
        kept = self._kept.get(order)
        if kept is not None:
            self._kept.move_to_end(order)
            return kept
        painted = await self.run(paint, order)
        if order not in self._kept:
            self._kept[order] = painted
            self._kept_bytes += len(painted)
        while self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return painted

    async def run(
        self, work: Callable[Parameters, Result], *arguments: Parameters.args, **options: Parameters.kwargs
    ) -> Result:
        """Do other work with pictures in the same threads."""
        call = partial(work, *arguments, **options)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def close(self) -> None:
        """Stop drawing, without waiting for pictures that are not begun."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def paint(order: PictureOrder) -> bytes:
    """Draw a picture and return it as a file's bytes."""
    width, height = order.size
    scale = 2 if width * height <= _SMOOTHED_PIXELS else 1
    large = (width * scale, height * scale)
    if order.background is None:
        image = draw_scenery(order.text, order.index, large)
    else:
        image = _edited(order, order.background, large)
    if scale > 1:
        image = image.reduce(scale)
    signature = f"local image service · {order.model} · {order.index + 1}/{order.count}"
    if order.note:
        signature = f"{signature} · {order.note}"
    write_caption(image, order.text, signature, covers=order.background is not None)
    return _encoded(image, order.media_format)


def _edited(order: PictureOrder, background: bytes, size: tuple[int, int]) -> Image.Image:
    """Draw on a picture; where that is transparent, as a mask makes it, a landscape shows."""
    image = ImageOps.fit(Image.open(io.BytesIO(background)), size)
    if image.mode == "RGBA":
        below = draw_scenery(order.text, order.index, size)
        below.paste(image, mask=image.getchannel("A"))
        return below
    image = image.convert("RGB")
    draw_motif(image, order.text, order.index)
    return image


def _encoded(image: Image.Image, media_format: str) -> bytes:
    file = io.BytesIO()
    if media_format == "jpeg":
        image.save(file, "JPEG", quality=88)
    elif media_format == "webp":
        image.save(file, "WEBP", quality=85, method=2)
    else:
        image.save(file, "PNG", compress_level=3)
    return file.getvalue()
