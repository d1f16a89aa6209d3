"""A setting that cannot be used turns its part off and says so; it does not keep the api-server from starting."""

from __future__ import annotations

import pytest

from airflow_provider_imagetasks.ui import settings


def test_roots_that_cannot_be_read_show_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__GALLERY_ROOTS", "file:///data/pics, pictures")

    assert settings.gallery_roots() == ()
    assert "The gallery shows no pictures: [imagetasks] gallery_roots holds 'pictures'" in caplog.text


def test_a_callback_secret_that_anybody_could_guess_turns_callbacks_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__CALLBACK_BASE_URL", "https://airflow.example.com")
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__CALLBACK_SECRET", "1234")

    assert settings.secret_of_callbacks() is None
    assert "Callbacks are off: [imagetasks] callback_secret is shorter than 16 characters" in caplog.text
    assert "1234" not in caplog.text


@pytest.mark.parametrize(
    ("base_url", "path"), [("", ""), ("http://host:8080", ""), ("https://host/a/b/", "/a/b"), ("https://host/", "")]
)
def test_the_path_below_which_airflow_lies_is_taken_from_its_address(
    monkeypatch: pytest.MonkeyPatch, base_url: str, path: str
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)

    assert settings.base_path() == path
