"""The routes of pictures: a signed link shows one raster picture of one Dag, and nothing else."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response
from PIL import Image

from airflow_provider_imagetasks.ui.permissions import MayReadDag
from airflow_provider_imagetasks.ui.picture_routes import PictureLinks, picture_routes
from airflow_provider_imagetasks.ui.roots import read_roots
from airflow_provider_imagetasks.ui.thumbnails import BusyError, Thumbnails

LINKS = PictureLinks("the secret key of Airflow")
NOT_SERVED = {"page.png": 415, "script.svg": 415, "gone.png": 404, "link.png": 404}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (600, 300)).save(folder / "a kite.png")
    (folder / "page.png").write_text("<!doctype html><script>alert(1)</script>")
    (folder / "script.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    Image.new("RGB", (6, 3)).save(tmp_path / "outside.png")
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    return folder


@pytest.fixture
def client(root: Path) -> TestClient:
    application = FastAPI()
    # Who may read which Dag is the subject of the tests of permissions.
    application.dependency_overrides[MayReadDag.__metadata__[0].dependency] = lambda: None
    application.include_router(picture_routes(read_roots(f"file://{root}"), LINKS, Thumbnails(root.parent / "cache")))
    return TestClient(application)


def get(
    client: TestClient, uri: str, after: str = "", *, dag_id: str = "kites", links: PictureLinks = LINKS
) -> Response:
    return client.get(f"/dags/{dag_id}/pictures/{links.token('kites', uri, 'hash')}{after}")


def test_a_picture_and_its_thumbnail_are_served_so_that_a_browser_runs_nothing(client: TestClient, root: Path) -> None:
    picture, thumbnail = (get(client, f"file://{root}/a kite.png", after) for after in ("", "/thumbnail"))
    download = get(client, f"file://{root}/a kite.png", "?download=true")

    assert picture.content == download.content == (root / "a kite.png").read_bytes()
    assert [each.headers["Content-Type"] for each in (picture, thumbnail)] == ["image/png", "image/webp"]
    for each in (picture, thumbnail, download):
        assert each.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert each.headers["X-Content-Type-Options"] == "nosniff"
        assert each.headers["Cache-Control"] == "private, max-age=3600"
    assert picture.headers["Content-Disposition"] == "inline; filename*=UTF-8''a_kite.png"
    assert download.headers["Content-Disposition"].startswith("attachment; filename*=")
    assert len(download.content) == int(download.headers["Content-Length"])


@pytest.mark.parametrize("after", ["", "/thumbnail"])
@pytest.mark.parametrize("name", NOT_SERVED)
def test_what_is_no_picture_or_not_there_is_not_served(client: TestClient, root: Path, after: str, name: str) -> None:
    answer = get(client, f"file://{root}/{name}", after)

    assert (answer.status_code, answer.headers["Cache-Control"]) == (NOT_SERVED[name], "no-store")
    assert answer.headers["Content-Type"] == "application/json"
    assert "script" not in answer.text


@pytest.mark.parametrize("after", ["", "/thumbnail"])
def test_only_our_own_link_of_the_same_dag_leads_somewhere(client: TestClient, root: Path, after: str) -> None:
    uri = f"file://{root}/a kite.png"

    assert get(client, uri, after, dag_id="other").status_code == 404
    assert get(client, uri, after, links=PictureLinks("another key")).status_code == 404
    for token in ("x", "../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "file:///etc/passwd", "%00"):
        assert client.get(f"/dags/kites/pictures/{token}{after}").status_code == 404
        assert client.get(f"/dags/kites/pictures/{quote(token, safe='')}{after}").status_code == 404
    # A root may have been taken away since the link was signed.
    assert get(client, f"file://{root.parent}/outside.png", after).status_code == 404
    assert get(client, uri, after).status_code == 200


@pytest.mark.parametrize("after", ["", "/thumbnail"])
def test_a_link_of_a_dag_that_the_root_is_not_for_leads_nowhere(root: Path, after: str) -> None:
    application = FastAPI()
    application.dependency_overrides[MayReadDag.__metadata__[0].dependency] = lambda: None
    roots = read_roots(f"boats=file://{root}")
    application.include_router(picture_routes(roots, LINKS, Thumbnails(root.parent / "cache")))

    assert get(TestClient(application), f"file://{root}/a kite.png", after).status_code == 404


def test_a_thumbnail_that_the_browser_has_is_not_sent_again(client: TestClient, root: Path) -> None:
    path = f"/dags/kites/pictures/{LINKS.token('kites', f'file://{root}/a kite.png', 'hash')}/thumbnail"
    etag = client.get(path).headers["ETag"]

    again = client.get(path, headers={"If-None-Match": etag})

    assert (again.status_code, again.content) == (304, b"")


def test_while_too_many_thumbnails_are_made_the_browser_is_asked_to_come_again(
    client: TestClient, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: object) -> Path:
        raise BusyError

    monkeypatch.setattr(Thumbnails, "serve", busy)

    answer = get(client, f"file://{root}/a kite.png", "/thumbnail")

    assert (answer.status_code, answer.headers["Retry-After"], answer.headers["Cache-Control"]) == (
        503,
        "2",
        "no-store",
    )
