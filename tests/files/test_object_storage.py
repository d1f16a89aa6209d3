from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_imagetasks.exceptions import DownloadError, InvalidRequestError
from airflow_provider_imagetasks.files.object_storage import (
    fetch_existing,
    fetch_those_there,
    is_missing,
    open_folder,
    put_in_place,
    require_known_scheme,
    uri_of,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A verified file on the worker's disk."""
    path = tmp_path / "source"
    path.write_bytes(b"the picture")
    return path


def test_the_folder_is_made_and_nothing_else_stays_in_it(source: Path, tmp_path: Path) -> None:
    target = open_folder(f"file://{tmp_path}/a/b") / "picture.png"

    put_in_place(source, target)

    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["picture.png"]
    assert (tmp_path / "a/b/picture.png").read_bytes() == b"the picture"
    assert uri_of(target) == f"file://{tmp_path}/a/b/picture.png"


def test_a_plain_absolute_path_is_a_folder_too(source: Path, tmp_path: Path) -> None:
    put_in_place(source, open_folder(f"{tmp_path}/plain/") / "picture.png")

    assert (tmp_path / "plain/picture.png").exists()


@pytest.mark.parametrize("step", ["put_file", "mv"])
def test_where_writing_fails_the_old_file_stays_and_nothing_incomplete_appears(
    source: Path, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "picture.png").write_bytes(b"the old one")

    def half_a_file_then_a_full_disk(_self: Any, _source: str, target: str, **_options: Any) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    def refuse(_self: Any, _source: str, _target: str, **_options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LocalFileSystem, step, half_a_file_then_a_full_disk if step == "put_file" else refuse)

    with pytest.raises(DownloadError, match="No space left") as raised:
        put_in_place(source, open_folder(str(folder)) / "picture.png")

    assert raised.value.retryable is True
    assert [path.name for path in folder.iterdir()] == ["picture.png"]
    assert (folder / "picture.png").read_bytes() == b"the old one"


def test_what_is_not_there_is_told_from_what_is(source: Path, tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    put_in_place(source, folder / "there.png")

    assert fetch_existing(folder / "there.png", tmp_path / "copy") is True
    assert (tmp_path / "copy").read_bytes() == b"the picture"
    assert fetch_existing(folder / "not-there.png", tmp_path / "copy") is False


def test_those_of_several_names_that_are_there_are_read_one_after_the_other(source: Path, tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    put_in_place(source, folder / "a.png")
    put_in_place(b"another", folder / "a.jpg")
    copy = tmp_path / "copy"

    there = fetch_those_there(folder, ("a.gif", "a.png", "a.webp", "a.jpg"), copy)

    assert [(name, copy.read_bytes()) for name in there] == [("a.png", b"the picture"), ("a.jpg", b"another")]


def test_a_folder_is_missing_only_where_that_is_certain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_folder(str(tmp_path / "pictures"))
    assert is_missing(folder) is True
    assert is_missing(open_folder(str(tmp_path))) is False

    def silent(*_: object) -> bool:
        raise OSError("no answer")

    monkeypatch.setattr(type(folder.fs), "exists", silent)
    assert is_missing(folder) is False


def test_a_scheme_that_nobody_knows_is_refused_when_the_dag_is_read() -> None:
    with pytest.raises(InvalidRequestError, match=r"s3://.*amazon"):
        require_known_scheme("s3://bucket/{{ ds }}")


@pytest.mark.parametrize("path", ["file:///data", "/data", "{{ var.value.folder }}", "{{ 's3://x' }}", None])
def test_what_cannot_be_judged_yet_is_left_for_later(path: Any) -> None:
    assert require_known_scheme(path) is None


def test_the_folder_is_an_object_storage_path(tmp_path: Path) -> None:
    assert isinstance(open_folder(str(tmp_path)), ObjectStoragePath)
