from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_imagetasks.polling.schedule import EARLIEST, PollingSchedule

NOW = 1_790_000_000.0


def schedule(*items: tuple[str, float] | tuple[str, float, float]) -> PollingSchedule[str]:
    """Return a schedule of items that are due so many seconds from now, and may be asked for from so many on."""
    made: PollingSchedule[str] = PollingSchedule()
    for item, due, *early in items:
        made.add(item, due=NOW + due, early=NOW + early[0] if early else None)
    return made


def names(taken: list[tuple[str, float]]) -> list[str]:
    return [item for item, _due in taken]


def test_an_empty_schedule_has_nothing_due() -> None:
    empty = schedule()

    assert (len(empty), empty.next_due(), empty.take(NOW, 50)) == (0, None, [])


def test_nothing_is_taken_before_it_is_due() -> None:
    one = schedule(("a", 10))

    assert one.next_due() == NOW + 10
    assert one.take(NOW + 9.9, 50) == []
    assert one.take(NOW + 10, 50) == [("a", NOW + 10)]
    assert len(one) == 0


def test_the_longest_overdue_come_first() -> None:
    assert names(schedule(("c", -1), ("a", -30), ("b", -2)).take(NOW, 2)) == ["a", "b"]


def test_those_that_are_due_at_the_same_time_keep_their_order() -> None:
    assert names(schedule(*((str(number), 0.0) for number in range(20))).take(NOW, 20)) == list(map(str, range(20)))


def test_who_is_due_takes_along_who_is_nearly_due() -> None:
    nearly = schedule(("due", 0), ("nearly", 1, -1), ("later", 2, 0.5))

    assert names(nearly.take(NOW, 50)) == ["due", "nearly"]
    assert nearly.next_due() == NOW + 2


def test_who_is_nearly_due_is_not_asked_for_without_somebody_who_is() -> None:
    assert schedule(("nearly", 1, -1)).take(NOW, 50) == []


def test_without_an_earliest_time_nobody_is_asked_for_too_early() -> None:
    assert names(schedule(("due", 0), ("soon", 0.1)).take(NOW, 50)) == ["due"]


def test_no_more_are_taken_than_asked_for() -> None:
    many = schedule(*((str(number), -number) for number in range(120)))

    assert [len(many.take(NOW, 50)) for _ in range(4)] == [50, 50, 20, 0]


@pytest.mark.parametrize("interval", [0.01, 10.0, 60.0])
def test_the_next_question_comes_after_nine_tenths_of_the_interval_to_all_of_it(interval: float) -> None:
    made: PollingSchedule[int] = PollingSchedule()
    for number in range(200):
        made.add_after(number, interval, now=NOW)

    assert made.take(NOW + interval * 0.89, 200) == []
    taken = made.take(NOW + interval, 200)
    assert len(taken) == 200
    assert all(NOW + interval * 0.9 <= due <= NOW + interval for _item, due in taken)
    assert len({due for _item, due in taken}) > 100


@pytest.mark.parametrize(("ago", "taken"), [(10 * EARLIEST + 0.01, True), (10 * EARLIEST - 0.01, False)])
def test_a_request_is_filled_with_those_for_whom_four_fifths_of_the_interval_have_passed(
    ago: float, taken: bool
) -> None:
    made: PollingSchedule[str] = PollingSchedule()
    made.add("due", due=NOW)
    made.add_after("nearly", 10, now=NOW - ago)

    assert ("nearly" in names(made.take(NOW, 50))) is taken


ADDED = st.lists(st.tuples(st.floats(-5, 30), st.floats(0, 10)), max_size=4)
STEPS = st.lists(st.tuples(st.floats(0, 20), st.integers(1, 5), ADDED), min_size=1, max_size=25)


@given(steps=STEPS)
@settings(max_examples=200, deadline=None, database=None)
def test_a_taking_is_never_too_large_too_early_or_without_cause(
    steps: list[tuple[float, int, list[tuple[float, float]]]],
) -> None:
    made: PollingSchedule[int] = PollingSchedule()
    inside: dict[int, tuple[float, float]] = {}
    now, number = NOW, 0
    for passed, most, added in steps:
        now += passed
        for due_in, earlier in added:
            made.add(number, due=now + due_in, early=now + due_in - earlier)
            inside[number] = (now + due_in, now + due_in - earlier)
            number += 1
        first_due = min((due for due, _early in inside.values()), default=None)
        assert made.next_due() == first_due
        taken = made.take(now, most)
        assert len(taken) <= most
        assert bool(taken) is (first_due is not None and first_due <= now)
        for item, due in taken:
            known_due, early = inside.pop(item)
            assert due == known_due
            assert early <= now
        overdue = [due for due, _early in inside.values() if due <= now]
        assert not overdue or len(taken) == most
        assert len(made) == len(inside)


@given(waits=st.integers(1, 40), most=st.integers(1, 7), every=st.floats(0.05, 3), interval=st.floats(0.5, 10))
@settings(max_examples=60, deadline=None, database=None)
def test_nobody_starves_although_the_rate_does_not_reach(waits: int, most: int, every: float, interval: float) -> None:
    made: PollingSchedule[int] = PollingSchedule()
    for number in range(waits):
        made.add(number, due=NOW)
    asked: Counter[int] = Counter()
    last = dict.fromkeys(range(waits), NOW)
    round_of_all = -(-waits // most) * every
    now = NOW
    for _ in range(300):
        for number, _due in made.take(now, most):
            assert now - last[number] <= interval + round_of_all + every + 1e-6
            assert asked[number] == 0 or now - last[number] >= interval * EARLIEST - 1e-6
            asked[number] += 1
            last[number] = now
            made.add_after(number, interval, now=now)
        now += every
    assert min(asked[number] for number in range(waits)) >= int(300 * every / (interval + round_of_all + every))
