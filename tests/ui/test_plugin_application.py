"""The plugin's application: a setting that cannot be used turns its part off and says so, and Airflow starts."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from airflow_provider_imagetasks.submissions.callback_urls import CallbackPlace, sign
from airflow_provider_imagetasks.ui.plugin_application import create_application


def get_callback(secret: str) -> int:
    place = CallbackPlace(conn_id="kie", dag_id="kites", run_id="a_run", task_id="submit", map_index=-1)
    return TestClient(create_application()).get(f"/callback/{sign(place, secret)}").status_code


def test_roots_that_cannot_be_read_show_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__GALLERY_ROOTS", "file:///data/pics, pictures")

    create_application()

    assert "The gallery shows no pictures: [imagetasks] gallery_roots holds 'pictures'" in caplog.text


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
