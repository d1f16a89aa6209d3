"""A submission of a batch whose outcome nobody knew is looked for once more by a Clear, before it is paid for again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_imagetasks.batch import row_searches
from airflow_provider_imagetasks.batch.batch_ledger import BatchLedger
from airflow_provider_imagetasks.exceptions import ContentPolicyError, UnknownOutcomeError
from airflow_provider_imagetasks.services.tasks_api import TasksApiService
from airflow_provider_imagetasks.services.wire import Flow
from tests.image_batch import ImageBatch, Killed
from tests.scripted_server import ReceivedRequest, Reply
from tests.status_route import StatusRoute

CLEAR: dict[str, Any] = {"try_number": 3, "max_tries": 5}
CLEAR_AGAIN: dict[str, Any] = {"try_number": 6, "max_tries": 8}
FINDS = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has the service find nothing by its trace id, until it is told that it may."""
    find = TasksApiService.find_by_trace_ids
    hides = [True]

    def found(self: TasksApiService, trace_ids: Any) -> Flow[Any]:
        tasks = yield from find(self, trace_ids)
        return [] if hides[0] else tasks

    monkeypatch.setattr(TasksApiService, "find_by_trace_ids", found)
    return hides


def lost_and_refused(
    batch: ImageBatch, route: StatusRoute, monkeypatch: pytest.MonkeyPatch, *prompts: str, **arguments: Any
) -> None:
    """Kill a start when the service has taken its rows, and have the next one refused, which makes them again."""

    def killed(*_arguments: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(BatchLedger, "settle", killed)
        assert isinstance(batch.start(*prompts).error, Killed)
    hand_on = route.server.otherwise
    route.server.otherwise = lambda request: (
        Reply({"code": 402, "msg": "no credits"}) if request.method == "POST" else hand_on(request)
    )
    assert isinstance(batch.start(*prompts, **arguments).error, UnknownOutcomeError)
    route.server.otherwise = hand_on


@FINDS
def test_what_the_service_knows_by_then_is_not_paid_for_again(batch: ImageBatch, forgetful: Any) -> None:
    lost = batch.start("a kite [cut-after=1]")
    forgetful[0] = False

    assert isinstance(lost.error, UnknownOutcomeError)
    assert "Clear looks for what was submitted before it pays for anything" in str(lost.error)
    assert batch.start(**CLEAR, prompts=["a kite"]).state == "success"
    assert batch.created == ["a kite [cut-after=1]"]


@FINDS
def test_what_it_still_does_not_know_is_submitted_at_once(batch: ImageBatch, forgetful: Any) -> None:
    batch.start("a kite [cut-after=1]")
    batch.limits = batch.limits.__class__(idle=0.5, not_found_grace=600)

    assert batch.start(**CLEAR, prompts=["a kite"]).state == "success"
    assert batch.created == ["a kite [cut-after=1]"] * 2


@FINDS
def test_a_refusal_after_a_clear_says_nothing_of_what_was_told_before_it(
    batch: ImageBatch, forgetful: Any, route: StatusRoute
) -> None:
    batch.start("a kite [cut-after=1]")
    hand_on = route.server.otherwise

    def refused(request: ReceivedRequest) -> Any:
        is_submission = request.path.endswith("/generations")
        return Reply({"error": {"code": "forbidden"}}, 403) if is_submission else hand_on(request)

    route.server.otherwise = refused

    for how in (CLEAR, CLEAR_AGAIN):
        outcome = batch.start(**how, prompts=["a kite"])
        assert isinstance(outcome.error, ContentPolicyError)
        assert outcome.error.billed == "no"


@pytest.mark.parametrize("service_name", ["aigptimage"], indirect=True)
@pytest.mark.parametrize("rate", [None, "1/1s"], ids=["refused", "held back"])
def test_what_was_refused_as_it_went_out_again_goes_out_under_its_key_once_more(
    batch: ImageBatch, route: StatusRoute, monkeypatch: pytest.MonkeyPatch, rate: str | None
) -> None:
    lost_and_refused(batch, route, monkeypatch, "a", "b", "c", submit_rate=rate)

    assert batch.start("a", "b", "c", **CLEAR).state == "success"
    assert batch.created == ["a", "b", "c"]


@pytest.mark.parametrize("service_name", ["aigptimage"], indirect=True)
def test_the_hour_of_its_key_is_counted_from_when_it_left_first(
    batch: ImageBatch, route: StatusRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost_and_refused(batch, route, monkeypatch, "a")
    asked: list[float] = []

    def is_recognised(first_at: float, _now: float) -> bool:
        asked.append(first_at)
        return False

    monkeypatch.setattr(row_searches, "is_recognised", is_recognised)

    batch.start("a", **CLEAR)

    lines = [line for path in batch.folder.glob("intents-*") for line in path.read_text().splitlines()[1:]]
    assert asked == [min(json.loads(line)["at"] for line in lines)]


@pytest.mark.parametrize("service_name", ["kie"], indirect=True)
def test_where_the_service_cannot_tell_a_clear_submits_and_says_so(batch: ImageBatch) -> None:
    lost = batch.start("a kite [cut-after=1]")

    assert "Clear submits the failed rows again" in str(lost.error)
    assert batch.start(**CLEAR, prompts=["a kite"]).state == "success"
    assert batch.created == ["a kite [cut-after=1]"] * 2
