"""Bad input of a batch, one by one: refused before anything is billed, or one failed row where that is allowed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from airflow_provider_imagetasks.batch.folder import BatchFolder
from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.submissions.identity import batch_identity
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.image_batch import ImageBatch
from tests.task_runner import DAG_ID, RUN_ID, Outcome

FileOf = Callable[..., str]
NO_NUMBERS = (float("nan"), float("inf"), float("-inf"), True, "nan", "inf", [1], {})
EDITS = [{"prompt": "a", "images": [f"https://x.example/{number}.png" for number in range(17)]}]


@pytest.fixture
def service_name() -> str:
    """The dialect of one service; what is tested here does not depend on it."""
    return "acedatacloud"


@pytest.fixture
def file_of(tmp_path: Path) -> FileOf:
    """Write a file of requests and return its path."""

    def write(*lines: bytes) -> str:
        path = tmp_path / "rows" / "requests.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\n".join(lines))
        return f"file://{path}"

    return write


def refused(outcome: Outcome, batch: ImageBatch, *words: str) -> None:
    assert outcome.state == "failed"
    assert isinstance(outcome.error, InvalidRequestError), outcome.error
    assert outcome.error.billed == "no"
    for word in words:
        assert word in str(outcome.error)
    assert batch.counts["submissions"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"prompts": []}, ["empty"], id="no rows"),
        pytest.param({"output_path": "file:///tmp/a::b"}, ["'::'"], id="a folder whose name would be cut"),
        pytest.param({"prompts": ()}, ["empty"], id="none in a tuple"),
        pytest.param({"prompts": [5]}, ["row 0"], id="rows that are no rows"),
        pytest.param({"prompts": None, "requests_path": "file:///no/one.jsonl"}, ["no such file"], id="no file"),
        *(({"max_failed": value}, ["max_failed"]) for value in (-1, 1.5, "some", *NO_NUMBERS)),
        *(({"max_active_tasks": value}, ["max_active_tasks"]) for value in (0, -1, 2.5, "²", "many", *NO_NUMBERS)),
        ({"submit_rate": "0/10s"}, ["submit_rate"]),
        ({"submit_rate": "10/0s"}, ["submit_rate"]),
        *(({"max_cost": value}, ["max_cost"]) for value in (0, -1, "much", "", " ", "{{ '' }}", 10**400, *NO_NUMBERS)),
        *(({"poll_interval": value}, ["poll_interval"]) for value in (0, -1, "60", 10**12, *NO_NUMBERS)),
        ({"options": {"output_format": "svg"}}, ["row 0", "output_format='svg'", "paid for in vain"]),
        pytest.param({"max_cost": 5}, ["gpt-image-2", "prices="], id="a price that nobody published"),
        pytest.param({"prompts": None, "requests": EDITS}, ["at most 16"], id="a row that the service cannot do"),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused_before_anything_is_billed(
    batch: ImageBatch, arguments: dict[str, Any], words: list[str]
) -> None:
    refused(batch.start(**{"prompts": ["a kite"], **arguments}), batch, *words)


@pytest.mark.parametrize("filename", ["{id}.{ext}", "same.{ext}", "{index}.{ext}"])
def test_a_filename_that_gives_two_pictures_one_name_is_refused(batch: ImageBatch, filename: str) -> None:
    refused(batch.start(requests=[{"prompt": "a", "id": "x"}, {"prompt": "b", "id": "x"}], filename=filename), batch)


@pytest.mark.parametrize(
    "argument",
    [
        *({"row_attempts": value} for value in (0, -1, 1.5, "2", 10**6, *NO_NUMBERS)),
        *({"timeout": value} for value in (0, -1, "60", 10**400, timedelta(seconds=-1), *NO_NUMBERS)),
        {"on_unknown_outcome": "perhaps"},
    ],
)
def test_an_argument_that_is_wrong_in_any_run_is_refused_when_the_dag_is_read(
    output_folder: str, argument: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(argument))):
        ImageBatchOperator(task_id="b", prompts="a", output_path=output_folder, **argument)


def test_an_empty_file_is_refused(batch: ImageBatch, file_of: FileOf) -> None:
    refused(batch.start(requests_path=file_of(b"", b"  ")), batch, "empty")


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
        pytest.param(b'{"prompt": "a", "options": {"Web-Hook": "x"}}', "Web-Hook", id="a callback in other words"),
        pytest.param(b'{"prompt": "a", "images": ["http://["]}', "images holds a URL", id="a URL that is none"),
        pytest.param(b'{"prompt": "a", "images": ["file:///etc/passwd"]}', "below", id="a file elsewhere"),
        pytest.param(b'{"prompt": "a", "images": ["/etc/passwd"]}', "below", id="the same without a scheme"),
        pytest.param(b'{"prompt": "a", "images": ["s3://conn@bucket/x"]}', "connection", id="a connection in a path"),
        pytest.param(b'{"prompt": "a", "images": ["simplecache::file:///etc/passwd"]}', "may be", id="chained schemes"),
        *(
            pytest.param(f'{{"prompt": "a", "images": {each}}}'.encode(), "images must be a list", id=f"images: {each}")
            for each in ("false", "0", '""', "{}", '"https://x.example/a.png"')
        ),
        pytest.param(b'{"prompt": "a", "model": false}', "model is", id="a model that is no text"),
        pytest.param(b'{"prompt": "a", "id": ["x"]}', "id is", id="an id that is no text"),
    ],
)
def test_a_bad_line_is_named_by_its_number_and_nothing_is_submitted(
    batch: ImageBatch, file_of: FileOf, line: bytes, word: str
) -> None:
    path = file_of(b'{"prompt": "a kite"}', line, b'{"prompt": "a boat"}')

    refused(batch.start(requests_path=path), batch, "line 2", word)
    assert batch.pushed("image_task_error")["class"] == "InvalidRequestError"

    assert batch.start(requests_path=path, max_failed=1, try_number=2, max_tries=3).state == "success"
    assert batch.statuses == "succeeded failed succeeded"
    error = batch.rows[1]["error"]
    assert ("ine 2" in error["message"], error["billed"]) == (True, "no")


ELSEWHERE = (
    *("{outside}", "file://{outside}", "FILE://{outside}", "{folder}/../private/secret.png", "{folder}/link.png"),
    *("{folder}/linked/secret.png", "{folder}/./linked/../secret.png", "file://{folder}/../private/secret.png"),
    *("file://{outside}::/../../../..{inside}", "{outside}::{inside}", "{inside}::{outside}", "file://{outside}::"),
    *("file://{inside}::file://{outside}", "simplecache::file://{outside}", "zip://a.png::file://{outside}"),
    *("file:{outside}", "file:/{outside}", "file://localhost{outside}", "file://.{outside}", "local://{outside}"),
    *(
        "s3://bucket/a.png::file://{outside}",
        "dir://{outside}",
        "reference://{outside}",
        "~/secret.png",
        "\\\\x{outside}",
    ),
)


@pytest.mark.parametrize("field", ["images", "mask"])
@pytest.mark.parametrize("reference", ELSEWHERE)
def test_a_row_reads_no_file_outside_of_its_folder_however_it_is_written(
    batch: ImageBatch, file_of: FileOf, tmp_path: Path, reference: str, field: str
) -> None:
    folder, outside = tmp_path / "rows", tmp_path / "private" / "secret.png"
    outside.parent.mkdir()
    folder.mkdir()
    for path in (outside, folder / "a.png"):
        Image.new("RGBA", (8, 6)).save(path)
    (folder / "link.png").symlink_to(outside)
    (folder / "linked").symlink_to(outside.parent)
    inside = f"{folder}/a.png"
    written = reference.format(folder=folder, inside=inside, outside=outside)
    row = (
        {"prompt": "a", "images": [inside], "mask": written}
        if field == "mask"
        else {"prompt": "a", "images": [written]}
    )

    refused(batch.start(requests_path=file_of(json.dumps(row).encode())), batch, "images and mask of a row")


def test_a_row_may_name_files_of_its_folder_also_by_links_within_it(
    batch: ImageBatch, file_of: FileOf, tmp_path: Path
) -> None:
    folder = tmp_path / "rows"
    (folder / "pictures").mkdir(parents=True)
    Image.new("RGB", (8, 6)).save(folder / "pictures" / "a b.png")
    (folder / "linked").symlink_to(folder / "pictures")
    (tmp_path / "another name").symlink_to(folder)
    references = [f"{folder}/linked/a b.png", f"file://{tmp_path}/another name/pictures/a b.png"]
    file_of(*(json.dumps({"prompt": "a", "images": [reference]}).encode() for reference in references))

    assert batch.start(requests_path=f"file://{tmp_path}/another name/requests.jsonl").state == "success"
    assert batch.statuses == "succeeded succeeded"


def test_a_changed_file_is_noticed_and_what_was_frozen_is_used(
    batch: ImageBatch, file_of: FileOf, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file_of(b'{"prompt": "a kite"}', b'{"prompt": "a boat [refuse]"}')
    batch.start(requests_path=path)
    file_of(b'{"prompt": "a tree"}')
    capsys.readouterr()
    batch.start(requests_path=path, try_number=2)

    assert "requests_path has changed since the first start" in capsys.readouterr().out
    assert batch.created == ["a kite"]


def test_the_same_request_twice_is_paid_twice_and_said(batch: ImageBatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch.start("a kite", "a boat", "a kite").state == "success"

    assert batch.counts["created"] == 3
    assert "Rows that repeat an earlier row: 1." in capsys.readouterr().out
    assert len({row["image_task_id"] for row in batch.rows}) == 3


def test_a_folder_of_another_task_is_refused(batch: ImageBatch) -> None:
    identity = batch_identity(dag_id=DAG_ID, task_id="batch", run_id=RUN_ID, map_index=-1)
    owner = {"schema": 1, "dag_id": "another", "task_id": "t", "run_id": "r", "map_index": -1, "mark": "m"}
    owner_file = json.dumps({**owner, "created_at": 0}).encode()
    BatchFolder(batch.output_folder, identity).write("batch.json", owner_file)

    refused(batch.start("a kite"), batch, "belongs to another batch", "Dag another")


def test_a_folder_of_another_deployment_is_refused(batch: ImageBatch) -> None:
    batch.start("a kite")
    if not batch.runner.states:
        pytest.skip("this Airflow keeps no state of tasks, by which deployments could be told apart")
    batch.runner.states.clear()
    batch.image_service.reset()

    refused(batch.start("a kite", try_number=1), batch, "another deployment")


def test_a_service_without_batches_of_its_own_is_refused_before_anything_is_billed(batch: ImageBatch) -> None:
    outcome = batch.start("a kite", mode="provider_batch")

    assert "does not offer batches" in str(outcome.error)
    assert batch.created == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"mode": "fast"}, "mode is 'fast'"),
        ({"max_active_tasks": 5}, "max_active_tasks cannot be used"),
        ({"submit_rate": "1/s"}, "submit_rate cannot be used"),
        ({"timeout": 3600}, "24 hours"),
    ],
)
def test_arguments_that_make_no_sense_for_provider_batches_are_refused_where_the_dag_is_read(
    arguments: dict[str, Any], told: str
) -> None:
    given = {"mode": "provider_batch", **arguments}
    with pytest.raises(ValueError, match=told):
        ImageBatchOperator(task_id="batch", prompts="a kite", output_path="/tmp/pictures", **given)


LONG = "x" * 100_000
LONG_VALUES = {
    "an id that is a list": {"id": [LONG]},
    "an id that is an object": {"id": {"url": f"https://x.example/a.png?sig={LONG}"}},
    "an id that is no number": {"id": 1.5},
    "a prompt that is a number": {"prompt": int("9" * 4_000)},
    "a model that is a number": {"model": int("9" * 4_000)},
    "a format": {"options": {"output_format": LONG}},
    "a name": {"options": {f"p{'-' * 100_000}rompt": 1}},
    "a field": {LONG: 1},
}


@pytest.mark.parametrize("fields", LONG_VALUES.values(), ids=LONG_VALUES)
def test_what_a_message_repeats_of_a_row_is_bounded(batch: ImageBatch, fields: dict[str, Any]) -> None:
    outcome = batch.start(prompts=None, requests=[{"prompt": "a kite", **fields}, "a boat"], max_failed=1)

    assert outcome.state == "success"
    assert [row["status"] for row in batch.rows] == ["failed", "succeeded"]
    assert len(batch.rows[0]["error"]["message"]) < 2_200
    assert "sig" not in batch.rows[0]["error"]["message"]


@pytest.mark.parametrize("where", ["complete", "price_of", "image_count_of"])
def test_a_service_that_breaks_at_one_row_breaks_no_other(
    batch: ImageBatch, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = getattr(AceDataCloud, where)

    def stumbles(self: AceDataCloud, request: ImageRequest, *more: Any) -> Any:
        return {}["what the prompt names"] if request.prompt == "a stone" else usual(self, request, *more)

    monkeypatch.setattr(AceDataCloud, where, stumbles)
    outcome = batch.start("a kite", "a stone", "a boat", max_failed=1)

    assert outcome.state == "success"
    assert [row["status"] for row in batch.rows] == ["succeeded", "failed", "succeeded"]
    assert batch.rows[1]["error"] == {
        "class": "InvalidRequestError",
        "code": None,
        "message": "Row 1: it could not be checked (KeyError; the log has the whole error)",
        "billed": "no",
    }
