"""How a run moves rows on: what is read, refused or broken off, and what the ledger says of it afterwards."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.batch.arguments import BatchLimits
from airflow_provider_imagetasks.batch.row_submissions import AT_ONCE
from airflow_provider_imagetasks.batch.run import BatchRun
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskError,
    QuotaExceededError,
    RateLimitError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState
from tests.batch.batches import LOG, Easel, arguments, opened
from tests.polled_accounts import Records, account, until
from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer, Step

pytestmark = pytest.mark.usefixtures("no_proxy")
QUICK = BatchLimits(idle=0.2, flush=0.05, not_found_grace=0)


@dataclass
class Service:
    """Takes submissions, whose image tasks are called after their prompts, and answers questions from records."""

    records: Records = field(default_factory=Records)
    prompts: list[str] = field(default_factory=list)
    refused: dict[str, Step] = field(default_factory=dict)
    before_answer: Callable[[], object] = lambda: None

    def __call__(self, request: ReceivedRequest) -> Step:
        if "prompt" not in request.body:
            return self.records(request)
        prompt = request.body["prompt"]
        self.prompts.append(prompt)
        self.before_answer()
        return self.refused.get(prompt) or Reply({"task_id": prompt})


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def server(service: Service) -> Iterator[ScriptedServer]:
    with ScriptedServer(otherwise=service) as running:
        yield running


@pytest.fixture
def start(server: ScriptedServer, tmp_path: Path) -> Iterator[Any]:
    """Run a start of the batch; says whether the batch is over."""
    batches = []

    async def run(rows: list[str], **changes: Any) -> Any:
        changes = {"account": account(server.url), "limits": QUICK, "poll_interval": 1.0, **changes}
        given = arguments(tmp_path, **changes)
        batches.append(opened(tmp_path, given, rows))
        return await BatchRun(given, batches[-1], report=lambda _counts: None, log=LOG).run()

    yield run
    for batch in batches:
        batch.close()


def outcomes(path: Path) -> dict[int, dict[str, Any]]:
    """Return the latest outcome of each row."""
    lines = [
        json.loads(line)
        for file in sorted(path.glob("pictures/.imagetasks/*/outcomes-*"), key=lambda file: file.name)
        for line in file.read_text().splitlines()
    ]
    return {line["index"]: line for line in lines}


async def test_a_row_that_cannot_be_read_stays_open_and_is_not_paid_again(
    service: Service, start: Any, tmp_path: Path
) -> None:
    service.records.poisonous = {"b"}
    service.records.finished_after = 10**6
    assert not await start(["a", "b"], defers=True)

    assert outcomes(tmp_path) == {}
    service.records.poisonous.clear()
    assert not await start([], defers=True)
    assert sorted(service.prompts) == ["a", "b"]
    assert service.records.asked["b"] >= 1


async def test_a_refused_key_ends_the_start_and_leaves_the_rows_open(
    service: Service, start: Any, tmp_path: Path
) -> None:
    service.before_answer = lambda: service.records.keys.add("another")

    with pytest.raises(AuthenticationError) as refused:
        await start(["a", "b"])
    assert refused.value.billed == "unknown"
    assert outcomes(tmp_path) == {}

    service.records.keys.clear()
    service.before_answer = lambda: None
    service.records.finished_after = 10**6
    assert not await start([], defers=True)
    assert sorted(service.prompts) == ["a", "b"]


async def test_after_a_fatal_error_nothing_further_of_a_group_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"row-{number}" for number in range(20)]
    easel = Easel()
    easel.gates = {row: asyncio.Event() for row in rows}
    given = arguments(tmp_path, service=easel, limits=QUICK, poll_interval=0.05)
    batch = opened(tmp_path, given, rows)
    monkeypatch.setattr("airflow_provider_imagetasks.batch.run_loop.open_async_transport", lambda _account: easel)
    run = BatchRun(given, batch, report=lambda _counts: None, log=LOG)
    running = asyncio.create_task(run.run())
    easel.gates["row-0"].set()
    # The first one is read with a key that is refused.
    await until(lambda: run._submissions._departure.is_stopped)
    for gate in easel.gates.values():
        gate.set()

    with pytest.raises(AuthenticationError):
        await running
    assert len(easel.submitted) <= 1 + AT_ONCE
    batch.close()


class TwoMinds(Easel):
    """Answers the first submission with nothing, and each further one with an error."""

    def __init__(self, then: ImageTaskError, *, repeats: bool) -> None:
        super().__init__(finds=False, repeats=repeats)
        self.then = then
        self.keys: list[str | None] = []

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        self.answers[str(request.prompt)] = self.then if self.keys else UnknownOutcomeError("cut off")
        self.keys.append(key)
        return super().submit(request, key=key)


@pytest.mark.parametrize("repeats", [False, True], ids=["resubmit", "the same key"])
@pytest.mark.parametrize(
    "then",
    [ContentPolicyError("no"), QuotaExceededError("no credits"), RateLimitError("slowly"), None],
    ids=["refused", "no balance", "429", "max_cost"],
)
async def test_a_row_that_may_be_paid_is_not_called_unbilled_for_what_came_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repeats: bool, then: ImageTaskError | None
) -> None:
    service = TwoMinds(then or ContentPolicyError("no"), repeats=repeats)
    prices = {"prices": {"easel-1": 1.0}, "max_cost": 9 if then else 1}
    given = arguments(tmp_path, service=service, limits=QUICK, row_attempts=3, resubmits_unknown=True, **prices)
    batch = opened(tmp_path, given, ["a"])
    monkeypatch.setattr("airflow_provider_imagetasks.batch.run_loop.open_async_transport", lambda _account: service)

    assert await BatchRun(given, batch, report=lambda _counts: None, log=LOG).run()

    error = outcomes(tmp_path)[0]["error"]
    assert (error["class"], error["billed"]) == ("UnknownOutcomeError", "unknown")
    # Under another key it would be another picture.
    assert not repeats or len(set(service.keys)) == 1
    batch.close()
    again = opened(tmp_path, given, [])
    assert again.ledger.spending.amount == 1
    again.close()


class NeverDone(Easel):
    """Finds each submission, and works on it for ever."""

    def find_by_trace_ids(self, trace_ids: Any) -> Flow[list[ImageTask]]:
        self.known = list(trace_ids)
        return super().find_by_trace_ids(trace_ids)

    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        yield from ()
        return ImageTask(id=image_task_id, service="easel", state=TaskState.RUNNING)


async def test_a_row_that_is_found_after_its_time_ends_instead_of_being_deferred_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = NeverDone()
    given = arguments(tmp_path, service=service, limits=QUICK, poll_interval=1.0, timeout=60.0, defers=True)
    killed = opened(tmp_path, given, ["a"])
    killed.ledger.intend([Intent(index=0, attempt=0, at=time.time() - 99)])
    killed.close()
    batch = opened(tmp_path, given, [])
    monkeypatch.setattr("airflow_provider_imagetasks.batch.run_loop.open_async_transport", lambda _account: service)

    assert await BatchRun(given, batch, report=lambda _counts: None, log=LOG).run()
    assert outcomes(tmp_path)[0]["error"]["class"] == "ImageTaskTimeoutError"
    batch.close()
