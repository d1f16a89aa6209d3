"""What a filter of the gallery admits."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.ui.filters import Filter

CARD = {
    "state": "failed",
    "service": "kie",
    "model": "flux",
    "error": {"class": "DownloadError"},
    "prompt": "A red\n kite over ÜBERSEE",
    "row_id": "SKU-7",
    "image_task_id": "abc-1",
    "index": 7,
}
COUNTS = {"total": 9, "submitted": 9, "succeeded": 0, "failed": 0, "running": 0}


@pytest.mark.parametrize(
    ("wanted", "admits"),
    [
        ({}, True),
        ({"state": ""}, True),
        ({"state": "failed", "service": "kie", "model": "flux", "error": "DownloadError", "row": 7}, True),
        *(({name: "x"}, False) for name in ("state", "service", "model", "error")),
        ({"row": 0}, False),
        ({"search": "red  KITE"}, True),
        ({"search": "übersee"}, True),
        ({"search": "u\u0308bersee"}, True),
        ({"search": "sku-7"}, True),
        ({"search": "ABC"}, True),
        ({"search": "kite red"}, False),
        ({"search": "\ud800"}, False),
    ],
)
def test_a_card_is_admitted_by_all_that_is_asked(wanted: dict[str, Any], admits: bool) -> None:
    assert Filter(**wanted).admits(CARD) is admits


@pytest.mark.parametrize("card", [{**CARD, "error": None}, {**CARD, "prompt": None, "row_id": None}])
def test_what_a_card_does_not_know_is_not_found(card: dict[str, Any]) -> None:
    assert not Filter(error="DownloadError", search="kite").admits(card)


@pytest.mark.parametrize(
    ("wanted", "batch", "may"),
    [
        ({}, {}, True),
        ({"service": "fal"}, {}, False),
        ({"state": "failed"}, {"counts": {**COUNTS, "failed": 1}}, True),
        ({"state": "failed"}, {}, False),
        ({"state": "failed"}, {"state": "failed"}, True),
        ({"state": "stored"}, {"counts": {**COUNTS, "succeeded": 1}}, True),
        ({"state": "waiting"}, {"counts": {**COUNTS, "running": 1}}, True),
        ({"state": "waiting"}, {}, True),
        ({"state": "ready"}, {"ready": 3}, True),
        ({"state": "unfinished"}, {}, False),
        ({"error": "DownloadError"}, {}, False),
        ({"error": "DownloadError"}, {"counts": {**COUNTS, "failed": 1}}, True),
    ],
)
def test_a_batch_is_looked_into_where_its_counts_allow_for_what_is_asked(
    wanted: dict[str, Any], batch: dict[str, Any], may: bool
) -> None:
    known = {"state": "waiting", "service": "kie", "counts": COUNTS, "ready": 0, **batch}

    assert Filter(**wanted).may_admit_rows(known) is may
