from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from airflow_provider_imagetasks.files.pictures import UnusablePictureError, inspect_picture

KINDS = {"PNG": ("png", "image/png"), "JPEG": ("jpg", "image/jpeg"), "WEBP": ("webp", "image/webp")}
KINDS["GIF"] = ("gif", "image/gif")


@pytest.mark.parametrize("kind", KINDS)
def test_kind_and_transparency_are_told_by_the_content(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "no-extension"
    Image.new("RGB", (8, 6), "red").save(path, kind)
    Image.new("RGBA", (2, 2)).save(tmp_path / "transparent", "PNG")

    found = inspect_picture(path)

    assert (found.extension, found.media_type) == KINDS[kind]
    assert (found.width, found.height, found.bytes) == (8, 6, path.stat().st_size)
    assert (found.has_alpha, inspect_picture(tmp_path / "transparent").has_alpha) == (False, True)


def saved(folder: Path, kind: str) -> bytes:
    """Return the content of a small picture."""
    Image.effect_noise((40, 30), 50).save(folder / "picture", kind)
    return (folder / "picture").read_bytes()


def check_damaged(content: bytes, *, decode: bool) -> None:
    with pytest.raises(UnusablePictureError) as raised:
        inspect_picture(content, decode=decode)
    assert raised.value.damaged is True


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_cut_off_anywhere_is_damaged(tmp_path: Path, kind: str, decode: bool) -> None:
    whole = saved(tmp_path, kind)

    assert inspect_picture(tmp_path / "picture") == inspect_picture(whole, decode=decode)
    for length in range(len(whole) // 2, len(whole) - 12, 97):
        check_damaged(whole[:length], decode=decode)


def test_a_png_that_changed_on_the_way_is_told_by_its_checksums_without_decoding(tmp_path: Path) -> None:
    whole = saved(tmp_path, "PNG")
    for position in range(60, len(whole) - 12, 97):
        changed = bytearray(whole)
        changed[position] ^= 1
        check_damaged(bytes(changed), decode=False)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"<html><body>please log in</body></html>", b"%PDF-1.7", b"BM" + bytes(60)),
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b"\x89PNG\r\n\x1a\n<html>not a picture</html>",
    ],
)
def test_what_is_no_raster_picture_is_refused(content: bytes) -> None:
    with pytest.raises(UnusablePictureError):
        inspect_picture(content)


@pytest.mark.parametrize("side", [12_000, 30_000])
def test_too_many_pixels_are_refused_before_they_are_decoded(side: int) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")

    with pytest.raises(UnusablePictureError, match="pixels"):
        inspect_picture(bomb)
