"""Creations and ends of provider batches that are odd: what may have been paid for is not paid for again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.provider_batch import ProviderBatch
from tests.scripted_batches import ScriptedBatches, made, result, text
from tests.scripted_server import CutAfterReading, ReceivedRequest, Reply, Step

pytestmark = pytest.mark.parametrize("service_name", ["openai"], indirect=True)
PROMPTS = ["a boat", "a kite", "a tree"]


def test_an_older_answer_to_a_creation_is_not_taken_for_its_own(
    provider_batch: ProviderBatch, service: ScriptedBatches
) -> None:
    def repeated(request: ReceivedRequest) -> Step | None:
        if request.method != "POST" or not request.path.endswith("/batches"):
            return None
        service.usual(request)
        return Reply({**service.batches["batch_0"], "status": "validating"})

    service.answer = repeated
    provider_batch.limited(provider_rows=2)

    outcome = provider_batch.start(*PROMPTS)

    assert outcome.state == "success", outcome.error
    assert service.prompts == PROMPTS
    assert [row["image_task_id"] for row in provider_batch.rows] == ["batch_0.1", "batch_0.2", "batch_1.1"]


ENDS: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "it counts no picture, and has lost the file of them": (
        {"status": "expired", "request_counts": {"total": 3, "completed": 0, "failed": 0}},
        ("ResultExpiredError", "yes"),
    ),
    "it failed after it was validated, and counts nothing": (
        {"status": "failed", "in_progress_at": 2, "output_file_id": None, "request_counts": None},
        ("ImageTaskFailedError", "unknown"),
    ),
}


@pytest.mark.parametrize(("record", "expected"), ENDS.values(), ids=ENDS)
def test_of_a_batch_that_may_have_made_pictures_none_is_made_again(
    provider_batch: ProviderBatch, service: ScriptedBatches, record: dict[str, Any], expected: tuple[str, str]
) -> None:
    service.results = lambda _lines: None
    service.record = lambda _lines: record

    provider_batch.start(*PROMPTS)

    assert (provider_batch.errors, service.prompts) == ([expected] * 3, PROMPTS)


def test_an_error_with_tokens_in_its_line_may_be_billed(
    provider_batch: ProviderBatch, service: ScriptedBatches
) -> None:
    body = {"error": {"code": "server_error", "message": "late"}, "usage": {"total_tokens": 7}}
    late = {"status_code": 500, "body": body}
    service.results = lambda lines: text([made(lines[0]), result(lines[1]["custom_id"], late), made(lines[2])])

    provider_batch.start(*PROMPTS)

    assert provider_batch.errors == [None, ("ServiceUnavailableError", "unknown"), None]
    assert service.prompts == PROMPTS


def test_of_two_batches_that_were_created_of_one_request_the_first_is_used_and_no_third_is_paid_for(
    provider_batch: ProviderBatch, service: ScriptedBatches
) -> None:
    def doubled(request: ReceivedRequest) -> Step | None:
        if request.method != "POST" or not request.path.endswith("/batches"):
            return None
        for _ in range(2):
            service.usual(request)
        return CutAfterReading()

    service.answer = doubled

    assert provider_batch.start(*PROMPTS).state == "success"
    assert len(service.created) == 2
    assert {row["image_task_id"].partition(".")[0] for row in provider_batch.rows} == {"batch_0"}


def test_an_answer_to_the_creation_of_something_else_is_not_taken_for_its_own(
    provider_batch: ProviderBatch, service: ScriptedBatches
) -> None:
    other = {"id": "batch_of_others", "status": "validating", "metadata": {"imagetasks_key": "k"}}

    def repeated(request: ReceivedRequest) -> Step | None:
        if request.method != "POST" or not request.path.endswith("/batches"):
            return None
        service.usual(request)
        return Reply(other)

    service.answer = repeated

    outcome = provider_batch.start(*PROMPTS)

    assert outcome.state == "success", outcome.error
    assert service.prompts == PROMPTS
