from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.rates import TIERS, Rate, Window, parse_rate


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
