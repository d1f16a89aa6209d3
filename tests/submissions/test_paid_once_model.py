"""A model of one submission: starts, kills, Clears, refusals, lost answers and overtaken starts, in any order.

What holds after every step, whatever the service can tell:

1. No picture is paid for twice, unless a person cleared something that was handed on, or whose outcome was reported as
   unknown, or asked for something else; or ``on_unknown_outcome="resubmit"`` accepts it.
2. A key goes out with one request only.
3. Whoever asks for a picture is handed that one, and never that of an earlier request.
4. No picture that is paid for is without an owner: it was handed on, or is named in an error, or is on record, or
   somebody was told that the outcome is unknown, or ``"resubmit"`` gave it up.
5. Nothing is called "not billed" while a picture may be paid for that was neither handed on nor given up by a Clear.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from airflow_provider_imagetasks.exceptions import ContentPolicyError, ImageTaskError, UnknownOutcomeError
from airflow_provider_imagetasks.operators.submission import Submission
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.wire import Request, Sleep, run_flow_at_once
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot
from airflow_provider_imagetasks.submissions.ledger import SubmissionLedger, say_what_is_on_record
from airflow_provider_imagetasks.submissions.stores import TaskStateStore
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState
from tests.batch.batches import ACCOUNT
from tests.batch.studio import KINDS, Studio
from tests.flow_driver import NOW

ANSWERS = ["taken", "taken", "refused", "taken, no answer", "not taken, no answer", "killed before", "killed after"]
PROMPTS = ["a kite", "a boat"]


class KilledError(BaseException):
    """Stands for SIGKILL."""


class State:
    """Airflow's task state store; another start may come first at each use of it."""

    def __init__(self, before_use: Callable[[], None]) -> None:
        self.values: dict[str, Any] = {}
        self._before_use = before_use

    def get(self, key: str) -> Any:
        self._before_use()
        return self.values.get(key)

    def set(self, key: str, value: Any) -> None:
        self._before_use()
        self.values[key] = value


class Hook:
    """The way to the service, without a network or time."""

    conn_id = "c"
    account = Account(service="studio", conn_id="c", base_url="https://studio.example")
    log = logging.getLogger(__name__)

    def __init__(self, service: Studio, answer: Callable[[Request], Any]) -> None:
        self.service = service
        self._answer = answer

    def submit_completed(self, request: ImageRequest, *, key: str, watched: Any) -> Any:
        return self.run(watched(self.service.submit(request, key=key)))

    def run(self, flow: Any) -> Any:
        now = NOW

        def performed(step: Any) -> Any:
            nonlocal now
            if isinstance(step, Request):
                return self._answer(step)
            if isinstance(step, Sleep):
                now += step.seconds
            else:
                step.function()
            return now

        return run_flow_at_once(flow, performed)


class PaidOnce(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.state = State(self.comes_first)
        self.paid: list[ImageTask] = []
        self.prompts_by_key: dict[str, str] = {}
        self.owned: set[str] = set()
        self.settled: set[str] = set()
        """What was handed on, or given up by a person who knew that it may be paid for."""
        self.may_pay_again = False
        self.ended: str | None = None
        """How the latest start ended: ``"handed on"``, ``"unknown"``, ``"failed"`` or ``"killed"``."""
        self.prompt = PROMPTS[0]
        self.max_tries, self.try_number = 2, 0
        self.next_answers: list[str] = []
        self.overtaken_after: int | None = None

    @initialize(kind=st.sampled_from(KINDS), resubmits=st.booleans())
    def begins(self, kind: str, resubmits: bool) -> None:
        self.service, self.resubmits = Studio(kind), resubmits
        self.keeps_trace_ids = kind == KINDS[0]

    @rule(answer=st.sampled_from(ANSWERS))
    def next_submission_is(self, answer: str) -> None:
        self.next_answers.append(answer)

    @rule(uses=st.integers(0, 14))
    def next_start_is_overtaken(self, uses: int) -> None:
        """Another start takes over while the next one is frozen at one of its uses of the store."""
        self.overtaken_after = uses

    @precondition(lambda self: self.ended != "handed on")
    @rule()
    def is_started_or_retried(self) -> None:
        self.start()

    @precondition(lambda self: self.ended is not None)
    @rule(prompt=st.sampled_from(PROMPTS))
    def is_cleared(self, prompt: str) -> None:
        if self.ended in ("handed on", "unknown") or prompt != self.prompt:
            self.may_pay_again = True
            self.settled |= {paid.id for paid in self.paid}
        self.prompt = prompt
        self.max_tries += 1
        self.start()

    def comes_first(self) -> None:
        # Where it may submit beside what nobody knows, it must not be frozen between a look and what it writes then.
        if self.overtaken_after is None or self.resubmits:
            return
        self.overtaken_after -= 1
        if self.overtaken_after < 0:
            self.overtaken_after = None
            self.start()

    def start(self) -> None:
        self.try_number += 1
        slot = SubmissionSlot(
            dag_id="d",
            task_id="t",
            run_id="r",
            map_index=-1,
            max_tries=self.max_tries,
            try_number=self.try_number,
            # As Airflow gives them: later tries have greater ids.
            try_id=str(uuid.UUID(int=(self.try_number << 80) | (7 << 76) | (2 << 62))),
        )
        request = ImageRequest(prompt=self.prompt, model="studio-1")
        store = TaskStateStore(self.state, self.try_number)
        ledger = SubmissionLedger(store, slot, request, ACCOUNT)
        hook: Any = Hook(self.service, self.answered)
        try:
            task = Submission(hook, ledger, request, resubmits=self.resubmits).carry_out()
            ledger.finish()
        except KilledError:
            self.ended = "killed"
        except ImageTaskError as error:
            say_what_is_on_record(error, store, slot)
            self.fails(error, is_latest=self.try_number == slot.try_number)
        else:
            self.owned.add(task.id)
            self.settled.add(task.id)
            whose = next(paid for paid in self.paid if paid.id == task.id)
            assert whose.prompt == request.prompt, f"{whose} is handed on to who asked for {request.prompt}"
            self.ended = "handed on"
        self.no_picture_is_without_an_owner()

    def fails(self, error: ImageTaskError, *, is_latest: bool) -> None:
        if error.image_task_id:
            self.owned.add(error.image_task_id)
        if error.billed == "unknown":
            self.owned |= {paid.id for paid in self.paid}
        elif error.code != "replaced":
            unsettled = [paid for paid in self.paid if paid.id not in self.settled]
            assert not unsettled, f"{unsettled} is paid for: {error}"
        # How a start ends that another one took over from is not how the task ends.
        if error.code != "replaced" and is_latest:
            self.ended = "unknown" if error.billed == "unknown" else "failed"

    def answered(self, request: Request) -> Any:
        body: Any = request.body
        if request.method != "POST":
            return [paid for paid in self.paid if self.keeps_trace_ids and paid.trace_id in body["ids"]]
        key, prompt = body["key"], body["prompt"]
        assert self.prompts_by_key.setdefault(key, prompt) == prompt, f"{key} goes out with two requests"
        answer = self.next_answers.pop(0) if self.next_answers else "taken"
        known = [paid for paid in self.paid if paid.trace_id == key]
        if answer == "killed before":
            raise KilledError
        if answer == "refused":
            return ContentPolicyError("no")
        if answer == "not taken, no answer":
            return UnknownOutcomeError("cut")
        if not (self.service.repeats_submit_by_key and known):
            assert not self.paid or self.may_pay_again or self.resubmits, (
                f"{prompt} is paid for again, beside {self.paid}"
            )
            self.may_pay_again = False
            name = f"image-task-{len(self.paid)}"
            fields: dict[str, Any] = {"trace_id": key, "prompt": prompt, "model": "studio-1"}
            known = [ImageTask(id=name, service="studio", state=TaskState.RUNNING, **fields)]
            self.paid += known
        if answer == "killed after":
            raise KilledError
        return known[0] if answer == "taken" else UnknownOutcomeError("cut")

    def no_picture_is_without_an_owner(self) -> None:
        if self.resubmits:
            return
        # What the next try will find.
        found = TaskStateStore(SimpleNamespace(get=self.state.values.get), self.try_number + 1).read()
        record = found.as_json() if found is not None else {}
        for paid in self.paid:
            is_looked_for = not record.get("image_task_id") and record.get("trace_id") == paid.trace_id
            on_record = record.get("image_task_id") == paid.id or (is_looked_for and not record.get("refused"))
            assert paid.id in self.owned or on_record, f"{paid} has no owner; on record is {record}"


QUICK = settings(
    max_examples=300,
    stateful_step_count=20,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_each_picture_is_paid_for_once() -> None:
    run_state_machine_as_test(PaidOnce, settings=QUICK)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_each_picture_is_paid_for_once_in_many_more_orders() -> None:
    run_state_machine_as_test(PaidOnce, settings=settings(QUICK, max_examples=2000))


@pytest.mark.parametrize("cleared_before", [True, False])
def test_a_start_that_froze_as_it_wrote_its_refusal_does_not_call_unbilled_what_the_next_one_submitted(
    cleared_before: bool,
) -> None:
    for uses in range(16):
        order = PaidOnce()
        order.begins(kind="repeats by key", resubmits=False)
        if cleared_before:
            order.is_started_or_retried()
        order.next_start_is_overtaken(uses=uses)
        order.next_submission_is(answer="refused")
        order.next_submission_is(answer="taken, no answer")
        if cleared_before:
            order.is_cleared(prompt="a kite")
        else:
            order.is_started_or_retried()
