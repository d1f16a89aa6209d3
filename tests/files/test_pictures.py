from __future__ import annotations

import base64
import random
import struct
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from airflow_provider_imagetasks.exceptions import UnsafeResultError
from airflow_provider_imagetasks.files import pictures
from airflow_provider_imagetasks.files.picture_structure import MOST_EXIF, MOST_PARTS, UnusablePictureError
from airflow_provider_imagetasks.files.pictures import MOST_SCANS, PixelBudget, content_of, inspect_picture
from airflow_provider_imagetasks.tasks import GeneratedImage
from tests.files import hostile_pictures

KINDS = {"PNG": ("png", "image/png"), "JPEG": ("jpg", "image/jpeg"), "WEBP": ("webp", "image/webp")}
KINDS["GIF"] = ("gif", "image/gif")
WHOLE = base64.b64encode(bytes(range(256))).decode()
ODD = (
    *("A", "AA", "AAA", "AAAA=", "AA==AA==", "====", "AA=A", "AB==", "AAB=", " AAAA", "AAAA\n", "AA AA", '"', "AAAA\\"),
    *("\\u0041AAA", "AAAA\0", "-_-_", "ÄÄÄÄ", "AA\udfffA", 'AAAA", "BBBB', "data:,a%20b", "data:image/png;base64,AAAA"),
)


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
    with pytest.raises(UnusablePictureError, match="pixels"):
        inspect_picture(hostile_pictures.png_bomb(side))


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize(("kind", "extension"), hostile_pictures.EXTENSIONS.items())
def test_pictures_as_the_world_has_them_are_whole(tmp_path: Path, kind: str, extension: str, decode: bool) -> None:
    content = hostile_pictures.whole(kind)
    (tmp_path / "picture").write_bytes(content)

    found = inspect_picture(tmp_path / "picture", decode=decode)

    assert (found.extension, found.width, found.height) == (extension, 40, 30)
    assert found == inspect_picture(content, decode=decode)


@pytest.mark.parametrize("kind", [kind for kind in hostile_pictures.EXTENSIONS if "packed" not in kind])
def test_a_picture_is_whole_only_to_the_end_of_its_last_frame(kind: str) -> None:
    content = hostile_pictures.whole(kind)
    if "second picture" in kind:
        # What counts is the first one.
        content = content[: content.index(b"\xff\xd9") + 2]
    for length in range(1, len(content) - 12, max(1, len(content) // 60)):
        check_damaged(content[:length], decode=False)


def test_a_gif_that_ends_after_its_first_frame_is_damaged() -> None:
    check_damaged(hostile_pictures.gif_after_its_first_frame(), decode=False)


def test_damage_in_a_later_frame_of_a_gif_is_found() -> None:
    content = hostile_pictures.whole("animated gif")
    # Behind the head of the last picture, its table of colours, and the beginning of its pixels.
    later = content.rindex(b"\x2c" + struct.pack("<4H", 0, 0, 40, 30)) + 10 + 768 + 20

    check_damaged(content[:later] + b"\xff" * 100 + content[later + 100 :], decode=False)


@pytest.mark.parametrize("content", [b"", b"\x89PN", b"\xff", b"RIFF", b"GIF8"])
def test_nothing_or_the_first_bytes_of_a_picture_may_be_mended_by_fetching_it_again(content: bytes) -> None:
    check_damaged(content, decode=False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (hostile_pictures.png(), "without a chunk IDAT"),
        (hostile_pictures.png((b"IDAT", zlib.compress(bytes(2))), colour=3), "without a chunk PLTE"),
        (hostile_pictures.png((b"IDAT", b""), colour=7), "unknown form"),
        (hostile_pictures.png((b"IDAT", b""), size=(0, 9)), "without a size"),
        (hostile_pictures.jpeg_of_many_scans(MOST_SCANS), "scans"),
        (hostile_pictures.jpeg_of_many_scans(40, side=7000), "scans"),
        (hostile_pictures.png(*[(b"tEXt", b"")] * MOST_PARTS), "more parts"),
        (b"\xff\xd8\xff\xe0\0\2" + b"\xff\xfe\0\2" * MOST_PARTS, "more parts"),
        (b"GIF89a" + bytes(7) + b"!\xfe" + b"\1a" * 5 * MOST_PARTS, "more parts"),
        (hostile_pictures.gif_of_many_frames(1, 12_000), "pixels"),
        (hostile_pictures.jpeg_of_many_exif_segments(MOST_EXIF + 1), "65 Exif segments"),
        (hostile_pictures.jpeg_of_many_exif_segments(60_000), "Exif segments"),
        (hostile_pictures.jpeg_of_a_form(0xC1, bits=12), "cannot read .12 bits"),
        (hostile_pictures.jpeg_of_a_form(0xC3), "cannot read .lossless"),
        (hostile_pictures.jpeg_of_a_form(0xC5), "cannot read .hierarchical"),
        (hostile_pictures.jpeg_of_a_form(height=0), "cannot read .its height follows"),
        (hostile_pictures.jpeg_of_a_form(colours=2), "cannot read .2 colours"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_what_was_made_so_is_refused_for_good(content: bytes, said: str) -> None:
    with pytest.raises(UnusablePictureError, match=said) as raised:
        inspect_picture(content, decode=False)
    assert raised.value.damaged is False


def test_a_jpeg_of_a_few_exif_segments_is_whole() -> None:
    content = hostile_pictures.jpeg_of_many_exif_segments(MOST_EXIF, 60_000)

    assert inspect_picture(content).extension == "jpg"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"sk-a-key-that-nobody-may-see", "it is not a picture"),
        (b"<Error><StringToSign>sk-a-key", "it is not a picture, but HTML or XML"),
        (b" \n<?xml version='1.0'?><sk-a-key>", "it is not a picture, but HTML or XML"),
        (b'{"key": "sk-a-key"}', "it is not a picture, but JSON"),
        (b"%PDF-1.7 sk-a-key", "it is not a picture, but PDF"),
        (
            b"\0\0\0 ftypisom\0\0\2\0isomiso2mp41",
            "it is not a picture, but MP4, or another film or picture of its kind",
        ),
    ],
)
def test_of_what_is_no_picture_it_is_said_what_it_is_and_nothing_of_it(content: bytes, said: str) -> None:
    with pytest.raises(UnusablePictureError) as raised:
        inspect_picture(content)
    assert str(raised.value) == said


@pytest.mark.parametrize(
    "content",
    [
        hostile_pictures.gif_of_many_frames(50_000, 9000),
        hostile_pictures.gif_of_many_frames(50_000, 1),
        hostile_pictures.saved(Image.new("RGB", (9000, 9000)), "WEBP", method=0),
        hostile_pictures.saved(Image.new("RGB", (9000, 9000)), "JPEG", progressive=True),
        hostile_pictures.saved(Image.new("L", (9000, 9000)), "JPEG"),
    ],
    ids=["wide gif", "long gif", "webp", "progressive jpeg", "jpeg"],
)
def test_a_small_file_that_unpacks_to_much_is_judged_in_little_time(content: bytes) -> None:
    began = time.thread_time()

    inspect_picture(content, decode=False)

    assert time.thread_time() - began < 3


def test_scans_are_counted_past_what_looks_like_a_segment_and_is_none() -> None:
    many = hostile_pictures.jpeg_of_many_scans(MOST_SCANS)
    first = many.index(b"\xff\xda")
    # A decoder passes over this marker, and not over the bytes that would be its length.
    hidden = many[:first] + b"\xff\x02\xff\xff" + many[first:]

    with pytest.raises(UnusablePictureError, match="scans"):
        inspect_picture(hidden)


def test_whatever_becomes_of_a_picture_it_is_stored_or_refused() -> None:
    for number in range(600):
        with suppress(UnusablePictureError):
            inspect_picture(hostile_pictures.mutated(number), decode=number % 2 == 0)


def test_pixels_that_are_decoded_at_the_same_time_stay_within_a_bound() -> None:
    budget, held, most, lock = PixelBudget(100), 0, 0, threading.Lock()
    two_are_at_it = threading.Barrier(2, timeout=60)

    def decode(_number: int) -> None:
        nonlocal held, most
        with budget.taking(40):
            with lock:
                held += 40
                most = max(most, held)
            two_are_at_it.wait()
            with lock:
                held -= 40

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(decode, range(24)))

    assert 40 < most <= 100


def verdict(image: GeneratedImage) -> bytes | None:
    try:
        return image.content()
    except ValueError:
        return None


def told(data: str) -> bytes | None:
    try:
        return content_of(GeneratedImage(index=0, data=data))
    except UnsafeResultError:
        return None


@pytest.mark.parametrize("data", [WHOLE, WHOLE[:-1], f"data:image/png;base64,{WHOLE}", "", *ODD])
def test_what_is_base64_is_decoded_and_what_is_none_is_refused(data: str) -> None:
    assert told(data) == verdict(GeneratedImage(index=0, data=data))


@pytest.mark.parametrize("size", [254, 255, 256])
@pytest.mark.parametrize(
    "form", [base64.encodebytes, base64.urlsafe_b64encode, lambda content: base64.b64encode(content).rstrip(b"=")]
)
def test_base64_is_decoded_however_it_is_broken_spelled_and_filled(form: Callable[[bytes], bytes], size: int) -> None:
    content = bytes(range(256))[-size:]

    assert told(form(content).decode()) == content


def test_damaged_base64_is_never_decoded_to_something_else() -> None:
    chance = random.Random(24)
    for _ in range(2_000):
        place, character = chance.randrange(len(WHOLE)), chance.choice('Aa0+/=-_ \n"\\é\0')
        data = WHOLE[:place] + character + WHOLE[place + chance.randrange(2) :]
        assert told(data) == verdict(GeneratedImage(index=0, data=data)), data


def test_without_a_content_or_with_too_much_of_it_there_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGEST_BYTES", 255)
    for image in (GeneratedImage(index=0), GeneratedImage(index=0, data=WHOLE)):
        with pytest.raises(UnsafeResultError, match="Picture 0"):
            content_of(image)
