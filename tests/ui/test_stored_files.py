"""Files on the api-server's own disk: only regular ones, and no link leads out of the root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_imagetasks.ui.roots import locate, read_roots
from airflow_provider_imagetasks.ui.stored_files import OutOfReachError, names_in, opened
from tests.ui.conftest import place


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pics"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    return folder


@pytest.fixture
def picture(root: Path) -> Path:
    (root / "a.png").write_bytes(b"picture")
    (root / "latest.png").symlink_to(root / "a.png")
    (root.parent / "alias").symlink_to(root)
    return root / "a.png"


@pytest.mark.parametrize(("folder", "name"), [("pics", "a.png"), ("pics", "latest.png"), ("alias", "a.png")])
def test_a_file_is_read_with_its_size_also_by_a_link_within_the_root_or_to_it(
    picture: Path, folder: str, name: str
) -> None:
    with opened(place(picture.parents[1] / folder, name)) as (file, size):
        assert (file.read(), size) == (b"picture", 7)


def test_neither_a_link_out_of_the_root_nor_a_pipe_or_a_folder_is_opened(root: Path) -> None:
    (root / "out.png").symlink_to(root.parent / "secret.png")
    (root / "up").symlink_to(root.parent)
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()

    for name in ("out.png", "up/secret.png", "nothing"):
        with pytest.raises(OutOfReachError, match="missing"), opened(place(root, name)):
            pass
    for name in ("pipe", "folder"):
        with pytest.raises(OutOfReachError), opened(place(root, name)):
            pass


def test_another_storage_is_read_through_airflow_s_object_storage() -> None:
    memory = MemoryFileSystem()
    attach(protocol="memory", fs=memory)
    memory.pipe("/bucket/pics/a.png", b"picture")
    memory.pipe("/bucket/pics/b.png", b"other")
    roots = read_roots("memory://bucket/pics")
    location, folder = locate("memory://bucket/pics/a.png", roots), read_roots("memory://bucket/pics")[0]
    assert location is not None

    with opened(location) as (file, size):
        assert (file.read(), size) == (b"picture", 7)
    assert names_in(folder) == ["a.png", "b.png"]


def test_a_folder_that_becomes_a_link_once_it_was_checked_lists_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "deep").mkdir()
    (root.parent / "private").mkdir()
    (root.parent / "private" / "secret.png").touch()
    resolve = Path.resolve

    def swapped(path: Path, *arguments: bool) -> Path:
        found = resolve(path, *arguments)
        if path.name == "deep" and not path.is_symlink():
            path.rmdir()
            path.symlink_to(root.parent / "private")
        return found

    monkeypatch.setattr(Path, "resolve", swapped)

    assert names_in(place(root, "deep")) == []
