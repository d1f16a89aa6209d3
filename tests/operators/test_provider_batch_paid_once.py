"""Provider batches whose start is killed, or whose answers are lost, at every step: each row is paid for once."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_imagetasks.batch.batch_ledger import BatchLedger
from airflow_provider_imagetasks.batch.provider import run as run_of_batch
from airflow_provider_imagetasks.batch.provider.questions import ProviderQuestions
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.exceptions import QuotaExceededError, UnknownOutcomeError
from airflow_provider_imagetasks.files import picture_store
from airflow_provider_imagetasks.services.openai_batches import OpenAIBatches
from tests.image_batch import Killed
from tests.provider_batch import DAY, ProviderBatch, with_latency

pytestmark = pytest.mark.parametrize("service_name", ["openai"], indirect=True)
Patch = pytest.MonkeyPatch
PROMPTS = [f"kite {number}" for number in range(6)]


@pytest.fixture
def written(monkeypatch: Patch) -> Counter[str]:
    """How often each picture was put in its place."""
    counts, put_in_place = Counter[str](), picture_store.put_in_place

    def put(content: Any, folder: Any, name: str) -> None:
        put_in_place(content, folder, name)
        counts[name] += 1

    monkeypatch.setattr(picture_store, "put_in_place", put)
    return counts


def killed_in(owner: Any, name: str, patch: Patch, *, after: int = 0) -> None:
    """Have a start killed in one of its functions, when it was called so many times; nothing is written after that."""
    real, calls = getattr(owner, name), 0

    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls <= after:
            return real(*arguments, **named)
        patch.setattr(BatchLedger, "flush", lambda _ledger: None)
        patch.setattr(BatchLedger, "settle", lambda *_arguments: None)
        raise Killed

    patch.setattr(owner, name, call)


STEPS: dict[str, tuple[Any, str, int]] = {
    "before anything was written down": (BatchLedger, "intend", 0),
    "before the upload": (OpenAIBatches, "upload", 0),
    "between upload and creation": (OpenAIBatches, "create", 0),
    "between the second upload and its creation": (OpenAIBatches, "create", 1),
    "after the creation, before its id was written down": (BatchLedger, "settle", 0),
    "after the second creation, before its id was written down": (BatchLedger, "settle", 1),
    "while it waits": (ProviderQuestions, "outcomes", 3),
    "before the results are read": (OpenAIBatches, "content_request", 0),
    "between two rows of the results": (run_of_batch, "deliver", 2),
    "before the end of rows was written down": (BatchLedger, "flush", 0),
    "before the manifest is written": (OpenBatch, "finish", 0),
}


@pytest.mark.parametrize(("owner", "name", "after"), STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("kind", ["retry", "Clear"])
def test_a_start_that_is_killed_pays_nothing_twice_and_loses_nothing(
    provider_batch: ProviderBatch,
    monkeypatch: Patch,
    written: Counter[str],
    owner: Any,
    name: str,
    after: int,
    kind: str,
) -> None:
    batch = provider_batch
    batch.limited(provider_rows=3)
    with monkeypatch.context() as patch:
        killed_in(owner, name, patch, after=after)
        assert isinstance(batch.start(*PROMPTS).error, Killed)

    again = {"try_number": 2} if kind == "retry" else {"try_number": 2, "max_tries": 4}
    outcome = batch.start(*PROMPTS, **again)

    assert outcome.state == "success", outcome.error
    assert (batch.created, batch.asked["created"]) == (PROMPTS, 6)
    assert batch.statuses == " ".join(["succeeded"] * 6)
    assert set(written.values()) == {1}
    assert len(written) == 6


@pytest.mark.parametrize("directive", ["cut-after", "500-after", "garbage"])
def test_a_creation_whose_answer_is_lost_is_found_by_its_key(provider_batch: ProviderBatch, directive: str) -> None:
    prompts = ["a boat", f"a kite [{directive}=1]"]

    assert provider_batch.start(*prompts).state == "success"
    assert (provider_batch.created, provider_batch.batches) == (prompts, 1)


def test_a_creation_that_never_arrived_is_made_again_once_the_service_lists_none(
    provider_batch: ProviderBatch,
) -> None:
    prompts = ["a boat", "a kite [batch=cut,times=1]"]

    assert provider_batch.start(*prompts).state == "success"
    assert (provider_batch.created, provider_batch.batches) == (prompts, 2)


def test_a_creation_that_hangs_is_left_to_be_found_when_the_execution_timeout_is_over(
    provider_batch: ProviderBatch,
) -> None:
    prompts = ["a boat", "a kite [hang-after=1]"]
    began_at = time.time()
    over = provider_batch.start(*prompts, execution_timeout=timedelta(seconds=2))

    assert time.time() - began_at < 25
    assert "execution_timeout (2 s) is over" in str(over.error)
    assert provider_batch.start(*prompts, try_number=2).state == "success"
    assert (provider_batch.created, provider_batch.batches) == (prompts, 1)


def test_with_another_key_nobody_can_tell_and_only_a_clear_submits(
    provider_batch: ProviderBatch, connection: dict[str, Any], monkeypatch: Patch
) -> None:
    batch = provider_batch
    with monkeypatch.context() as patch:
        killed_in(OpenAIBatches, "create", patch)
        batch.start("a kite")
    connection["password"] = "another-key-of-the-tests"

    assert isinstance(batch.start("a kite", try_number=2).error, UnknownOutcomeError)
    assert batch.batches == 0
    assert batch.start("a kite", try_number=3, max_tries=5).state == "success"
    assert batch.created == ["a kite"]


def test_a_quota_that_is_used_up_after_the_upload_costs_nothing_and_a_clear_goes_on(
    provider_batch: ProviderBatch,
) -> None:
    batch = provider_batch
    prompts = ["a boat", "a kite [batch=no-quota,times=1]"]

    assert isinstance(batch.start(*prompts).error, QuotaExceededError)
    assert batch.errors == [("QuotaExceededError", "no")] * 2
    assert batch.start(*prompts, try_number=2, max_tries=4).state == "success"
    assert (batch.created, batch.batches) == (prompts, 2)


def test_a_start_that_was_replaced_before_its_creation_creates_nothing(
    provider_batch: ProviderBatch, monkeypatch: Patch
) -> None:
    batch = provider_batch
    upload = OpenAIBatches.upload

    def replaced_meanwhile(self: OpenAIBatches, *arguments: Any) -> Any:
        file_id = yield from upload(self, *arguments)
        # As another start does, which took this one for dead.
        (checkpoint,) = Path(urlsplit(batch.output_folder).path).glob(".imagetasks/*/life.json")
        checkpoint.write_text(checkpoint.read_text().replace('"start":"', '"start":"other-'))
        return file_id

    with monkeypatch.context() as patch:
        patch.setattr(OpenAIBatches, "upload", replaced_meanwhile)
        outcome = batch.start("a kite")

    assert "Another process" in str(outcome.error)
    assert batch.batches == 0


def test_an_expired_batch_whose_start_is_killed_while_the_rest_is_made_anew_pays_nothing_twice(
    provider_batch: ProviderBatch, monkeypatch: Patch
) -> None:
    batch = provider_batch
    undo = with_latency(batch.image_service, 2 * DAY)
    deferred = batch.start(*PROMPTS, deferrable=True)
    batch.image_service.skip(DAY)
    undo()
    with monkeypatch.context() as patch:
        killed_in(OpenAIBatches, "create", patch)
        assert isinstance(batch.start(*PROMPTS, resume=deferred).error, Killed)
    with monkeypatch.context() as patch:
        killed_in(BatchLedger, "settle", patch)
        assert isinstance(batch.start(*PROMPTS, try_number=2).error, Killed)

    assert batch.start(*PROMPTS, try_number=3).state == "success"
    assert (batch.created, batch.asked["created"]) == (PROMPTS, 6)


def test_a_clear_of_a_deferred_batch_goes_on_with_it(provider_batch: ProviderBatch) -> None:
    batch = provider_batch
    undo = with_latency(batch.image_service, 3600)
    batch.start(*PROMPTS, deferrable=True)
    batch.image_service.skip(3600)

    outcome = batch.start(*PROMPTS, try_number=2, max_tries=4)

    assert outcome.state == "success", outcome.error
    assert (batch.created, batch.batches) == (PROMPTS, 1)
    undo()
