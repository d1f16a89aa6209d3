"""The plugin's application: a setting that cannot be used turns its part off and says so, and Airflow starts."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from airflow_provider_imagetasks.submissions.callback_urls import CallbackPlace, sign
from airflow_provider_imagetasks.ui import plugin_application
from airflow_provider_imagetasks.ui.permissions import MayReadDag
from airflow_provider_imagetasks.ui.plugin_application import create_application
from tests.ui.conftest import RUN_ID, MetadataDatabase, own_folder

ODD = ("a \ud800kite", "\0\udfff\u202e")


def get_callback(secret: str) -> int:
    place = CallbackPlace(conn_id="kie", dag_id="kites", run_id="a_run", task_id="submit", map_index=-1)
    return TestClient(create_application()).get(f"/callback/{sign(place, secret)}").status_code


def test_a_page_is_shown_whatever_texts_its_cards_hold(
    monkeypatch: pytest.MonkeyPatch, database: MetadataDatabase, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__GALLERY_ROOTS", f"file://{tmp_path}")
    monkeypatch.setattr(plugin_application.records, "reading", lambda: nullcontext(database.session))
    rows = [{"index": n, "id": f"a{each}", "prompt": each, "usage": {each: 1}} for n, each in enumerate(ODD)]
    files = [{"uri": f"file://{tmp_path}/{each}", "media_type": each, "sha256": each} for each in ODD]
    lines = [json.dumps({**row, "status": "succeeded", "image_task_id": row["id"], "files": files}) for row in rows]
    own_folder(tmp_path, "make")
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    database.add_run()
    database.add_task("make")
    database.push("make", {"folder": f"file://{tmp_path}", "total": 2, "model": ODD[0]}, "image_batch")
    database.push("make", {"manifest": f"file://{tmp_path}/manifest.jsonl", "total": 2})
    database.push("submit", {"id": ODD[0], "service": "kie", "prompt": ODD[0]}, "image_task")
    application = create_application()
    # Who may read which Dag is the subject of the tests of permissions.
    application.dependency_overrides[MayReadDag.__metadata__[0].dependency] = lambda: None
    client = TestClient(application)

    run = client.get(f"/api/dags/kites/runs/{RUN_ID}/pictures")
    batch = client.get(f"/api/dags/kites/runs/{RUN_ID}/tasks/make/-1/batch")

    assert (run.status_code, len(run.json()["items"])) == (200, 2)
    assert (batch.status_code, len(batch.json()["items"])) == (200, 2)
    assert "\\ud" not in (run.text + batch.text).lower()


def test_roots_that_cannot_be_read_show_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__GALLERY_ROOTS", "file:///data/pics, pictures")

    create_application()

    assert "The gallery cannot show any pictures: [imagetasks] gallery_roots holds 'pictures'" in caplog.text


@pytest.mark.parametrize(("secret", "status"), [("1234", 404), ("a secret of sufficient length", 405)])
def test_a_callback_secret_that_anybody_could_guess_turns_callbacks_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, secret: str, status: int
) -> None:
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__CALLBACK_BASE_URL", "https://airflow.example.com")
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__CALLBACK_SECRET", secret)

    # The route takes only POST.
    assert get_callback(secret) == status
    why = "Callbacks are off: [imagetasks] callback_secret is shorter than 16 characters"
    assert (why in caplog.text) == (status == 404)
    assert secret not in caplog.text


def test_scripts_are_asked_for_anew_and_nothing_is_said_of_the_application() -> None:
    client = TestClient(create_application())

    script = client.get("/static/gallery.js")

    assert (script.status_code, script.headers["Cache-Control"]) == (200, "no-cache")
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert script.headers["X-Content-Type-Options"] == "nosniff"
    closed = ("docs", "redoc", "openapi.json", "callback/eyJ", "static/..%2fplugin.py")
    assert {client.get(f"/{path}").status_code for path in closed} == {404}
