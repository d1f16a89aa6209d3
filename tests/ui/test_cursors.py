"""Where pages of the gallery end: what comes back from the browser is where they ended, or the first page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_imagetasks.ui.cursors import (
    cursor,
    newest_position,
    offset_of,
    place_in_order,
    run_position,
)

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
INSTANCE_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def test_a_page_goes_on_where_the_one_before_ended() -> None:
    for place in (("picture.submit", 3, -1, ""), ("\u00e9tude", -1, 2, INSTANCE_ID)):
        assert newest_position(cursor(MOMENT.isoformat(), 7, *place)) == (MOMENT, 7, *place)
        assert run_position(cursor(*place)) == place
    assert offset_of("120") == 120
    assert place_in_order("0123456789abcdef.120") == ("0123456789abcdef", 120)


@pytest.mark.parametrize(
    "parts",
    [
        ("2026-03-01", 7),
        ("yesterday", 7),
        (MOMENT.isoformat(), 2**63),
        (MOMENT.isoformat(), -1),
        (MOMENT.isoformat(), True),
        (MOMENT.isoformat(),),
        (),
    ],
)
def test_what_no_database_can_be_asked_for_is_the_first_page(parts: tuple[Any, ...]) -> None:
    assert newest_position(cursor(*parts, "submit", -1, -1, "")) is None


@pytest.mark.parametrize(
    "place",
    [
        ("sub\0mit", -1, -1, ""),
        ("submit", 2**31, -1, ""),
        ("submit", -2, -1, ""),
        ("submit", True, -1, ""),
        ("submit", -1, 2**31, ""),
        ("submit", -1, None, ""),
        ("submit", -1, -1, "x"),
        ("submit", -1, -1, None),
        (None, -1, -1, ""),
        ("submit", -1),
        ("submit",),
        (),
    ],
)
def test_nor_can_it_be_asked_for_a_place_that_is_none(place: tuple[Any, ...]) -> None:
    assert run_position(cursor(*place)) is None
    assert newest_position(cursor(MOMENT.isoformat(), 7, *place)) is None


@pytest.mark.parametrize("text", [None, "", "x", "-1", "\u00b2", "9" * 12])
def test_an_offset_that_is_none_is_the_first_page(text: str | None) -> None:
    assert offset_of(text) == 0


@pytest.mark.parametrize(
    "text", [None, "", "120", "x.1", "0123456789abcdef.", f"0123456789abcdef.{'9' * 12}", "\u0661" * 16]
)
def test_a_place_in_no_order_is_the_first_page(text: str | None) -> None:
    assert place_in_order(text) == ("", 0)
