"""Results come from outside and are fetched inside a company's network: whatever they are, nothing bad is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_imagetasks.exceptions import DownloadError, UnsafeResultError
from airflow_provider_imagetasks.files import fetching
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator
from airflow_provider_imagetasks.tasks import ImageRequest
from tests import hostile_files
from tests.hostile_files import Answer
from tests.task_runner import Outcome, TaskRunner

pytestmark = pytest.mark.parametrize("service_name", ["acedatacloud", "kie"], indirect=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where pictures are to be stored."""
    return tmp_path / "pictures"


@pytest.fixture
def fetched(
    runner: TaskRunner, connection: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """Submit a prompt, then run the download operator on it; give the prompt again to retry the same image task."""
    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0)
    monkeypatch.setenv("AIRFLOW_CONN_OF_THE_TEST", json.dumps({"conn_type": "imagetasks", **connection}))
    submitted: dict[str, str] = {}

    def run(prompt: str, **fields: Any) -> Outcome:
        runner.connections["imagetasks_default"]["extra"].update(fields)
        if prompt not in submitted:
            submitted[prompt] = ImageTaskHook("of_the_test").submit(ImageRequest(prompt=prompt)).id
        return runner.run(
            lambda: ImageTaskDownloadOperator(
                task_id="save", image_task_id=submitted[prompt], output_path=f"file://{folder}", retries=2
            )
        )

    return run


def stored(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (hostile_files.file(hostile_files.SVG, "image/svg+xml"), "not a picture"),
        (hostile_files.file(hostile_files.HTML, "text/html"), "not a picture"),
        (hostile_files.huge, "announces"),
        (hostile_files.redirect_to_itself, "redirects more than"),
        (hostile_files.redirect("http://169.254.169.254/latest/meta-data/"), "169.254.169.254"),
        (hostile_files.redirect("http://localhost:1/picture.png"), "leads to"),
        (hostile_files.redirect("file:///etc/passwd"), "file: address"),
    ],
    ids=["svg", "page", "huge", "redirect-loop", "redirect-to-metadata", "redirect-to-loopback", "redirect-to-file"],
)
def test_a_file_that_may_never_be_stored_is_refused_for_good(
    image_service: LocalImageService, fetched: Callable[..., Outcome], folder: Path, answer: Answer, said: str
) -> None:
    image_service.answer_downloads(answer)

    refused_for_good(fetched("a kite"), folder, said)


def test_a_small_file_with_a_giant_picture_is_refused_for_good(
    image_service: LocalImageService, fetched: Callable[..., Outcome], folder: Path
) -> None:
    image_service.answer_downloads(hostile_files.file(hostile_files.bomb()))

    refused_for_good(fetched("a kite"), folder, "pixels")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://10.0.0.5/picture.png", "10.0.0.5"),
        ("http://[::1]/picture.png", "::1"),
        ("http://2130706433/picture.png", "2130706433"),
        ("file:///etc/passwd", "file: address"),
        ("ftp://example.com/picture.png", "ftp: address"),
    ],
)
def test_an_address_that_may_never_be_fetched_is_refused_for_good(
    fetched: Callable[..., Outcome], folder: Path, address: str, said: str
) -> None:
    refused_for_good(fetched(f"a kite [result-url={address}]"), folder, said)


def refused_for_good(outcome: Outcome, folder: Path, said: str) -> None:
    assert outcome.state == "failed"
    assert isinstance(outcome.error, UnsafeResultError)
    assert said in str(outcome.error)
    assert stored(folder) == []


@pytest.mark.parametrize("directive", ["[file-truncated={}]", "[file-404={}]", "[file-500={}]"])
def test_what_a_retry_may_mend_is_completed_by_one(
    fetched: Callable[..., Outcome], folder: Path, directive: str
) -> None:
    completed_by_a_retry(fetched, folder, f"a kite {directive.format(fetching.ATTEMPTS)}")


def test_a_page_in_the_disguise_of_a_picture_may_be_mended_by_a_retry(
    image_service: LocalImageService, fetched: Callable[..., Outcome], folder: Path
) -> None:
    disguised = hostile_files.file(hostile_files.PNG_SIGNATURE + hostile_files.HTML)
    image_service.answer_downloads(hostile_files.once(disguised))

    completed_by_a_retry(fetched, folder, "a kite")


def completed_by_a_retry(fetched: Callable[..., Outcome], folder: Path, prompt: str) -> None:
    first = fetched(prompt)
    assert isinstance(first.error, DownloadError)
    assert stored(folder) == []
    assert first.state == "up_for_retry"

    second = fetched(prompt)
    assert second.state == "success"
    assert len(stored(folder)) == 1


def test_a_result_without_end_is_cut_off(
    image_service: LocalImageService,
    fetched: Callable[..., Outcome],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetching, "LARGEST_BYTES", 100_000)
    image_service.answer_downloads(hostile_files.endless)

    outcome = fetched("a kite")

    assert isinstance(outcome.error, UnsafeResultError)
    assert stored(folder) == []


def test_a_redirect_to_a_place_that_is_allowed_is_followed(
    image_service: LocalImageService, fetched: Callable[..., Outcome], folder: Path
) -> None:
    image_service.answer_downloads(hostile_files.redirect_to_the_picture)

    assert fetched("a kite").state == "success"
    assert len(stored(folder)) == 1


def test_the_type_is_told_by_the_content_and_not_by_the_header(
    image_service: LocalImageService, fetched: Callable[..., Outcome], folder: Path
) -> None:
    image_service.answer_downloads(hostile_files.announced_as("text/html"))

    assert fetched("a kite").state == "success"
    assert stored(folder)[0].endswith(".png")


def test_another_local_port_is_fetched_from_only_where_the_connection_allows_it(
    fetched: Callable[..., Outcome], folder: Path
) -> None:
    with LocalImageService(latency=0, record_delay=0) as elsewhere:
        picture = f"{elsewhere.url}/files/not-there/0.png"
        refused = fetched(f"one kite [result-url={picture}]")
        allowed = fetched(f"two kites [result-url={picture}]", allow_private_hosts=True)

    assert isinstance(refused.error, UnsafeResultError)
    assert "allow_private_hosts" in str(refused.error)
    assert "404" in str(allowed.error)


def test_hosts_that_are_not_listed_are_refused(fetched: Callable[..., Outcome], folder: Path) -> None:
    outcome = fetched("a kite [result-url=https://cdn.example.org/picture.png]", download_hosts="cdn.example.com")

    assert isinstance(outcome.error, UnsafeResultError)
    assert "download_hosts" in str(outcome.error)


@pytest.mark.parametrize("held", [1000, fetching.HELD_BYTES], ids=["on-disk", "in-memory"])
def test_a_full_disk_is_an_error_that_a_retry_may_mend(
    fetched: Callable[..., Outcome], folder: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr(fetching, "HELD_BYTES", held)

    with monkeypatch.context() as full:
        if held == 1000:
            full.setattr(fetching, "_write", lambda _target, chunks, _written: write_to_a_full_device(chunks))
        else:
            full.setattr(LocalFileSystem, "pipe_file", lambda _self, _path, value: write_to_a_full_device([value]))
        first = fetched("a kite")
    second = fetched("a kite")

    assert first.state == "up_for_retry"
    assert "No space left" in str(first.error)
    assert second.state == "success"
    assert len(stored(folder)) == 1


def write_to_a_full_device(chunks: list[bytes]) -> None:
    with Path("/dev/full").open("wb") as device:
        device.writelines(chunks)
