from __future__ import annotations

import uuid
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_imagetasks.submissions.identity import (
    SubmissionSlot,
    batch_identity,
    is_earlier,
    slot_of,
    start_text,
)

SLOT = SubmissionSlot(
    dag_id="kites", task_id="submit", run_id="scheduled__2026-09-21", map_index=3, max_tries=2, try_number=1
)


def test_the_identity_of_a_submission_is_the_same_on_every_try() -> None:
    identity = replace(SLOT, try_number=2, max_tries=9).identity(0)

    # Written out, because a release that changes it no longer recognises the submissions of the one before.
    assert identity == SLOT.identity(0) == "7cc2bf8fcfde33327f3a69f8bd3678922c0a012445e87bb729d6fe10837aba6f"


@pytest.mark.parametrize(
    "other",
    [
        *({"dag_id": "hawks"}, {"task_id": "submit_2"}, {"run_id": "scheduled__2026-09-22"}, {"map_index": -1}),
        *({"item_index": 1}, {"map_index": 0, "item_index": 3}, {"dag_id": "kitess", "task_id": "ubmit"}),
    ],
)
def test_another_slot_has_another_identity(other: dict[str, Any]) -> None:
    assert replace(SLOT, **other).identity(0) != SLOT.identity(0)


def test_the_identity_of_another_item_is_that_of_its_slot() -> None:
    other = replace(SLOT, item_index=7, region="loop/2")

    assert replace(other, item_index=0).identity(1, 2, "n", item_index=7) == other.identity(1, 2, "n")


def test_every_generation_and_every_attempt_has_an_identity_of_its_own() -> None:
    assert len({SLOT.identity(generation, attempt) for generation in (0, 1) for attempt in (0, 1, 2)}) == 6


@pytest.mark.parametrize(("map_index", "expected"), [(3, 3), (-1, -1), (None, -1)])
def test_a_running_task_instance_is_a_slot(map_index: int | None, expected: int) -> None:
    names = ("dag_id", "task_id", "run_id", "max_tries", "try_number")
    instance = SimpleNamespace(**{name: getattr(SLOT, name) for name in names}, map_index=map_index, id="a-try")

    assert slot_of({"ti": instance}) == replace(SLOT, map_index=expected, try_id="a-try")


def test_the_identity_of_a_batch_is_the_same_on_every_start() -> None:
    assert batch_identity(dag_id="kites", task_id="draw", run_id="r", map_index=-1) == (
        "e8fa8d20b1416282f315cfb4a057570468609cd6cfb995e6312ef4aaf8d25a5b"
    )


def moment(seconds: int) -> str:
    """Return an id as Airflow gives it to a try that begins then."""
    return str(uuid.UUID(int=(seconds * 1000 << 80) | (7 << 76) | (2 << 62)))


@pytest.mark.parametrize(
    ("own", "latest", "expected"),
    [
        ((moment(10), 1), (moment(20), 2), True),
        ((moment(20), 2), (moment(10), 1), False),
        ((moment(10), 2), (moment(20), 1), False),
        # A Dag run that is made again counts its tries anew.
        ((moment(20), 1), (moment(10), 3), False),
        ((moment(10), 1), (moment(20), 1), True),
        # An earlier version kept no number.
        ((moment(10), 2), (moment(20), 0), True),
        (("an id", 1), ("another", 2), False),
    ],
)
def test_which_start_is_of_an_earlier_try(own: tuple[str, int], latest: tuple[str, int], expected: bool) -> None:
    assert is_earlier(start_text(own[0], "a", own[1]), start_text(latest[0], "b", latest[1])) is expected


def test_no_start_is_earlier_than_none() -> None:
    assert not is_earlier(start_text(moment(1), "a", 1), None)
