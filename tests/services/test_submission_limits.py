from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.rates import Rate, Window
from airflow_provider_imagetasks.services.refusals import unexplained
from airflow_provider_imagetasks.services.submission_limits import SubmissionLimits
from airflow_provider_imagetasks.services.wire import Answer, Flow, Request, Response
from airflow_provider_imagetasks.tasks import ImageTask, TaskState
from tests.flow_driver import drive, no_response, response

START = 1_000.0
TAKEN = response({})
RATE_LIMITED = response(status=429)


def task(name: str, state: TaskState = TaskState.RUNNING) -> ImageTask:
    return ImageTask(id=name, service="easel", state=state)


def submission(name: str = "1") -> Flow[ImageTask]:
    """Return what a service submits with."""

    def interpret(answer: Response) -> ImageTask:
        if answer.status != 200:
            raise unexplained(answer, service="easel")
        return task(name)

    request = Request(method="POST", path="/jobs")
    return exchange.submit(request, interpret, service="easel", repeatable=False, how_to_look="Look.")


def limits_of(**fields: Any) -> SubmissionLimits:
    return SubmissionLimits(Account(conn_id="c", service="easel", base_url="https://easel.example", **fields))


class Submissions:
    """Submits within all limits, at a service where an image task is over after so many questions.

    :param unfinished: its state before that.
    """

    def __init__(self, *, questions: int = 10_000, unfinished: TaskState = TaskState.RUNNING, **fields: Any) -> None:
        self.limits = limits_of(**fields)
        self.questions = questions
        self.unfinished = unfinished
        self.asked: dict[str, int] = {}
        self.said: list[str] = []

    def moments(self, count: int) -> list[float]:
        """Submit so many, and return when each was submitted."""
        now, moments = START, []
        for number in range(count):
            flow = self.limits.within_all(submission(str(number)), self.read, poll_interval=7.0, say=self.said.append)
            driven = drive(flow, otherwise=TAKEN, now=now)
            assert driven.error is None
            now = driven.now
            moments.append(now - START)
        return moments

    def read(self, ids: Sequence[str]) -> Flow[dict[str, ImageTask]]:
        yield from ()
        self.asked.update({name: self.asked.get(name, 0) + 1 for name in ids})
        over = {name for name in ids if self.asked[name] >= self.questions}
        return {name: task(name, TaskState.SUCCEEDED if name in over else self.unfinished) for name in ids}


def test_submissions_keep_to_the_rate_and_without_limits_nothing_waits() -> None:
    limited, free = Submissions(submit_rate=Rate((Window(2, 10),))), Submissions()

    assert [round(moment) for moment in limited.moments(6)] == [0, 0, 10, 10, 20, 20]
    assert len(limited.said) == 2
    assert "submit_rate" in limited.said[0]
    assert (free.moments(100), free.asked) == ([0] * 100, {})


def test_no_more_run_at_the_same_time_than_are_allowed_and_one_that_is_lost_after_a_minute_takes_no_place() -> None:
    submissions = Submissions(questions=3, max_active_tasks=2)

    assert submissions.moments(3) == [0, 0, 2 * 7]
    assert (submissions.asked, len(submissions.said)) == ({"0": 3, "1": 3}, 1)
    assert Submissions(unfinished=TaskState.NOT_FOUND, max_active_tasks=1).moments(2) == [0, 63]


@pytest.mark.parametrize(
    ("answer", "all_wait"),
    [
        (response(status=429, headers={"retry-after": "7"}), True),
        (RATE_LIMITED, True),
        (no_response(may_have_left=False), False),
    ],
)
def test_what_the_service_asks_for_all_wait_for_and_what_one_submission_waits_for_only_that_does(
    answer: Answer, all_wait: bool
) -> None:
    limits = limits_of()

    driven = drive(limits.within_rate(submission()), answer, TAKEN, now=START)

    assert driven.result.id == "1"
    assert driven.now > START
    assert limits.next_at() == pytest.approx(driven.now if all_wait else 0)


def test_a_request_that_is_made_again_and_what_another_process_submitted_count() -> None:
    again, others = (limits_of(submit_rate=Rate((Window(2, 100),))) for _ in range(2))
    others.submitted_before([START - 2, START - 1])

    first = drive(again.within_rate(submission()), RATE_LIMITED, TAKEN, now=START)
    second = drive(again.within_rate(submission("2")), TAKEN, now=first.now)

    assert second.now >= START + 100
    assert drive(others.within_rate(submission()), TAKEN, now=START).now >= START + 98
