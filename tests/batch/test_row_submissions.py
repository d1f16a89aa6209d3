"""Submissions of a group, told one by one and stopped at any moment; those without an answer are never guessed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.batch.arguments import BatchArguments, BatchLimits
from airflow_provider_imagetasks.batch.row_submissions import (
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
from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    ImageTaskError,
    QuotaExceededError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services.rates import Rate, Window
from airflow_provider_imagetasks.services.wire import Flow
from tests.batch.batches import ACCOUNT, Easel, Studio, arguments, intents, opened


class Group:
    """A group of rows, about to be submitted."""

    def __init__(self, path: Path, prompts: list[str], **changes: Any) -> None:
        self.service = Studio()
        given: BatchArguments = arguments(path, service=self.service, **changes)
        self.batch: OpenBatch = opened(path, given, prompts)
        self.submissions = RowSubmissions(given, self.batch)
        self.intents = intents(self.batch)

    def submit(self, *repeated: int) -> Any:
        return self.submissions.submit(self.intents, self.service.run, repeated=set(repeated))

    def on_record(self) -> list[Intent]:
        content = self.batch.folder.read("intents-0-000000.jsonl")
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


async def test_nothing_more_of_a_group_leaves_once_it_is_stopped(groups: Any) -> None:
    group = groups([f"row-{number}" for number in range(20)])
    group.service.gates = {f"row-{number}": asyncio.Event() for number in range(20)}
    told = group.submit()
    group.service.gates["row-3"].set()
    await anext(told)
    group.submissions.stop()
    for gate in group.service.gates.values():
        gate.set()

    rest = [type(outcome) async for outcome in told]

    # Eight leave at a time, and the ninth had the place of the one that was answered.
    assert len(group.service.submitted) in (8, 9)
    assert rest.count(Withheld) == 20 - len(group.service.submitted)
    assert [one.taken for one in group.on_record()].count(False) == rest.count(Withheld)


async def test_one_that_waits_for_the_rate_does_not_leave_either(groups: Any) -> None:
    account = replace(ACCOUNT, submit_rate=Rate((Window(1, 0.2),)))
    group = groups(["first", "second"], account=account)
    told = group.submit()
    await anext(told)
    group.submissions.stop()

    assert [type(outcome) async for outcome in told] == [Withheld]
    assert group.service.submitted == ["first"]


async def test_a_balance_that_is_used_up_stops_all_that_wait_for_a_place(groups: Any) -> None:
    group = groups([f"row-{number}" for number in range(20)])
    group.service.answers = {f"row-{number}": QuotaExceededError("empty") for number in range(20)}

    ends = [type(outcome) async for outcome in group.submit()]

    assert len(group.service.submitted) <= 8
    assert ends.count(Withheld) == 20 - len(group.service.submitted)


async def test_one_that_is_made_over_again_and_withheld_may_have_been_taken_before(groups: Any) -> None:
    group = groups(["a", "b"])
    group.submissions.stop()

    assert [type(outcome) async for outcome in group.submit(1)] == [Withheld, Withheld]
    assert [one.taken for one in group.on_record()] == [False, True]


async def test_nothing_leaves_where_the_intents_cannot_be_kept(groups: Any) -> None:
    group = groups(["a"])
    group.batch.folder.write("life.json", b'{"schema": 1, "generation": 0, "max_tries": 2, "start": "another"}')

    with pytest.raises(ImageTaskError, match="Another start"):
        [outcome async for outcome in group.submit()]
    assert (group.service.submitted, group.submissions.under_way) == ([], 0)


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


async def run(flow: Flow[Any]) -> Any:
    try:
        next(flow)
    except StopIteration as end:
        return end.value
    raise AssertionError("nothing here pauses")


async def look(
    service: Easel, *, age: float = 100.0, known: str | None = None, rows: int = 2, grace: float = 0.0
) -> list[Searched]:
    submissions = UnansweredSubmissions(service, grace)
    now = time.time()
    for row in range(rows):
        submissions.add(Intent(index=row, attempt=0, at=now - age), f"key-{row}")
    return await submissions.look(run, known)


def ends(found: list[Searched]) -> dict[type[Searched], list[int]]:
    """Return the rows by what became of them."""
    rows: dict[type[Searched], list[int]] = {}
    for end in found:
        rows.setdefault(type(end), []).append(end.intent.index)
    return rows


async def test_what_carries_the_trace_id_was_taken() -> None:
    (found,) = await look(Easel(["key-0"]), grace=60)

    assert isinstance(found, Found)
    assert (found.task.id, found.intent.index, found.intent.image_task_id) == ("id-of-key-0-0", 0, "id-of-key-0-0")


async def test_what_is_absent_beside_others_of_the_batch_was_never_taken() -> None:
    assert ends(await look(Easel(["key-0"]))) == {Found: [0], NeverTaken: [1]}


async def test_one_that_was_certainly_taken_proves_it_too() -> None:
    assert ends(await look(Easel(["known"]), known="known")) == {NeverTaken: [0, 1]}


async def test_absence_proves_nothing_where_the_service_may_not_keep_trace_ids() -> None:
    found = await look(Easel(), known="known")

    assert ends(found) == {Unknown: [0, 1]}
    assert {end.error.billed for end in found if isinstance(end, Unknown)} == {"unknown"}


async def test_nothing_is_said_of_the_absent_before_the_service_had_time_to_write_it_down() -> None:
    submissions = UnansweredSubmissions(Easel(["known"]), grace=60)
    submissions.add(Intent(index=0, attempt=0, at=time.time()), "key-0")
    assert submissions.is_due()

    assert await submissions.look(run, "known") == []
    assert len(submissions) == 1
    assert not submissions.is_due()


async def test_several_image_tasks_of_one_trace_id_are_no_answer() -> None:
    assert ends(await look(Easel(["key-0", "key-0"]), rows=1)) == {Unknown: [0]}


async def test_a_service_that_knows_the_key_is_given_it_again_within_the_hour() -> None:
    assert ends(await look(Easel(finds=False, repeats=True), age=3000)) == {NeverTaken: [0, 1]}
    assert ends(await look(Easel(finds=False, repeats=True), age=4000)) == {Unknown: [0, 1]}


async def test_a_service_that_cannot_tell_leaves_it_unknown_at_once() -> None:
    assert ends(await look(Easel(finds=False), grace=60)) == {Unknown: [0, 1]}


async def test_many_are_looked_for_in_pages_and_one_proof_serves_all() -> None:
    found = await look(Easel([f"key-{number}" for number in range(10)]), rows=120)

    assert {end: len(rows) for end, rows in ends(found).items()} == {Found: 10, NeverTaken: 110}
