from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.submissions.identity import submission_identity

SUBMISSION: dict[str, Any] = {
    "dag_id": "kites",
    "task_id": "submit",
    "run_id": "scheduled__2026-09-21",
    "map_index": 3,
    "generation": 0,
}


def test_the_identity_of_a_submission_is_the_same_on_every_try() -> None:
    identity = submission_identity(**SUBMISSION)

    assert identity == submission_identity(**SUBMISSION)
    # Written out, because a release that changes it no longer recognises the submissions of the one before.
    assert identity == "7cc2bf8fcfde33327f3a69f8bd3678922c0a012445e87bb729d6fe10837aba6f"


@pytest.mark.parametrize(
    "other",
    [
        {"dag_id": "hawks"},
        {"task_id": "submit_2"},
        {"run_id": "scheduled__2026-09-22"},
        {"map_index": -1},
        {"item_index": 1},
        {"generation": 1},
        {"map_index": 0, "item_index": 3},
        {"dag_id": "kitess", "task_id": "ubmit"},
    ],
)
def test_another_submission_has_another_identity(other: dict[str, Any]) -> None:
    assert submission_identity(**{**SUBMISSION, **other}) != submission_identity(**SUBMISSION)


def test_an_identity_can_be_a_header_and_a_field() -> None:
    identity = submission_identity(**SUBMISSION)

    assert len(identity) == 64
    assert set(identity) <= set("0123456789abcdef")
