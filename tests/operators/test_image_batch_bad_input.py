"""Bad input of a batch, one by one: refused before anything is billed, or one failed row where that is allowed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_imagetasks.batch.folder import BatchFolder
from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from airflow_provider_imagetasks.submissions.identity import batch_identity
from tests.task_runner import DAG_ID, RUN_ID, Outcome, TaskRunner

Start = Callable[..., Outcome]


@pytest.fixture
def service_name() -> str:
    """The dialect of one service; what is tested here does not depend on it."""
    return "acedatacloud"


@pytest.fixture
def start(runner: TaskRunner, output_folder: str) -> Start:
    def run(*, try_number: int = 1, max_tries: int = 2, **arguments: Any) -> Outcome:
        arguments = {"output_path": output_folder, "deferrable": False, "options": {"size": "256x256"}, **arguments}
        return runner.run(
            lambda: ImageBatchOperator(task_id="batch", **arguments), try_number=try_number, max_tries=max_tries
        )

    return run


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[..., str]:
    """Write a file of requests and return its path."""

    def write(*lines: bytes | str | dict[str, Any]) -> str:
        path = tmp_path / "rows" / "requests.jsonl"
        path.parent.mkdir(exist_ok=True)
        encoded = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
        path.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in encoded))
        return f"file://{path}"

    return write


def refused(outcome: Outcome, image_service: LocalImageService, *words: str) -> None:
    assert outcome.state == "failed"
    assert isinstance(outcome.error, InvalidRequestError), outcome.error
    assert outcome.error.billed == "no"
    for word in words:
        assert word in str(outcome.error)
    assert image_service.stats()["dialects"]["acedatacloud"]["submissions"] == 0


def rows_of_manifest(runner: TaskRunner) -> list[dict[str, Any]]:
    path = Path(urlsplit(runner.xcoms[("batch", "return_value")]["manifest"]).path)
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("rows", [[], ()])
def test_an_empty_batch(start: Start, image_service: LocalImageService, rows: Any) -> None:
    refused(start(prompts=rows), image_service, "empty")


def test_an_empty_file(start: Start, image_service: LocalImageService, file_of: Callable[..., str]) -> None:
    refused(start(requests_path=file_of("", "  ")), image_service, "empty")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        pytest.param(b'["a kite"]', "not an object", id="not an object"),
        pytest.param(b'{"prompt": "a kite"', "not JSON", id="not JSON"),
        pytest.param(b'{"prompt": "\xff\xfe"}', "not UTF-8", id="not UTF-8"),
        pytest.param(b"{}", "prompt", id="no prompt"),
        pytest.param(b'{"prompt": "a", "promt": "b"}', "promt", id="an option of ours that does not exist"),
        pytest.param(b'{"prompt": "a", "callback_url": "https://x.example"}', "callback_url", id="a callback URL"),
        pytest.param(b'{"prompt": "a", "conn_id": "other"}', "conn_id", id="a connection"),
        pytest.param(b'{"prompt": "a", "host": "https://x.example"}', "host", id="a host"),
        pytest.param(b'{"prompt": "a", "options": {"callback_url": "x"}}', "callback_url", id="a callback in options"),
        pytest.param(b'{"prompt": "a", "images": ["file:///etc/passwd"]}', "below", id="a file elsewhere"),
        pytest.param(b'{"prompt": "a", "images": ["/etc/passwd"]}', "below", id="the same without a scheme"),
        pytest.param(b'{"prompt": "a", "images": ["s3://conn@bucket/x"]}', "connection", id="a connection in a path"),
        pytest.param(b'{"prompt": "a", "images": ["simplecache::file:///etc/passwd"]}', "may be", id="chained schemes"),
        pytest.param(b'{"prompt": "a", "id": ["x"]}', "id is", id="an id that is no text"),
    ],
)
def test_a_bad_line_is_named_by_its_number_and_nothing_is_submitted(
    runner: TaskRunner,
    start: Start,
    image_service: LocalImageService,
    file_of: Callable[..., str],
    line: bytes,
    word: str,
) -> None:
    path = file_of({"prompt": "a kite"}, line, {"prompt": "a boat"})

    refused(start(requests_path=path), image_service, "line 2", word)
    assert runner.xcoms[("batch", "image_task_error")]["class"] == "InvalidRequestError"

    assert start(requests_path=path, max_failed=1, try_number=2, max_tries=3).state == "success"
    rows = rows_of_manifest(runner)
    assert [row["status"] for row in rows] == ["succeeded", "failed", "succeeded"]
    assert "ine 2" in rows[1]["error"]["message"]
    assert rows[1]["error"]["billed"] == "no"


def test_a_link_does_not_lead_out_of_the_folder(
    start: Start, image_service: LocalImageService, file_of: Callable[..., str], tmp_path: Path
) -> None:
    link = tmp_path / "rows" / "link.png"
    path = file_of({"prompt": "a", "images": [str(link)]})
    link.symlink_to("/etc/passwd")

    refused(start(requests_path=path), image_service, "below")


def test_there_is_no_such_file(start: Start, image_service: LocalImageService, tmp_path: Path) -> None:
    refused(start(requests_path=f"file://{tmp_path}/none.jsonl"), image_service, "no such file")


def test_a_changed_file_is_noticed_and_what_was_frozen_is_used(
    runner: TaskRunner,
    start: Start,
    image_service: LocalImageService,
    file_of: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = {"requests_path": file_of({"prompt": "a kite"}, {"prompt": "a boat [refuse]"})}
    start(**first)
    file_of({"prompt": "a tree"})
    capsys.readouterr()
    start(**first, try_number=2)

    assert "something else than at the first start" in capsys.readouterr().out
    assert [entry["prompt"] for entry in image_service.stats()["created"]] == ["a kite"]


def test_the_same_request_twice_is_paid_twice_and_said(
    runner: TaskRunner, start: Start, image_service: LocalImageService, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(prompts=["a kite", "a boat", "a kite"]).state == "success"

    assert image_service.stats()["dialects"]["acedatacloud"]["created"] == 3
    assert "1 rows ask for the same" in capsys.readouterr().out
    ids = [row["image_task_id"] for row in rows_of_manifest(runner)]
    assert len(set(ids)) == 3


def test_a_folder_of_another_task(start: Start, image_service: LocalImageService, output_folder: str) -> None:
    mine = BatchFolder(output_folder, batch_identity(dag_id=DAG_ID, task_id="batch", run_id=RUN_ID, map_index=-1))
    owner = {"schema": 1, "dag_id": "another", "task_id": "t", "run_id": "r", "map_index": -1, "mark": "m"}
    mine.write("batch.json", json.dumps({**owner, "created_at": 0}).encode())

    refused(start(prompts=["a kite"]), image_service, "belongs to another batch", "Dag another")


def test_a_folder_of_another_deployment(
    runner: TaskRunner, start: Start, image_service: LocalImageService, output_folder: str
) -> None:
    start(prompts=["a kite"])
    if not runner.states:
        pytest.skip("this Airflow keeps no state of tasks, by which deployments could be told apart")
    runner.states.clear()
    image_service.reset()

    refused(start(prompts=["a kite"]), image_service, "another deployment")


@pytest.mark.parametrize("max_failed", [-1, 1.5, "some"])
def test_a_budget_that_makes_no_sense(start: Start, image_service: LocalImageService, max_failed: Any) -> None:
    refused(start(prompts=["a kite"], max_failed=max_failed), image_service, "max_failed")


@pytest.mark.parametrize(
    ("limit", "word"),
    [
        ({"max_active_tasks": 0}, "max_active_tasks"),
        ({"submit_rate": "0/10s"}, "submit_rate"),
        ({"submit_rate": "10/0s"}, "submit_rate"),
        ({"max_cost": 0}, "max_cost"),
        ({"poll_interval": 0}, "poll_interval"),
    ],
)
def test_limits_of_zero(start: Start, image_service: LocalImageService, limit: dict[str, Any], word: str) -> None:
    refused(start(prompts=["a kite"], **limit), image_service, word)


@pytest.mark.parametrize("argument", [{"row_attempts": 0}, {"timeout": 0}, {"on_unknown_outcome": "perhaps"}])
def test_arguments_that_are_wrong_when_the_dag_is_read(output_folder: str, argument: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(argument))):
        ImageBatchOperator(task_id="b", prompts="a", output_path=output_folder, **argument)


def test_a_price_that_nobody_published(start: Start, image_service: LocalImageService) -> None:
    refused(start(prompts=["a"], max_cost=5), image_service, "gpt-image-2", "prices=")


@pytest.mark.parametrize("filename", ["{id}.{ext}", "same.{ext}", "{index}.{ext}"])
def test_names_that_collide(start: Start, image_service: LocalImageService, filename: str) -> None:
    rows = [{"prompt": "a", "id": "x"}, {"prompt": "b", "id": "x"}]

    assert isinstance(start(requests=rows, filename=filename).error, InvalidRequestError)
    assert image_service.stats()["dialects"]["acedatacloud"]["submissions"] == 0


def test_a_row_that_the_service_cannot_do(start: Start, image_service: LocalImageService) -> None:
    rows = [{"prompt": "a", "images": [f"https://x.example/{number}.png" for number in range(17)]}]

    refused(start(requests=rows), image_service, "at most 16")


def test_rows_that_are_no_rows(start: Start, image_service: LocalImageService) -> None:
    refused(start(prompts=[5]), image_service, "row 0")
