"""``max_cost``: a batch stops before it exceeds it, says what it spent, and goes on where more is granted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from airflow_provider_imagetasks.batch.run import BatchRun
from airflow_provider_imagetasks.exceptions import QuotaExceededError
from tests.image_batch import ImageBatch

pytestmark = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
FIVE = [f"kite {number}" for number in range(5)]


@pytest.fixture
def batch(batch: ImageBatch) -> ImageBatch:
    """A batch of pictures that cost 0.50 each."""
    batch.arguments = {"prices": {"gpt-image-2": 0.5}}
    return batch


def test_a_batch_stops_before_it_exceeds_its_cost_and_says_what_it_spent(
    batch: ImageBatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = batch.start(*FIVE, max_cost=1.2)

    assert batch.created == FIVE[:2]
    assert "cost about 2.50, more than max_cost (1.20): rows are submitted in order" in capsys.readouterr().out
    assert outcome.state == "failed"
    assert isinstance(outcome.error, QuotaExceededError)
    assert outcome.error.billed == "no"
    assert "3 of 5 rows failed" in str(outcome.error)
    said = "max_cost is 1.20. By the known prices, 1.00 of it has been spent, and row 2 would cost 0.50 more"
    assert said in str(outcome.error)
    assert [row["cost"] for row in batch.rows] == [0.5, 0.5, None, None, None]
    errors = [tuple(row["error"][name] for name in ("class", "code", "billed")) for row in batch.rows[2:]]
    assert errors == [("QuotaExceededError", "max_cost", "no")] * 3


def test_a_retry_spends_nothing_and_a_clear_goes_on_where_more_is_granted(batch: ImageBatch) -> None:
    batch.start(*FIVE, max_cost=1.2)
    assert batch.start(*FIVE, max_cost=1.2, try_number=2).state == "failed"
    assert batch.start(*FIVE, max_cost=1.2, try_number=3, max_tries=4).state == "failed"
    assert batch.created == FIVE[:2]

    assert batch.start(*FIVE, max_cost=2.5, try_number=4, max_tries=5).state == "success"
    assert batch.created == FIVE
    assert batch.pushed()["cost"] == pytest.approx(2.5)


def test_a_batch_of_which_nothing_could_be_paid_is_submitted_by_a_clear_with_more(batch: ImageBatch) -> None:
    batch.start(*FIVE, max_cost=0.2)
    assert batch.created == []

    assert batch.start(*FIVE, max_cost=2.5, try_number=2, max_tries=3).state == "success"
    assert batch.created == FIVE


@pytest.mark.parametrize(
    ("prompts", "made"),
    [
        pytest.param(["a [refuse]", "b [refuse]", "c", "d", "e"], ["c", "d"], id="what was not billed pays for others"),
        pytest.param(["a [file-html]", "b", "c"], ["a [file-html]", "b"], id="a picture paid for in vain is spent"),
    ],
)
def test_what_was_billed_is_spent(batch: ImageBatch, prompts: list[str], made: list[str]) -> None:
    batch.start(*prompts, max_cost=1, max_failed=5)

    assert batch.created == made


def test_more_pictures_than_a_row_asked_for_are_spent_too(batch: ImageBatch) -> None:
    prompts = ["a kite [n-more=2]", "b"]
    batch.start(*prompts, max_cost=1.5, max_active_tasks=1)
    assert batch.created == prompts[:1]
    assert "By the known prices, 1.50 of it has been spent" in batch.rows[1]["error"]["message"]

    # A later start knows it from the ledger.
    batch.start(*prompts, max_cost=1.5, try_number=2, max_tries=3)
    assert batch.created == prompts[:1]


def test_fewer_pictures_than_a_row_asked_for_leave_money_for_others(batch: ImageBatch) -> None:
    rows = [{"prompt": "a kite [n-less]", "options": {"n": 2}}, {"prompt": "b"}, {"prompt": "c"}]

    assert batch.start(requests=rows, max_cost=1.5, max_active_tasks=1).state == "success"
    assert batch.pushed()["cost"] == pytest.approx(1.5)


def test_a_row_that_is_an_edit_of_a_file_goes_by_the_model_that_it_will_be_sent_with(
    batch: ImageBatch, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 48), "orange").save(tmp_path / "in.png")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "a hat on it", "images": [str(tmp_path / "in.png")]}))

    assert batch.start(requests_path=f"file://{tmp_path}/rows.jsonl", max_cost=1).state == "success"
    assert batch.pushed()["cost"] == pytest.approx(0.5)


def test_thousands_of_rows_that_do_not_fit_are_written_off_without_delay(
    batch: ImageBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeps: list[None] = []
    sleep = BatchRun._sleep

    async def counted(self: BatchRun) -> None:
        sleeps.append(None)
        await sleep(self)

    monkeypatch.setattr(BatchRun, "_sleep", counted)
    batch.start(*[f"kite {number}" for number in range(900)], prices={"gpt-image-2": 5}, max_cost=1)

    assert batch.created == []
    assert len(sleeps) < 10


@pytest.mark.parametrize(
    ("options", "images", "pictures"),
    [
        ({"sequential_image_generation": "auto"}, 0, 15),
        ({"sequentialImageGeneration": " AUTO "}, 0, 15),
        ({"sequential_image_generation": "auto"}, 4, 11),
        ({"sequential_image_generation": "auto", "sequential_image_generation_options": {"max_images": 4}}, 0, 4),
        ({"sequential_image_generation": "auto", "n": 2}, 0, 30),
        ({"sequential_image_generation": "disabled"}, 0, 1),
    ],
)
def test_a_sequence_counts_for_the_most_pictures_that_may_be_billed(
    batch: ImageBatch, options: dict[str, Any], images: int, pictures: int
) -> None:
    model = "seedream/doubao-seedream-5-0-260128"
    rows = [{"prompt": "a book of kites", "images": [f"https://x.example/{each}.png" for each in range(images)]}]
    how: dict[str, Any] = {"model": model, "prices": {model: 1}, "options": options, "requests": rows}

    batch.start(**how, dry_run=True)
    assert batch.pushed()["cost"] == pictures
    if pictures > 1:
        short = batch.start(**how, max_cost=pictures - 1)
        assert isinstance(short.error, QuotaExceededError)
        assert batch.created == []
