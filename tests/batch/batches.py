"""What tests of a batch's parts have in common: arguments, and an open batch in a folder of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_provider_imagetasks.batch.arguments import BatchArguments
from airflow_provider_imagetasks.batch.requests_file import RequestsSource
from airflow_provider_imagetasks.batch.segments import Intent
from airflow_provider_imagetasks.batch.start import OpenBatch, open_batch
from airflow_provider_imagetasks.exceptions import AuthenticationError
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.wire import Blocking, Flow, Request, Sleep, run_flow
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState

LOG = logging.getLogger(__name__)
ACCOUNT = Account(conn_id="c", service="easel", base_url="https://easel.example")
SLOT = SubmissionSlot(dag_id="d", task_id="t", run_id="r", map_index=-1, max_tries=2, try_number=1)


class Easel(Service):
    """A service and the way to it: a prompt with a gate is answered when that opens, and no key may read.

    :param known: trace ids whose image tasks it knows; with ``finds``, it finds submissions by them.
    :param repeats: whether it recognises a submission that is made again.
    """

    name = title = "easel"
    default_base_url = "https://easel.example"
    default_model = default_edit_model = "easel-1"

    def __init__(self, known: Any = (), *, finds: bool = True, repeats: bool = False) -> None:
        self.known = list(known)
        self.submitted: list[str] = []
        self.answers: dict[str, Exception] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.finds_by_trace_id = finds  # type: ignore[misc]
        self.repeats_submit_by_key = repeats  # type: ignore[misc]

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        prompt = str(request.prompt)
        yield Request(method="POST", path=f"/{prompt}")
        if prompt in self.answers:
            raise self.answers[prompt]
        return ImageTask(id=f"id-{prompt}", service="easel", state=TaskState.RUNNING)

    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        yield from ()
        raise AuthenticationError("who?")

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

    async def __aenter__(self) -> Easel:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Nothing is open."""

    async def run(self, flow: Flow[Any]) -> Any:
        """Drive a flow; a request waits for its gate, if it has one."""
        return await run_flow(flow, self._performed)

    async def _performed(self, step: Any) -> float:
        if isinstance(step, Blocking):
            step.function()
        elif isinstance(step, Sleep):
            await asyncio.sleep(step.seconds)
        else:
            prompt = step.path[1:]
            self.submitted.append(prompt)
            if prompt in self.gates:
                await self.gates[prompt].wait()
        return time.time()


def arguments(path: Path, **changes: Any) -> BatchArguments:
    """Return the arguments of a batch below a folder."""
    account = changes.get("account", ACCOUNT)
    where = {"account": account, "output_path": f"file://{path}/pictures", "filename": "{image_task_id}-{index}.{ext}"}
    what = {"model": None, "options": {}, "prices": {}, "max_failed": 0, "max_cost": None, "row_attempts": 2}
    when = {"timeout": 3600.0, "poll_interval": 10.0, "resubmits_unknown": False, "defers": False}
    fields: dict[str, Any] = {**where, **what, **when}
    if "service" not in changes:
        fields["service"] = get_service(account.service)
    return BatchArguments(**{**fields, **changes})


def opened(path: Path, given: BatchArguments, rows: Any, **how: Any) -> OpenBatch:
    """Open a batch of these rows; close it.

    :param how: ``slot``, ``state_store`` and ``resumes``, where they matter; a later start is another try.
    """
    starts = len(list(path.glob("scratch-*")))
    scratch = path / f"scratch-{starts}"
    scratch.mkdir(parents=True)
    how = {"slot": replace(SLOT, try_number=starts + 1), "state_store": None, "resumes": False, **how}
    return open_batch(given, RequestsSource(rows, None), how.pop("slot"), scratch, log=LOG, **how)


def intents(batch: OpenBatch, most: int = 50) -> list[Intent]:
    """Hold the next rows of a batch, as a run does before it submits them."""
    held = batch.ledger.state.next_intents(most, time.time())
    for intent in held:
        batch.ledger.state.submitted(intent)
    return held
