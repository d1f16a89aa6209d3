from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import DownloadError, UnsafeResultError
from airflow_provider_imagetasks.files.shared_folder import fetch_shared
from airflow_provider_imagetasks.services.account import Account


def account(output_dir: str | None, **fields: Any) -> Account:
    usual = {"conn_id": "mine", "service": "gpt_image_mcp", "base_url": "http://mcp.example"}
    return Account(**{**usual, "output_dir": output_dir, **fields})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shared folder, with one picture."""
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.png").write_bytes(b"a picture")
    (folder / "deep" / "b.png").write_bytes(b"another")
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def test_a_file_of_the_folder_is_copied(folder: Path, target: Path) -> None:
    fetch_shared(f"{folder}/deep/b.png", target, account(str(folder)))

    assert target.read_bytes() == b"another"


@pytest.mark.parametrize(
    ("output_dir", "path_map"),
    [
        pytest.param("/srv/images", {"/srv/images": ""}, id="the-folder"),
        pytest.param("/srv/images", {"/srv": "/.."}, id="a-folder-above"),
        pytest.param("/srv/images", {"/srv": "/nowhere", "/srv/images": ""}, id="the-longest-wins"),
    ],
)
def test_the_server_s_folder_may_have_another_name_here(
    folder: Path, target: Path, output_dir: str, path_map: dict[str, str]
) -> None:
    pairs = tuple((theirs, f"{folder}{ours}") for theirs, ours in path_map.items())

    fetch_shared("/srv/images/a.png", target, account(output_dir, path_map=pairs))

    assert target.read_bytes() == b"a picture"


@pytest.mark.parametrize("home", ["/home/bob", "/home/bob/Downloads", "/home/bob/Downloads/images"])
def test_the_home_folder_that_the_server_hides_is_found(folder: Path, target: Path, home: str) -> None:
    output_dir = "/home/bob/Downloads/images"
    shown = f"{output_dir}/a.png".replace(home, "~", 1)

    fetch_shared(shown, target, account(output_dir, path_map=((output_dir, str(folder)),)))

    assert target.read_bytes() == b"a picture"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "~/../../etc/passwd",
        "relative.png",
        "{folder}",
        "{folder}/",
        "{folder}2/a.png",
        "{folder}/../secret",
        "{folder}/deep/../../secret",
        "{folder}/link",
        "{folder}/linked/secret",
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


def test_a_link_inside_of_the_folder_is_fine(folder: Path, target: Path) -> None:
    (folder / "link.png").symlink_to(folder / "a.png")

    fetch_shared(f"{folder}/link.png", target, account(str(folder)))

    assert target.read_bytes() == b"a picture"


def test_a_file_that_is_not_there_is_worth_a_retry(folder: Path, target: Path) -> None:
    with pytest.raises(DownloadError, match="no such file") as raised:
        fetch_shared(f"{folder}/c.png", target, account(str(folder)))

    assert raised.value.retryable
    assert raised.value.billed == "yes"


def test_a_folder_that_is_not_reachable_is_named(target: Path) -> None:
    with pytest.raises(DownloadError, match="not reachable here: there is no folder /no/such/mount") as raised:
        fetch_shared("/srv/images/a.png", target, account("/srv/images", path_map=(("/srv", "/no/such/mount"),)))

    assert raised.value.retryable is True
    assert "Mount that folder on every worker" in raised.value.message


def test_a_connection_without_a_folder_says_what_to_set(target: Path) -> None:
    with pytest.raises(DownloadError, match="output_dir") as raised:
        fetch_shared("/srv/images/a.png", target, account(None))

    assert raised.value.retryable is False
