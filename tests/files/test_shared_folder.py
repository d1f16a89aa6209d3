from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import DownloadError, UnsafeResultError
from airflow_provider_imagetasks.files import shared_folder
from airflow_provider_imagetasks.files.shared_folder import fetch_shared
from airflow_provider_imagetasks.services.account import Account


def account(output_dir: str | None, **fields: Any) -> Account:
    usual = {"conn_id": "mine", "service": "gpt_image_mcp", "base_url": "http://mcp.example"}
    return Account(**{**usual, "output_dir": output_dir, **fields})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shared folder, with one picture in it and below it."""
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    for picture in (folder / "a.png", folder / "deep" / "a.png"):
        picture.write_bytes(b"a picture")
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


THEIRS = "/srv/images"
HOME = "/home/bob/Downloads/images"
FOUND: dict[str, tuple[str, str, dict[str, str]]] = {
    "in the folder": ("{folder}/a.png", "{folder}", {}),
    "below it": ("{folder}/deep/a.png", "{folder}", {}),
    "by a link inside of it": ("{folder}/link.png", "{folder}", {}),
    "the folder has another name": (f"{THEIRS}/a.png", THEIRS, {THEIRS: "{folder}"}),
    "one above has": (f"{THEIRS}/a.png", THEIRS, {"/srv": "{folder}/.."}),
    "the longest wins": (f"{THEIRS}/a.png", THEIRS, {"/srv": "/nowhere", THEIRS: "{folder}"}),
    "the home is hidden": ("~/Downloads/images/a.png", HOME, {HOME: "{folder}"}),
    "a folder above is": ("~/images/a.png", HOME, {HOME: "{folder}"}),
    "the folder is": ("~/a.png", HOME, {HOME: "{folder}"}),
}


@pytest.mark.parametrize(("path", "output_dir", "path_map"), FOUND.values(), ids=FOUND)
def test_a_file_of_the_folder_is_copied_whatever_the_server_calls_it(
    folder: Path, target: Path, path: str, output_dir: str, path_map: dict[str, str]
) -> None:
    (folder / "link.png").symlink_to(folder / "a.png")
    pairs = tuple((theirs, ours.format(folder=folder)) for theirs, ours in path_map.items())

    fetch_shared(path.format(folder=folder), target, account(output_dir.format(folder=folder), path_map=pairs))

    assert target.read_bytes() == b"a picture"


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "~/../../etc/passwd", "relative.png", "{folder}", "{folder}/", "{folder}2/a.png"),
        *("{folder}/../secret", "{folder}/deep/../../secret", "{folder}/link", "{folder}/linked/secret"),
        "{folder}/deep",
    ],
)
def test_what_lies_elsewhere_is_not_read(folder: Path, target: Path, path: str) -> None:
    (folder.parent / "secret").write_text("not for you")
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "linked").symlink_to(folder.parent)

    with pytest.raises(UnsafeResultError) as raised:
        fetch_shared(path.format(folder=folder), target, account(str(folder)))
    assert raised.value.retryable is False
    assert not target.exists()


@pytest.mark.parametrize("levels", [0, 1])
def test_a_link_that_is_put_there_after_the_check_is_not_followed(
    folder: Path, target: Path, levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(os.path.realpath(folder / "deep" / "a.png"))
    private = folder.parent / "private"
    private.mkdir()
    (private / "a.png").write_text("not for you")
    resolve = os.path.realpath

    def realpath(place: Any, **options: Any) -> str:
        """Be overtaken by whoever may write into the folder."""
        found = resolve(place, **options)
        if found == str(path):
            shutil.rmtree(path.parent)
            if levels == 0:
                path.parent.mkdir()
            (path, path.parent)[levels].symlink_to(private / "a.png" if levels == 0 else private)
        return found

    monkeypatch.setattr(os.path, "realpath", realpath)

    with pytest.raises(UnsafeResultError, match="became a link"):
        fetch_shared(str(path), target, account(str(folder)))
    assert not target.exists()


@pytest.mark.parametrize("grows", [False, True], ids=["from the start", "while it is read"])
def test_a_file_that_is_too_large_is_not_copied_whole(
    folder: Path, target: Path, grows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_folder, "LARGEST_BYTES", 8)
    if grows:
        mode = (folder / "a.png").stat().st_mode
        monkeypatch.setattr(os, "fstat", lambda _descriptor: SimpleNamespace(st_size=8, st_mode=mode))

    with pytest.raises(UnsafeResultError, match="more than 8 bytes"):
        fetch_shared(f"{folder}/a.png", target, account(str(folder)))


def test_a_path_that_leads_in_a_circle_is_refused(folder: Path, target: Path) -> None:
    (folder / "circle.png").symlink_to(folder / "circle.png")

    with pytest.raises(UnsafeResultError, match="is a circular link"):
        fetch_shared(f"{folder}/circle.png", target, account(str(folder)))


def test_what_cannot_be_read_says_why_and_whether_a_retry_helps(folder: Path, target: Path) -> None:
    not_mounted = "not available here: there is no folder /no/such/mount.*Mount that folder on every worker"
    elsewhere = account(THEIRS, path_map=(("/srv", "/no/such/mount"),))
    for path, of, said, retryable in (
        (f"{folder}/c.png", account(str(folder)), "no such file", True),
        (f"{THEIRS}/a.png", elsewhere, not_mounted, True),
        (f"{THEIRS}/a.png", account(None), "output_dir", False),
    ):
        with pytest.raises(DownloadError, match=said) as raised:
            fetch_shared(path, target, of)
        assert (raised.value.retryable, raised.value.billed) == (retryable, "yes")
