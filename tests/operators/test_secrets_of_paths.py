"""What lets somebody in stands in no error about a path or a field of the connection, which are users' own texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.io.store import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.submissions.stores import FileStore
from tests.operators.what_is_kept import IN_URL, KEY, SIGNATURE, kept, leaks, runner_for
from tests.task_runner import Outcome, TaskRunner

USER = "AKIDEXAMPLE"
PASSWORD = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
QUERY = f"X-Amz-Signature={IN_URL}"
WEB = [
    f"https://bucket.example/in?{QUERY}",
    f"HTTPS://bucket.example/in?{QUERY}",
    f"https://{USER}:{PASSWORD}@bucket.example/in",
]
STORES = [
    f"s3://{USER}:{PASSWORD}@bucket/in",
    f"s3://{USER}:{PASSWORD}@bucket/in?{QUERY}",
    f"gs://bucket/in?{QUERY}#{SIGNATURE}",
    f"s3://{USER}:pass word{PASSWORD}@bucket/in",
    f"s3://{USER}:{PASSWORD}'@bucket/in",
    f"nowhere://{USER}:{PASSWORD}@bucket/in?{QUERY}",
    f"s3+x://{USER}:{PASSWORD}@bucket/in?{QUERY}",
    f"ftp://{USER}:{PASSWORD}@host.example/in",
]
ON_THIS_DISK = [
    f"file://{USER}:{PASSWORD}@host.example/in?{QUERY}",
    f"file:///nowhere/in::s3://{USER}:{PASSWORD}@bucket/in",
    f"relative/in?{QUERY}",
]
MALFORMED = [f"https://{USER}\u2100:{PASSWORD}@bucket.example/in", f"https://{USER}:{PASSWORD}[@bucket.example/in"]
"""What Python itself cannot read, and repeats in its error."""
NOT_THERE = [f"file:///nowhere/in?{QUERY}", f"/nowhere/in?{QUERY}", f"memory://bucket/in?{QUERY}"]
NO_FOLDERS = [*WEB, *STORES, *ON_THIS_DISK, *MALFORMED]


def secrets_in(text: str) -> list[str]:
    return [*leaks(text), *(each for each in (USER, PASSWORD, PASSWORD.partition("/")[2]) if each in text)]


def refused(outcome: Outcome, runner: TaskRunner, capsys: pytest.CaptureFixture[str], *said: str) -> None:
    assert outcome.state in ("failed", "up_for_retry")
    assert isinstance(outcome.error, InvalidRequestError), outcome.error
    assert all(words in str(outcome.error) for words in said)
    assert secrets_in(kept(runner, outcome, capsys)) == []


@pytest.fixture(autouse=True)
def memory() -> None:
    attach(protocol="memory", fs=MemoryFileSystem())


@pytest.mark.parametrize("place", [*NO_FOLDERS, *NOT_THERE])
def test_the_file_of_a_batch_s_requests_is_named_without_them(
    place: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    runner = runner_for("acedatacloud", "http://127.0.0.1:1")
    given = {"requests_path": place, "output_path": f"file://{tmp_path}/out"}

    outcome = runner.run(lambda: ImageBatchOperator(task_id="batch", **given))

    refused(outcome, runner, capsys, "requests_path", "It was not billed.")
    assert "output_path" not in str(outcome.error)


TASKS = {
    "download": lambda place: ImageTaskDownloadOperator(task_id="save", image_task_id="a", output_path=place),
    "batch": lambda place: ImageBatchOperator(task_id="batch", prompts=["a kite"], output_path=place),
}
by_task = pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)


@by_task
@pytest.mark.parametrize("place", NO_FOLDERS)
def test_the_folder_of_pictures_is_named_without_them(
    make: Callable[[str], Any], place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = runner_for("acedatacloud", "http://127.0.0.1:1")
    # What is rendered is not judged when the Dag is read.
    outcome = runner.run(lambda: make("{{ '' }}" + place))

    refused(outcome, runner, capsys, "output_path")


@by_task
@pytest.mark.parametrize("place", [*WEB, *MALFORMED, *(each for each in STORES if not each.startswith(("s3:", "gs:")))])
def test_a_dag_that_cannot_be_read_names_it_without_them(make: Callable[[str], Any], place: str) -> None:
    with pytest.raises(InvalidRequestError, match="output_path") as raised:
        make(place)
    assert secrets_in(str(raised.value)) == []


@pytest.mark.parametrize("place", NO_FOLDERS)
def test_the_folder_of_the_ledger_is_named_without_them(place: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"\[imagetasks\] ledger_path") as raised:
        FileStore(place, ("a",))
    assert secrets_in(str(raised.value)) == []


@pytest.mark.parametrize(
    ("argument", "place"),
    [
        *(("images", place) for place in (*STORES, *ON_THIS_DISK, *MALFORMED, *NOT_THERE)),
        *(("mask", place) for place in (*WEB, *STORES, *ON_THIS_DISK, *MALFORMED, *NOT_THERE)),
    ],
)
def test_the_pictures_of_an_edit_are_named_without_them(
    argument: str, place: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    runner = runner_for("acedatacloud", "http://127.0.0.1:1")
    given = {"images": [place]} if argument == "images" else {"images": ["https://x.example/a.png"], "mask": place}

    outcome = runner.run(lambda: ImageTaskSubmitOperator(task_id="submit", prompt="winter", **given))

    refused(outcome, runner, capsys, argument, "It was not billed.")


def test_what_led_to_an_error_is_not_shown_where_a_library_repeats_the_address(
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def info(_self: Any, path: str) -> dict[str, Any]:
        try:
            raise KeyError(f"https://store.example/{path}?{QUERY}")
        except KeyError as error:
            raise RuntimeError("no") from error

    monkeypatch.setattr(MemoryFileSystem, "info", info)
    runner = runner_for("acedatacloud", "http://127.0.0.1:1")
    given = {"requests_path": "memory://bucket/rows.jsonl", "output_path": f"file://{tmp_path}/out"}

    outcome = runner.run(lambda: ImageBatchOperator(task_id="batch", **given))

    assert outcome.error is not None
    assert secrets_in(kept(runner, outcome, capsys) + caplog.text) == []
    assert "bucket/rows.jsonl?***" in caplog.text


@pytest.mark.parametrize("service", ["acedatacloud", "gpt_image_mcp"])
@pytest.mark.parametrize(
    "extra",
    [{"service": KEY}, {"verify": KEY}, {"verify": KEY * 100}, {"download_hosts": KEY}, {"download_hosts": [KEY]}],
    ids=lambda extra: str(list(extra))[2:-2],
)
def test_a_key_in_the_wrong_field_of_the_connection_is_not_shown(
    service: str, extra: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    runner = runner_for(service, "http://127.0.0.1:1/mcp", output_dir="/tmp")
    runner.connections["imagetasks_default"]["extra"] |= extra

    outcome = runner.run(lambda: ImageTaskSubmitOperator(task_id="submit", prompt="winter"))

    refused(outcome, runner, capsys, next(iter(extra)))


def test_a_key_where_a_program_is_to_be_named_is_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__ALLOW_STDIO_COMMANDS", "True")
    runner = runner_for("gpt_image_mcp", "http://127.0.0.1:1/mcp", command=KEY, output_dir="/tmp")

    outcome = runner.run(lambda: ImageTaskSubmitOperator(task_id="submit", prompt="winter"))

    assert outcome.state == "failed"
    assert secrets_in(kept(runner, outcome, capsys)) == []


@pytest.mark.parametrize("url", ["https:/x.example/hook", "ftp://x.example", "https://", "https://x.example:99999/"])
@pytest.mark.parametrize("where", ["the argument", "the connection"])
def test_a_callback_url_that_nobody_can_post_to_is_refused_before_anything_is_billed(
    url: str, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = f"{url}?{QUERY}"
    runner = runner_for("acedatacloud", "http://127.0.0.1:1", **({"callback_url": told} if "conn" in where else {}))
    given = {"callback_url": told} if "arg" in where else {}

    outcome = runner.run(lambda: ImageTaskSubmitOperator(task_id="submit", prompt="winter", **given))

    refused(outcome, runner, capsys, "callback_url", "It was not billed.")
