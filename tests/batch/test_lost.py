"""What becomes of submissions whose answer nobody has: found, never taken, or unknown. Never guessed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pytest

from airflow_provider_imagetasks.batch import lost
from airflow_provider_imagetasks.batch.lost import Found, LostSubmissions
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState


class Easel(Service):
    """A service that knows some trace ids."""

    name = title = "easel"
    default_base_url = "https://easel.example"
    default_model = default_edit_model = "easel-1"

    def __init__(self, known: Iterable[str] = (), *, finds: bool = True, repeats: bool = False) -> None:
        self.known = list(known)
        self.finds_by_trace_id = finds  # type: ignore[misc]
        self.repeats_submit_by_key = repeats  # type: ignore[misc]

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        raise AssertionError("looking must not submit")
        yield

    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        raise AssertionError
        yield

    def find_by_trace_ids(self, trace_ids: Any) -> Flow[list[ImageTask]]:
        yield from ()
        return [
            ImageTask(id=f"id-of-{name}-{number}", service="easel", state=TaskState.RUNNING, trace_id=name)
            for number, name in enumerate(self.known)
            if name in trace_ids
        ]

    def check_connection(self) -> Flow[str]:
        yield from ()
        return "fine"


class Driver:
    async def run(self, flow: Flow[Any]) -> Any:
        try:
            next(flow)
        except StopIteration as end:
            return end.value
        raise AssertionError("nothing here pauses")


async def look(service: Service, *, age: float = 100.0, witness: str | None = None, rows: int = 2) -> Found:
    submissions = LostSubmissions(service)
    now = time.time()
    for row in range(rows):
        submissions.add(Intent(index=row, attempt=0, at=now - age), f"key-{row}")
    return await submissions.look(Driver(), witness)


@pytest.fixture
def grace_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost, "NOT_FOUND_GRACE", 0.0)


async def test_what_carries_the_trace_id_was_taken() -> None:
    found = await look(Easel(["key-0"]))

    assert {row: task.id for row, task in found.taken.items()} == {0: "id-of-key-0-0"}
    assert (found.never_taken, found.unknown) == ([], {})


@pytest.mark.usefixtures("grace_is_over")
async def test_what_is_absent_beside_others_of_the_batch_was_never_taken() -> None:
    assert (await look(Easel(["key-0"]))).never_taken == [1]


@pytest.mark.usefixtures("grace_is_over")
async def test_a_witness_proves_it_too() -> None:
    assert (await look(Easel(["witness"]), witness="witness")).never_taken == [0, 1]


@pytest.mark.usefixtures("grace_is_over")
async def test_absence_proves_nothing_where_the_service_may_not_keep_trace_ids() -> None:
    found = await look(Easel(), witness="witness")

    assert sorted(found.unknown) == [0, 1]
    assert found.never_taken == []
    assert found.unknown[0].billed == "unknown"


async def test_nothing_is_said_of_the_absent_before_the_service_had_time_to_write_it_down() -> None:
    submissions = LostSubmissions(Easel(["witness"]))
    submissions.add(Intent(index=0, attempt=0, at=time.time()), "key-0")

    assert await submissions.look(Driver(), "witness") == Found()
    assert len(submissions) == 1
    assert time.time() < (submissions.next_look() or 0) <= time.time() + 60


@pytest.mark.usefixtures("grace_is_over")
async def test_several_image_tasks_of_one_trace_id_are_no_answer() -> None:
    found = await look(Easel(["key-0", "key-0"]), rows=1)

    assert sorted(found.unknown) == [0]
    assert not found.taken


async def test_a_service_that_knows_the_key_is_given_it_again_within_the_hour() -> None:
    assert (await look(Easel(finds=False, repeats=True), age=3000)).never_taken == [0, 1]
    assert sorted((await look(Easel(finds=False, repeats=True), age=4000)).unknown) == [0, 1]


async def test_a_service_that_cannot_tell_leaves_it_unknown_at_once() -> None:
    assert sorted((await look(Easel(finds=False))).unknown) == [0, 1]


@pytest.mark.usefixtures("grace_is_over")
async def test_many_are_looked_for_in_pages_and_one_proof_serves_all() -> None:
    found = await look(Easel([f"key-{number}" for number in range(10)]), rows=120)

    assert len(found.taken) == 10
    assert len(found.never_taken) == 110
