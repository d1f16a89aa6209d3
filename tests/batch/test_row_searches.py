"""Searches for submissions without an answer: what became of them is found out at the service, and never guessed."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from airflow_provider_imagetasks.batch.row_searches import (
    Found,
    NeverTaken,
    Searched,
    UnansweredSubmissions,
    Unknown,
)
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.tasks import ImageTask
from tests.batch.batches import Easel


async def look(
    service: Easel, *, age: float = 100.0, known: str | None = None, rows: int = 2, grace: float = 0.0
) -> list[Searched]:
    submissions = UnansweredSubmissions(service, grace, service.run)
    now = time.time()
    for row in range(rows):
        submissions.add(Intent(index=row, attempt=0, at=now - age), f"key-{row}", now)
    return await submissions.look({"": known} if known else {})


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

    assert await submissions.look({"": "known"}) == []
    assert len(submissions) == 1
    assert not submissions.is_due()


async def test_what_is_looked_for_is_not_looked_for_again_before_the_search_has_its_turn() -> None:
    # Two searches would both act on it: one makes the submission over again, and the other ends its row.
    service = Easel(["known"])
    submissions = UnansweredSubmissions(service, 0, service.run)
    submissions.add(Intent(index=0, attempt=0, at=time.time()), "key-0", time.time() - 1)
    search = submissions.look({"": "known"})

    assert not submissions.is_due()
    assert [type(end) for end in await search] == [NeverTaken]


class OfTwoApis(Easel):
    """A service with a second API, which keeps no trace ids."""

    def find_in_api(self, api: str, trace_ids: Any) -> Flow[list[ImageTask]]:
        return self.find_by_trace_ids([] if api else trace_ids)


async def test_what_one_api_does_with_trace_ids_proves_nothing_of_another() -> None:
    service = OfTwoApis(["known", "key-0"])
    submissions = UnansweredSubmissions(service, 0, service.run)
    for row, api in enumerate(("", "", "sketches")):
        submissions.add(Intent(index=row, attempt=0, at=time.time()), f"key-{row}", time.time() - 1, api=api)

    ends = await submissions.look({"": "known"})

    assert {end.intent.index: type(end) for end in ends} == {0: Found, 1: NeverTaken, 2: Unknown}
