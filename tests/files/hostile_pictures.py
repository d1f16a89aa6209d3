"""Pictures of fourteen kinds, what may have become of them on the way, and pictures that are made to do harm."""

from __future__ import annotations

import io
import random
import struct
import zlib
from functools import cache
from typing import Any

from PIL import Image, PngImagePlugin

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
EXTENSIONS = {
    **dict.fromkeys(("png", "png with transparency", "png with colours in a table", "png of 16 bits"), "png"),
    **dict.fromkeys(("png with much packed text", "animated png"), "png"),
    **dict.fromkeys(("jpeg", "progressive jpeg", "jpeg with a second picture"), "jpg"),
    **dict.fromkeys(("gif", "animated gif"), "gif"),
    **dict.fromkeys(("webp", "animated webp"), "webp"),
    "avif": "avif",
}
"""The fourteen kinds, with the extension under which each is stored."""


def saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    """Return a picture as a file of a kind."""
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


@cache
def whole(name: str) -> bytes:
    """Return a small whole picture of one of the fourteen kinds."""
    noise = Image.effect_noise((40, 30), 60)
    colours, others = noise.convert("RGB"), [Image.effect_noise((40, 30), spread).convert("RGB") for spread in (30, 90)]
    moving: dict[str, Any] = {"save_all": True, "append_images": others, "duration": 100}
    match name:
        case "png with transparency":
            return saved(noise.convert("RGBA"), "PNG")
        case "png with colours in a table":
            return saved(colours.quantize(16), "PNG")
        case "png of 16 bits":
            return saved(Image.new("I;16", (40, 30), 40_000), "PNG")
        case "png with much packed text":
            text = PngImagePlugin.PngInfo()
            text.add_text("workflow", "x" * 3_000_000, zip=True)
            text.add_itxt("prompt", "a red kite " * 300_000, zip=True)
            return saved(colours, "PNG", pnginfo=text, icc_profile=bytes(2_000_000))
        case "animated png":
            return saved(colours, "PNG", **moving)
        case "progressive jpeg":
            return saved(colours, "JPEG", progressive=True)
        case "jpeg with a second picture":
            return saved(colours, "MPO", save_all=True, append_images=others)
        case "animated gif":
            return saved(colours, "GIF", **moving)
        case "animated webp":
            return saved(colours, "WEBP", **moving)
        case _:
            return saved(colours, {"jpeg": "JPEG", "webp": "WEBP", "gif": "GIF", "avif": "AVIF"}.get(name, "PNG"))


def mutated(number: int) -> bytes:
    """Return the picture of a number, changed in up to four ways; the same number gives the same picture."""
    source = random.Random(number)
    content = bytearray(whole(source.choice(list(EXTENSIONS))))
    for _ in range(source.choice((1, 1, 1, 2, 4))):
        # Headers decide most of what a decoder does.
        end = source.choice((32, 128, len(content))) if content else 0
        start, length = source.randrange(max(1, min(end, len(content)))), source.choice((1, 2, 4, 16, 300))
        span = slice(start, start + length)
        match source.randrange(9):
            case 0:
                del content[start:]
            case 1:
                del content[span]
            case 2:
                content[span] = source.randbytes(length)
            case 3:
                content[span] = source.choice((b"\0", b"\xff")) * length
            case 4:
                content[start:start] = content[span]
            case 5:
                content[start:start] = source.randbytes(length)
            case 6:
                other = whole(source.choice(list(EXTENSIONS)))
                content[start:] = other[source.randrange(len(other)) :]
            case 7:
                content += source.randbytes(length)
            case 8 if start < len(content):
                content[start] ^= 1 << source.randrange(8)
    return bytes(content)


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG with its checksum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(*chunks: tuple[bytes, bytes], size: tuple[int, int] = (1, 1), colour: int = 2) -> bytes:
    """Return a PNG of these chunks, between its header and its end."""
    header = struct.pack(">IIBBBBB", *size, 8, colour, 0, 0, 0)
    parts = ((b"IHDR", header), *chunks, (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(chunk(name, content) for name, content in parts)


def png_bomb(side: int) -> bytes:
    """Return a small PNG that unpacks to a picture of this width and height."""
    return png((b"IDAT", zlib.compress(bytes(1000))), size=(side, side))


def jpeg_of_many_scans(scans: int, side: int = 64) -> bytes:
    """Return a progressive JPEG whose last scan is there so many times more than it was."""
    content = saved(Image.new("RGB", (side, side), "red"), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * scans + content[-2:]


def jpeg_of_many_exif_segments(segments: int, length: int = 25) -> bytes:
    """Return a JPEG with so many Exif segments of so many bytes each."""
    content, exif = saved(Image.new("RGB", (64, 64), "red"), "JPEG"), b"Exif\0\0" + bytes(length)
    return content[:2] + (b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif) * segments + content[2:]


def jpeg_of_a_form(marker: int = 0xC0, *, bits: int = 8, height: int = 64, colours: int = 3) -> bytes:
    """Return a JPEG whose frame says that it is of a form; its pixels are not."""
    content = saved(Image.new("RGB", (64, 64), "red"), "JPEG")
    frame = content.index(b"\xff\xc0")
    said = struct.pack(">BHHB", bits, height, 64, colours)
    return content[:frame] + bytes([0xFF, marker]) + content[frame + 2 : frame + 4] + said + content[frame + 10 :]


def gif_after_its_first_frame() -> bytes:
    """Return an animated GIF that ends where its second picture begins."""
    content = whole("animated gif")
    return content[: content.index(b"\x21\xf9", content.index(b"\x2c"))]


def gif_of_many_frames(frames: int, side: int) -> bytes:
    """Return a GIF of so many frames of one pixel, on a canvas of this width and height."""
    frame = b"," + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02D\x01\x00"
    return b"GIF89a" + struct.pack("<HH", side, side) + bytes(3) + frame * frames + b";"
