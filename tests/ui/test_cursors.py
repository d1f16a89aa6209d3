"""Where pages of the gallery end: what comes back from the browser is where they ended, or the first page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_imagetasks.ui.cursors import cursor, newest_position, offset_of, run_position

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_page_goes_on_where_the_one_before_ended() -> None:
    assert newest_position(cursor(MOMENT.isoformat(), 7, "picture.submit", 3)) == (MOMENT, 7, "picture.submit", 3)
    assert run_position(cursor("\u00e9tude", -1)) == ("\u00e9tude", -1)
    assert offset_of("120") == 120


@pytest.mark.parametrize(
    "parts",
    [
        ("2026-03-01", 7, "submit", -1),
        ("yesterday", 7, "submit", -1),
        (MOMENT.isoformat(), 2**63, "submit", -1),
        (MOMENT.isoformat(), -1, "submit", -1),
        (MOMENT.isoformat(), 7, "sub\0mit", -1),
        (MOMENT.isoformat(), 7, "submit", 2**31),
        (MOMENT.isoformat(), 7, "submit", -2),
        (MOMENT.isoformat(), 7, None, -1),
        (MOMENT.isoformat(), 7, "submit"),
    ],
)
def test_what_no_database_can_be_asked_for_is_the_first_page(parts: tuple[Any, ...]) -> None:
    assert newest_position(cursor(*parts)) is None


@pytest.mark.parametrize("parts", [("sub\0mit", -1), ("submit", 2**31), ("submit", -2), (None, -1), ("submit",)])
def test_nor_can_a_run_be_asked_for_it(parts: tuple[Any, ...]) -> None:
    assert run_position(cursor(*parts)) is None


@pytest.mark.parametrize("text", [None, "", "x", "-1", "\u00b2", "9" * 12])
def test_an_offset_that_is_none_is_the_first_page(text: str | None) -> None:
    assert offset_of(text) == 0
