"""Before a request of a submission leaves, a start looks whether it is still the one that may send it."""

from __future__ import annotations

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services.wire import Flow, Request, ask, pause
from airflow_provider_imagetasks.submissions.departure import LOOK_SECONDS, Departure, HeldBackError
from airflow_provider_imagetasks.tasks import ImageTask, TaskState
from tests.flow_driver import NOW, DrivenFlow, drive, response

REPLACED = ImageTaskError("another start took over", code="replaced", billed="no")
TASK = ImageTask(id="an-id", service="easel", state=TaskState.RUNNING)


def submission(*pauses: float) -> Flow[ImageTask]:
    """Ask once after each pause, as after a wait for the rate, or a refusal that may be repeated."""
    for seconds in pauses:
        yield from pause(seconds)
        yield from ask(Request(method="POST", path="/"))
    return TASK


def driven(departure: Departure, flow: Flow[ImageTask], *, intended_at: float = NOW) -> DrivenFlow:
    """Drive a watched submission; the result is its image task, or why it was held back."""

    def watched() -> Flow[ImageTask | HeldBackError]:
        try:
            return (yield from departure.watched(flow, intended_at=intended_at))
        except HeldBackError as held:
            return held

    return drive(watched(), otherwise=response({}))


def moments(times: list[float]) -> list[float]:
    return [time - NOW for time in times]


def fine() -> None:
    """Find nothing."""


def replaced() -> None:
    raise REPLACED


@pytest.mark.parametrize(
    ("pauses", "age", "looked"),
    [
        pytest.param((0,), 0, [], id="it was written down a moment ago"),
        pytest.param((0,), LOOK_SECONDS + 1, [0], id="frozen before the request"),
        pytest.param((30,), 0, [30], id="it waited for its rate"),
        pytest.param((0, 60, 60), 0, [60, 120], id="refused for a while, and made again"),
        pytest.param((30, 1), 0, [30], id="the last look is of this moment"),
        pytest.param((0,), -3600, [0], id="the clock was set back"),
    ],
)
def test_it_looks_before_each_request_unless_it_did_a_moment_ago(
    pauses: tuple[float, ...], age: float, looked: list[float]
) -> None:
    done = driven(Departure(fine), submission(*pauses), intended_at=NOW - age)

    assert moments(done.blocked_at) == looked
    assert done.result is TASK
    assert len(done.requests) == len(pauses)


@pytest.mark.parametrize(("pauses", "left"), [((30,), []), ((0, 60), [0])])
def test_a_start_that_was_replaced_lets_nothing_more_leave_and_says_whether_something_had(
    pauses: tuple[float, ...], left: list[float]
) -> None:
    held = driven(Departure(replaced), submission(*pauses))

    assert moments(held.requested_at) == left
    assert (held.result.why, held.result.has_left) == (REPLACED, bool(left))


def test_one_look_serves_all_that_leave_in_that_moment() -> None:
    departure = Departure(fine)
    first, second = (driven(departure, submission(30)) for _ in range(2))

    assert (moments(first.blocked_at), second.blocked_at) == ([30], [])


@pytest.mark.parametrize(
    ("pauses", "stops_after", "left"),
    [
        pytest.param((30,), 0, [], id="while it waited for its rate"),
        pytest.param((0, 60), 1, [0, 60], id="one that may have been taken goes on to its end"),
    ],
)
def test_once_all_are_stopped_nothing_begins_to_leave(
    pauses: tuple[float, ...], stops_after: int, left: list[float]
) -> None:
    departure = Departure(fine)

    def stopped() -> Flow[ImageTask]:
        for number, seconds in enumerate(pauses):
            departure.is_stopped = number >= stops_after
            yield from submission(seconds)
        return TASK

    done = driven(departure, stopped())

    assert moments(done.requested_at) == left
    assert (done.result is TASK) == bool(left)


def test_what_was_written_down_too_long_ago_does_not_leave_by_that() -> None:
    departure = Departure(fine, longest_intent=300)

    assert driven(departure, submission(0), intended_at=NOW - 300).result is TASK
    assert isinstance(driven(departure, submission(0), intended_at=NOW - 301).result, HeldBackError)
    # What has left is not held back by its age: it may have been taken.
    assert driven(departure, submission(0, 400)).result is TASK
