"""Thumbnails: small, made once, bounded in memory and on disk; what is no raster picture gets none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from airflow_provider_imagetasks.files.pictures import UnusablePictureError
from airflow_provider_imagetasks.ui.roots import Location, locate, read_roots
from airflow_provider_imagetasks.ui.thumbnails import EDGE, PixelBudget, Thumbnails

Place = Callable[[str], Location]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


@pytest.fixture
def place(pictures: Path) -> Place:
    def located(name: str) -> Location:
        location = locate(f"file://{pictures}/{name}", read_roots(f"file://{pictures}"))
        assert location is not None
        return location

    return located


@pytest.mark.parametrize(("name", "mode"), [("a.png", "RGBA"), ("a.jpg", "RGB"), ("a.webp", "RGB"), ("a.gif", "P")])
def test_every_kind_of_raster_picture_gets_a_small_webp(
    tmp_path: Path, pictures: Path, place: Place, name: str, mode: str
) -> None:
    Image.new(mode, (1600, 800), 3 if mode == "P" else "tomato").save(pictures / name)

    path = Thumbnails(tmp_path / "cache").get(place(name), "hash")

    with Image.open(path) as thumbnail:
        assert thumbnail.format == "WEBP"
        assert thumbnail.size == (EDGE, EDGE // 2)


def test_many_requests_for_one_picture_decode_it_once(tmp_path: Path, pictures: Path, place: Place) -> None:
    Image.new("RGB", (900, 900)).save(pictures / "a.png")
    thumbnails = Thumbnails(tmp_path / "cache")

    with ThreadPoolExecutor(8) as threads:
        paths = set(threads.map(lambda _: thumbnails.get(place("a.png"), "hash"), range(24)))

    assert len(paths) == 1
    assert thumbnails.made == 1


def test_another_api_server_on_the_machine_uses_what_is_there(tmp_path: Path, pictures: Path, place: Place) -> None:
    Image.new("RGB", (900, 900)).save(pictures / "a.png")
    Thumbnails(tmp_path / "cache").get(place("a.png"), "hash")

    other = Thumbnails(tmp_path / "cache")
    other.get(place("a.png"), "hash")

    assert other.made == 0


def test_a_new_picture_at_the_same_place_gets_a_new_thumbnail(tmp_path: Path, pictures: Path, place: Place) -> None:
    thumbnails = Thumbnails(tmp_path / "cache")
    Image.new("RGB", (10, 10)).save(pictures / "a.png")
    before = thumbnails.get(place("a.png"), "hash of the first")
    Image.new("RGB", (20, 10)).save(pictures / "a.png")

    after = thumbnails.get(place("a.png"), "hash of the second")

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
def test_what_is_no_raster_picture_gets_none(tmp_path: Path, pictures: Path, place: Place, content: bytes) -> None:
    (pictures / "a.png").write_bytes(content)

    with pytest.raises(UnusablePictureError):
        Thumbnails(tmp_path / "cache").get(place("a.png"), "hash")


def test_a_picture_with_too_many_pixels_is_refused_by_its_header(tmp_path: Path, pictures: Path, place: Place) -> None:
    Image.new("1", (2000, 2000)).save(pictures / "bomb.png")

    with pytest.raises(UnusablePictureError, match="4,000,000 pixels, more than 1,000,000"):
        Thumbnails(tmp_path / "cache", budget=PixelBudget(1_000_000)).get(place("bomb.png"), "hash")


def test_a_cut_off_picture_leaves_nothing_in_the_cache(tmp_path: Path, pictures: Path, place: Place) -> None:
    Image.effect_noise((600, 600), 90).save(pictures / "a.png")
    whole = (pictures / "a.png").read_bytes()
    (pictures / "a.png").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(UnusablePictureError, match="damaged"):
        Thumbnails(tmp_path / "cache").get(place("a.png"), "hash")

    assert list((tmp_path / "cache").iterdir()) == []


def test_the_folder_stays_within_its_bound(tmp_path: Path, pictures: Path, place: Place) -> None:
    most = 40_000
    thumbnails = Thumbnails(tmp_path / "cache", most_bytes=most)
    for number in range(8):
        Image.effect_noise((512, 512), 60).save(pictures / f"{number}.png")
        thumbnails.get(place(f"{number}.png"), "hash")

    kept = [path.stat().st_size for path in (tmp_path / "cache").iterdir()]

    assert sum(kept) <= most
    assert len(kept) < 8


def test_pixels_that_are_decoded_at_the_same_time_stay_within_a_bound() -> None:
    budget, held, most, lock = PixelBudget(100), 0, 0, threading.Lock()

    def decode(_number: int) -> None:
        nonlocal held, most
        with budget.taking(40):
            with lock:
                held += 40
                most = max(most, held)
            time.sleep(0.005)
            with lock:
                held -= 40

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(decode, range(24)))

    assert 40 < most <= 100


def test_a_folder_that_others_can_enter_is_not_used(tmp_path: Path, pictures: Path, place: Place) -> None:
    Image.new("RGB", (10, 10)).save(pictures / "a.png")
    (tmp_path / "cache").mkdir(mode=0o777)
    (tmp_path / "cache").chmod(0o777)

    with pytest.raises(PermissionError, match="not this user's alone"):
        Thumbnails(tmp_path / "cache").get(place("a.png"), "hash")
