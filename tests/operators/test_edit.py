from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.operators.image_task import ImageTaskSubmitOperator
from tests.conftest import BY_URL
from tests.task_runner import Outcome, TaskRunner

TASKS_API = pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi"], indirect=True)
JOBS_API = pytest.mark.parametrize("service_name", ["aigptimage", "kie"], indirect=True)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture on the worker's disk."""
    path = tmp_path / "photo.png"
    Image.new("RGB", (64, 48), "orange").save(path)
    return path


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """A mask that fits the picture."""
    path = tmp_path / "mask.png"
    Image.new("RGBA", (64, 48)).save(path)
    return path


def edit(runner: TaskRunner, **arguments: Any) -> Outcome:
    return runner.run(
        lambda: ImageTaskSubmitOperator(**{"task_id": "submit", "prompt": "make it winter", "retries": 2, **arguments})
    )


def created(image_service: LocalImageService) -> list[dict[str, Any]]:
    return list(image_service.stats()["created"])


@BY_URL
def test_urls_are_passed_on(runner: TaskRunner, image_service: LocalImageService) -> None:
    outcome = edit(runner, images=["https://example.com/a.png", "https://example.com/b.png"])

    assert outcome.state == "success", outcome.error
    assert created(image_service)[0]["references"] == ["https://example.com/a.png", "https://example.com/b.png"]


@TASKS_API
def test_files_are_uploaded(runner: TaskRunner, image_service: LocalImageService, photo: Path, mask: Path) -> None:
    import hashlib

    outcome = edit(runner, images=[f"file://{photo}", str(photo)], mask=str(mask), options={"size": "64x64", "n": 2})

    assert outcome.state == "success", outcome.error
    (entry,) = created(image_service)
    assert entry["references"] == [hashlib.sha256(photo.read_bytes()).hexdigest()] * 2
    assert entry["mask"] is True


@JOBS_API
def test_services_that_take_only_urls_refuse_files(
    runner: TaskRunner, image_service: LocalImageService, photo: Path
) -> None:
    outcome = edit(runner, images=[str(photo)])

    assert isinstance(outcome.error, InvalidRequestError)
    assert "URLs" in str(outcome.error)
    assert created(image_service) == []


@JOBS_API
def test_options_may_name_the_field_that_a_model_takes_pictures_in(
    runner: TaskRunner, image_service: LocalImageService
) -> None:
    outcome = edit(runner, images=["https://example.com/a.png"], options={"image_input": []})

    assert outcome.state == "success", outcome.error
    assert created(image_service)[0]["references"] == ["https://example.com/a.png"]


@JOBS_API
def test_pictures_that_are_given_twice_are_refused(runner: TaskRunner) -> None:
    outcome = edit(runner, images=["https://example.com/a.png"], options={"input_urls": ["https://example.com/b.png"]})

    assert isinstance(outcome.error, InvalidRequestError)
    assert "input_urls" in str(outcome.error)


@TASKS_API
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"images": ["missing.png"]}, "absolute"),
        ({"images": ["/nowhere/missing.png"]}, "/nowhere/missing.png"),
        ({"images": ["s3://bucket/a.png"]}, "s3://bucket/a.png"),
        ({"images": ["{text}"]}, "cannot be used"),
        ({"images": ["data:image/png;base64,AAAA"]}, "data:"),
        ({"images": ["{photo}", "https://example.com/a.png"]}, "mixes"),
        ({"images": ["https://example.com/a.png"] * 17}, "16"),
        ({"images": ["https://example.com/a.png"], "mask": "{mask}"}, "mask"),
        ({"images": ["{photo}"], "mask": "{photo}"}, "transparency"),
        ({"images": ["{photo}"], "mask": "{small_mask}"}, "pixels"),
        ({"mask": "{mask}"}, "without images"),
    ],
)
def test_what_cannot_be_edited_is_refused_before_anything_is_billed(
    runner: TaskRunner,
    image_service: LocalImageService,
    photo: Path,
    mask: Path,
    tmp_path: Path,
    arguments: dict[str, Any],
    said: str,
) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    Image.new("RGBA", (8, 8)).save(tmp_path / "small.png")
    paths = {"photo": photo, "mask": mask, "text": tmp_path / "text.png", "small_mask": tmp_path / "small.png"}
    given = {
        name: [entry.format(**paths) for entry in value] if isinstance(value, list) else value.format(**paths)
        for name, value in arguments.items()
    }

    outcome = edit(runner, **given)

    assert outcome.state == "failed"
    assert isinstance(outcome.error, InvalidRequestError)
    assert said in str(outcome.error)
    assert created(image_service) == []


@TASKS_API
def test_a_file_that_is_too_large_is_refused_without_being_read(
    runner: TaskRunner, image_service: LocalImageService, tmp_path: Path
) -> None:
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(51 * 1024 * 1024)

    outcome = edit(runner, images=[str(huge)])

    assert "52,428,800" in str(outcome.error)
    assert created(image_service) == []
