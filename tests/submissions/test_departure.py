"""Before a request of a submission leaves, a start looks whether it is still the one that may send it."""

from __future__ import annotations

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.services.wire import Blocking, Flow, Request, Sleep, ask, pause
from airflow_provider_imagetasks.submissions.departure import LOOK_SECONDS, Departure, HeldBackError
from airflow_provider_imagetasks.tasks import ImageTask, TaskState
from tests.flow_driver import NOW, response

REPLACED = ImageTaskError("another start took over", code="replaced", billed="no")
TASK = ImageTask(id="an-id", service="easel", state=TaskState.RUNNING)


def submission(*pauses: float) -> Flow[ImageTask]:
    """Ask once after each pause, as after a wait for the rate, or a refusal that may be repeated."""
    for seconds in pauses:
        yield from pause(seconds)
        yield from ask(Request(method="POST", path="/"))
    return TASK


class Driven:
    """Drives a watched submission, and notes when it looked and when a request left."""

    def __init__(self, departure: Departure, flow: Flow[ImageTask], *, intended_at: float) -> None:
        self.looked: list[float] = []
        self.left: list[float] = []
        self.held: HeldBackError | None = None
        self.task: ImageTask | None = None
        now, watched = NOW, departure.watched(flow, intended_at=intended_at)
        try:
            step = next(watched)
            while True:
                if isinstance(step, Sleep):
                    now += step.seconds
                    step = watched.send(now)
                elif isinstance(step, Blocking):
                    self.looked.append(now - NOW)
                    try:
                        step.function()
                    except ImageTaskError as error:
                        step = watched.throw(error)
                    else:
                        step = watched.send(now)
                else:
                    self.left.append(now - NOW)
                    step = watched.send(response({}))
        except StopIteration as end:
            self.task = end.value
        except HeldBackError as held:
            self.held = held


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
    driven = Driven(Departure(fine), submission(*pauses), intended_at=NOW - age)

    assert driven.looked == looked
    assert driven.task is TASK
    assert len(driven.left) == len(pauses)


@pytest.mark.parametrize(("pauses", "left"), [((30,), []), ((0, 60), [0])])
def test_a_start_that_was_replaced_lets_nothing_more_leave_and_says_whether_something_had(
    pauses: tuple[float, ...], left: list[float]
) -> None:
    driven = Driven(Departure(replaced), submission(*pauses), intended_at=NOW)

    assert driven.left == left
    assert driven.held is not None
    assert (driven.held.why, driven.held.has_left) == (REPLACED, bool(left))


def test_one_look_serves_all_that_leave_in_that_moment() -> None:
    departure = Departure(fine)
    first, second = (Driven(departure, submission(30), intended_at=NOW) for _ in range(2))

    assert (first.looked, second.looked) == ([30], [])
