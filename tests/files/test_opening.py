"""Files that are opened by a path which was checked: nobody leads elsewhere by a link that is put there meanwhile."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from airflow_provider_imagetasks.files.opening import (
    LinkFoundError,
    NoFileError,
    names_without_links,
    open_file,
    open_without_links,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file two folders below, beside which there is another of its name."""
    for folder in ("own/deep", "private/deep"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.png").write_text(folder)
    return Path(os.path.realpath(tmp_path)) / "own/deep/a.png"


def link(place: Path, target: Path) -> None:
    """Put a link where a file or a folder is."""
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
    place.symlink_to(target)


def test_a_file_is_opened_by_the_path_that_it_really_has(path: Path) -> None:
    with open_without_links(path) as file, open_file(str(path)) as same:
        assert file.read() == same.read() == b"own/deep"


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_no_part_of_a_path_may_be_a_link(path: Path, levels: int) -> None:
    place = [path, *path.parents][levels]
    root = path.parents[2]
    link(place, root / "private" / place.relative_to(root / "own"))
    assert path.read_text() == "private/deep"

    with pytest.raises(LinkFoundError, match="link"):
        open_without_links(path)
    with open_file(str(path)) as file:
        assert file.read() == b"private/deep"


def test_a_link_that_leads_to_itself_is_one(path: Path) -> None:
    link(path, path)

    with pytest.raises(LinkFoundError):
        open_without_links(path)


def test_what_is_no_file_is_not_waited_for(path: Path) -> None:
    os.mkfifo(path.parent / "pipe")
    for place in (path.parent / "pipe", path.parent):
        with pytest.raises(NoFileError):
            open_without_links(place)
        with pytest.raises(NoFileError):
            open_file(str(place))
    with pytest.raises(NotADirectoryError):
        open_without_links(path / "b.png")
    with pytest.raises(FileNotFoundError):
        open_without_links(path.parent / "b.png")


def test_nothing_stays_open(path: Path) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    for place in (path, path.parent, path / "b.png", path.parent / "b.png"):
        try:
            open_without_links(place).close()
        except OSError:
            continue

    assert len(list(Path("/dev/fd").iterdir())) == before


def test_the_names_in_a_folder_are_those_of_the_folder_that_was_checked(path: Path) -> None:
    (path.parent / "b.png").touch()

    assert names_without_links(path.parent, 100) == ["a.png", "b.png"]
    assert len(names_without_links(path.parent, 1)) == 1
    assert "tmp" in names_without_links(Path("/"), 10_000)


@pytest.mark.parametrize("levels", [0, 1])
def test_no_part_of_a_folder_that_is_listed_may_be_a_link(path: Path, levels: int) -> None:
    place = [path.parent, *path.parent.parents][levels]
    root = path.parents[2]
    link(place, root / "private" / place.relative_to(root / "own"))

    with pytest.raises(LinkFoundError, match="link"):
        names_without_links(path.parent, 100)
