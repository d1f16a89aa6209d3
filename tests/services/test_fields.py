"""Single values out of answers: cleaned, bounded, within sense."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_imagetasks.services.fields import LONGEST_TEXT, moment, structure, text

NOON = 1_790_000_000.0
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u05d0\u200f \u0e01"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("a red kite", "a red kite"),
        (FAMILY, FAMILY),
        ("two\r\nlines\u2028three\x85four\tfive", "two lines three four five"),
        ("\x1b[31mred\x1b[0m \u202egnp.exe \u2066\0\ud800\x7f\x9b", "[31mred[0m gnp.exe "),
        ("x" * 10**7, "x" * LONGEST_TEXT),
        *((value, None) for value in ("", "\0", "\ud800", None, True, [], {})),
        (404, "404"),
    ],
)
def test_a_text_is_one_line_that_anything_can_hold(value: Any, read: str | None) -> None:
    assert text(value) == read


@pytest.mark.parametrize(
    ("value", "read"),
    [
        *((value, NOON) for value in (NOON, str(NOON), NOON * 1e3, NOON * 1e6, NOON * 1e9)),
        *((value, NOON) for value in ("2026-09-21T14:13:20Z", "2026-09-21T16:13:20+02:00", "2026-09-21 14:13:20")),
        *((value, None) for value in ("1990-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "2026-99-01")),
        *((value, None) for value in (float("nan"), float("inf"), -NOON, 0, 12.5, 1e300, 10**400, "noon", None, True)),
    ],
)
def test_a_moment_is_one_of_this_century_in_whatever_unit(value: Any, read: float | None) -> None:
    assert moment(value) == read


def test_a_structure_is_kept_to_a_few_kilobytes() -> None:
    deep: Any = {"tokens": 7}
    for _ in range(500):
        deep = {"in": deep}
    wide = {f"field {n}" * 50: ["x" * 10**5] * 50 for n in range(5_000)}

    assert structure({"total_tokens": 7, "details": {"text": [1, 2.5, True, "low"]}}) == {
        "total_tokens": 7,
        "details": {"text": [1, 2.5, True, "low"]},
    }
    assert structure({"cost": float("nan"), "tokens": 10**400, "other": object()}) is None
    assert len(json.dumps(structure(deep))) < 100
    assert len(json.dumps(structure(wide))) < 10_000
    assert structure([1]) is structure("7") is structure(None) is None
