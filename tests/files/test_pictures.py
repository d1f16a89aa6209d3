from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from airflow_provider_imagetasks.files.pictures import UnusablePictureError, inspect_picture


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A small PNG."""
    path = tmp_path / "picture"
    Image.effect_noise((40, 30), 50).save(path, "PNG")
    return path


@pytest.mark.parametrize(
    ("kind", "extension", "media_type"),
    [
        ("PNG", "png", "image/png"),
        ("JPEG", "jpg", "image/jpeg"),
        ("WEBP", "webp", "image/webp"),
        ("GIF", "gif", "image/gif"),
    ],
)
def test_the_kind_is_told_by_the_content(tmp_path: Path, kind: str, extension: str, media_type: str) -> None:
    path = tmp_path / "no-extension"
    Image.new("RGB", (8, 6), "red").save(path, kind)

    found = inspect_picture(path)

    assert (found.extension, found.media_type, found.width, found.height) == (extension, media_type, 8, 6)
    assert found.bytes == path.stat().st_size


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_cut_off_anywhere_is_damaged(tmp_path: Path, kind: str, decode: bool) -> None:
    picture = tmp_path / "picture"
    Image.effect_noise((40, 30), 50).save(picture, kind)
    whole = picture.read_bytes()
    for length in range(len(whole) // 2, len(whole) - 12, 97):
        with pytest.raises(UnusablePictureError) as raised:
            inspect_picture(whole[:length], decode=decode)
        assert raised.value.damaged is True


def test_a_png_that_changed_on_the_way_is_told_by_its_checksums_without_decoding(picture: Path) -> None:
    whole = bytearray(picture.read_bytes())
    for position in range(60, len(whole) - 12, 97):
        changed = whole.copy()
        changed[position] ^= 1
        with pytest.raises(UnusablePictureError) as raised:
            inspect_picture(bytes(changed), decode=False)
        assert raised.value.damaged is True


def test_a_file_and_its_content_are_the_same_picture(picture: Path) -> None:
    assert inspect_picture(picture) == inspect_picture(picture.read_bytes(), decode=False)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html><body>please log in</body></html>",
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b"%PDF-1.7",
        b"BM" + bytes(60),
        b"\x89PNG\r\n\x1a\n<html>not a picture</html>",
    ],
)
def test_what_is_no_raster_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(content)

    with pytest.raises(UnusablePictureError):
        inspect_picture(path)


@pytest.mark.parametrize("side", [12_000, 30_000])
def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )

    with pytest.raises(UnusablePictureError, match="pixels"):
        inspect_picture(path)


def test_transparency_is_told(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2)).save(tmp_path / "with", "PNG")
    Image.new("RGB", (2, 2)).save(tmp_path / "without", "PNG")

    assert inspect_picture(tmp_path / "with").has_alpha is True
    assert inspect_picture(tmp_path / "without").has_alpha is False
