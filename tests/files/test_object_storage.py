from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_imagetasks.exceptions import DownloadError, InvalidRequestError
from airflow_provider_imagetasks.files import object_storage as storage


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A verified file on the worker's disk."""
    path = tmp_path / "source"
    path.write_bytes(b"the picture")
    return path


@pytest.mark.parametrize("scheme", ["file://", ""])
def test_the_folder_is_made_and_nothing_else_stays_in_it(source: Path, tmp_path: Path, scheme: str) -> None:
    folder = storage.open_folder(f"{scheme}{tmp_path}/a/b/")
    storage.put_in_place(source, folder / "picture.png")

    assert isinstance(folder, ObjectStoragePath)
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["picture.png"]
    assert (tmp_path / "a/b/picture.png").read_bytes() == b"the picture"
    assert storage.uri_of(folder / "picture.png") == f"file://{tmp_path}/a/b/picture.png"


@pytest.mark.parametrize("name", ["a.png", "a:b#c%20.png", "~{a}?.png"])
@pytest.mark.parametrize("path", ["file:///a/b/", "/a/b", "s3://conn@bucket/a/", "s3://bucket/", "gs://bucket/a?b"])
def test_a_file_has_the_same_uri_by_its_path_and_by_its_folder_and_name(path: str, name: str) -> None:
    folder = ObjectStoragePath(path)

    assert storage.uri_of(folder, name) == storage.uri_of(folder / name)


@pytest.mark.parametrize("replaces", [True, False])
@pytest.mark.parametrize("is_named", [False, True])
@pytest.mark.parametrize(
    "path", ["kites [1]/a.png", "kites/a[b].png", "kites/*?.png", "kites/a:b#c%20.png", "k**/{a}~"]
)
def test_a_path_may_hold_what_is_a_pattern_elsewhere(source: Path, path: str, is_named: bool, replaces: bool) -> None:
    attach(protocol="memory", fs=MemoryFileSystem())
    folder = storage.open_folder(f"memory://{uuid4()}")
    others = dict.fromkeys(("kites/a.png", "kites/ab.png", "kites/ax.png"), b"another")
    folder.fs.pipe({f"{folder.path}/{name}": content for name, content in others.items()})

    above, _, name = path.rpartition("/")
    where = (folder / above, name) if is_named else (folder / path,)
    storage.put_in_place(source, *where, replaces=replaces)

    root = len(folder.fs._strip_protocol(folder.path)) + 1
    files = {each[root:]: folder.fs.cat_file(each) for each in folder.fs.find(folder.path)}
    assert files.pop(path) == b"the picture"
    assert files == others


@pytest.mark.parametrize(("place", "step"), [(LocalFileSystem, "put_file"), (os, "replace")])
def test_where_writing_fails_the_old_file_stays_and_nothing_incomplete_appears(
    source: Path, tmp_path: Path, place: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "picture.png").write_bytes(b"the old one")

    def fill_the_disk(*arguments: Any, **_options: Any) -> None:
        if step == "put_file":
            Path(arguments[-1]).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(place, step, fill_the_disk)

    with pytest.raises(DownloadError, match="No space left") as raised:
        storage.put_in_place(source, storage.open_folder(str(folder)) / "picture.png")
    assert raised.value.retryable is True
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("picture.png", b"the old one")]


class ObjectStore(MemoryFileSystem):
    """Objects in memory, which can be created only where there is none."""

    protocol = "s3"


class RefusesConditions(ObjectStore):
    """An object store whose client knows how to ask for that, and whose server does not."""

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_options: Any) -> None:
        if mode == "create":
            raise OSError("A header you provided implies functionality that is not implemented")
        super().pipe_file(path, value)


class KnowsNoConditions(ObjectStore):
    """An object store whose client does not know how to ask for that."""

    def pipe_file(self, path: str, value: bytes) -> None:
        super().pipe_file(path, value)


@pytest.mark.parametrize(
    ("kind", "is_kept"), [(ObjectStore, True), (RefusesConditions, False), (KnowsNoConditions, False)]
)
def test_what_is_there_is_kept_where_the_object_store_can_see_to_that(
    kind: type[ObjectStore], is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(ObjectStoragePath, "fs", kind())
    target = ObjectStoragePath("s3://bucket/record.json")
    storage.put_in_place(b"one", target, replaces=False)

    if is_kept:
        with pytest.raises(FileExistsError):
            storage.put_in_place(b"two", target, replaces=False)
    else:
        storage.put_in_place(b"two", target, replaces=False)

    assert target.fs.cat_file(target.path) == (b"one" if is_kept else b"two")


def test_what_is_not_there_is_told_from_what_is(source: Path, tmp_path: Path) -> None:
    folder, copy = storage.open_folder(str(tmp_path)), tmp_path / "copy"
    storage.put_in_place(source, folder / "a.png")
    storage.put_in_place(b"another", folder / "a.jpg")

    assert storage.fetch_existing(folder / "a.png", copy) is True
    assert copy.read_bytes() == b"the picture"
    assert storage.fetch_existing(folder / "not-there.png", copy) is False
    there = storage.fetch_those_there(folder, ("a.gif", "a.png", "a.webp", "a.jpg"), copy)
    assert [(name, copy.read_bytes()) for name in there] == [("a.png", b"the picture"), ("a.jpg", b"another")]


@pytest.mark.parametrize("failure", [OSError("SlowDown"), PermissionError("Forbidden"), RuntimeError("no credentials")])
@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_what_nobody_can_look_for_is_not_taken_for_what_is_not_there(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, failure: Exception
) -> None:
    attach(protocol="memory", fs=MemoryFileSystem())
    path = storage.open_folder(f"{scheme}://{tmp_path}") / "record.json"
    storage.put_in_place(source, path)

    def fails(*_: object, **_options: object) -> None:
        raise failure

    monkeypatch.setattr(type(path.fs), "info", fails)
    with pytest.raises(DownloadError, match=f"record.json could not be read: {failure}"):
        storage.fetch_existing(path, tmp_path / "copy")


def test_a_folder_is_missing_only_where_that_is_certain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = storage.open_folder(str(tmp_path / "pictures"))
    assert storage.is_missing(folder) is True
    assert storage.is_missing(storage.open_folder(str(tmp_path))) is False

    def silent(*_: object) -> bool:
        raise OSError("no answer")

    monkeypatch.setattr(type(folder.fs), "info", silent)
    assert storage.is_missing(folder) is False


def test_a_scheme_that_nobody_knows_is_refused_when_the_dag_is_read_and_the_rest_left_for_later() -> None:
    with pytest.raises(InvalidRequestError, match=r"s3://.*amazon"):
        storage.require_known_scheme("s3://bucket/{{ ds }}")
    for path in ("file:///data", "/data", "{{ var.value.folder }}", "{{ 's3://x' }}", None):
        storage.require_known_scheme(path)
