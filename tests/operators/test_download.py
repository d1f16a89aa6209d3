from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from airflow_provider_imagetasks.exceptions import DownloadError, ImageTaskError, InvalidRequestError, UnsafeResultError
from airflow_provider_imagetasks.files import fetching
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.conftest import BY_URL
from tests.task_runner import Outcome, TaskRunner

SMALL = {
    "acedatacloud": {"size": "64x64"},
    "xhuoapi": {"size": "64x64"},
    "aigptimage": {},
    "kie": {},
    "acedatacloud_mcp": {"size": "64x64"},
    "gpt_image_mcp": {"size": "64x64"},
}


@pytest.fixture
def submitted(connection: dict[str, Any], service_name: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Submit a prompt through the hook and return its image task id."""
    import json

    fields = {"conn_type": "imagetasks", **connection}
    monkeypatch.setenv("AIRFLOW_CONN_OF_THE_TEST", json.dumps(fields))

    def submit(prompt: str = "a red kite", **options: Any) -> str:
        request = ImageRequest(prompt=prompt, options={**SMALL[service_name], **options})
        return ImageTaskHook("of_the_test").submit(request).id

    return submit


@pytest.fixture
def save(runner: TaskRunner, output_folder: str) -> Callable[..., Outcome]:
    """Run the download operator on an image task."""

    def run(image_task_id: Any, **arguments: Any) -> Outcome:
        arguments = {"output_path": output_folder, "retries": 2, **arguments}
        return runner.run(lambda: ImageTaskDownloadOperator(task_id="save", image_task_id=image_task_id, **arguments))

    return run


def files(runner: TaskRunner) -> list[dict[str, Any]]:
    return list(runner.xcoms[("save", "return_value")]["files"])


def stored(output_folder: str) -> list[Path]:
    folder = Path(output_folder.removeprefix("file://"))
    return sorted(folder.iterdir()) if folder.exists() else []


def test_the_manifest_tells_what_is_there(
    runner: TaskRunner, submitted: Callable[..., str], save: Callable[..., Outcome], output_folder: str
) -> None:
    image_task_id = submitted()

    assert save(image_task_id).state == "success"

    (file,) = files(runner)
    (path,) = stored(output_folder)
    assert file["uri"] == f"file://{path}"
    assert path.name == f"{image_task_id}-0.png"
    assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file["bytes"] == path.stat().st_size
    with Image.open(path) as picture:
        assert (file["width"], file["height"]) == picture.size
    assert (file["media_type"], file["image_task_id"], file["index"]) == ("image/png", image_task_id, 0)


@BY_URL
def test_no_bearer_token_is_sent_with_a_download(
    submitted: Callable[..., str], save: Callable[..., Outcome], image_service: LocalImageService
) -> None:
    save(submitted())

    assert image_service.stats()["files_served"] == 1
    assert image_service.stats()["files_with_authorization"] == 0


@BY_URL
def test_what_is_there_intact_is_not_fetched_again(
    runner: TaskRunner, submitted: Callable[..., str], save: Callable[..., Outcome], image_service: LocalImageService
) -> None:
    image_task_id = submitted()
    save(image_task_id)
    first = files(runner)
    save(image_task_id)

    assert files(runner) == first
    assert image_service.stats()["files_served"] == 1


def test_a_damaged_file_is_fetched_again(
    runner: TaskRunner, submitted: Callable[..., str], save: Callable[..., Outcome], output_folder: str
) -> None:
    image_task_id = submitted()
    save(image_task_id)
    (path,) = stored(output_folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    save(image_task_id)

    assert path.read_bytes() == whole


@BY_URL
def test_overwrite_fetches_again(
    submitted: Callable[..., str], save: Callable[..., Outcome], image_service: LocalImageService
) -> None:
    image_task_id = submitted()
    save(image_task_id)
    save(image_task_id, overwrite=True)

    assert image_service.stats()["files_served"] == 2


def test_a_name_without_the_id_is_overwritten(
    runner: TaskRunner, submitted: Callable[..., str], save: Callable[..., Outcome], output_folder: str
) -> None:
    save(submitted("a kite"), filename="cover.{ext}")
    first = files(runner)[0]["sha256"]
    save(submitted("a boat"), filename="cover.{ext}")

    assert [path.name for path in stored(output_folder)] == ["cover.png"]
    assert files(runner)[0]["sha256"] != first


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
def test_the_extension_follows_the_content(
    submitted: Callable[..., str], save: Callable[..., Outcome], output_folder: str
) -> None:
    save(submitted("a kite", output_format="jpeg"))
    save(submitted("a kite", output_format="webp"))

    assert sorted(path.suffix for path in stored(output_folder)) == [".jpg", ".webp"]


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
def test_every_picture_of_a_sequence_is_stored(
    runner: TaskRunner, submitted: Callable[..., str], save: Callable[..., Outcome], output_folder: str
) -> None:
    one, three = submitted("a kite"), submitted("a boat", n=3)

    save([one, {"id": three, "service": "acedatacloud", "conn_id": "imagetasks_default"}])

    assert [(file["image_task_id"], file["index"]) for file in files(runner)] == [
        (one, 0),
        (three, 0),
        (three, 1),
        (three, 2),
    ]
    assert len(stored(output_folder)) == 4


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
@pytest.mark.parametrize("prompt", ["a kite [b64]", "a kite [sync=anonymous]", "a kite [nested]"])
def test_pictures_that_come_in_other_ways_are_stored(
    submitted: Callable[..., str], save: Callable[..., Outcome], output_folder: str, prompt: str
) -> None:
    assert save(submitted(prompt)).state == "success"
    assert len(stored(output_folder)) == 1


@BY_URL
@pytest.mark.parametrize("prompt", ["a kite [file-404=1]", "a kite [file-500=1]", "a kite [file-truncated=1]"])
def test_a_passing_fault_is_overcome(
    submitted: Callable[..., str],
    save: Callable[..., Outcome],
    output_folder: str,
    prompt: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0)

    assert save(submitted(prompt)).state == "success"
    assert len(stored(output_folder)) == 1


@BY_URL
@pytest.mark.parametrize(
    ("prompt", "error_class", "state"),
    [
        ("a kite [file-truncated]", DownloadError, "up_for_retry"),
        ("a kite [file-404]", DownloadError, "up_for_retry"),
        ("a kite [file-html]", UnsafeResultError, "failed"),
    ],
)
def test_a_result_that_cannot_be_had_leaves_nothing_behind(
    submitted: Callable[..., str],
    save: Callable[..., Outcome],
    output_folder: str,
    prompt: str,
    error_class: type[Exception],
    state: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0)
    image_task_id = submitted(prompt)

    outcome = save(image_task_id)

    assert outcome.state == state
    assert isinstance(outcome.error, error_class)
    assert image_task_id in str(outcome.error)
    assert stored(output_folder) == []


def test_an_unfinished_image_task_is_an_error_that_a_retry_may_mend(
    submitted: Callable[..., str], save: Callable[..., Outcome]
) -> None:
    outcome = save(submitted("a kite [never]"))

    assert outcome.state == "up_for_retry"
    assert isinstance(outcome.error, ImageTaskError)
    assert "nothing to download yet" in str(outcome.error)


def test_the_good_pictures_of_a_sequence_are_stored_before_the_failed_are_named(
    submitted: Callable[..., str], save: Callable[..., Outcome], output_folder: str
) -> None:
    good, bad = submitted("a kite"), submitted("a kite [fail]")

    outcome = save([good, bad])

    assert outcome.state == "failed"
    assert bad in str(outcome.error)
    assert len(stored(output_folder)) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"output_path": ""}, "output_path"),
        ({"output_path": "pictures"}, "absolute"),
        ({"output_path": "s3://bucket/pictures"}, "s3"),
        ({"filename": "../{index}.png"}, "filename"),
        ({"filename": "{prompt}.png"}, "filename"),
        ({"filename": "{index.__class__}"}, "filename"),
        ({"filename": ".hidden-{index}"}, "filename"),
        ({"image_task_id": ""}, "image_task_id"),
    ],
)
@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
def test_bad_input_fails_before_anything_is_fetched(
    runner: TaskRunner, output_folder: str, image_service: LocalImageService, arguments: dict[str, Any], said: str
) -> None:
    merged = {"image_task_id": "some-id", "output_path": output_folder, "retries": 2, **arguments}
    if merged["output_path"].startswith("s3:"):
        with pytest.raises(InvalidRequestError, match="s3"):
            ImageTaskDownloadOperator(task_id="save", **merged)
        return

    outcome = runner.run(lambda: ImageTaskDownloadOperator(task_id="save", **merged))

    assert outcome.state == "failed"
    assert isinstance(outcome.error, InvalidRequestError)
    assert said in str(outcome.error)
    assert image_service.stats()["dialects"]["acedatacloud"]["status_queries"] == 0


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
def test_several_pictures_under_one_name_are_refused(
    submitted: Callable[..., str], save: Callable[..., Outcome], output_folder: str
) -> None:
    outcome = save(submitted("a kite", n=2), filename="{image_task_id}.{ext}")

    assert isinstance(outcome.error, InvalidRequestError)
    assert "{index}" in str(outcome.error)
    assert stored(output_folder) == []
