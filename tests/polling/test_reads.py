"""The reads of a worker: the engine for status questions as a flow, until each is answered once."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    InvalidRequestError,
    RateLimitError,
)
from airflow_provider_imagetasks.polling.reads import read_all, read_moved
from airflow_provider_imagetasks.polling.status_requests import FAILED_READS
from airflow_provider_imagetasks.services.rates import Pace, Rate, Window
from airflow_provider_imagetasks.tasks import ImageTask, TaskState
from tests.flow_driver import NOW, DrivenFlow, drive, response
from tests.polling.conftest import ScriptedService, down


def read(service: ScriptedService, *ids: str, pace: Pace | None = None, answers: int) -> DrivenFlow:
    return drive(read_all(service, pace or Pace(None), ids), *[response({})] * answers)


def test_a_worker_reads_group_by_group_and_gets_them_in_its_own_order() -> None:
    service = ScriptedService(2, "succeeded")

    driven = read(service, "c", "a", "b", "a", answers=2)

    assert service.asked == [["c", "a"], ["b"]]
    assert list(driven.result) == ["c", "a", "b"]
    assert driven.pauses == []


def test_five_hundred_ids_at_a_service_of_one_id_a_request_are_read_within_its_rate() -> None:
    driven = read(ScriptedService(1), *map(str, range(500)), pace=Pace(Rate((Window(8, 1),))), answers=500)

    assert sum(driven.pauses) == pytest.approx(500 / 8, rel=0.05)


def test_a_failed_read_of_a_worker_is_made_again_with_growing_pauses() -> None:
    driven = read(ScriptedService(50, *[down()] * 4, "running"), "a", answers=5)

    assert driven.error is None
    assert [int(seconds) for seconds in driven.pauses] == [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("error", "requests"),
    [
        (down(), FAILED_READS),
        (InvalidRequestError("no luck"), 1),
        (AuthenticationError("who?"), 1),
        (RateLimitError("slowly", retry_after=1), FAILED_READS),
        (RateLimitError("come back tomorrow", retry_after=3_600), 1),
    ],
    ids=["down", "refused", "key", "again and again too fast", "for longer than a worker waits"],
)
def test_a_read_that_cannot_be_made_fails_with_its_error(error: ImageTaskError, requests: int) -> None:
    driven = read(ScriptedService(50, error), "a", answers=requests)

    assert driven.error is error


def test_a_read_waits_no_longer_for_a_service_than_it_has_patience() -> None:
    pace = Pace(None)
    pace.pause_until(NOW + 20)

    impatient = drive(read_all(ScriptedService(50), pace, ["a"], patience=19))
    patient = drive(read_all(ScriptedService(50), pace, ["a"], patience=20), response({}))

    assert isinstance(impatient.error, RateLimitError)
    assert (impatient.error.retry_after, impatient.error.billed) == (20, "unknown")
    assert (patient.pauses, patient.error) == ([20], None)


def test_what_has_had_no_turn_when_nobody_waits_any_more_is_left_out() -> None:
    pace = Pace(Rate((Window(1, 600),)))

    first = drive(read_all(ScriptedService(1), pace, ["a", "b"], until=NOW + 60), response({}))
    later = drive(read_all(ScriptedService(1), pace, ["a"], until=NOW - 5))
    patient = drive(read_all(ScriptedService(1), pace, ["a"], until=NOW + 700), response({}))

    assert (list(first.result), first.pauses) == (["a"], [])
    assert (later.result, later.pauses) == ({}, [])
    assert sum(patient.pauses) == pytest.approx(600, rel=0.05)


def test_a_worker_does_not_wait_for_long_to_read_once_more_what_expired() -> None:
    pace = Pace(Rate((Window(1, 600),)))
    task = ImageTask(id="a", service="local", state=TaskState.SUCCEEDED)
    pace.count(NOW)

    driven = drive(read_moved(ScriptedService(1), pace, [task]))

    assert (driven.result, driven.pauses) == ([], [])


def test_the_one_of_many_that_cannot_be_read_is_named() -> None:
    refused = InvalidRequestError("no luck")

    driven = read(ScriptedService(50, InvalidRequestError("one of you"), "running", refused), "a", "b", answers=3)

    assert driven.error is refused
    assert refused.image_task_id == "b"


def test_a_read_ends_with_the_first_answer_that_is_enough() -> None:
    service = ScriptedService(2)

    driven = drive(read_all(service, Pace(None), "abcdef", enough=lambda task: task.id == "d"), *[response({})] * 2)

    assert list(driven.result) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("readings", "how", "state", "pauses"),
    [
        pytest.param(["not_found"], {}, "not_found", [], id="one that nobody vouches for"),
        pytest.param(["not_found"] * 3, {"insists": True}, "not_found", [1, 2], id="one that somebody was told of"),
        pytest.param(["not_found", "running"], {"insists": True}, "running", [1], id="a hiccup"),
        pytest.param(["not_found", "running"], {"known": ["a"]}, "running", [1], id="a hiccup after its record"),
        pytest.param(["not_found"] * 3, {"known": ["a"]}, None, [1, 2], id="its record was read, so it is left out"),
    ],
)
def test_that_there_is_none_is_believed_by_what_is_known_of_it(
    readings: list[str], how: dict[str, Any], state: str | None, pauses: list[float]
) -> None:
    service = ScriptedService(50, *readings)

    driven = drive(read_all(service, Pace(None), ["a"], **how), *[response({})] * len(readings))

    assert [task.state for task in driven.result.values()] == ([state] if state else [])
    assert driven.pauses == pauses
