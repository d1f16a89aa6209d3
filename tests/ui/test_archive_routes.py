"""Pictures are carried away as a zip file, a batch's manifest as it lies: whole, bounded, and only what may be seen."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from airflow_provider_imagetasks.ui import archive_routes, plugin_application
from airflow_provider_imagetasks.ui.permissions import MayReadDag, User
from airflow_provider_imagetasks.ui.picture_routes import PictureLinks
from tests.ui.conftest import RUN_ID, MetadataDatabase, own_folder

LINKS = PictureLinks("the secret key of Airflow")
MANIFEST = f"/api/dags/kites/runs/{RUN_ID}/tasks/make/-1/manifest"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "other").mkdir(parents=True)
    for name in ("a.png", "b.png", "other/a.png"):
        Image.effect_noise((64, 64), 90).save(folder / name)
    (folder / "page.png").write_text("<script>")
    return folder


@pytest.fixture
def client(root: Path, database: MetadataDatabase, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The routes for somebody who may read only the Dag ``kites``."""
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__GALLERY_ROOTS", f"file://{root}, boats=file:///nowhere")
    monkeypatch.setenv("AIRFLOW__API__SECRET_KEY", "the secret key of Airflow")
    monkeypatch.setattr(plugin_application.records, "reading", lambda: nullcontext(database.session))
    monkeypatch.setattr(archive_routes, "readable_dags", lambda dag_ids, _user: {"kites"} & set(dag_ids))
    application = plugin_application.create_application()
    for dependency in (MayReadDag, User):
        application.dependency_overrides[dependency.__metadata__[0].dependency] = lambda: None
    return TestClient(application)


def link(root: Path, name: str, dag_id: str = "kites") -> str:
    return f"dags/{dag_id}/pictures/{LINKS.token(dag_id, f'file://{root}/{name}', 'hash')}"


def test_pictures_come_as_one_zip_file_each_under_a_name_of_its_own(client: TestClient, root: Path) -> None:
    names = ["a.png", "b.png", "other/a.png", "a.png"]

    answer = client.post("/api/archive", data={"pictures": [link(root, name) for name in names]})

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/zip")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="pictures.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.png", "b.png", "a-2.png"]
        assert archive.read("a-2.png") == (root / "other/a.png").read_bytes()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.png", "A.png"], ["a.png", "A-2.png"]),
        (["a-2.png", "a.png", "other/a.png"], ["a-2.png", "a.png", "a-3.png"]),
        (["CON.png", "nul"], ["_CON.png", "_nul"]),
        (["...", "....png", "\U0001f408.png", "\u2603.png"], ["picture", "png", "_.png", "_-2.png"]),
        (["\u732b.png", "e\u0301.png", "\xc9.png"], ["\u732b.png", "\xe9.png", "\xc9-2.png"]),
        (
            ["\u0939\u093f\u0902\u0926\u0940 1.png", "\u732b" * 80 + ".png"],
            ["\u0939\u093f\u0902\u0926\u0940_1.png", "\u732b" * 52 + ".png"],
        ),
        (["not-in-this-archive.txt", "gone.png"], ["not-in-this-archive-2.txt", "not-in-this-archive.txt"]),
    ],
)
def test_any_system_can_unpack_an_archive(
    client: TestClient, root: Path, names: list[str], expected: list[str]
) -> None:
    for name in names:
        if name != "gone.png":
            (root / name).write_bytes((root / "b.png").read_bytes())

    answer = client.post("/api/archive", data={"pictures": [link(root, name) for name in names]})

    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == expected


def test_what_cannot_be_read_is_named_in_the_archive(
    client: TestClient, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_routes, "MOST_BYTES", (root / "a.png").stat().st_size + 10)
    names = ("gone.png", "page.png", "a.png", "b.png")

    answer = client.post("/api/archive", data={"pictures": [link(root, name) for name in names]})

    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["a.png", "not-in-this-archive.txt"]
        told = archive.read("not-in-this-archive.txt").decode().splitlines()
    assert [line.partition(":")[0] for line in told] == ["gone.png", "page.png", "b.png"]
    assert told[2].endswith("too large for this archive")


def test_nothing_is_carried_away_that_may_not_be_seen(client: TestClient, root: Path) -> None:
    fine = link(root, "a.png")
    outside = link(root.parent, "outside.png")
    for other in (link(root, "a.png", "boats"), outside, fine.replace("kites", "boats"), f"{fine}x", "", "a/b/c/d"):
        assert client.post("/api/archive", data={"pictures": [fine, other]}).status_code == 404
    assert client.post("/api/archive", data={"pictures": [fine] * 501}).status_code == 422
    assert client.post("/api/archive").status_code == 422


def test_a_manifest_comes_as_it_lies_and_only_the_batch_s_own(
    client: TestClient, root: Path, database: MetadataDatabase
) -> None:
    own_folder(root / "batch", "make")
    lines = "".join(json.dumps({"index": number, "status": "succeeded"}) + "\n" for number in range(3))
    (root / "batch/manifest.jsonl").write_text(lines)
    database.add_run()
    database.push("make", {"folder": f"file://{root}/batch", "total": 3}, "image_batch")

    assert client.get(MANIFEST).status_code == 404
    database.push("make", {"manifest": f"file://{root}/batch/manifest.jsonl"})
    answer = client.get(MANIFEST)

    assert (answer.status_code, answer.text) == (200, lines)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="manifest.jsonl"'
    database.push("thief", {"folder": f"file://{root}/batch", "total": 3}, "image_batch")
    database.push("thief", {"manifest": f"file://{root}/batch/manifest.jsonl"})
    assert client.get(MANIFEST.replace("make", "thief")).status_code == 404
