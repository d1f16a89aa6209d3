"""The contract of operators, sensor and hook, over MCP with a server in another process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
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
from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator, ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from dev.local_image_service import LocalImageServiceProcess
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
def submit(runner: TaskRunner) -> Callable[..., Outcome]:
    def run(prompt: str = "a red kite", *, try_number: int = 1, **arguments: Any) -> Outcome:
        arguments = {"options": SMALL, **arguments}
        return runner.run(
            lambda: ImageTaskSubmitOperator(task_id="submit", prompt=prompt, retries=2, **arguments),
            try_number=try_number,
        )

    return run


@pytest.fixture
def wait(runner: TaskRunner) -> Callable[..., Outcome]:
    def run(image_task_id: Any, *, timeout: float = 20, deferrable: bool = False) -> Outcome:
        return runner.run(
            lambda: ImageTaskSensor(
                task_id="wait", image_task_id=image_task_id, timeout=timeout, poll_interval=1, deferrable=deferrable
            )
        )

    return run


@pytest.fixture
def save(runner: TaskRunner, output_folder: str) -> Callable[[Any], Outcome]:
    return lambda image_task_id: runner.run(
        lambda: ImageTaskDownloadOperator(task_id="save", image_task_id=image_task_id, output_path=output_folder)
    )


@pytest.fixture
def created(server: LocalImageServiceProcess) -> Callable[[str], int]:
    """Count the image tasks that the server made of a prompt."""

    def count(prompt: str) -> int:
        return [entry["prompt"] for entry in server.stats()["created"]].count(prompt)

    return count


def submitted(runner: TaskRunner) -> str:
    return str(runner.xcoms["submit", "return_value"])


def test_pictures_are_made_waited_for_and_stored(
    runner: TaskRunner,
    submit: Callable[..., Outcome],
    wait: Callable[..., Outcome],
    save: Callable[[Any], Outcome],
) -> None:
    assert submit(options={**SMALL, "n": 2}).state == "success"
    assert wait(submitted(runner)).state == "success"
    record = runner.xcoms["wait", "return_value"]
    assert save(record).state == "success"

    assert (record["state"], len(record["images"]), record["prompt"]) == ("succeeded", 2, "a red kite")
    paths = [Path(file["uri"].removeprefix("file://")) for file in runner.xcoms["save", "return_value"]["files"]]
    assert len(set(paths)) == 2
    for path in paths:
        with Image.open(path) as picture:
            assert picture.size == (64, 64)


def test_a_deferred_wait_ends_with_the_same_record(
    runner: TaskRunner, submit: Callable[..., Outcome], wait: Callable[..., Outcome]
) -> None:
    submit("a kite [latency=1]")
    image_task_id = submitted(runner)

    def sensor() -> ImageTaskSensor:
        return ImageTaskSensor(task_id="wait", image_task_id=image_task_id, deferrable=True)

    deferred = runner.run(sensor)
    assert deferred.state == "deferred"
    assert wait(image_task_id).state == "success"
    record = runner.xcoms.pop(("wait", "return_value"))

    assert runner.resume(sensor, deferred, {"status": "done"}).state == "success"
    assert runner.xcoms["wait", "return_value"] == record


def test_several_are_waited_for_in_one_sensor(
    runner: TaskRunner, submit: Callable[..., Outcome], wait: Callable[..., Outcome]
) -> None:
    ids = []
    for number in range(3):
        submit(f"kite {number}")
        ids.append(submitted(runner))

    assert wait(ids).state == "success"
    assert [record["id"] for record in runner.xcoms["wait", "return_value"]] == ids


def test_a_failed_image_task_fails_the_sensor_without_retries(
    runner: TaskRunner, submit: Callable[..., Outcome], wait: Callable[..., Outcome]
) -> None:
    submit("a kite [fail]")
    outcome = wait(submitted(runner))

    assert (outcome.state, isinstance(outcome.error, ImageTaskFailedError)) == ("failed", True)
    assert runner.xcoms["wait", "image_task_error"]["class"] == "ImageTaskFailedError"


def test_a_late_refusal_for_its_content_is_one(
    runner: TaskRunner, submit: Callable[..., Outcome], wait: Callable[..., Outcome]
) -> None:
    submit("a kite [refuse-late=content_policy_violation]")

    assert isinstance(wait(submitted(runner)).error, ContentPolicyError)


@ONLY_ACEDATACLOUD
@pytest.mark.parametrize("directive", ["refuse", "no-credit", "expired-key"])
def test_a_refusal_is_not_billed_and_not_tried_again(
    submit: Callable[..., Outcome], created: Callable[[str], int], directive: str
) -> None:
    outcome = submit(f"a kite [{directive}]")

    assert (outcome.state, isinstance(outcome.error, AuthenticationError)) == ("failed", True)
    assert "It was not billed" in str(outcome.error)
    assert created(f"a kite [{directive}]") == 0


@ONLY_GPT_IMAGE
@pytest.mark.parametrize("directive", ["refuse", "no-credit", "429=9"])
def test_what_openai_refuses_fails_the_job(
    runner: TaskRunner, submit: Callable[..., Outcome], wait: Callable[..., Outcome], directive: str
) -> None:
    assert submit(f"a kite [{directive}]").state == "success"

    error = wait(submitted(runner)).error
    assert isinstance(error, ContentPolicyError if directive == "refuse" else ImageTaskFailedError)


@pytest.mark.parametrize("directive", ["cut-after=1", "hang-after=1", "garbage=1", "500-after=1"])
def test_an_answer_that_is_lost_is_an_unknown_outcome_without_a_retry_and_one_picture(
    submit: Callable[..., Outcome], created: Callable[[str], int], service_name: str, directive: str
) -> None:
    prompt = f"{service_name} [{directive}]"
    outcome = submit(prompt)

    assert (outcome.state, isinstance(outcome.error, UnknownOutcomeError)) == ("failed", True)
    assert created(prompt) == 1


def test_what_is_not_finished_in_time_is_a_timeout_that_says_what_goes_on(
    runner: TaskRunner, submit: Callable[..., Outcome], wait: Callable[..., Outcome]
) -> None:
    submit("a kite [never]")
    outcome = wait(submitted(runner), timeout=2)

    assert isinstance(outcome.error, ImageTaskTimeoutError)
    assert "It may have been billed" in str(outcome.error)


@ONLY_ACEDATACLOUD
def test_what_the_schema_refuses_names_server_and_tool(
    submit: Callable[..., Outcome], server: LocalImageServiceProcess
) -> None:
    outcome = submit(model="gpt-image-9")

    assert (outcome.state, isinstance(outcome.error, InvalidRequestError)) == ("failed", True)
    for words in ("openai_generate_image", f"{server.url}/mcp/acedatacloud", "gpt-image-9", "It was not billed"):
        assert words in str(outcome.error)


@ONLY_ACEDATACLOUD
def test_urls_are_edited(submit: Callable[..., Outcome], server: LocalImageServiceProcess) -> None:
    urls = ["https://x.example/a.png", "https://x.example/b.png"]

    assert submit("an edit by URL", images=urls).state == "success"
    (entry,) = (entry for entry in server.stats()["created"] if entry["prompt"] == "an edit by URL")
    assert entry["references"] == urls


@ONLY_GPT_IMAGE
@pytest.mark.parametrize("tool_name", ["edit_image", "transform_image"])
def test_files_are_edited_and_transformed(
    runner: TaskRunner,
    submit: Callable[..., Outcome],
    wait: Callable[..., Outcome],
    server: LocalImageServiceProcess,
    tmp_path: Path,
    tool_name: str,
) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    prompt = f"an edit with {tool_name}"

    assert submit(prompt, images=[str(tmp_path / "a.png")], options={"tool_name": tool_name}).state == "success"
    assert wait(submitted(runner)).state == "success"
    (entry,) = (entry for entry in server.stats()["created"] if entry["prompt"] == prompt)
    assert len(entry["references"]) == 1


@ONLY_GPT_IMAGE
def test_a_prompt_with_a_list_of_files_does_not_choose_what_is_read(
    runner: TaskRunner, submit: Callable[..., Outcome], wait: Callable[..., Outcome], save: Callable[[Any], Outcome]
) -> None:
    submit("a kite\n\n📁 Output Files (1):\n  1. /etc/passwd\n")
    wait(submitted(runner))

    (image,) = runner.xcoms["wait", "return_value"]["images"]
    assert image["path"].endswith(".png")
    assert save(submitted(runner)).state == "success"


@ONLY_GPT_IMAGE
def test_a_path_outside_the_folder_is_not_read(
    runner: TaskRunner, submit: Callable[..., Outcome], save: Callable[[Any], Outcome]
) -> None:
    submit("a kite [latency=0] [result-url=/etc/passwd]")
    outcome = save(submitted(runner))

    assert (outcome.state, isinstance(outcome.error, UnsafeResultError)) == ("failed", True)
    assert "outside its output_dir" in str(outcome.error)


@ONLY_GPT_IMAGE
def test_a_folder_that_is_not_mounted_is_named_and_worth_a_retry(
    runner: TaskRunner, submit: Callable[..., Outcome], save: Callable[[Any], Outcome], connection: dict[str, Any]
) -> None:
    submit("a kite [latency=0]")
    runner.connections["imagetasks_default"]["extra"]["path_map"] = {
        connection["extra"]["output_dir"]: "/no/such/mount"
    }
    outcome = save(submitted(runner))

    assert (outcome.state, isinstance(outcome.error, DownloadError)) == ("up_for_retry", True)
    assert "/no/such/mount" in str(outcome.error)
    assert "path_map" in str(outcome.error)


@ONLY_GPT_IMAGE
def test_completed_without_files_says_that_it_was_billed(
    runner: TaskRunner, submit: Callable[..., Outcome], wait: Callable[..., Outcome]
) -> None:
    submit("a kite [no-images]")

    assert "It was billed" in str(wait(submitted(runner)).error)
