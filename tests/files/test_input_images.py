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


def test_a_file_is_sent_as_what_it_is_whatever_its_name(save: Callable[..., str]) -> None:
    for extension, media_format in (("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")):
        path = save("the-merger-with-initech/secret.dat", format=media_format)
        (file,) = with_files_read(request(path)).images
        media_type = f"image/{media_format.lower()}"
        assert file == ImageFile(name=f"images.{extension}", media_type=media_type, content=Path(path).read_bytes())


def test_what_is_no_file_yet_to_be_read_stays(save: Callable[..., str]) -> None:
    path, plain, mask = save("a.png"), ImageRequest(prompt="a red kite"), replace(READ, name="m.png")

    read = with_files_read(request(URL, "HTTP://pictures.example/b.png", READ, path, mask=mask))

    assert read.images[:3] == [URL, "HTTP://pictures.example/b.png", READ]
    assert isinstance(read.images[3], ImageFile)
    assert read.mask == mask
    # The service refuses it.
    assert with_files_read(request(URL, mask=URL)).mask == URL
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


def test_a_mask_is_a_png_with_transparency_that_fits_the_first_file(save: Callable[..., str]) -> None:
    small, large, mask = save("small.png"), save("large.png", size=(80, 60)), save("mask.png", "RGBA")
    opaque, other = save("opaque.png"), save("m.webp", "RGBA", lossless=True)

    assert with_files_read(request(small, large, mask=mask)).mask is not None
    assert "8 x 6 pixels, but the first of images 80 x 60" in refusal(request(large, small, mask=mask))
    for wrong in (opaque, other):
        assert "must be a PNG with transparency" in refusal(request(small, mask=wrong))


@pytest.mark.parametrize(("argument", "limit"), [("images", "LARGEST_BYTES"), ("mask", "LARGEST_MASK_BYTES")])
def test_each_has_a_largest_size_that_the_services_name_and_may_have_it(
    save: Callable[..., str], argument: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (input_images.LARGEST_BYTES, input_images.LARGEST_MASK_BYTES) == (50 * 1024 * 1024, 4 * 1024 * 1024)
    picture, mask = save("a.png"), save("mask.png", "RGBA")
    size = Path(picture if argument == "images" else mask).stat().st_size
    monkeypatch.setattr(input_images, limit, size)
    assert with_files_read(request(picture, mask=mask)).mask is not None

    monkeypatch.setattr(input_images, limit, size - 1)
    message = refusal(request(picture, mask=mask))
    assert f"{argument} holds " in message
    assert f"{size:,} bytes, more than {size - 1:,}" in message


UNREADABLE = {
    "nowhere://bucket/a.png": "cannot be read",
    "{folder}": "cannot be",
    **{f"{{folder}}/{name}": "cannot be used" for name in ("empty.png", "vector.svg", "half.png")},
    "file://{folder}/missing.png": "cannot be read",
    "pictures/a.png": "absolute path",
}


def test_what_cannot_be_read_or_is_no_picture_is_named(save: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "vector.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    whole = Path(save("whole.png", size=(64, 64))).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])

    for reference, said in UNREADABLE.items():
        message = refusal(request(reference.format(folder=tmp_path)))
        assert said in message
        assert reference.format(folder=tmp_path) in message
