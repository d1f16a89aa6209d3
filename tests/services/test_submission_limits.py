from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.services.account import Account, read_account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.rates import TIERS, Rate, Window
from airflow_provider_imagetasks.services.submission_limits import SubmissionLimits
from airflow_provider_imagetasks.services.wire import Flow, Sleep
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState


class Easel(Service):
    """A service that takes everything at once, and finishes an image task after so many questions."""

    name = title = "easel"
    default_base_url = "https://easel.example"
    default_model = default_edit_model = "easel-1"

    def __init__(self, questions: int = 10_000) -> None:
        self.questions = questions
        self.submitted = 0
        self.asked: dict[str, int] = {}

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        yield from ()
        self.submitted += 1
        return ImageTask(id=str(self.submitted), service=self.name, state=TaskState.RUNNING)

    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        yield from ()
        self.asked[image_task_id] = self.asked.get(image_task_id, 0) + 1
        state = TaskState.SUCCEEDED if self.asked[image_task_id] >= self.questions else TaskState.RUNNING
        return ImageTask(id=image_task_id, service=self.name, state=state)

    def check_connection(self) -> Flow[str]:
        yield from ()
        return "fine"


def account(**fields: Any) -> Account:
    return Account(conn_id="c", service="easel", base_url="https://easel.example", **fields)


class Clock:
    """Drives flows, and moves on only when they pause."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def run(self, flow: Flow[Any]) -> Any:
        try:
            step = next(flow)
            while True:
                assert isinstance(step, Sleep)
                self.now += step.seconds
                step = flow.send(self.now)
        except StopIteration as end:
            return end.value


def test_submissions_keep_to_the_rate() -> None:
    clock, easel, said = Clock(), Easel(), []
    limits = SubmissionLimits(account(submit_rate=Rate((Window(2, 10),))))
    times = []
    for _ in range(6):
        clock.run(limits.submit(ImageRequest(prompt="a"), easel, key=None, say=said.append))
        times.append(clock.now)

    assert [round(moment - times[0]) for moment in times] == [0, 0, 10, 10, 20, 20]
    assert len(said) == 2
    assert "submit_rate" in said[0]


def test_no_more_run_at_the_same_time_than_are_allowed() -> None:
    clock, easel, said = Clock(), Easel(questions=3), []
    limits = SubmissionLimits(account(max_active_tasks=2, poll_interval=7.0))
    for _ in range(3):
        clock.run(limits.submit(ImageRequest(prompt="a"), easel, key=None, say=said.append))

    assert easel.asked == {"1": 3, "2": 3}
    assert clock.now == 1_000 + 2 * 7
    assert len(said) == 1


def test_without_limits_nothing_waits() -> None:
    clock, easel = Clock(), Easel()
    limits = SubmissionLimits(account())
    for _ in range(100):
        clock.run(limits.submit(ImageRequest(prompt="a"), easel, key=None))

    assert (clock.now, easel.submitted, easel.asked) == (1_000, 100, {})


@pytest.mark.parametrize(("extra", "expected"), [({}, 1), ({"max_active_tasks": 4}, 4)])
def test_a_tier_brings_its_number_of_active_image_tasks(extra: dict[str, int], expected: int) -> None:
    found = read_account(
        conn_id="c",
        service="aigptimage",
        default_base_url="https://example.com",
        requires_key=False,
        host=None,
        key=None,
        extra={"submit_rate": "aigptimage:free", **extra},
    )

    assert found.submit_rate == TIERS["aigptimage:free"].submit
    assert found.max_active_tasks == expected


class Grumpy(Easel):
    """A service that asks for a pause before it takes something."""

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        yield Sleep(7)
        return (yield from super().submit(request, key=key))


def test_what_one_submission_is_asked_to_wait_for_all_wait_for() -> None:
    clock, limits = Clock(), SubmissionLimits(account())
    before = clock.now
    clock.run(limits.submit_within_rate(ImageRequest(prompt="a"), Grumpy(), key=None))

    assert clock.now == before + 7
    assert limits.next_at() == before + 7


def test_a_request_that_is_made_again_counts_again() -> None:
    clock, limits = Clock(), SubmissionLimits(account(submit_rate=Rate((Window(2, 100),))))
    before = clock.now
    clock.run(limits.submit_within_rate(ImageRequest(prompt="a"), Grumpy(), key=None))
    clock.run(limits.submit_within_rate(ImageRequest(prompt="b"), Easel(), key=None))

    assert clock.now >= before + 100


def test_what_another_process_submitted_counts() -> None:
    clock, limits = Clock(), SubmissionLimits(account(submit_rate=Rate((Window(2, 100),))))
    limits.submitted_before([clock.now - 2, clock.now - 1])
    before = clock.now
    clock.run(limits.submit_within_rate(ImageRequest(prompt="a"), Easel(), key=None))

    assert clock.now >= before + 98
