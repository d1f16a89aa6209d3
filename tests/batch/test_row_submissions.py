"""Submissions of a group, told one by one and stopped at any moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.batch.arguments import BatchArguments, BatchLimits
from airflow_provider_imagetasks.batch.row_submissions import (
    LONGEST_INTENT,
    Refused,
    RowSubmissions,
    Taken,
    Unanswered,
    Withheld,
)
from airflow_provider_imagetasks.batch.segments import Intent, read_intents
from airflow_provider_imagetasks.batch.start import OpenBatch
from airflow_provider_imagetasks.exceptions import ContentPolicyError, UnknownOutcomeError
from airflow_provider_imagetasks.services.rates import Rate, Window
from tests.batch.batches import ACCOUNT, Easel, arguments, intents, opened

TWENTY = [f"row-{number}" for number in range(20)]


class Group:
    """A group of rows, about to be submitted."""

    def __init__(self, path: Path, prompts: list[str], **changes: Any) -> None:
        self.service = Easel()
        given: BatchArguments = arguments(path, service=self.service, **changes)
        self.batch: OpenBatch = opened(path, given, prompts)
        self.submissions = RowSubmissions(given, self.batch, self.service.run)
        self.intents = intents(self.batch)

    def submit(self) -> Any:
        return self.submissions.submit(self.intents)

    def on_record(self) -> list[Intent]:
        (name,) = self.batch.folder.segments(0)
        content = self.batch.folder.read(str(name))
        assert content is not None
        return read_intents(content)[1]


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[Any]:
    made: list[Group] = []

    def make(prompts: list[str], **changes: Any) -> Group:
        made.append(Group(tmp_path, prompts, **changes))
        return made[-1]

    yield make
    for group in made:
        group.batch.close()


async def test_what_became_of_a_row_is_told_at_once_and_all_ids_are_on_record_in_the_end(groups: Any) -> None:
    group = groups(["slow", "fast"])
    group.service.gates["slow"] = asyncio.Event()
    told = group.submit()

    first = await anext(told)
    assert isinstance(first, Taken)
    assert (first.intent.index, first.task.id, group.submissions.under_way) == (1, "id-fast", 1)
    assert [one.image_task_id for one in group.on_record()] == [None, None]
    group.service.gates["slow"].set()
    assert [type(outcome) async for outcome in told] == [Taken]

    assert [one.image_task_id for one in group.on_record()] == ["id-slow", "id-fast"]
    assert group.submissions.under_way == 0


async def test_what_is_not_taken_or_not_answered_is_told_as_that(groups: Any) -> None:
    group = groups(["refused", "cut"])
    group.service.answers = {"refused": ContentPolicyError("no"), "cut": UnknownOutcomeError("cut off")}

    outcomes = {outcome.intent.index: outcome async for outcome in group.submit()}

    assert isinstance(outcomes[0], Refused)
    assert isinstance(outcomes[1], Unanswered)
    assert [one.taken for one in group.on_record()] == [False, True]


async def test_one_that_waits_for_the_rate_does_not_leave_once_the_group_is_stopped(groups: Any) -> None:
    account = replace(ACCOUNT, submit_rate=Rate((Window(1, 0.2),)))
    group = groups(["first", "second"], account=account)
    told = group.submit()
    await anext(told)
    group.submissions.stop()

    assert [type(outcome) async for outcome in told] == [Withheld]
    assert group.service.submitted == ["first"]
    # What never left is no submission.
    assert [(one.index, one.image_task_id) for one in group.on_record()] == [(0, "id-first")]


async def test_a_start_that_was_replaced_while_it_waited_for_the_rate_submits_nothing_more(groups: Any) -> None:
    account = replace(ACCOUNT, submit_rate=Rate((Window(1, 0.2),)))
    group = groups(["first", "second"], account=account, limits=BatchLimits(look=0))
    told = group.submit()
    await anext(told)
    group.batch.folder.write_checkpoint(replace(group.batch.ledger.checkpoint, start="another"))

    assert [type(outcome) async for outcome in told] == [Withheld]
    assert group.service.submitted == ["first"]


async def test_one_that_could_not_leave_for_long_is_written_down_anew_before_it_does(groups: Any) -> None:
    group = groups(["late"])
    group.intents = [replace(intent, at=intent.at - LONGEST_INTENT - 1) for intent in group.intents]

    assert [type(outcome) async for outcome in group.submit()] == [Withheld]
    assert group.service.submitted == []


async def test_an_answer_with_the_id_of_another_row_is_none(groups: Any) -> None:
    group = groups(["twin", "twin", "other"])

    outcomes = sorted([outcome async for outcome in group.submit()], key=lambda outcome: outcome.intent.index)

    assert Counter(type(outcome) for outcome in outcomes) == {Taken: 2, Unanswered: 1}
    assert isinstance(outcomes[2], Taken)
    assert sorted(one.image_task_id or "" for one in group.on_record()) == ["", "id-other", "id-twin"]


async def test_an_unforeseen_error_of_one_row_is_its_own_unknown_outcome(
    groups: Any, caplog: pytest.LogCaptureFixture
) -> None:
    group = groups(["broken", "fine"])
    group.service.answers = {"broken": ZeroDivisionError()}

    outcomes = {outcome.intent.index: outcome async for outcome in group.submit()}

    assert isinstance(outcomes[0], Unanswered)
    assert "ZeroDivisionError" in outcomes[0].error.message
    assert "Traceback" in caplog.text
    assert isinstance(outcomes[1], Taken)
    assert [one.image_task_id for one in group.on_record()] == [None, "id-fine"]


async def test_places_are_gathered_for_a_moment_and_a_full_group_never_waits(groups: Any) -> None:
    group = groups(["a"], limits=BatchLimits(gather=999))
    assert (group.submissions.next_group(500), group.submissions.next_group(3)) == (50, 3)
    [outcome async for outcome in group.submit()]

    assert (group.submissions.next_group(500), group.submissions.next_group(3)) == (50, 0)
