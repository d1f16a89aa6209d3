"""A model as Cog runs it, which draws what it is asked for; run by Cog's own server, in an environment of its own."""

from __future__ import annotations

import asyncio
import struct
import tempfile
import zlib
from typing import Any

from cog import BaseRunner, Input, Path, concurrent


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _picture(red: int) -> Path:
    size, rows = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0), (b"\0" + bytes([red, 30, 160]) * 64) * 64
    chunks = _chunk(b"IHDR", size) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    with tempfile.NamedTemporaryFile(suffix=".png", delete=False) as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunks)
    return Path(file.name)


class Runner(BaseRunner):
    """Takes four requests at a time."""

    @concurrent(max=4)
    async def run(
        self,
        prompt: str = Input(description="what is drawn"),
        num_outputs: int = Input(default=1),
        seconds: float = Input(default=0.0),
        shape: str = Input(default="list"),
        fails: str = Input(default=""),
    ) -> Any:
        """Return pictures as a model may: a list, one, an object, an address, or none."""
        await asyncio.sleep(seconds)
        if fails:
            raise ValueError(fails)
        pictures = [_picture(number * 40) for number in range(num_outputs)]
        shapes = {"list": pictures, "one": pictures[0], "object": {"images": pictures}, "none": None}
        return shapes.get(shape, shape)
