from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.rates import TIERS, Pace, Rate, Window, parse_rate

NOW = 1_790_000_000.0


def parse(text: str, kind: str = "submit") -> Rate:
    return parse_rate(text, field="Extra field 'submit_rate'", kind=kind)


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("20/10s", [(20, 10)]),
        ("2/s", [(2, 1)]),
        ("1/0.5s", [(1, 0.5)]),
        (" 20 / 10 s ", [(20, 10)]),
        ("10/s,100/60s", [(10, 1), (100, 60)]),
        ("10/s, 100/60s", [(10, 1), (100, 60)]),
    ],
)
def test_a_rate_is_so_many_in_any_so_many_seconds(text: str, windows: list[tuple[int, float]]) -> None:
    assert parse(text) == Rate(tuple(Window(count, seconds) for count, seconds in windows))


def test_a_rate_is_written_as_it_is_read() -> None:
    assert str(parse("10/s,100/60s")) == "10/1s,100/60s"


@pytest.mark.parametrize("name", TIERS)
def test_a_tier_has_a_rate_for_each_kind_of_request(name: str) -> None:
    assert parse(f" {name} ") == TIERS[name].submit
    assert parse(name, kind="query") == TIERS[name].query


def test_the_smallest_tier_allows_one_picture_at_a_time() -> None:
    assert TIERS["aigptimage:free"].active == 1
    assert str(TIERS["aigptimage:free"].submit) == "1/1s,10/60s"


@pytest.mark.parametrize(
    "text",
    [
        *("", "fast", "20", "20/10", "20/10m", "/10s", "0/10s", "20/0s", "-1/s", "1.5/s", "20/10s,", "1e9/s"),
        *("20/10s;2/s", "AIGPTIMAGE:FREE", "aigptimage:gold", "9" * 5000 + "/s", f"1/{'9' * 400}s"),
    ],
)
def test_what_is_no_rate_is_refused_with_field_and_example(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="'submit_rate'") as caught:
        parse(text)

    assert "'20/10s'" in str(caught.value)
    assert "aigptimage:free" in str(caught.value)


@given(st.text(alphabet="0123456789/.s, ٣x", max_size=12))
@settings(max_examples=300, deadline=None, database=None)
def test_any_text_is_a_rate_or_refused(text: str) -> None:
    try:
        rate = parse(text)
    except InvalidRequestError:
        return
    assert all(window.count >= 1 and 0 < window.seconds < float("inf") for window in rate.windows)


def rate(*windows: tuple[int, float]) -> Rate:
    return Rate(tuple(Window(count, seconds) for count, seconds in windows))


def made_at(pace: Pace, wishes: list[float]) -> list[float]:
    """Return when requests are made by a caller who wants to make one so long after another, and waits as told."""
    now, made = NOW, []
    for wish in wishes:
        now = max(now + wish, pace.next_at())
        pace.count(now)
        made.append(now)
    return made


def busiest(moments: list[float], seconds: float) -> int:
    """Return the most requests in any window that begins with one."""
    return max(sum(start <= moment < start + seconds for moment in moments) for start in moments)


def test_the_first_request_may_be_made_at_once() -> None:
    assert Pace(rate((2, 1))).next_at() <= NOW


def test_as_many_as_the_rate_allows_may_be_made_at_once_and_no_more() -> None:
    pace = Pace(rate((2, 1)))
    pace.count(NOW)
    assert pace.next_at() <= NOW
    pace.count(NOW)

    assert NOW + 1 < pace.next_at() <= NOW + 1.05


def test_the_oldest_request_makes_room_for_the_next() -> None:
    pace = Pace(rate((2, 10)))
    pace.count(NOW)
    pace.count(NOW + 7)

    assert NOW + 10 < pace.next_at() < NOW + 10.5


def test_every_window_of_a_rate_holds() -> None:
    pace = Pace(rate((2, 1), (3, 60)))
    for _ in range(3):
        pace.count(NOW)

    assert NOW + 60 < pace.next_at() < NOW + 63


def test_no_rate_is_no_ceiling() -> None:
    pace = Pace(None)
    for _ in range(1_000):
        pace.count(NOW)

    assert pace.next_at() <= NOW


def test_a_pause_holds_whatever_the_rate_allows() -> None:
    pace = Pace(rate((100, 1)))
    pace.pause_until(NOW + 30)

    assert pace.next_at() == NOW + 30


def test_the_longest_pause_counts() -> None:
    pace = Pace(None)
    pace.pause_until(NOW + 30)
    pace.pause_until(NOW + 5)

    assert pace.next_at() == NOW + 30


def test_a_pause_is_not_the_rate_s() -> None:
    pace = Pace(rate((2, 1)), paused_until=NOW + 30)
    pace.count(NOW)
    pace.count(NOW)

    assert (pace.next_at(), pace.paused_until) == (NOW + 30, NOW + 30)
    assert NOW + 1 < pace.free_at() < NOW + 1.1


def test_a_pause_does_not_make_up_for_requests() -> None:
    pace = Pace(rate((1, 60)))
    pace.count(NOW)
    pace.pause_until(NOW + 5)

    assert pace.next_at() > NOW + 60


@pytest.mark.parametrize("name", TIERS)
def test_the_ceiling_of_every_tier_can_be_used_almost_to_the_full(name: str) -> None:
    for ceiling in (TIERS[name].query, TIERS[name].submit):
        window = max(ceiling.windows, key=lambda window: window.seconds)
        made = made_at(Pace(ceiling), [0.0] * (window.count + 1))

        assert window.seconds < made[-1] - made[0] <= window.seconds * 1.05


RATES = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from((0.1, 0.5, 1.0, 7.0, 10.0, 60.0))), min_size=1, max_size=3
)
WISHES = st.lists(st.sampled_from((0.0, 0.0, 0.01, 0.3, 1.0, 9.99, 61.0)), min_size=1, max_size=60)


@given(windows=RATES, wishes=WISHES)
@settings(max_examples=150, deadline=None, database=None)
@example(windows=[(2, 1.0)], wishes=[0.0, 1.0, 0.0, 0.0, 0.0])
def test_who_waits_as_told_never_exceeds_the_rate(windows: list[tuple[int, float]], wishes: list[float]) -> None:
    made = made_at(Pace(rate(*windows)), wishes)

    for count, seconds in windows:
        assert busiest(made, seconds) <= count


@given(windows=RATES, wishes=WISHES)
@settings(max_examples=100, deadline=None, database=None)
def test_nobody_waits_longer_than_the_longest_window(windows: list[tuple[int, float]], wishes: list[float]) -> None:
    pace, now = Pace(rate(*windows)), NOW
    longest = max(seconds for _count, seconds in windows)
    for wish in wishes:
        now += wish
        assert pace.next_at() <= now + longest * 1.05
        now = max(now, pace.next_at())
        pace.count(now)
