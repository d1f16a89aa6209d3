"""Reading the files of an edit, beyond what the submit operator's own tests show."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.files import input_images
from airflow_provider_imagetasks.files.input_images import with_files_read
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest

URL = "https://pictures.example/a.png"
READ = ImageFile(name="own.png", media_type="image/png", content=b"read already")


def request(*images: str | ImageFile, mask: str | ImageFile | None = None) -> ImageRequest:
    return ImageRequest(prompt="make it winter", images=images, mask=mask)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    """Save a picture of this mode, size and format, and return its path."""

    def save_as(name: str, mode: str = "RGB", size: tuple[int, int] = (8, 6), **options: Any) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size).save(path, **options)
        return str(path)

    return save_as


def refusal(of: ImageRequest) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        with_files_read(of)
    assert (caught.value.billed, caught.value.retryable) == ("no", False)
    return caught.value.message


@pytest.mark.parametrize(
    ("media_format", "media_type", "extension"),
    [("PNG", "image/png", "png"), ("JPEG", "image/jpeg", "jpg"), ("WEBP", "image/webp", "webp")],
)
def test_a_file_is_sent_as_what_it_is_whatever_its_name(
    save: Callable[..., str], media_format: str, media_type: str, extension: str
) -> None:
    path = save("the-merger-with-initech/secret.dat", format=media_format)

    (file,) = with_files_read(request(path)).images

    assert file == ImageFile(name=f"images.{extension}", media_type=media_type, content=Path(path).read_bytes())


def test_urls_and_files_that_were_read_already_stay(save: Callable[..., str]) -> None:
    path = save("a.png")

    read = with_files_read(request(URL, "HTTP://pictures.example/b.png", READ, path, mask=replace(READ, name="m.png")))

    assert read.images[:3] == [URL, "HTTP://pictures.example/b.png", READ]
    assert isinstance(read.images[3], ImageFile)
    assert read.mask == replace(READ, name="m.png")


def test_the_url_of_a_mask_stays_for_the_service_to_refuse() -> None:
    assert with_files_read(request(URL, mask=URL)).mask == URL


def test_a_request_from_text_alone_is_left_alone() -> None:
    plain = ImageRequest(prompt="a red kite")

    assert with_files_read(plain) is plain


def test_files_come_from_any_object_storage() -> None:
    content = io.BytesIO()
    Image.new("RGB", (8, 6)).save(content, "PNG")
    attach(protocol="memory", fs=MemoryFileSystem())
    MemoryFileSystem().pipe_file("/pictures-of-the-tests/a.png", content.getvalue())

    (file,) = with_files_read(request("memory://pictures-of-the-tests/a.png")).images

    assert isinstance(file, ImageFile)
    assert file.content == content.getvalue()


def test_nothing_is_left_on_the_worker_s_disk(
    save: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    with_files_read(request(save("a.png"), save("b.png"), mask=save("m.png", "RGBA")))
    refusal(request(save("a.png"), mask=save("opaque.png")))

    assert list(scratch.iterdir()) == []


def test_a_mask_has_to_fit_the_first_file(save: Callable[..., str]) -> None:
    small, large, mask = save("small.png"), save("large.png", size=(80, 60)), save("mask.png", "RGBA")

    assert with_files_read(request(small, large, mask=mask)).mask is not None
    assert "8 x 6 pixels, but the first of images 80 x 60" in refusal(request(large, small, mask=mask))


@pytest.mark.parametrize(("name", "mode", "options"), [("m.png", "RGB", {}), ("m.webp", "RGBA", {"lossless": True})])
def test_a_mask_is_a_png_with_transparency(
    save: Callable[..., str], name: str, mode: str, options: dict[str, Any]
) -> None:
    assert "must be a PNG with transparency" in refusal(request(save("a.png"), mask=save(name, mode, **options)))


@pytest.mark.parametrize(("argument", "limit"), [("images", "LARGEST_BYTES"), ("mask", "LARGEST_MASK_BYTES")])
def test_each_has_a_largest_size_and_may_have_it(
    save: Callable[..., str], argument: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, mask = save("a.png"), save("mask.png", "RGBA")
    size = Path(picture if argument == "images" else mask).stat().st_size
    monkeypatch.setattr(input_images, limit, size)
    assert with_files_read(request(picture, mask=mask)).mask is not None

    monkeypatch.setattr(input_images, limit, size - 1)

    assert f"{argument} holds " in (message := refusal(request(picture, mask=mask)))
    assert f"{size:,} bytes, more than {size - 1:,}" in message


def test_the_sizes_are_those_that_the_services_name() -> None:
    assert (input_images.LARGEST_BYTES, input_images.LARGEST_MASK_BYTES) == (50 * 1024 * 1024, 4 * 1024 * 1024)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("nowhere://bucket/a.png", "cannot be read"),
        ("{folder}", "cannot be"),
        ("{folder}/empty.png", "cannot be used"),
        ("{folder}/vector.svg", "cannot be used"),
        ("{folder}/half.png", "cannot be used"),
        ("file://{folder}/missing.png", "cannot be read"),
        ("pictures/a.png", "absolute path"),
    ],
)
def test_what_cannot_be_read_or_is_no_picture_is_named(
    save: Callable[..., str], tmp_path: Path, reference: str, said: str
) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "vector.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    whole = Path(save("whole.png", size=(64, 64))).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])

    message = refusal(request(reference.format(folder=tmp_path)))

    assert said in message
    assert reference.format(folder=tmp_path) in message
