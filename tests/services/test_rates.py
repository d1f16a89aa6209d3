from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services import get_service, known_services
from airflow_provider_imagetasks.services.rates import Pace, Rate, Window, parse_rate

NOW = 1_790_000_000.0
TIERS = {name: tier for each in known_services() for name, tier in get_service(each).named_tiers().items()}


def parse(text: str, kind: str = "submit") -> Rate:
    return parse_rate(text, field="Extra field 'submit_rate'", kind=kind, tiers=TIERS)


@pytest.mark.parametrize(
    ("text", "windows", "written"),
    [
        ("20/10s", [(20, 10)], "20/10s"),
        ("2/s", [(2, 1)], "2/1s"),
        ("1/0.5s", [(1, 0.5)], "1/0.5s"),
        (" 20 / 10 s ", [(20, 10)], "20/10s"),
        ("10/s,100/60s", [(10, 1), (100, 60)], "10/1s,100/60s"),
        ("10/s, 100/60s", [(10, 1), (100, 60)], "10/1s,100/60s"),
    ],
)
def test_a_rate_is_so_many_in_any_so_many_seconds(text: str, windows: list[tuple[int, float]], written: str) -> None:
    assert parse(text) == rate(*windows)
    assert str(parse(text)) == written


def test_a_tier_has_a_rate_for_each_kind_of_request_and_the_smallest_allows_one_picture_at_a_time() -> None:
    for name, tier in TIERS.items():
        assert (parse(f" {name} "), parse(name, kind="query")) == (tier.submit, tier.query)
    free = TIERS["aigptimage:free"]
    assert (free.active, str(free.submit)) == (1, "1/1s,10/60s")


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


@pytest.mark.parametrize(
    ("windows", "made", "next_after"),
    [
        ([(2, 1)], [], 0),
        ([(2, 1)], [0], 0),
        ([(2, 1)], [0, 0], 1),
        ([(2, 10)], [0, 7], 10),
        ([(2, 1), (3, 60)], [0, 0, 0], 60),
        ([], [0] * 1_000, 0),
    ],
    ids=["the first", "up to the rate", "no more", "the oldest makes room", "every window", "no rate"],
)
def test_the_next_request_may_be_made_as_soon_as_every_window_has_room(windows, made, next_after) -> None:
    pace = Pace(rate(*windows) if windows else None)
    for moment in made:
        pace.count(NOW + moment)

    if next_after:
        assert NOW + next_after < pace.next_at() <= NOW + next_after * 1.05
    else:
        assert pace.next_at() <= NOW


def test_the_longest_pause_holds_whatever_the_rate_allows_and_is_not_the_rate_s() -> None:
    pace = Pace(rate((2, 1)), paused_until=NOW + 30)
    pace.pause_until(NOW + 5)
    pace.count(NOW)
    pace.count(NOW)

    assert (pace.next_at(), pace.paused_until) == (NOW + 30, NOW + 30)
    assert NOW + 1 < pace.free_at() < NOW + 1.1
    pace.pause_until(NOW + 40)
    assert pace.next_at() == NOW + 40
    pace = Pace(rate((1, 60)), paused_until=NOW + 5)
    pace.count(NOW)
    # A pause does not make up for requests.
    assert pace.next_at() > NOW + 60


@pytest.mark.parametrize("name", TIERS)
def test_the_ceiling_of_every_tier_can_be_used_almost_to_the_full(name: str) -> None:
    for ceiling in (TIERS[name].query, TIERS[name].submit):
        window = max(ceiling.windows, key=lambda window: window.seconds)
        pace, made = Pace(ceiling), [NOW]
        for _ in range(window.count):
            pace.count(made[-1])
            made.append(max(made[-1], pace.next_at()))

        assert window.seconds < made[-1] - made[0] <= window.seconds * 1.05


RATES = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from((0.1, 0.5, 1.0, 7.0, 10.0, 60.0))), min_size=1, max_size=3
)
WISHES = st.lists(st.sampled_from((0.0, 0.0, 0.01, 0.3, 1.0, 9.99, 61.0)), min_size=1, max_size=60)


@given(windows=RATES, wishes=WISHES)
@settings(max_examples=150, deadline=None, database=None)
@example(windows=[(2, 1.0)], wishes=[0.0, 1.0, 0.0, 0.0, 0.0])
def test_who_waits_as_told_never_exceeds_the_rate_nor_waits_longer_than_its_longest_window(
    windows: list[tuple[int, float]], wishes: list[float]
) -> None:
    pace, now, made = Pace(rate(*windows)), NOW, []
    for wish in wishes:
        now += wish
        assert pace.next_at() <= now + max(seconds for _count, seconds in windows) * 1.05
        now = max(now, pace.next_at())
        pace.count(now)
        made.append(now)

    for count, seconds in windows:
        assert max(sum(start <= moment < start + seconds for moment in made) for start in made) <= count
