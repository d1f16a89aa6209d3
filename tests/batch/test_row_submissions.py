"""Submissions of a group, told one by one and stopped at any moment; those without an answer are never guessed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.batch.arguments import BatchArguments, BatchLimits
from airflow_provider_imagetasks.batch.row_submissions import (
    LONGEST_INTENT,
    Found,
    NeverTaken,
    Refused,
    RowSubmissions,
    Searched,
    Taken,
    Unanswered,
    UnansweredSubmissions,
    Unknown,
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


async def test_trouble_with_one_row_keeps_no_other_id_from_the_record(groups: Any) -> None:
    group = groups(["broken", "fine"])
    group.service.answers = {"broken": ZeroDivisionError()}

    with pytest.raises(ZeroDivisionError):
        [outcome async for outcome in group.submit()]
    assert [one.image_task_id for one in group.on_record()] == [None, "id-fine"]


async def test_places_are_gathered_for_a_moment_and_a_full_group_never_waits(groups: Any) -> None:
    group = groups(["a"], limits=BatchLimits(gather=999))
    assert (group.submissions.next_group(500), group.submissions.next_group(3)) == (50, 3)
    [outcome async for outcome in group.submit()]

    assert (group.submissions.next_group(500), group.submissions.next_group(3)) == (50, 0)


async def look(
    service: Easel, *, age: float = 100.0, known: str | None = None, rows: int = 2, grace: float = 0.0
) -> list[Searched]:
    submissions = UnansweredSubmissions(service, grace, service.run)
    now = time.time()
    for row in range(rows):
        submissions.add(Intent(index=row, attempt=0, at=now - age), f"key-{row}", now)
    return await submissions.look(known)


async def test_what_carries_the_trace_id_was_taken() -> None:
    (found,) = await look(Easel(["key-0"]), grace=60)

    assert isinstance(found, Found)
    assert (found.task.id, found.intent.index, found.intent.image_task_id) == ("id-of-key-0-0", 0, "id-of-key-0-0")


MANY = [f"key-{number}" for number in range(10)]


@pytest.mark.parametrize(
    ("service", "how", "expected"),
    [
        pytest.param(Easel(["key-0"]), {}, {Found: 1, NeverTaken: 1}, id="absent beside others of the batch"),
        pytest.param(Easel(["known"]), {"known": "known"}, {NeverTaken: 2}, id="absent beside one certainly taken"),
        pytest.param(Easel(), {"known": "known"}, {Unknown: 2}, id="trace ids may not be kept, so absence is no proof"),
        pytest.param(Easel(["key-0", "key-0"]), {"rows": 1}, {Unknown: 1}, id="several of one trace id are no answer"),
        pytest.param(Easel(finds=False, repeats=True), {"age": 3000}, {NeverTaken: 2}, id="a key is given again"),
        pytest.param(Easel(finds=False, repeats=True), {"age": 4000}, {Unknown: 2}, id="but only within the hour"),
        pytest.param(Easel(finds=False), {"grace": 60}, {Unknown: 2}, id="a service that cannot tell, at once"),
        pytest.param(Easel(MANY), {"rows": 120}, {Found: 10, NeverTaken: 110}, id="pages, and one proof serves all"),
    ],
)
async def test_what_was_not_answered_was_taken_or_never_or_nobody_knows(
    service: Easel, how: dict[str, Any], expected: dict[type[Searched], int]
) -> None:
    found = await look(service, **how)

    assert Counter(type(end) for end in found) == expected
    assert all((end.intent.index < len(service.known)) is isinstance(end, Found) for end in found if Found in expected)
    assert {end.error.billed for end in found if isinstance(end, Unknown)} <= {"unknown"}
    # One whose key is given again may have been taken the first time.
    billed = "unknown" if service.repeats_submit_by_key else "no"
    assert {end.error.billed for end in found if isinstance(end, NeverTaken)} <= {billed}


async def test_nothing_is_said_of_the_absent_before_the_service_had_time_to_write_it_down() -> None:
    service = Easel(["known"])
    submissions = UnansweredSubmissions(service, 60, service.run)
    submissions.add(Intent(index=0, attempt=0, at=time.time()), "key-0", time.time())
    assert submissions.is_due()

    assert await submissions.look("known") == []
    assert len(submissions) == 1
    assert not submissions.is_due()


async def test_what_is_looked_for_is_not_looked_for_again_before_the_search_has_its_turn() -> None:
    # Two searches would both act on it: one makes the submission over again, and the other ends its row.
    service = Easel(["known"])
    submissions = UnansweredSubmissions(service, 0, service.run)
    submissions.add(Intent(index=0, attempt=0, at=time.time()), "key-0", time.time() - 1)
    search = submissions.look("known")

    assert not submissions.is_due()
    assert [type(end) for end in await search] == [NeverTaken]
