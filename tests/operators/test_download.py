from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image

from airflow_provider_imagetasks.exceptions import (
    DownloadError,
    ImageTaskError,
    ImageTaskNotFoundError,
    InvalidRequestError,
    UnsafeResultError,
)
from airflow_provider_imagetasks.files import picture_store
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.operators import image_task
from airflow_provider_imagetasks.operators.image_task import ImageTaskDownloadOperator
from airflow_provider_imagetasks.tasks import ImageTask
from tests.conftest import BY_URL
from tests.image_dag import ImageDag

ACEDATACLOUD = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)


@pytest.fixture
def dag(dag: ImageDag, service_name: str) -> ImageDag:
    """Small pictures, where the service knows sizes."""
    dag.options = {} if service_name in ("aigptimage", "kie") else {"size": "64x64"}
    return dag


def test_the_manifest_tells_what_is_there(dag: ImageDag) -> None:
    image_task_id = dag.submitted()

    assert dag.save().state == "success"

    (file,), (path,) = dag.files, dag.stored
    assert (file["uri"], path.name) == (f"file://{path}", f"{image_task_id}-0.png")
    assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file["bytes"] == path.stat().st_size
    with Image.open(path) as picture:
        assert (file["width"], file["height"]) == picture.size
    assert (file["media_type"], file["image_task_id"], file["index"]) == ("image/png", image_task_id, 0)


@BY_URL
def test_what_is_there_intact_is_not_fetched_again_unless_it_is_to_be_overwritten(dag: ImageDag) -> None:
    dag.submit()
    dag.save()
    first = dag.files
    dag.save()
    assert (dag.files, dag.image_service.stats()["files_served"]) == (first, 1)

    dag.save(overwrite=True)
    assert dag.image_service.stats()["files_served"] == 2
    # The key stays with the service's API.
    assert dag.image_service.stats()["files_with_authorization"] == 0


def test_a_damaged_file_is_fetched_again(dag: ImageDag) -> None:
    dag.submit()
    dag.save()
    (path,) = dag.stored
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    dag.save()

    assert path.read_bytes() == whole


def test_a_name_without_the_id_is_overwritten(dag: ImageDag) -> None:
    dag.save(dag.submitted("a kite"), filename="cover.{ext}")
    first = dag.files[0]["sha256"]
    dag.save(dag.submitted("a boat"), filename="cover.{ext}")

    assert [path.name for path in dag.stored] == ["cover.png"]
    assert dag.files[0]["sha256"] != first


@ACEDATACLOUD
@pytest.mark.parametrize(
    ("prompt", "options", "extension"),
    [
        ("a kite", {"output_format": "jpeg"}, ".jpg"),
        ("a kite", {"output_format": "webp"}, ".webp"),
        *((f"a kite {way}", {}, ".png") for way in ("[b64]", "[sync=anonymous]", "[nested]")),
    ],
)
def test_a_picture_is_stored_whatever_its_kind_and_the_way_it_comes(
    dag: ImageDag, prompt: str, options: dict[str, str], extension: str
) -> None:
    assert dag.save(dag.submitted(prompt, options=options)).state == "success"
    assert [path.suffix for path in dag.stored] == [extension]


@ACEDATACLOUD
def test_every_picture_of_a_sequence_is_stored(dag: ImageDag) -> None:
    one, three = dag.submitted("a kite"), dag.submitted("a boat", options={"n": 3})

    dag.save([one, {"id": three, "service": "acedatacloud", "conn_id": "imagetasks_default"}])

    found = [(file["image_task_id"], file["index"]) for file in dag.files]
    assert found == [(one, 0), (three, 0), (three, 1), (three, 2)]
    assert len(dag.stored) == 4


@BY_URL
@pytest.mark.parametrize("directive", ["[file-404=1]", "[file-500=1]", "[file-truncated=1]"])
def test_a_passing_fault_is_overcome(dag: ImageDag, directive: str) -> None:
    assert dag.save(dag.submitted(f"a kite {directive}")).state == "success"
    assert len(dag.stored) == 1


def test_an_unfinished_image_task_is_an_error_that_a_retry_may_mend(dag: ImageDag) -> None:
    outcome = dag.save(dag.submitted("a kite [never]"), retries=2)

    assert outcome.state == "up_for_retry"
    assert isinstance(outcome.error, ImageTaskError)
    assert "nothing to download yet" in str(outcome.error)


def test_an_image_task_that_the_service_does_not_know_is_told_of_as_one(dag: ImageDag) -> None:
    outcome = dag.save("00000000-0000-4000-8000-000000000000", retries=2)

    assert outcome.state == "up_for_retry"
    assert isinstance(outcome.error, ImageTaskNotFoundError)
    assert "Is 'imagetasks_default' the connection" in str(outcome.error)
    assert "A retry asks again. Clear the submit task with its downstream" in str(outcome.error)


def test_the_good_pictures_of_a_sequence_are_stored_before_the_failed_are_named(dag: ImageDag) -> None:
    good, bad = dag.submitted("a kite"), dag.submitted("a kite [fail]")

    outcome = dag.save([good, bad], retries=2)

    assert outcome.state == "failed"
    assert bad in str(outcome.error)
    assert len(dag.stored) == 1


@BY_URL
def test_pictures_that_fail_in_different_ways_are_fetched_again_and_not_paid_for_again(dag: ImageDag) -> None:
    ids = [dag.submitted(f"a kite [{fault}=99]") for fault in ("file-truncated", "file-404", "file-html")]

    outcome = dag.save(ids, retries=2)

    assert outcome.state == "up_for_retry"
    assert type(outcome.error) is DownloadError
    assert outcome.error.message.startswith("3 of 3 failed. ")
    assert len({type(each) for each in outcome.error.failures}) > 1
    assert dag.runner.xcoms["save", "image_task_error"]["class"] == "DownloadError"
    assert "Clear the submit task" not in str(outcome.error)


@ACEDATACLOUD
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"output_path": ""}, "output_path"),
        ({"output_path": "pictures"}, "absolute"),
        *(
            ({"filename": name}, "filename")
            for name in ("../{index}.png", "{prompt}.png", "{index.__class__}", "{index:x}")
        ),
        ({"filename": ".hidden-{index}"}, "filename"),
        ({"image_task_id": ""}, "image_task_id"),
    ],
)
def test_bad_input_fails_before_anything_is_fetched(dag: ImageDag, arguments: dict[str, Any], said: str) -> None:
    given = {"image_task_id": "some-id", "output_path": dag.output_folder, "retries": 2, **arguments}
    outcome = dag.runner.run(lambda: ImageTaskDownloadOperator(task_id="save", **given))

    assert outcome.state == "failed"
    assert isinstance(outcome.error, InvalidRequestError)
    assert said in str(outcome.error)
    assert dag.image_service.stats()["dialects"]["acedatacloud"]["status_queries"] == 0


@pytest.mark.parametrize("service_name", ["openai"], indirect=True)
def test_records_that_hold_their_pictures_are_read_and_stored_a_few_at_a_time(
    dag: ImageDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    store = ImageTaskHook.store

    def stored(hook: ImageTaskHook, tasks: Sequence[ImageTask], *arguments: Any, **how: Any) -> Any:
        held.append(sum(bool(image.data) for task in tasks for image in task.images))
        return store(hook, tasks, *arguments, **how)

    monkeypatch.setattr(ImageTaskHook, "store", stored)
    monkeypatch.setattr(image_task, "RECORDS_WITH_PICTURES", 2)
    ids = [dag.submitted(f"kite {number}") for number in range(3)]
    ids.append(dag.submitted("a kite [fail]"))

    outcome = dag.save(ids)

    assert held == [2, 1]
    assert outcome.state == "failed"
    assert ids[-1] in str(outcome.error)
    assert [file["image_task_id"] for file in dag.runner.xcoms["save", "image_files"]["files"]] == ids[:3]


def test_a_storage_that_this_airflow_does_not_know_fails_when_the_dag_is_read() -> None:
    with pytest.raises(InvalidRequestError, match="s3"):
        ImageTaskDownloadOperator(task_id="save", image_task_id="some-id", output_path="s3://bucket/pictures")


@ACEDATACLOUD
@pytest.mark.parametrize("filename", ["{image_task_id}.{ext}", "cover.{ext}", "{index}"])
def test_more_pictures_than_asked_for_are_kept_under_names_of_their_own_and_said(
    dag: ImageDag, filename: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert dag.save(dag.submitted("a kite [n-more=3]"), filename=filename).state == "success"

    assert len(dag.stored) == len({file["uri"] for file in dag.files}) == 4
    assert "has 4 pictures, and 1 was asked for" in caplog.text


@ACEDATACLOUD
def test_pictures_beyond_a_most_are_an_error_and_the_others_are_in_place(
    dag: ImageDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_store, "MOST_IMAGES", 2)
    outcome = dag.save(dag.submitted("a kite [n-more=3]"), retries=2)

    assert outcome.state == "failed"
    assert isinstance(outcome.error, UnsafeResultError)
    assert "4 pictures; only the first 2 are stored" in str(outcome.error)
    assert len(dag.stored) == 2


@ACEDATACLOUD
def test_several_pictures_under_one_name_are_refused(dag: ImageDag) -> None:
    outcome = dag.save(dag.submitted("a kite", options={"n": 2}), filename="{image_task_id}.{ext}")

    assert isinstance(outcome.error, InvalidRequestError)
    assert "{index}" in str(outcome.error)
    assert dag.stored == []
