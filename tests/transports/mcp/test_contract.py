"""The contract of operators, sensor and hook, over MCP with a server in another process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    DownloadError,
    ImageTaskFailedError,
    ImageTaskTimeoutError,
    InvalidRequestError,
    UnknownOutcomeError,
    UnsafeResultError,
)
from dev.local_image_service import LocalImageServiceProcess
from tests.image_dag import ImageDag
from tests.task_runner import Outcome, TaskRunner

ONLY_ACEDATACLOUD = pytest.mark.parametrize("service_name", ["acedatacloud_mcp"], indirect=True)
ONLY_GPT_IMAGE = pytest.mark.parametrize("service_name", ["gpt_image_mcp"], indirect=True)
SMALL = {"size": "64x64"}


@pytest.fixture(scope="module")
def server() -> Iterator[LocalImageServiceProcess]:
    with LocalImageServiceProcess(latency="0.1") as process:
        yield process


@pytest.fixture(params=["acedatacloud_mcp", "gpt_image_mcp"])
def service_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connection(server: LocalImageServiceProcess, service_name: str) -> dict[str, Any]:
    fields = json.loads(server.connection(service_name, request_timeout=3))
    return {name: fields[name] for name in ("host", "password", "extra")}


@pytest.fixture
def dag(runner: TaskRunner, output_folder: str) -> ImageDag:
    return ImageDag(runner, output_folder, options=SMALL)


def created(server: LocalImageServiceProcess, prompt: str) -> list[dict[str, Any]]:
    """Return the image tasks that the server made of a prompt."""
    return [entry for entry in server.stats()["created"] if entry["prompt"] == prompt]


def check_failed(outcome: Outcome, error: type[Exception], *said: str, state: str = "failed") -> None:
    assert (outcome.state, isinstance(outcome.error, error)) == (state, True), outcome
    for words in said:
        assert words in str(outcome.error)


def test_pictures_are_made_waited_for_and_stored(dag: ImageDag) -> None:
    assert dag.submit(options={**SMALL, "n": 2}).state == "success"
    assert dag.wait().state == "success"
    assert dag.save(dag.record).state == "success"

    assert (dag.record["state"], len(dag.record["images"]), dag.record["prompt"]) == ("succeeded", 2, "a red kite")
    paths = [Path(file["uri"].removeprefix("file://")) for file in dag.files]
    assert len(set(paths)) == 2
    for path in paths:
        with Image.open(path) as picture:
            assert picture.size == (64, 64)


def test_a_deferred_wait_ends_with_the_same_record(dag: ImageDag) -> None:
    dag.submit("a kite [latency=1]")

    deferred = dag.wait(deferrable=True)
    assert deferred.state == "deferred"
    assert dag.wait().state == "success"
    record = dag.runner.xcoms.pop(("wait", "return_value"))

    resumed = dag.runner.resume(lambda: dag.sensor(deferrable=True), deferred, {"status": "done"})
    assert resumed.state == "success"
    assert dag.record == record


def test_several_are_waited_for_in_one_sensor(dag: ImageDag) -> None:
    ids = []
    for number in range(3):
        dag.submit(f"kite {number}")
        ids.append(dag.image_task_id)

    assert dag.wait(ids).state == "success"
    assert [record["id"] for record in dag.record] == ids


@pytest.mark.parametrize(
    ("directive", "error"),
    [("fail", ImageTaskFailedError), ("refuse-late=content_policy_violation", ContentPolicyError)],
)
def test_an_image_task_that_failed_or_was_refused_late_fails_the_sensor_without_retries(
    dag: ImageDag, directive: str, error: type[Exception]
) -> None:
    dag.submit(f"a kite [{directive}]")

    check_failed(dag.wait(), error)
    assert dag.runner.xcoms["wait", "image_task_error"]["class"] == error.__name__


@ONLY_ACEDATACLOUD
@pytest.mark.parametrize("directive", ["refuse", "no-credit", "expired-key"])
def test_a_refusal_is_not_billed_and_not_tried_again(
    dag: ImageDag, server: LocalImageServiceProcess, directive: str
) -> None:
    check_failed(dag.submit(f"a kite [{directive}]"), AuthenticationError, "It was not billed")
    assert created(server, f"a kite [{directive}]") == []


@ONLY_GPT_IMAGE
@pytest.mark.parametrize("directive", ["refuse", "no-credit", "429=9"])
def test_what_openai_refuses_fails_the_job(dag: ImageDag, directive: str) -> None:
    assert dag.submit(f"a kite [{directive}]").state == "success"
    check_failed(dag.wait(), ContentPolicyError if directive == "refuse" else ImageTaskFailedError)


@pytest.mark.parametrize("directive", ["cut-after=1", "hang-after=1", "garbage=1", "500-after=1"])
def test_an_answer_that_is_lost_is_an_unknown_outcome_without_a_retry_and_one_picture(
    dag: ImageDag, server: LocalImageServiceProcess, service_name: str, directive: str
) -> None:
    prompt = f"{service_name} [{directive}]"

    check_failed(dag.submit(prompt), UnknownOutcomeError)
    assert len(created(server, prompt)) == 1


def test_what_is_not_finished_in_time_is_a_timeout_that_says_what_goes_on(dag: ImageDag) -> None:
    dag.submit("a kite [never]")

    check_failed(dag.wait(timeout=2), ImageTaskTimeoutError, "It may have been billed")


@ONLY_ACEDATACLOUD
def test_what_the_schema_refuses_names_server_and_tool(dag: ImageDag, server: LocalImageServiceProcess) -> None:
    said = ("openai_generate_image", f"{server.url}/mcp/acedatacloud", "gpt-image-9", "It was not billed")

    check_failed(dag.submit(model="gpt-image-9"), InvalidRequestError, *said)


@ONLY_ACEDATACLOUD
def test_urls_are_edited(dag: ImageDag, server: LocalImageServiceProcess) -> None:
    urls = ["https://x.example/a.png", "https://x.example/b.png"]

    assert dag.submit("an edit by URL", images=urls).state == "success"
    (entry,) = created(server, "an edit by URL")
    assert entry["references"] == urls


@ONLY_GPT_IMAGE
@pytest.mark.parametrize("tool_name", ["edit_image", "transform_image"])
def test_files_are_edited_and_transformed(
    dag: ImageDag, server: LocalImageServiceProcess, tmp_path: Path, tool_name: str
) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    prompt = f"an edit with {tool_name}"

    assert dag.submit(prompt, images=[str(tmp_path / "a.png")], options={"tool_name": tool_name}).state == "success"
    assert dag.wait().state == "success"
    (entry,) = created(server, prompt)
    assert len(entry["references"]) == 1


@ONLY_GPT_IMAGE
def test_a_prompt_with_a_list_of_files_does_not_choose_what_is_read(dag: ImageDag) -> None:
    dag.submit("a kite\n\n📁 Output Files (1):\n  1. /etc/passwd\n")
    dag.wait()

    (image,) = dag.record["images"]
    assert image["path"].endswith(".png")
    assert dag.save().state == "success"


@ONLY_GPT_IMAGE
def test_a_path_outside_the_folder_is_not_read(dag: ImageDag) -> None:
    dag.submit("a kite [latency=0] [result-url=/etc/passwd]")

    check_failed(dag.save(), UnsafeResultError, "outside its output_dir")


@ONLY_GPT_IMAGE
def test_a_folder_that_is_not_mounted_is_named_and_worth_a_retry(dag: ImageDag, connection: dict[str, Any]) -> None:
    dag.submit("a kite [latency=0]")
    extra = dag.runner.connections["imagetasks_default"]["extra"]
    extra["path_map"] = {connection["extra"]["output_dir"]: "/no/such/mount"}

    check_failed(dag.save(), DownloadError, "/no/such/mount", "path_map", state="up_for_retry")


@ONLY_GPT_IMAGE
def test_completed_without_files_says_that_it_was_billed(dag: ImageDag) -> None:
    dag.submit("a kite [no-images]")

    check_failed(dag.wait(), ImageTaskFailedError, "It was billed")
