"""Batches over MCP servers: what ends one row, and what ends the batch."""

from __future__ import annotations

import pytest

from airflow_provider_imagetasks.exceptions import AuthenticationError, QuotaExceededError
from tests.image_batch import ImageBatch

SMALL = {"size": "64x64"}
TWELVE = [f"kite {number}" for number in range(12)]


@pytest.mark.parametrize("service_name", ["acedatacloud_mcp", "gpt_image_mcp"], indirect=True)
def test_one_refused_prompt_is_one_failed_row(batch: ImageBatch) -> None:
    prompts = [*TWELVE[:5], "kite [refuse]", *TWELVE[6:]]

    outcome = batch.start(*prompts, max_failed=1, options=SMALL, poll_interval=1)

    assert outcome.state == "success", outcome.error
    (failed,) = [row for row in batch.rows if row["status"] == "failed"]
    assert (failed["index"], failed["error"]["class"], failed["error"]["billed"]) == (5, "ContentPolicyError", "no")


@pytest.mark.parametrize("service_name", ["acedatacloud_mcp", "gpt_image_mcp"], indirect=True)
@pytest.mark.parametrize(
    ("directive", "error"), [("expired-key", AuthenticationError), ("no-credit", QuotaExceededError)]
)
def test_a_dead_key_or_an_empty_balance_ends_the_batch_and_not_each_row(
    batch: ImageBatch, service_name: str, directive: str, error: type[Exception]
) -> None:
    prompts = [f"{prompt} [{directive}]" for prompt in TWELVE]

    outcome = batch.start(*prompts, max_active_tasks=2, options=SMALL, poll_interval=1)

    assert (outcome.state, isinstance(outcome.error, error)) == ("failed", True), outcome
    assert batch.image_service.stats()["dialects"][service_name]["submissions"] <= 4
    assert {row["error"]["billed"] for row in batch.rows} == {"no"}
