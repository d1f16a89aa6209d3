"""Reading the files of an edit, beyond what the submit operator's own tests show."""

from __future__ import annotations

import io
import os
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


def test_a_link_that_came_after_the_path_was_resolved_is_not_followed(save: Callable[..., str], tmp_path: Path) -> None:
    path, secret = Path(save("rows/a.png")), Path(save("private/a.png"))
    assert len(with_files_read(request(str(path)), real_paths_only=True).images) == 1
    path.unlink()
    path.symlink_to(secret)

    for reference in (str(path), f"file://{path}"):
        with pytest.raises(InvalidRequestError, match="link"):
            with_files_read(request(reference), real_paths_only=True)
        assert len(with_files_read(request(reference)).images) == 1


def test_nor_is_one_in_the_place_of_a_folder(save: Callable[..., str], tmp_path: Path) -> None:
    path, secret = Path(save("rows/deep/a.png")), Path(save("private/deep/a.png"))
    path.unlink()
    path.parent.rmdir()
    path.parent.parent.rmdir()
    path.parent.parent.symlink_to(secret.parent.parent)

    with pytest.raises(InvalidRequestError, match="link"):
        with_files_read(request(str(path)), real_paths_only=True)
    assert len(with_files_read(request(str(path))).images) == 1


def test_what_an_object_storage_s_own_library_says_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    class ClientError(Exception):
        """As botocore has it: no OSError."""

    def size(_self: Any, path: str) -> int:
        raise ClientError(f"no access to {path}")

    attach(protocol="memory", fs=MemoryFileSystem())
    monkeypatch.setattr(MemoryFileSystem, "size", size)

    with pytest.raises(InvalidRequestError, match=r"images could not be read \(ClientError: no access to") as caught:
        with_files_read(request("memory://pictures-of-the-tests/a.png"))
    assert (caught.value.billed, caught.value.retryable) == ("no", True)


def test_a_mask_is_a_png_with_transparency_that_fits_the_first_file(save: Callable[..., str]) -> None:
    small, large, mask = save("small.png"), save("large.png", size=(80, 60)), save("mask.png", "RGBA")
    opaque, other = save("opaque.png"), save("m.webp", "RGBA", lossless=True)

    assert with_files_read(request(small, large, mask=mask)).mask is not None
    assert "8 x 6 pixels, but the first image has 80 x 60" in refusal(request(large, small, mask=mask))
    for wrong in (opaque, other):
        assert "must be a PNG that is transparent" in refusal(request(small, mask=wrong))


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
    "nowhere://bucket/a.png": "cannot be used here",
    "{folder}": "is no file",
    "{folder}/pipe": "is no file",
    "/dev/zero": "is no file",
    "{folder}/half.png::{folder}/whole.png": "No such file",
    "file://half.png": "absolute path",
    "file://localhost/half.png": "absolute path",
    **{f"{{folder}}/{name}": "cannot be used" for name in ("empty.png", "vector.svg", "half.png")},
    "file://{folder}/missing.png": "cannot be read",
    "pictures/a.png": "absolute path",
}


def test_what_cannot_be_read_or_is_no_picture_is_named(save: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "vector.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    whole = Path(save("whole.png", size=(64, 64))).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])

    for reference, said in UNREADABLE.items():
        message = refusal(request(reference.format(folder=tmp_path)))
        assert said in message
        assert reference.format(folder=tmp_path) in message


@pytest.mark.parametrize(
    "url", [" https://me:secret@x.example/a.png?sig=secret", "xhttps://x.example/a.png?sig=secret"]
)
def test_a_url_with_a_misspelled_scheme_is_named_without_what_lets_somebody_in(url: str) -> None:
    message = refusal(request(url))

    assert "x.example/a.png" in message
    assert "secret" not in message
