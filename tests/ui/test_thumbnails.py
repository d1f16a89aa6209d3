"""Thumbnails: small, made once, bounded in memory and on disk; what is no raster picture gets none."""

from __future__ import annotations

import asyncio
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from airflow_provider_imagetasks.files.picture_structure import UnusablePictureError
from airflow_provider_imagetasks.files.pictures import PixelBudget
from airflow_provider_imagetasks.ui import thumbnails as module
from airflow_provider_imagetasks.ui.roots import Location
from airflow_provider_imagetasks.ui.thumbnails import AT_ONCE, EDGE, MOST_WAITING, BusyError, Thumbnails
from tests.files import hostile_pictures
from tests.ui.conftest import place


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


@pytest.fixture
def thumbnails(tmp_path: Path) -> Thumbnails:
    return Thumbnails(tmp_path / "cache")


def draw(path: Path, size: tuple[int, int] = (900, 900), mode: str = "RGB", colour: str | int = 0) -> Location:
    """Draw a picture, and return the place where it lies."""
    Image.new(mode, size, colour).save(path)
    return place(path.parent, path.name)


@pytest.mark.parametrize(("name", "mode"), [("a.png", "RGBA"), ("a.jpg", "RGB"), ("a.webp", "RGB"), ("a.gif", "P")])
def test_every_kind_of_raster_picture_gets_a_small_webp(
    thumbnails: Thumbnails, pictures: Path, name: str, mode: str
) -> None:
    location = draw(pictures / name, (1600, 800), mode, 3 if mode == "P" else "tomato")

    with Image.open(thumbnails.get(location, "hash")) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (EDGE, EDGE // 2))


@pytest.mark.parametrize(
    ("size", "shown"),
    [((256, 2048), (256, 2048)), ((1024, 1536), (341, 512)), ((4000, 1000), (1024, 256)), ((3, 6000), (1, 2048))],
)
def test_a_long_picture_fills_its_card_without_being_blown_up(
    thumbnails: Thumbnails, pictures: Path, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    with Image.open(thumbnails.get(draw(pictures / "a.png", size), "hash")) as thumbnail:
        assert thumbnail.size == shown


def test_many_requests_for_one_picture_decode_it_once_for_all_api_servers_of_the_machine(
    thumbnails: Thumbnails, tmp_path: Path, pictures: Path
) -> None:
    location, other = draw(pictures / "a.png"), Thumbnails(tmp_path / "cache")

    with ThreadPoolExecutor(8) as threads:
        paths = set(threads.map(lambda _: thumbnails.get(location, "hash"), range(24)))

    assert paths == {other.get(location, "hash")}
    assert (thumbnails.made, other.made) == (1, 0)


def test_a_new_picture_at_the_same_place_gets_a_new_thumbnail(thumbnails: Thumbnails, pictures: Path) -> None:
    before = thumbnails.get(draw(pictures / "a.png", (10, 10)), "hash of the first")
    after = thumbnails.get(draw(pictures / "a.png", (20, 10)), "hash of the second")

    assert before != after
    with Image.open(after) as thumbnail:
        assert thumbnail.size == (20, 10)


@pytest.mark.parametrize(
    "content",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b"<!doctype html><script>alert(1)</script>",
        b"",
        b"\x89PNG\r\n\x1a\n and no more",
        b"BM" + bytes(60),
    ],
)
def test_what_is_no_raster_picture_gets_none(thumbnails: Thumbnails, pictures: Path, content: bytes) -> None:
    (pictures / "a.png").write_bytes(content)

    with pytest.raises(UnusablePictureError):
        thumbnails.get(place(pictures, "a.png"), "hash")


@pytest.mark.parametrize(
    "content",
    [hostile_pictures.jpeg_of_many_scans(300, side=2000), hostile_pictures.gif_of_many_frames(1, 20_000)],
    ids=["scans", "frame"],
)
def test_what_takes_long_to_decode_gets_none(thumbnails: Thumbnails, pictures: Path, content: bytes) -> None:
    (pictures / "a.png").write_bytes(content)

    with pytest.raises(UnusablePictureError, match=r"scans|pixels"):
        thumbnails.get(place(pictures, "a.png"), "hash")


@pytest.mark.parametrize("kind", hostile_pictures.EXTENSIONS)
def test_what_a_download_stores_gets_one(thumbnails: Thumbnails, pictures: Path, kind: str) -> None:
    (pictures / "a").write_bytes(hostile_pictures.whole(kind))

    with Image.open(thumbnails.get(place(pictures, "a"), "hash")) as thumbnail:
        assert thumbnail.size == (40, 30)


def test_a_damaged_picture_of_any_kind_is_an_error_of_its_own(thumbnails: Thumbnails, pictures: Path) -> None:
    for number in range(150):
        (pictures / "a").write_bytes(hostile_pictures.mutated(number))
        with suppress(UnusablePictureError):
            thumbnails.get(place(pictures, "a"), str(number))


async def test_thumbnails_that_take_long_keep_nobody_waiting(
    thumbnails: Thumbnails, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location, go_on = draw(pictures / "a.png", (10, 10)), threading.Event()
    kept = thumbnails.get(location, "kept")
    monkeypatch.setattr(Thumbnails, "_make", lambda *_: go_on.wait(30))
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.05)
    of_others = set(threading.enumerate())

    waiting = [asyncio.ensure_future(thumbnails.serve(location, f"{number}")) for number in range(MOST_WAITING)]
    for request in waiting[:AT_ONCE]:
        with pytest.raises(BusyError):
            await request

    begun = set(threading.enumerate()) - of_others
    assert sum(thread.name.startswith("imagetasks-thumbnails") for thread in begun) <= AT_ONCE
    monkeypatch.setattr(module, "LONGEST_WAIT", 30)
    assert await thumbnails.serve(location, "kept") == kept
    go_on.set()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_beyond_a_most_that_wait_none_is_promised(
    thumbnails: Thumbnails, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location, go_on = draw(pictures / "a.png", (10, 10)), threading.Event()
    monkeypatch.setattr(Thumbnails, "_make", lambda *_: go_on.wait(30))

    outcomes = [asyncio.ensure_future(thumbnails.serve(location, f"{number}")) for number in range(MOST_WAITING + 5)]
    for refused in itertools.islice(asyncio.as_completed(outcomes), 5):
        with pytest.raises(BusyError):
            await refused
    go_on.set()

    ends = await asyncio.gather(*outcomes, return_exceptions=True)
    assert sum(isinstance(each, BusyError) for each in ends) == 5


def test_a_picture_with_too_many_pixels_is_refused_by_its_header(tmp_path: Path, pictures: Path) -> None:
    bomb, thumbnails = (
        draw(pictures / "bomb.png", (2000, 2000), "1"),
        Thumbnails(tmp_path, budget=PixelBudget(1_000_000)),
    )

    with pytest.raises(UnusablePictureError, match="4,000,000 pixels, more than 1,000,000"):
        thumbnails.get(bomb, "hash")


def test_a_cut_off_picture_leaves_nothing_in_the_cache(thumbnails: Thumbnails, tmp_path: Path, pictures: Path) -> None:
    Image.effect_noise((600, 600), 90).save(pictures / "a.png")
    whole = (pictures / "a.png").read_bytes()
    (pictures / "a.png").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(UnusablePictureError, match="damaged"):
        thumbnails.get(place(pictures, "a.png"), "hash")

    assert list((tmp_path / "cache").iterdir()) == []


def test_the_folder_stays_within_its_bound(tmp_path: Path, pictures: Path) -> None:
    thumbnails = Thumbnails(tmp_path / "cache", most_bytes=40_000)
    for number in range(8):
        Image.effect_noise((512, 512), 60).save(pictures / f"{number}.png")
        thumbnails.get(place(pictures, f"{number}.png"), "hash")

    kept = [path.stat().st_size for path in (tmp_path / "cache").iterdir()]

    assert sum(kept) <= 40_000
    assert len(kept) < 8


def test_a_folder_that_others_can_enter_is_not_used(thumbnails: Thumbnails, tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)

    with pytest.raises(PermissionError, match="not this user's alone"):
        thumbnails.get(draw(pictures / "a.png"), "hash")
