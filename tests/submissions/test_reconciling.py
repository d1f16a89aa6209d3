from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.kie import Kie
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.submissions.reconciling import (
    LOOK_PAUSES,
    find_submission,
    is_recognised,
    reconcile_group,
)
from airflow_provider_imagetasks.submissions.submission_record import SubmissionRecord
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState
from tests.flow_driver import NOW, DrivenFlow, drive, response

KEY = "0123456789abcdef"
REQUEST = ImageRequest(prompt="a kite", model="gpt-image-2")
RECORD = SubmissionRecord(fingerprint="f", generation=0, max_tries=2, intent_at=NOW - 3_000, trace_id=KEY)


def item(image_task_id: str = "task-1", **fields: Any) -> dict[str, Any]:
    return {
        "id": image_task_id,
        "trace_id": KEY,
        "created_at": RECORD.intent_at + 1,
        "request": {"model": "gpt-image-2", "prompt": "a kite"},
        **fields,
    }


def ask(
    *answers: list[dict[str, Any]],
    service: str = "acedatacloud",
    record: SubmissionRecord = RECORD,
    request: ImageRequest = REQUEST,
    sent_by: float = RECORD.intent_at,
) -> DrivenFlow:
    flow = find_submission(get_service(service), request, record, key=KEY, sent_by=sent_by)
    return drive(flow, *(response({"items": items, "count": len(items)}) for items in answers))


@pytest.mark.parametrize("service", ["acedatacloud", "xhuoapi"])
def test_the_one_record_with_our_trace_id_is_ours(service: str) -> None:
    driven = ask([item(), item("task-2", trace_id="somebody-else")], service=service)

    assert driven.result.id == "task-1"
    (request,) = driven.requests
    assert (request.body["action"], request.body["trace_ids"]) == ("retrieve_batch", [KEY])


@pytest.mark.parametrize("items", [[], [item(trace_id=None)], [item(trace_id="else")], [item(), item("task-2")]])
def test_none_and_several_are_no_answer(items: list[dict[str, Any]]) -> None:
    assert ask(items).result is None


def test_a_service_that_may_still_be_writing_it_down_is_asked_again() -> None:
    driven = ask([], [], [item()], sent_by=NOW - 30)

    assert driven.result.id == "task-1"
    assert driven.pauses == list(LOOK_PAUSES[:2])


class FindsOne(Kie):
    """A service that only reads one image task by its trace id."""

    finds_by_trace_id = True

    def read_by_trace_id(self, trace_id: str) -> Flow[ImageTask]:
        yield from ()
        state = TaskState.RUNNING if trace_id == KEY else TaskState.NOT_FOUND
        return ImageTask(id="task-1", service=self.name, state=state, trace_id=trace_id)


def test_a_service_that_only_reads_one_by_its_trace_id_is_asked_for_each() -> None:
    findings = drive(reconcile_group(FindsOne(), [KEY, "another"], known=None)).result

    assert {key: task.id for key, task in findings.found.items()} == {KEY: "task-1"}


def test_a_trace_id_of_the_users_own_needs_the_same_request_and_time() -> None:
    record, request = replace(RECORD, trace_id="order-17"), replace(REQUEST, trace_id="order-17")
    ours = item(trace_id="order-17")
    older = item("task-0", trace_id="order-17", created_at=record.intent_at - 61)
    another = item("task-2", trace_id="order-17", request={"model": "gpt-image-2", "prompt": "a boat"})
    undated = item("task-3", trace_id="order-17", created_at=None)

    driven = ask([older, another, undated, ours], record=record, request=request)

    assert driven.result.id == "task-1"


# An intent in the future is of a worker with another clock: nobody knows how old it is.
@pytest.mark.parametrize(("age", "expected"), [(30, True), (3_500, True), (3_601, False), (-30, True), (-1_800, False)])
def test_a_service_that_remembers_keys_may_be_sent_the_same_again_within_an_hour(age: float, expected: bool) -> None:
    assert is_recognised(NOW - age, NOW) is expected
