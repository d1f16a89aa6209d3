from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.submissions.reconciling import Outcome, Reconciliation, reconcile
from airflow_provider_imagetasks.submissions.records import SubmissionRecord
from airflow_provider_imagetasks.tasks import ImageRequest
from tests.flow_driver import drive, response

NOW = 1_790_000_000.0
KEY = "0123456789abcdef"
REQUEST = ImageRequest(prompt="a kite", model="gpt-image-2")
RECORD = SubmissionRecord(fingerprint="f", generation=0, max_tries=2, intent_at=NOW - 30, trace_id=KEY)


def item(image_task_id: str = "task-1", **fields: Any) -> dict[str, Any]:
    return {
        "id": image_task_id,
        "trace_id": KEY,
        "created_at": NOW - 29,
        "request": {"model": "gpt-image-2", "prompt": "a kite"},
        **fields,
    }


def ask(
    service: str, *items: dict[str, Any], record: SubmissionRecord = RECORD, request: ImageRequest = REQUEST
) -> Any:
    flow = reconcile(get_service(service), request, record, key=KEY, now=NOW)
    answers = [response({"items": list(items), "count": len(items)})] if service in ("acedatacloud", "xhuoapi") else []
    return drive(flow, *answers)


@pytest.mark.parametrize("service", ["acedatacloud", "xhuoapi"])
def test_the_one_record_with_our_trace_id_is_ours(service: str) -> None:
    driven = ask(service, item(), item("task-2", trace_id="somebody-else"))

    assert (driven.result.outcome, driven.result.task.id) == (Outcome.FOUND, "task-1")
    assert driven.requests[0].body["action"] == "retrieve_batch"
    assert driven.requests[0].body["trace_ids"] == [KEY]


@pytest.mark.parametrize("items", [[], [item(trace_id=None)], [item(trace_id="else")], [item(), item("task-2")]])
def test_none_and_several_are_no_answer(items: list[dict[str, Any]]) -> None:
    assert ask("acedatacloud", *items).result == Reconciliation(Outcome.UNKNOWN)


def test_a_trace_id_of_the_users_own_needs_the_same_request_and_time() -> None:
    record, request = replace(RECORD, trace_id="order-17"), replace(REQUEST, trace_id="order-17")
    ours = item(trace_id="order-17")
    older = item("task-0", trace_id="order-17", created_at=record.intent_at - 61)
    another = item("task-2", trace_id="order-17", request={"model": "gpt-image-2", "prompt": "a boat"})
    undated = item("task-3", trace_id="order-17", created_at=None)

    driven = ask("acedatacloud", older, another, undated, ours, record=record, request=request)

    assert driven.result.task.id == "task-1"


@pytest.mark.parametrize(
    ("age", "outcome"), [(30, Outcome.REPEATABLE), (3_500, Outcome.REPEATABLE), (3_601, Outcome.UNKNOWN)]
)
def test_a_service_that_remembers_keys_may_be_sent_the_same_again_within_an_hour(age: float, outcome: Outcome) -> None:
    driven = ask("aigptimage", record=replace(RECORD, intent_at=NOW - age))

    assert driven.result == Reconciliation(outcome)
    assert driven.requests == []


def test_a_service_that_can_tell_nothing_is_not_asked() -> None:
    driven = ask("kie")

    assert driven.result == Reconciliation(Outcome.UNKNOWN)
    assert driven.requests == []
