"""Names and numbers of a batch's pictures: checked as they will be before anything is billed, and none is lost."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.files import fetching, picture_store
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from tests import task_runner
from tests.image_batch import ImageBatch
from tests.task_runner import Outcome

ONE_SERVICE = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
IMITATED = f"a_b-{hashlib.sha256(b'a/b').hexdigest()[:12]}"


def refused(batch: ImageBatch, *words: str, **arguments: Any) -> None:
    """Start a batch that must end before anything is submitted, with all of these words in its error."""
    outcome = batch.start(**arguments)

    assert isinstance(outcome.error, InvalidRequestError), outcome.error
    assert (outcome.state, outcome.error.billed, batch.created) == ("failed", "no", [])
    assert [word for word in words if word not in str(outcome.error)] == []


def rows_with(*ids: str) -> list[dict[str, str]]:
    return [{"prompt": f"kite {number}", "id": row_id} for number, row_id in enumerate(ids)]


def paths(row: dict[str, Any]) -> list[Path]:
    """Return the files of a row, each of which must be what the manifest says."""
    found = [Path(urlsplit(file["uri"]).path) for file in row["files"]]
    whole = [hashlib.sha256(path.read_bytes()).hexdigest() for path in found]
    assert whole == [file["sha256"] for file in row["files"]]
    return found


@ONE_SERVICE
@pytest.mark.parametrize(
    ("filename", "ids", "word"),
    [
        pytest.param("{id:.6}.{ext}", ["kettle-red", "kettle-blue"], "format", id="cut off"),
        pytest.param("{image_task_id:.1}.{ext}", ["a", "b"], "format", id="an image task id cut off"),
        *(pytest.param(f"{{row:{spec}}}.{{ext}}", ["a", "b"], "format", id=spec) for spec in (".0e", "c", "{row}")),
        pytest.param("{row}{index}.{ext}", ["a", "b"], "between", id="numbers that touch"),
        pytest.param("{id}0{index}.{ext}", ["a", "b"], "between", id="a number that follows a digit"),
        pytest.param("{id}.{ext}", ["a/b", IMITATED], IMITATED, id="the safe form of another"),
        pytest.param("{id}.{ext}", ["Kettle", "kettle"], "case", id="another case"),
        pytest.param("{id}-" + "x" * 90 + ".{ext}", ["y" * 150], "200", id="a long id"),
        pytest.param("{image_task_id}-" + "x" * 90 + ".{ext}", ["a"], "200", id="a long image task id"),
        pytest.param("{id}::{index}.{ext}", ["a"], "colons", id="where another path would begin"),
        pytest.param("{id}:{image_task_id}::.{ext}", ["a"], "colons", id="where one would begin at the end"),
        pytest.param("con.{ext}", ["a"], "filename", id="a device of Windows"),
    ],
)
def test_names_that_could_be_those_of_other_pictures_are_refused(
    batch: ImageBatch, filename: str, ids: list[str], word: str
) -> None:
    refused(batch, word, requests=rows_with(*ids), filename=filename)


@ONE_SERVICE
@pytest.mark.parametrize("row_id", ["con", "LPT1.kettle", "kettle."])
def test_an_id_that_is_no_name_gives_one_all_the_same(batch: ImageBatch, row_id: str) -> None:
    arguments: dict[str, Any] = {"requests": rows_with(row_id), "filename": "{id}.{ext}", "dry_run": True}

    assert batch.start(**arguments).state == "success"


@pytest.mark.parametrize("service_name", ["acedatacloud", "kie", "aigptimage"], indirect=True)
@pytest.mark.parametrize(
    "options",
    [
        *({"n": count} for count in (2, "2", 2.0, "2.0")),
        *({name: 2} for name in ("num_images", "max_images", "num_outputs", "number_of_images", "batch_size")),
        *({name: 2} for name in ("num", "count", "quantity", "imageCount", "numImages", "Num-Images", "NUM_IMAGES")),
        *({name: "2"} for name in ("n_samples", "numSamples", "numberResults", "imageNum", "numOfImages", "nVariants")),
        *(
            {name: 2}
            for name in (
                "batchCount",
                "numImagesPerPrompt",
                "samples",
                "sampleCount",
                "imagesPerPrompt",
                "candidate_count",
                "outputCount",
                "imagesNumber",
            )
        ),
        {"sequential_image_generation": "auto", "sequential_image_generation_options": {"max_images": 2}},
        {"parameters": {"numberOfImages": "2"}},
    ],
)
def test_several_pictures_are_several_by_whatever_name_and_however_written(
    batch: ImageBatch, options: dict[str, Any]
) -> None:
    refused(batch, "2 pictures", "{index}", prompts=["a kite"], filename="{row}.{ext}", options=options)

    how: dict[str, Any] = {"prices": {f"gpt-image-2{kind}": 1 for kind in ("", "-text-to-image")}, "dry_run": True}
    batch.start("a kite", options=options, max_cost=9, **how)
    assert batch.pushed()["cost"] == 2


@ONE_SERVICE
@pytest.mark.parametrize("name", ["n", "max_images"])
@pytest.mark.parametrize("count", [0, -1, 1.5, True, "two", "", "1_0", "٢", [2], 65, "5000"])
def test_a_number_of_pictures_that_is_none_is_refused(batch: ImageBatch, name: str, count: Any) -> None:
    refused(batch, name, prompts=["a kite"], options={name: count})


@ONE_SERVICE
def test_where_a_number_of_pictures_stands_that_is_none_is_said(batch: ImageBatch) -> None:
    options = {"sequential_image_generation_options": {"max_images": 0}}

    refused(batch, "sequential_image_generation_options.max_images=0", prompts=["a kite"], options=options)


@ONE_SERVICE
@pytest.mark.parametrize("filename", ["{row}.{ext}", "{id}.{ext}", "{id}-{index}.{ext}", "{image_task_id}"])
def test_more_pictures_than_asked_for_are_all_kept_and_said(
    batch: ImageBatch, filename: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": "kite [n-more=3]", "id": "kite"}, {"prompt": "boat [n-more]", "id": "kite-1"}]
    assert batch.start(requests=rows, filename=filename).state == "success"

    kept = [path for row in batch.rows for path in paths(row)]
    assert len(set(kept)) == 6
    said = capsys.readouterr().out
    assert "Row 0 has 4 pictures, and 1 was asked for" in said
    assert "Row 1 has 2 pictures, and 1 was asked for" in said


@ONE_SERVICE
def test_there_is_a_most_of_pictures_and_those_up_to_it_are_stored(
    batch: ImageBatch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(picture_store, "MOST_IMAGES", 3)
    outcome = batch.start("a kite [n-more=9]", "a boat", filename="{row}.{ext}", max_failed=1)

    assert outcome.state == "success"
    assert batch.statuses == "failed succeeded"
    error = batch.rows[0]["error"]
    assert (error["class"], error["billed"]) == ("UnsafeResultError", "yes")
    assert "10 pictures" in error["message"]
    assert len(list((tmp_path / "pictures").glob("0*.png"))) == 3


@ONE_SERVICE
def test_the_names_that_were_checked_are_those_that_are_used_by_every_later_start(
    batch: ImageBatch,
) -> None:
    rows = [{"prompt": "kite", "id": "x"}, {"prompt": f"boat [file-500={fetching.ATTEMPTS}]", "id": "X"}]
    batch.start(requests=rows, filename="{row}.{ext}")

    assert batch.start(requests=rows, filename="{id}.{ext}", try_number=2).state == "success"
    assert [path.name for row in batch.rows for path in paths(row)] == ["0.png", "1.png"]


@ONE_SERVICE
class TestTwoBatchesInOneFolder:
    """Names that do not hold the image task's id may be replaced by a later run of the same task, and by no other."""

    def other(self, batch: ImageBatch, *, task_id: str = "other", **arguments: Any) -> Outcome:
        """Start the batch of another task of the same Dag."""
        usual = {"output_path": batch.output_folder, "deferrable": False, "options": {"size": "256x256"}}

        def make() -> ImageBatchOperator:
            operator = ImageBatchOperator(task_id=task_id, **{**usual, **arguments})
            operator.limits = batch.limits
            return operator

        batch.runner.states.clear()
        return batch.runner.run(make)

    @pytest.mark.parametrize(
        ("filename", "others"),
        [("{row}.{ext}", "{row}.{ext}"), ("kite.{ext}", "KITE.{ext}"), ("{row}.{ext}", "0.{ext}")],
    )
    def test_another_task_may_not_give_the_same_names(self, batch: ImageBatch, filename: str, others: str) -> None:
        assert batch.start("a kite", filename=filename).state == "success"
        (kite,) = [path for row in batch.rows for path in paths(row)]
        content = kite.read_bytes()

        outcome = self.other(batch, prompts=["a boat"], filename=others)

        assert isinstance(outcome.error, InvalidRequestError)
        assert (outcome.error.billed, batch.created, kite.read_bytes()) == ("no", ["a kite"], content)
        for word in ("filename", "{image_task_id}", "output_path", "task batch", "Nothing was submitted"):
            assert word in str(outcome.error)

    def test_what_was_refused_leaves_the_other_alone(self, batch: ImageBatch, monkeypatch: pytest.MonkeyPatch) -> None:
        batch.start("a kite", filename="{row}.{ext}")
        assert self.other(batch, prompts=["a boat"], filename="{row}.{ext}").state == "failed"

        monkeypatch.setattr(task_runner, "RUN_ID", "the_next_day")
        batch.runner.states.clear()
        assert batch.start("a newer kite", filename="{row}.{ext}", try_number=1).state == "success"
        assert batch.created == ["a kite", "a newer kite"]

    def test_with_a_folder_or_ids_of_its_own_it_goes_on(self, batch: ImageBatch) -> None:
        batch.start(requests=rows_with("red", "blue"), filename="{id}.{ext}")

        assert self.other(batch, requests=rows_with("green"), filename="{id}.{ext}").state == "success"
        third = self.other(batch, task_id="third", prompts=["a boat"], filename="{image_task_id}.{ext}")
        fourth = self.other(batch, task_id="fourth", requests=rows_with("BLUE"), filename="{id}.{ext}")
        assert (third.state, fourth.state) == ("success", "failed")
        assert isinstance(fourth.error, InvalidRequestError)

    def test_the_note_may_be_removed(self, batch: ImageBatch) -> None:
        batch.start("a kite", filename="{row}.{ext}")
        outcome = self.other(batch, prompts=["a boat"], filename="{row}.{ext}")
        (note,) = (Path(urlsplit(batch.output_folder).path) / ".imagetasks" / "names").iterdir()
        assert str(note) in str(outcome.error)
        note.unlink()

        assert self.other(batch, prompts=["a boat"], filename="{row}.{ext}").state == "success"
