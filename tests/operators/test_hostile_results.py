"""Results come from outside and are fetched inside a company's network: whatever they are, nothing bad is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_imagetasks.exceptions import DownloadError, UnsafeResultError
from airflow_provider_imagetasks.files import fetching
from tests import hostile_files
from tests.hostile_files import Answer
from tests.image_dag import ImageDag
from tests.task_runner import Outcome

pytestmark = pytest.mark.parametrize("service_name", ["acedatacloud", "kie"], indirect=True)
Fetched = Callable[..., Outcome]


@pytest.fixture
def fetched(dag: ImageDag) -> Fetched:
    """Submit a prompt, then run the download operator on it; give the prompt again to retry the same image task."""
    submitted: dict[str, str] = {}

    def run(prompt: str = "a kite", **fields: Any) -> Outcome:
        dag.runner.connections["imagetasks_default"]["extra"].update(fields)
        if prompt not in submitted:
            submitted[prompt] = dag.submitted(prompt)
        return dag.save(submitted[prompt], retries=2)

    return run


def refused_for_good(outcome: Outcome, dag: ImageDag, said: str) -> None:
    assert outcome.state == "failed"
    assert isinstance(outcome.error, UnsafeResultError)
    assert said in str(outcome.error)
    assert dag.image_task_id in str(outcome.error)
    assert dag.stored == []


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
    dag: ImageDag, fetched: Fetched, answer: Answer, said: str
) -> None:
    dag.image_service.answer_downloads(answer)

    refused_for_good(fetched(), dag, said)


def test_a_result_without_end_is_cut_off_and_refused_for_good(
    dag: ImageDag, fetched: Fetched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LARGEST_BYTES", 100_000)
    dag.image_service.answer_downloads(hostile_files.endless)

    refused_for_good(fetched(), dag, "100,000")


@pytest.mark.parametrize(
    ("address", "fields", "said"),
    [
        ("http://10.0.0.5/picture.png", {}, "10.0.0.5"),
        ("http://2130706433/picture.png", {}, "2130706433"),
        ("file:///etc/passwd", {}, "file: address"),
        ("https://cdn.example.org/picture.png", {"download_hosts": "cdn.example.com"}, "download_hosts"),
    ],
)
def test_an_address_that_may_never_be_fetched_is_refused_for_good(
    dag: ImageDag, fetched: Fetched, address: str, fields: dict[str, str], said: str
) -> None:
    refused_for_good(fetched(f"a kite [result-url={address}]", **fields), dag, said)


def completed_by_a_retry(dag: ImageDag, fetched: Fetched, prompt: str = "a kite") -> None:
    first = fetched(prompt)
    assert (first.state, dag.stored) == ("up_for_retry", [])
    assert isinstance(first.error, DownloadError)
    assert dag.image_task_id in str(first.error)

    assert fetched(prompt).state == "success"
    assert len(dag.stored) == 1


@pytest.mark.parametrize("directive", ["file-truncated", "file-404", "file-500"])
def test_what_a_retry_may_mend_is_completed_by_one(dag: ImageDag, fetched: Fetched, directive: str) -> None:
    completed_by_a_retry(dag, fetched, f"a kite [{directive}={fetching.ATTEMPTS}]")


def test_a_page_in_the_disguise_of_a_picture_may_be_mended_by_a_retry(dag: ImageDag, fetched: Fetched) -> None:
    disguised = hostile_files.file(hostile_files.PNG_SIGNATURE + hostile_files.HTML)
    dag.image_service.answer_downloads(hostile_files.once(disguised))

    completed_by_a_retry(dag, fetched)


@pytest.mark.parametrize(
    "answer", [hostile_files.redirect_to_the_picture, hostile_files.announced_as("text/html")], ids=["redirect", "type"]
)
def test_a_redirect_that_is_allowed_is_followed_and_the_content_tells_the_type(
    dag: ImageDag, fetched: Fetched, answer: Answer
) -> None:
    dag.image_service.answer_downloads(answer)

    assert fetched().state == "success"
    assert [path.suffix for path in dag.stored] == [".png"]


@pytest.mark.parametrize("held", [1000, fetching.HELD_BYTES], ids=["on-disk", "in-memory"])
def test_a_full_disk_is_an_error_that_a_retry_may_mend(
    dag: ImageDag, fetched: Fetched, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr(fetching, "HELD_BYTES", held)

    with monkeypatch.context() as full:
        if held == 1000:
            full.setattr(fetching, "_write", lambda _target, chunks, _written: write_to_a_full_device(chunks))
        else:
            full.setattr(LocalFileSystem, "pipe_file", lambda _self, _path, value: write_to_a_full_device([value]))
        first = fetched()

    assert first.state == "up_for_retry"
    assert "No space left" in str(first.error)
    assert fetched().state == "success"
    assert len(dag.stored) == 1


def write_to_a_full_device(chunks: list[bytes]) -> None:
    with Path("/dev/full").open("wb") as device:
        device.writelines(chunks)
