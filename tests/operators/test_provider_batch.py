"""The batch operator with ``mode="provider_batch"``: rows go out in files, and come back out of a file of results."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from airflow_provider_imagetasks.batch import row_places
from airflow_provider_imagetasks.exceptions import InvalidRequestError, QuotaExceededError
from tests.provider_batch import DAY, ProviderBatch, with_latency

pytestmark = pytest.mark.parametrize("service_name", ["openai"], indirect=True)
PRICED = {"size": "1024x1024", "quality": "low"}


def test_every_row_becomes_a_picture_and_a_row_of_the_manifest(provider_batch: ProviderBatch) -> None:
    batch = provider_batch
    rows = [{"prompt": "a kite", "id": "K1"}, {"prompt": "a boat", "id": "B2"}, {"prompt": "a tree"}]

    outcome = batch.start(requests=rows)

    assert outcome.state == "success", outcome.error
    assert (batch.batches, batch.created) == (1, ["a boat", "a kite", "a tree"])
    assert [(row["id"], row["prompt"], row["status"]) for row in batch.rows] == [
        ("K1", "a kite", "succeeded"),
        ("B2", "a boat", "succeeded"),
        (None, "a tree", "succeeded"),
    ]
    for number, row in enumerate(batch.rows, start=1):
        (file,) = row["files"]
        content = Path(urlsplit(file["uri"]).path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
        assert row["image_task_id"].startswith("batch_")
        assert row["image_task_id"].endswith(f".{number}")
    assert batch.pushed("progress")["succeeded"] == 3


def test_rows_are_cut_by_count_by_the_bytes_of_their_results_and_by_what_a_file_may_hold(
    provider_batch: ProviderBatch,
) -> None:
    batch = provider_batch
    batch.limited(provider_rows=2)
    batch.start(*[f"kite {number}" for number in range(5)])
    assert (batch.batches, batch.statuses) == (3, " ".join(["succeeded"] * 5))

    batch.limited(provider_result_bytes=1_000)
    batch.another("other")
    batch.start(*[f"boat {number}" for number in range(3)])
    assert batch.batches == 3 + 3

    models = [{"prompt": f"tree {number}", "model": f"gpt-image-{number % 2 + 1}.5"} for number in range(4)]
    batch.limited()
    batch.another("models")
    batch.start(requests=models)
    assert batch.batches == 6 + 2


def test_it_costs_half_and_says_what_it_would_have_cost_one_by_one(provider_batch: ProviderBatch) -> None:
    provider_batch.start("a kite", "a boat", prices={"gpt-image-2": "0.04 EUR"})

    result = provider_batch.pushed()
    assert (result["cost"], result["cost_one_by_one"], result["currency"]) == (
        pytest.approx(0.04),
        pytest.approx(0.08),
        "EUR",
    )
    assert provider_batch.rows[0]["cost"] == pytest.approx(0.02)
    assert provider_batch.rows[0]["cost_one_by_one"] == pytest.approx(0.04)


def test_max_cost_goes_by_the_price_of_the_batch(provider_batch: ProviderBatch) -> None:
    batch = provider_batch
    prompts = [f"kite {number}" for number in range(5)]

    outcome = batch.start(*prompts, prices={"gpt-image-2": 0.04}, max_cost=0.06)

    assert isinstance(outcome.error, QuotaExceededError)
    assert batch.created == prompts[:3]
    assert batch.statuses == "succeeded succeeded succeeded failed failed"
    batch.start(*prompts, prices={"gpt-image-2": 0.04}, max_cost=0.2, try_number=2, max_tries=3)
    assert (batch.created, batch.statuses) == (prompts, " ".join(["succeeded"] * 5))


def test_edits_go_out_by_url_and_as_files(provider_batch: ProviderBatch, tmp_path: Path) -> None:
    batch = provider_batch
    batch.start("a kite")
    picture = Path(urlsplit(batch.rows[0]["files"][0]["uri"]).path)
    rows = [
        {"prompt": "bluer", "images": ["https://pictures.example/a.png"]},
        {"prompt": "redder", "images": [f"file://{tmp_path}/a.png"]},
    ]
    (tmp_path / "a.png").write_bytes(picture.read_bytes())
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = f"file://{tmp_path}/rows.jsonl"

    batch.another("edits")
    outcome = batch.start(requests_path=path)

    assert outcome.state == "success", outcome.error
    created = {entry["prompt"]: entry["references"] for entry in batch.image_service.stats()["created"]}
    assert created["bluer"] == ["https://pictures.example/a.png"]
    assert created["redder"] == [hashlib.sha256(picture.read_bytes()).hexdigest()]


class TestWait:
    def test_it_defers_with_the_ids_of_provider_batches_and_finishes_when_it_resumes(
        self, provider_batch: ProviderBatch
    ) -> None:
        batch = provider_batch
        batch.limited(provider_rows=2)
        undo = with_latency(batch.image_service, 3600)
        prompts = [f"kite {number}" for number in range(3)]
        arguments: dict[str, Any] = {"prompts": prompts, "deferrable": True}

        deferred = batch.start(**arguments)

        assert deferred.state == "deferred", deferred.error
        trigger = deferred.message.trigger_kwargs
        assert [each[:6] for each in trigger["image_task_ids"]] == ["batch_"] * 2
        assert not any("." in each for each in trigger["image_task_ids"])
        assert trigger["wake_at"] == 1
        assert batch.created == []
        assert batch.start(resume=deferred, **arguments).state == "deferred"
        batch.image_service.skip(3600)
        assert batch.start(resume=deferred, **arguments).state == "success"
        assert (batch.created, batch.batches) == (prompts, 2)
        undo()

    def test_a_batch_is_asked_for_once_a_minute_at_most(self, provider_batch: ProviderBatch) -> None:
        batch = provider_batch
        batch.limited(provider_interval=None)
        undo = with_latency(batch.image_service, 3600)

        deferred = batch.start("a kite", deferrable=True, poll_interval=2)

        # Questions come after 0.8 of it.
        assert deferred.message.trigger_kwargs["poll_interval"] * 0.8 >= 60
        assert batch.asked["status_queries"] == 0
        undo()

    def test_it_has_more_than_a_day(self, provider_batch: ProviderBatch) -> None:
        undo = with_latency(provider_batch.image_service, 3600)
        deferred = provider_batch.start("a kite", deferrable=True)

        trigger = deferred.message.trigger_kwargs
        assert trigger["deadline"] - trigger["asked_at"] > DAY
        undo()


class TestEnds:
    def test_an_expired_batch_delivers_what_is_done_and_has_the_rest_made_anew(
        self, provider_batch: ProviderBatch
    ) -> None:
        batch = provider_batch
        undo = with_latency(batch.image_service, 2 * DAY)
        prompts = [f"kite {number}" for number in range(4)]
        deferred = batch.start(*prompts, deferrable=True)
        batch.image_service.skip(DAY)
        undo()

        resumed = batch.start(*prompts, resume=deferred, deferrable=True)

        assert resumed.state == "deferred", resumed.error
        assert len(batch.created) == 2
        assert batch.start(*prompts, resume=resumed, deferrable=True).state == "success"
        assert (batch.created, batch.batches, batch.pictures) == (prompts, 2, 4)

    def test_rows_that_expire_again_and_again_fail_and_a_retry_has_them_made(
        self, provider_batch: ProviderBatch
    ) -> None:
        batch = provider_batch
        outcome = batch.start("a kite", "a boat [never]", deferrable=True)
        for _ in range(2):
            assert outcome.state == "deferred", outcome.error
            batch.image_service.skip(DAY)
            outcome = batch.start("a kite", "a boat [never]", resume=outcome, deferrable=True)

        assert outcome.state == "up_for_retry"
        assert batch.errors == [None, ("ServiceUnavailableError", "no")]
        assert batch.batches == 2
        assert batch.start("a kite", "a boat [never]", try_number=2, deferrable=True).state == "deferred"
        assert (batch.created, batch.batches) == (["a kite"], 3)

    def test_a_cancelled_batch_delivers_what_is_done_and_has_the_rest_made_anew(
        self, provider_batch: ProviderBatch
    ) -> None:
        batch = provider_batch
        undo = with_latency(batch.image_service, 3600)
        prompts = [f"kite {number}" for number in range(4)]
        deferred = batch.start(*prompts, deferrable=True)
        batch.image_service.skip(1800)
        (batch_id,) = deferred.message.trigger_kwargs["image_task_ids"]
        requests.post(f"{batch.image_service.url}/openai/v1/batches/{batch_id}/cancel", timeout=10)
        undo()

        outcome = batch.start(*prompts, resume=deferred)

        assert outcome.state == "success", outcome.error
        assert (batch.created, batch.batches, batch.asked["cancelled"]) == (prompts, 2, 1)

    def test_refused_rows_are_typed_and_only_a_clear_repeats_them(self, provider_batch: ProviderBatch) -> None:
        batch = provider_batch
        prompts = ["a kite", "a boat [refuse]", "a tree"]

        assert batch.start(*prompts).state == "failed"
        assert batch.errors == [None, ("ContentPolicyError", "no"), None]
        batch.start(*prompts, try_number=2)
        assert batch.batches == 1
        batch.start(*prompts, try_number=3, max_tries=4)
        assert (batch.batches, batch.created) == (2, ["a kite", "a tree"])

    def test_a_row_that_failed_at_no_cost_is_made_again_with_all_of_its_kind(
        self, provider_batch: ProviderBatch
    ) -> None:
        prompts = [f"kite {number} [429=1]" for number in range(3)]

        assert provider_batch.start(*prompts).state == "success"
        assert (provider_batch.created, provider_batch.batches) == (prompts, 2)

    def test_clear_of_a_successful_batch_makes_new_pictures(self, provider_batch: ProviderBatch) -> None:
        batch = provider_batch
        batch.start("a kite")
        batch.start("a kite", try_number=2)
        assert batch.created == ["a kite"]

        batch.start("a kite", try_number=2, max_tries=3)
        assert (batch.created, batch.batches) == (["a kite", "a kite"], 2)


class TestBudget:
    """0.01 USD for a picture in a batch, and money for three of them."""

    @pytest.fixture(autouse=True)
    def _budget(self, connection: dict[str, Any], account_store: str) -> None:
        connection["extra"] |= {"budget_per_day": "0.03 USD", "prices": {"gpt-image-2": "0.02 USD"}}

    def test_rows_go_out_for_as_long_as_there_is_money_and_the_rest_fails_unsubmitted(
        self, provider_batch: ProviderBatch, connection: dict[str, Any]
    ) -> None:
        prompts = [f"kite {number}" for number in range(5)]

        outcome = provider_batch.start(*prompts)

        assert isinstance(outcome.error, QuotaExceededError)
        assert provider_batch.created == prompts[:3]
        assert provider_batch.statuses == "succeeded succeeded succeeded failed failed"
        assert {(row["error"]["code"], row["error"]["billed"]) for row in provider_batch.rows[3:]} == {("budget", "no")}
        connection["extra"]["budget_per_day"] = "0.05 USD"
        provider_batch.start(*prompts, try_number=2, max_tries=3)
        assert (provider_batch.created, provider_batch.statuses) == (prompts, " ".join(["succeeded"] * 5))

    def test_another_batch_and_single_pictures_spend_of_the_same_budget(self, provider_batch: ProviderBatch) -> None:
        provider_batch.start("a kite", "a boat")
        provider_batch.another("second")

        assert provider_batch.start("a tree", "a town").state == "failed"
        assert provider_batch.created == ["a boat", "a kite", "a tree"]

    def test_a_batch_that_is_refused_in_validation_and_rows_that_fail_unbilled_are_given_back(
        self, provider_batch: ProviderBatch
    ) -> None:
        outcome = provider_batch.start("a kite", "a boat", "a tree [batch=invalid]")

        assert outcome.state == "failed"
        assert provider_batch.statuses == "succeeded succeeded failed"
        provider_batch.another("refused rows")
        provider_batch.start("[refuse] a kite")
        provider_batch.another("last")
        assert provider_batch.start("a town").state == "success"

    def test_a_model_without_a_known_price_is_not_submitted(
        self, provider_batch: ProviderBatch, connection: dict[str, Any]
    ) -> None:
        connection["extra"]["prices"] = {"another": "0.02 USD"}

        outcome = provider_batch.start("a kite", options={})

        assert outcome.state == "failed"
        assert provider_batch.batches == 0
        assert "the price of a picture of gpt-image-2 is not known" in provider_batch.rows[0]["error"]["message"]

    def test_what_cannot_be_counted_is_not_submitted(
        self, provider_batch: ProviderBatch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(row_places, "PATIENCE", 0.0)
        monkeypatch.setenv("AIRFLOW__IMAGETASKS__ACCOUNT_STORE", "sqlite:////nowhere/accounts.sqlite")

        outcome = provider_batch.start("a kite")

        assert (outcome.state, outcome.error.code) == ("up_for_retry", "account_store")  # type: ignore[union-attr]
        assert provider_batch.batches == 0


class TestBadArguments:
    def test_a_row_with_options_of_a_response_is_refused_before_anything_is_billed(
        self, provider_batch: ProviderBatch
    ) -> None:
        outcome = provider_batch.start("a kite", options={"response": {"model": "gpt-6-luna"}})

        assert isinstance(outcome.error, InvalidRequestError)
        assert provider_batch.batches == 0

    def test_another_mode_than_that_of_the_first_start_is_refused(self, provider_batch: ProviderBatch) -> None:
        batch = provider_batch
        undo = with_latency(batch.image_service, 3600)
        batch.start("a kite", deferrable=True)

        outcome = batch.start("a kite", mode="tasks", try_number=2)

        assert "was started with mode='provider_batch'" in str(outcome.error)
        assert batch.image_service.stats()["dialects"]["openai"]["submissions"] == 0
        undo()
