"""What is known of each row while a batch runs, how much memory that takes, and how far it is said to be."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest

from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.batch.state import BatchState, ProgressReport, Stage
from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.polling.batch_wait import Counts


def submitted(state: BatchState, row: int) -> Intent:
    (intent,) = [one for one in state.next_intents(99, 5.0) if one.index == row]
    state.submitted(intent)
    return intent


def test_a_row_takes_some_bytes() -> None:
    state = BatchState(100_000)

    assert sys.getsizeof(state.stages) + sys.getsizeof(state._attempts) < 4 * 100_000
    assert state.next_new(3) == [0, 1, 2]
    assert state.counts == Counts(total=100_000)


def test_each_submission_of_a_row_is_another_attempt_unless_the_last_one_is_repeated() -> None:
    state = BatchState(2)
    assert submitted(state, 0).attempt == 0
    state.renewed(0)

    assert [one.attempt for one in state.next_intents(2, 5.0)] == [1, 0]
    state.renewed(0, repeated=ImageTaskError("none was answered"))
    assert [(one.attempt, one.is_repetition) for one in state.next_intents(2, 5.0)] == [(0, True), (0, False)]
    state.withheld(submitted(state, 0))
    assert state.next_intents(1, 5.0)[0].is_repetition
    submitted(state, 0)
    state.renewed(0)
    assert not state.next_intents(1, 5.0)[0].is_repetition


def test_a_row_whose_pictures_are_fetched_runs_no_more_and_is_not_over() -> None:
    state = BatchState(1)
    submitted(state, 0)
    state.delivering(0)

    assert not state.open
    assert (state.counts.submitted, state.counts.done, state.next_new(1)) == (1, 0, [])


def test_what_a_start_remembers_of_a_row_ends_with_it() -> None:
    state = BatchState(1)
    submitted(state, 0)
    state.fresh, state.else_submit = {0}, {0}
    state.renewed(0, is_unbilled=True)
    assert (state.fresh, state.else_submit, state.unbilled) == (set(), set(), {0})

    state.over(0, succeeded=False)

    assert (state.unbilled, Stage(state.stages[0])) == (set(), Stage.FAILED)
    assert state.is_over


def test_submissions_of_a_try_are_counted_unless_they_never_left() -> None:
    state = BatchState(1)
    for _ in range(2):
        (intent,) = state.next_intents(1, 5.0)
        state.submitted(intent)
        state.renewed(0)
    (intent,) = state.next_intents(1, 5.0)
    state.submitted(intent)
    state.withheld(intent)

    assert (state.submissions[0], state.next_new(1)) == (2, [0])


@pytest.mark.parametrize(
    ("later", "ids"),
    [
        pytest.param({"attempt": 0}, ["an-id"], id="of the same submission"),
        pytest.param({"attempt": 1}, ["an-id"], id="of another, by a start that did not know"),
        pytest.param({"attempt": 1, "taken": False}, ["an-id"], id="of another that was refused"),
        pytest.param({"attempt": 1, "after_unbilled": True}, [], id="of another, after the first cost nothing"),
        pytest.param({"attempt": 1, "image_task_id": "another"}, ["another"], id="of another that was answered"),
    ],
)
def test_what_has_an_id_is_not_forgotten_for_a_later_word_without_one(later: dict[str, Any], ids: list[str]) -> None:
    state = BatchState(1)
    state.opened(Intent(index=0, attempt=0, at=5.0, image_task_id="an-id"))
    state.opened(Intent(index=0, at=9.0, **later))

    assert state.open_ids == ids


def test_what_is_waited_for_is_told_with_its_latest_submission() -> None:
    state = BatchState(3)
    for row in range(3):
        state.opened(Intent(index=row, attempt=0, at=10.0 + row, image_task_id=f"id-{row}" if row else None))

    assert state.open_ids == ["id-1", "id-2"]
    assert state.latest_submission == 12.0


def test_the_log_says_rate_and_time_left() -> None:
    report = ProgressReport(logging.getLogger("test"), None)
    report.line(Counts(total=1000, submitted=100), 0)

    text = report.line(Counts(total=1000, submitted=400, succeeded=290, failed=10), 60)

    assert text == "300 of 1,000 done, 10 failed, 100 running, 300 a minute, about 2 min left"


def test_xcom_is_told_now_and_then_and_in_the_end() -> None:
    pushed: list[int] = []
    report = ProgressReport(logging.getLogger("test"), lambda value: pushed.append(value["succeeded"]))
    for number in range(5):
        report(Counts(total=5, submitted=5, succeeded=number))
    report(Counts(total=5, submitted=5, succeeded=5), last=True)

    assert pushed == [0, 5]


@pytest.mark.parametrize(
    ("second", "is_unsettled"),
    [
        (Intent(index=0, attempt=1, at=6.0, taken=False), True),
        (Intent(index=0, attempt=1, at=6.0, image_task_id="b"), True),
        (Intent(index=0, attempt=1, at=6.0, after_unbilled=True), False),
        (Intent(index=0, attempt=0, at=6.0, image_task_id="a"), False),
    ],
    ids=["refused", "taken", "after one that cost nothing", "the same one, answered"],
)
def test_a_later_start_knows_that_a_row_was_submitted_beside_one_that_may_be_paid(
    second: Intent, is_unsettled: bool
) -> None:
    state = BatchState(1)
    state.opened(Intent(index=0, attempt=0, at=5.0))
    state.opened(second)
    assert (0 in state.unsettled) is is_unsettled

    state.over(0, succeeded=False)
    assert not state.unsettled
