"""The engine for status questions, told the time: what it asks for, how often, and what it makes of failures."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    InvalidRequestError,
    QuotaExceededError,
    RateLimitError,
)
from airflow_provider_imagetasks.polling.status_requests import (
    EARLIEST,
    FAILED_READS,
    PAUSE_AFTER_429,
    Question,
    StatusRequests,
)
from airflow_provider_imagetasks.services.rates import Pace, Rate, Window
from tests.flow_driver import NOW
from tests.polling.conftest import ScriptedService, down


def limited(count: int, seconds: float) -> Pace:
    return Pace(Rate((Window(count, seconds),)))


class Asking:
    """An engine with questions that are due so many seconds from now, and may be asked from so many on.

    :param how: ``most_at_once`` and ``rereads_key`` of the engine.
    """

    def __init__(self, *due: float | tuple[float, float], pace: Pace | None = None, **how: Any) -> None:
        self.requests = StatusRequests[Question](pace or Pace(None), **how)
        self.questions = [Question(str(number), interval=10) for number in range(len(due))]
        for question, moment in zip(self.questions, due, strict=True):
            late, early = moment if isinstance(moment, tuple) else (moment, moment)
            self.requests.ask(question, due=NOW + late, early=NOW + early)

    def taken(self, after: float = 0.0, most: int = 50) -> list[Question]:
        return [question for question, _ in self.requests.take(NOW + after, ScriptedService(most))]

    def take(self, after: float = 0.0, most: int = 50) -> list[str]:
        return [question.image_task_id for question in self.taken(after, most)]

    def fail(self, error: ImageTaskError, after: float = 0.0, most: int = 50) -> tuple[list[str], list[str]]:
        """Let what is due fail; return whom that gave up, and whom it put off."""
        failure = self.requests.failed(self.taken(after, most), error, NOW + after)
        given_up, put_off = failure.given_up, failure.put_off
        return sorted(one.image_task_id for one in given_up), sorted(one.image_task_id for one in put_off)

    def answer(self, after: float = 0.0) -> list[str]:
        """Answer what is due, ask for it again, and return what it was."""
        taken = self.taken(after)
        self.requests.answered(taken, NOW + after)
        for question in taken:
            self.requests.ask_again(question, NOW + after)
        return [question.image_task_id for question in taken]


# What is asked for next.


def test_nothing_is_asked_where_nobody_asks() -> None:
    assert (Asking().requests.next_at(), Asking().take()) == (None, [])


@pytest.mark.parametrize(
    ("due", "after", "most", "taken"),
    [
        pytest.param([10], 9.9, 50, [], id="not before it is due"),
        pytest.param([10], 10, 50, ["0"], id="when it is due"),
        pytest.param([-1, -30, -2], 0, 2, ["1", "2"], id="the longest overdue first"),
        pytest.param([0, 0, 0], 0, 50, ["0", "1", "2"], id="in their order where they are due together"),
        pytest.param([0, (1, -1), (2, 0.5)], 0, 50, ["0", "1"], id="along with who is nearly due"),
        pytest.param([(1, -1)], 0, 50, [], id="not without somebody who is due"),
        pytest.param([0, 0.1], 0, 50, ["0"], id="and nobody too early"),
    ],
)
def test_who_is_due_is_asked_for(
    due: list[float | tuple[float, float]], after: float, most: int, taken: list[str]
) -> None:
    assert Asking(*due).take(after, most) == taken


class OfTwoApis(ScriptedService):
    """A service whose image tasks with odd numbers are at another API."""

    def api_of(self, image_task_id: str) -> str:
        return "odd" if int(image_task_id) % 2 else ""


def test_one_request_asks_at_one_api_and_nobody_of_another_loses_his_turn() -> None:
    asking, service = Asking(-9, -8, -7, -6, (1, -1)), OfTwoApis(2)

    taken = [[one.image_task_id for one, _ in asking.requests.take(NOW, service)] for _ in range(4)]

    # The fourth is not due by itself, and fills no request of its own.
    assert taken == [["0", "2"], ["1", "3"], [], []]
    assert asking.requests.next_due() == NOW + 1


def test_no_more_requests_are_under_way_than_may_be() -> None:
    asking = Asking(0, 0, 0, most_at_once=2)
    first, _second = asking.taken(most=1), asking.taken(most=1)

    assert asking.requests.next_at() is None
    asking.requests.answered(first, NOW)
    assert asking.take(most=1) == ["2"]


def test_a_question_that_is_asked_anew_or_dropped_loses_its_place() -> None:
    asking = Asking(0, 0, 0)
    asking.requests.ask(asking.questions[0], due=NOW + 5)
    asking.questions[1].drop()

    assert asking.take() == ["2"]
    assert asking.requests.next_at() == NOW + 5


def test_the_pace_is_kept_and_those_it_holds_back_are_told() -> None:
    asking = Asking(0, 0, 0, pace=limited(1, 10))

    assert asking.take(most=2) == ["0", "1"]
    assert asking.take() == []
    moment = asking.requests.next_at()
    assert moment is not None
    assert NOW + 10 <= moment <= NOW + 11
    ((_, late),) = asking.requests.take(moment, ScriptedService(2))
    assert late == pytest.approx(moment - NOW)


def test_a_trace_id_is_asked_for_alone() -> None:
    asking = Asking(-3, 0)
    asking.requests.ask(Question("", trace_id="mine", interval=10), due=NOW - 1)

    assert [asking.take() for _ in range(3)] == [["0"], [""], ["1"]]


@pytest.mark.parametrize("interval", [0.01, 10.0, 60.0])
def test_the_next_question_comes_after_nine_tenths_of_the_interval_to_all_of_it(interval: float) -> None:
    requests = StatusRequests[Question](Pace(None))
    for number in range(200):
        requests.ask_again(Question(str(number), interval=interval), NOW)

    moments = []
    while (moment := requests.next_due()) is not None:
        moments.append(moment)
        taken = [question for question, _ in requests.take(moment, ScriptedService(1))]
        requests.answered(taken, moment)
    assert NOW + interval * 0.9 <= min(moments) <= max(moments) <= NOW + interval
    assert len(set(moments)) > 100


@pytest.mark.parametrize(("ago", "taken"), [(10 * EARLIEST + 0.01, True), (10 * EARLIEST - 0.01, False)])
def test_a_request_is_filled_with_those_for_whom_four_fifths_of_the_interval_have_passed(
    ago: float, taken: bool
) -> None:
    asking = Asking(0)
    asking.requests.ask_again(Question("nearly", interval=10), NOW - ago)

    assert ("nearly" in asking.take()) is taken


@given(
    steps=st.lists(
        st.tuples(
            st.floats(0, 20),
            st.integers(1, 5),
            st.lists(st.tuples(st.floats(-5, 30), st.floats(0, 10)), max_size=4),
        ),
        min_size=1,
        max_size=25,
    )
)
@settings(max_examples=200, deadline=None, database=None)
def test_a_request_is_never_too_large_too_early_or_without_cause(
    steps: list[tuple[float, int, list[tuple[float, float]]]],
) -> None:
    requests = StatusRequests[Question](Pace(None), most_at_once=1_000)
    inside: dict[str, tuple[float, float]] = {}
    now, number = NOW, 0
    for passed, most, added in steps:
        now += passed
        for due_in, earlier in added:
            number += 1
            question = Question(str(number), interval=10)
            requests.ask(question, due=now + due_in, early=now + due_in - earlier)
            inside[question.image_task_id] = (now + due_in, now + due_in - earlier)
        first_due = min((due for due, _early in inside.values()), default=None)
        taken = requests.take(now, ScriptedService(most))
        assert len(taken) <= most
        assert bool(taken) is (first_due is not None and first_due <= now)
        for question, _ in taken:
            assert inside.pop(question.image_task_id)[1] <= now
        overdue = [due for due, _early in inside.values() if due <= now]
        assert not overdue or len(taken) == most


@given(waits=st.integers(1, 40), most=st.integers(1, 7), every=st.floats(0.05, 3), interval=st.floats(0.5, 10))
@settings(max_examples=60, deadline=None, database=None)
def test_nobody_starves_although_the_rate_does_not_reach(waits: int, most: int, every: float, interval: float) -> None:
    requests, asked, now = StatusRequests[Question](Pace(None)), Counter[str](), NOW
    for number in range(waits):
        requests.ask(Question(str(number), interval=interval), due=NOW)
    last = {str(number): NOW for number in range(waits)}
    round_of_all = -(-waits // most) * every
    for _ in range(300):
        taken = [question for question, _ in requests.take(now, ScriptedService(most))]
        if taken:
            requests.answered(taken, now)
        for question in taken:
            name = question.image_task_id
            assert now - last[name] <= interval + round_of_all + every + 1e-6
            assert asked[name] == 0 or now - last[name] >= interval * EARLIEST - 1e-6
            asked[name], last[name] = asked[name] + 1, now
            requests.ask_again(question, now)
        now += every
    assert min(asked[name] for name in last) >= int(300 * every / (interval + round_of_all + every))


@pytest.mark.parametrize("interval", [10.0, 60.0])
def test_waits_that_begin_within_seconds_of_each_other_are_asked_in_full_groups(interval: float) -> None:
    requests, service, now = StatusRequests[Question](limited(1_000, 1)), ScriptedService(50), NOW
    for number in range(500):
        begun = NOW + number * 2 / 500
        question = Question(str(number), interval=interval)
        requests.ask(question, due=begun + interval / EARLIEST, early=begun + interval)

    groups = []
    while now < NOW + 2 * interval:
        moment = requests.next_at()
        if moment is None:
            break
        now = max(now, moment)
        taken = [question for question, _ in requests.take(now, service)]
        requests.answered(taken, now)
        groups.append(len(taken))

    assert groups == [50] * 10


# What a failure means.


def test_a_failed_request_is_made_again_until_it_has_failed_five_times_in_a_row() -> None:
    asking = Asking(0)

    failures = [asking.fail(down(), after=20 * number) for number in range(FAILED_READS)]

    assert failures == [([], ["0"])] * (FAILED_READS - 1) + [(["0"], [])]


def test_a_group_that_would_be_given_up_is_asked_for_one_by_one() -> None:
    asking = Asking(0, 0)
    for number in range(FAILED_READS - 1):
        assert asking.fail(down(), after=20 * number) == ([], ["0", "1"])

    assert asking.fail(down(), after=100) == ([], [])

    (given_up,), put_off = asking.fail(down(), after=100)
    assert [given_up, *asking.answer(after=100)] in (["0", "1"], ["1", "0"])
    assert put_off == []


def test_one_that_fails_alone_goes_with_others_again_where_nothing_else_is_answered_either() -> None:
    asking = Asking(0, 0)
    asking.fail(InvalidRequestError("what?"))
    alone = [asking.fail(down(), after=number) for number in range(2)]

    assert alone == [([], ["0"]), ([], ["1"])]
    assert sorted(asking.take(after=50)) == ["0", "1"]


def test_an_answer_forgives_what_failed_before() -> None:
    asking = Asking(0)
    for number in range(3 * FAILED_READS):
        if number % FAILED_READS < FAILED_READS - 1:
            assert asking.fail(down(), 20.0 * number) == ([], ["0"])
        else:
            asking.answer(20.0 * number)


def test_a_failure_counts_against_those_who_were_asked_for() -> None:
    asking = Asking(*[0.0] * 20)

    assert all(asking.fail(down(), most=1)[0] == [] for _ in range(20))


@pytest.mark.parametrize(("retry_after", "seconds"), [(90, 90), (None, PAUSE_AFTER_429), (3_600, 300)])
def test_a_rate_limit_pauses_everybody_and_counts_against_nobody(retry_after: float | None, seconds: float) -> None:
    asking = Asking(0, 0)
    after = 0.0
    for _ in range(2 * FAILED_READS):
        assert asking.fail(RateLimitError("slowly", retry_after=retry_after), after, most=1)[0] == []
        after += seconds
        assert asking.requests.next_at() == NOW + after
    # Nor is it said to be our rate that held them back.
    assert all(late <= 0 for _, late in asking.requests.take(NOW + after, ScriptedService(2)))


def test_a_group_that_is_refused_is_asked_for_one_by_one_within_the_pace() -> None:
    asking = Asking(0, 0, 0, pace=limited(1, 1))

    assert asking.fail(InvalidRequestError("no luck")) == ([], [])

    moments = [NOW]
    for _ in range(3):
        moments.append(asking.requests.next_at() or 0)
        assert len(asking.take(after=moments[-1] - NOW)) == 1
    assert all(later - earlier >= 1 for earlier, later in pairwise(moments))


def test_the_one_that_the_service_does_not_like_is_given_up_and_the_others_go_together_again() -> None:
    asking = Asking(0, 0, 0)
    asking.fail(InvalidRequestError("no luck"))

    assert asking.fail(InvalidRequestError("no luck")) == (["0"], [])
    assert [asking.answer() for _ in range(2)] == [["1"], ["2"]]
    assert sorted(asking.take(after=10)) == ["1", "2"]


@pytest.mark.parametrize(
    ("error", "rereads_key", "given_up"),
    [
        (QuotaExceededError, True, [["0", "1"]]),
        (AuthenticationError, False, [["0", "1"]]),
        (AuthenticationError, True, [[], ["0", "1"]]),
    ],
    ids=["no balance", "a key that stays the same", "a key that was read anew once"],
)
def test_what_is_wrong_with_the_account_is_wrong_for_all_of_a_group(
    error: type[ImageTaskError], rereads_key: bool, given_up: list[list[str]]
) -> None:
    asking = Asking(0, 0, rereads_key=rereads_key)

    assert [asking.fail(error("no luck")) for _ in given_up] == [(names, []) for names in given_up]


def test_nobody_is_given_up_who_does_not_wait_any_more() -> None:
    asking = Asking(0)
    (question,) = asking.taken()
    question.drop()

    assert asking.requests.failed([question], InvalidRequestError("no luck"), NOW).given_up == []
