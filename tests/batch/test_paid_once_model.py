"""A model of a batch's rows and its ledger: whatever happens, in whatever order, each row is paid for once.

What may happen: a start runs for a while and is frozen, or killed; another takes over, as a retry or after a Clear, and
the old one may be thawed at any time; a task that is deferred resumes. The service refuses, takes and does not answer,
answers and does not take, writes submissions down late, loses image tasks, lets them fail at a cost or at none; its
status route breaks, or refuses the key; pictures cannot be stored.

The rules, each a function below:

1. No row is paid for twice, unless a start after a Clear by a person began in between, when that row was delivered, or
   its outcome was known as unknown or as paid for in vain; or ``on_unknown_outcome="resubmit"`` accepts it. What
   certainly cost nothing is not paid for.
2. No row is submitted more often within a try than ``row_attempts`` says; once more where a Clear asks for a picture
   in the place of one that cannot be had.
3. What was billed, or may have been, never exceeds ``max_cost``.
4. No paid row is without an owner: where the batch is over, it is delivered, or its outcome names its image task, or
   says that it may have been billed.
5. Nothing that was billed, or may have been, is said to be not billed.
6. Within a try, rows that are over stay over, failed ones too.
7. Every start ends, and so does every try.

Left out is who stops between the last look at the ledger and the request, or between reading and writing
``life.json``, and is gone for longer than others wait: without a store that refuses the second of two, nothing helps.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskFailedError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.polling.batch_wait import Counts
from airflow_provider_imagetasks.services.rates import Rate, Window
from airflow_provider_imagetasks.services.wire import Request
from airflow_provider_imagetasks.submissions.reconciling import KEY_MEMORY
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState
from tests.batch.batch_world import POINTS, Start, World, latest_words
from tests.batch.batches import ACCOUNT
from tests.batch.studio import KINDS, WORK_SECONDS, Paid, Studio

TIMEOUT = 120.0
FIRST_MAX_TRIES = 2
MOST_STARTS = 40
"""In which a try has to come to its end."""
ANSWERS = ("taken", "taken, no answer", "not taken, no answer", "refused", "no balance", "paid in vain")
FATES = ("succeeds", "fails unbilled", "fails billed", "fails, who knows", "never ends", "vanishes")
STATUS_ERRORS = {
    "down": lambda: ServiceUnavailableError("502"),
    "a proxy's page": lambda: InvalidRequestError("404"),
    "half an answer": lambda: ProtocolError("{"),
    "refuses the key": lambda: AuthenticationError("who?"),
}


class PaidOnce(RuleBasedStateMachine):
    """The batch, its service and Airflow; the rules of what may happen."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.paid: list[Paid] = []
        self.next_answers: list[tuple[str, str, float]] = []
        self.status = "works"
        self.broken: list[AssertionError] = []
        self.submissions: Counter[tuple[int, int]] = Counter()
        self.told: Counts | None = None
        self.max_tries, self.try_number = FIRST_MAX_TRIES, 1
        self.starts: list[Start] = []
        self.known: dict[Start, set[str]] = {}
        """The image tasks that were on record when each start began."""
        self.old: list[Start] = []

    @initialize(
        kind=st.sampled_from(KINDS),
        rows=st.integers(1, 3),
        row_attempts=st.integers(1, 3),
        max_cost=st.none() | st.integers(1, 4),
        resubmits=st.booleans(),
        defers=st.booleans(),
        max_failed=st.sampled_from([0, 3]),
        submit_rate=st.none() | st.just(Rate((Window(1, 10),))),
        habit=st.sampled_from(FATES),
    )
    def begins(
        self,
        kind: str,
        rows: int,
        row_attempts: int,
        max_cost: int | None,
        resubmits: bool,
        defers: bool,
        max_failed: int,
        submit_rate: Rate | None,
        habit: str,
    ) -> None:
        self.habit = habit
        self.kind, self.row_attempts, self.max_cost, self.resubmits = kind, row_attempts, max_cost, resubmits
        self.service = Studio(kind)
        given = {"service": self.service, "row_attempts": row_attempts, "max_cost": max_cost, "defers": defers}
        given |= {"resubmits_unknown": resubmits, "prices": {"studio-1": 1.0}, "timeout": TIMEOUT}
        given |= {"max_failed": max_failed, "account": replace(ACCOUNT, submit_rate=submit_rate)}
        scratch = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        prompts = [f"row-{row}" for row in range(rows)]
        self.world = World(scratch, self.answer, prompts, given, self.note_beginning, self.note_counts)
        self.stack.enter_context(self.world.entered())
        self.start()

    # What Airflow and people do.

    @property
    def latest(self) -> Start:
        return self.starts[-1]

    def start(self, *, resumes: bool = False) -> None:
        if not resumes:
            self.told = None
        self.starts.append(Start(self.world, max_tries=self.max_tries, try_number=self.try_number, resumes=resumes))

    def is_running(self) -> bool:
        return bool(self.starts) and self.latest.ended is None

    @precondition(is_running)
    @rule(point=st.sampled_from(POINTS[:8]), times=st.integers(1, 3))
    def works_up_to(self, point: str, times: int) -> None:
        self.go_on(self.latest, point, times)

    @precondition(is_running)
    @rule()
    def works_to_its_end(self) -> None:
        self.go_on(self.latest)

    @rule(seconds=st.sampled_from([1.0, 4.0, 10.0, 70.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    @precondition(is_running)
    @rule(is_cleared=st.booleans())
    def is_taken_for_dead(self, is_cleared: bool) -> None:
        """Another start takes over; this one is frozen, or killed."""
        self.old.append(self.latest)
        self.again(is_cleared)

    @precondition(lambda self: any(start.ended is None for start in self.old))
    @rule(which=st.integers(0, 2), point=st.none() | st.sampled_from(POINTS), times=st.integers(1, 3))
    def old_one_goes_on(self, which: int, point: str | None, times: int) -> None:
        frozen = [start for start in self.old if start.ended is None]
        self.go_on(frozen[which % len(frozen)], point, times)

    @precondition(is_running)
    @rule(
        point=st.sampled_from(POINTS[:8]),
        times=st.integers(1, 2),
        is_cleared=st.booleans(),
        until=st.none() | st.sampled_from(POINTS[:8]),
        then=st.none() | st.sampled_from(POINTS[:8]),
    )
    def is_overtaken(self, point: str, times: int, is_cleared: bool, until: str | None, then: str | None) -> None:
        """The four steps that belong together in one: frozen, replaced, the other one works, thawed."""
        old = self.latest
        if self.go_on(old, point, times) is None:
            self.is_taken_for_dead(is_cleared)
            self.go_on(self.latest, until)
            if old in self.old:
                self.go_on(old, then)

    @precondition(lambda self: bool(self.starts) and self.latest.ended == "failed")
    @rule()
    def is_retried(self) -> None:
        self.again(is_cleared=False)

    @precondition(lambda self: bool(self.starts) and self.latest.ended is not None)
    @rule()
    def is_cleared(self) -> None:
        self.again(is_cleared=True)

    @precondition(lambda self: bool(self.starts) and self.latest.ended == "deferred")
    @rule(seconds=st.sampled_from([0.0, 5.0, 30.0, 200.0]))
    def resumes(self, seconds: float) -> None:
        self.world.now += seconds
        self.start(resumes=True)

    def again(self, is_cleared: bool) -> None:
        self.try_number += 1
        if is_cleared:
            self.max_tries += 1
        self.start()

    def note_beginning(self, start: Start) -> None:
        """Note what a Clear asks to be paid for anew, as its first start finds it."""
        checkpoint = self.world.checkpoint()
        if checkpoint.get("try_id", "") > start.try_id:
            # A later try has begun, so that this one is turned away.
            return
        self.known[start] = {paid.id for paid in self.paid if self.is_on_record(paid)}
        if not checkpoint or start.resumes or checkpoint["max_tries"] == start.max_tries:
            return
        outcomes, is_new = self.outcomes_on_record(checkpoint["generation"]), checkpoint.get("finished") == "success"
        for paid in self.paid:
            outcome = outcomes.get(paid.row)
            paid.excused = paid.excused or is_new or self.may_be_asked_anew(outcome, paid)

    def is_on_record(self, paid: Paid) -> bool:
        return any(paid.id.encode() in content for content in self.world.files.values())

    def may_be_asked_anew(self, outcome: dict[str, Any] | None, paid: Paid) -> bool:
        if outcome is None or outcome["status"] == "succeeded":
            return False
        if not outcome["image_task_id"]:
            # Not where an old start has written down late what it was answered.
            return outcome["error"]["billed"] != "no" and not self.is_on_record(paid)
        paid = next(paid for paid in self.paid if paid.id == outcome["image_task_id"])
        is_gone = paid.state(self.world.now) in (TaskState.FAILED, TaskState.NOT_FOUND)
        return is_gone or outcome["error"]["class"] == "UnsafeResultError"

    def outcomes_on_record(self, generation: int) -> dict[int, dict[str, Any]]:
        """Return the outcome of each row of which nothing was written since."""
        return {row: word for row, word in latest_words(self.world.files, generation).items() if "status" in word}

    def go_on(self, start: Start, point: str | None = None, times: int = 1) -> str | None:
        start.work(point, times)
        if self.broken:
            # What a start is told on its way may be swallowed there.
            raise self.broken[0]
        if start.batch is not None and start.ended is not None:
            no_paid_row_is_without_an_owner(self)
        return start.ended

    # What the service does.

    @rule(
        answer=st.sampled_from(ANSWERS), fate=st.sampled_from(FATES), written_after=st.sampled_from([0.0, 20.0, 50.0])
    )
    def next_submission_is(self, answer: str, fate: str, written_after: float) -> None:
        self.next_answers.append((answer, fate, written_after))

    @rule(status=st.sampled_from(["works", *STATUS_ERRORS]))
    def status_route_is(self, status: str) -> None:
        self.status = status

    @rule(delivery=st.sampled_from(["works", "broken", "unsafe"]))
    def storage_of_pictures_is(self, delivery: str) -> None:
        if self.starts:
            self.world.delivery = delivery

    def answer(self, request: Request, start: Start) -> Any:
        try:
            return self.answer_to(request, start)
        except AssertionError as error:
            self.broken.append(error)
            raise

    def answer_to(self, request: Request, start: Start) -> Any:
        body: Any = request.body
        if request.method == "POST":
            return self.submitted(int(body["prompt"].removeprefix("row-")), body["key"], start)
        if self.status != "works":
            return STATUS_ERRORS[self.status]()
        now = self.world.now
        if "id" in body:
            known = [paid for paid in self.paid if paid.id == body["id"]]
            return self.record(known[0]) if known else self.service.not_found(body["id"])
        if self.kind != KINDS[0]:
            return []
        return [self.record(paid) for paid in self.paid if paid.key in body["ids"] and paid.written_at <= now]

    def submitted(self, row: int, key: str, start: Start) -> Any:
        assert start.batch is not None
        self.submissions[start.try_number, row] += 1
        no_row_is_submitted_too_often(self, start.try_number, row)
        answer, fate, written_after = self.next_answers.pop(0) if self.next_answers else ("taken", self.habit, 0.0)
        now = self.world.now
        known = [paid for paid in self.paid if paid.key == key and now - paid.at < KEY_MEMORY]
        for paid in self.paid:
            if paid.row == row and self.resubmits and paid.id not in self.known[start]:
                paid.accepted = True
        is_known = self.service.repeats_submit_by_key and bool(known)
        if is_known and answer in ("taken", "paid in vain"):
            return self.record(known[0])
        if answer == "refused":
            return ContentPolicyError("no")
        if answer == "no balance":
            return QuotaExceededError("no credits")
        if answer == "not taken, no answer":
            return UnknownOutcomeError("cut")
        if is_known:
            return UnknownOutcomeError("cut")
        no_row_is_paid_for_twice(self, row, start)
        generation = start.batch.generation
        name = f"image-task-{len(self.paid)}"
        paid = Paid(name, row, key, generation, now, fate, now + written_after, has_answer=answer == "taken")
        self.paid.append(paid)
        if paid.has_answer:
            self.known[start].add(paid.id)
        # What comes late beside what was submitted again is the second one that was accepted.
        paid.excused = self.resubmits and start is not self.latest and any(one.row == row for one in self.paid[:-1])
        max_cost_is_kept(self, generation)
        if answer == "paid in vain":
            paid.fate = "fails billed"
            return ProtocolError("what is that?", billed="yes")
        return self.record(paid) if answer == "taken" else UnknownOutcomeError("cut")

    def record(self, paid: Paid) -> ImageTask:
        state, error = paid.state(self.world.now), None
        if state is TaskState.FAILED:
            billed: Any = {"fails unbilled": "no", "fails billed": "yes"}.get(paid.fate, "unknown")
            error = ImageTaskFailedError("failed", image_task_id=paid.id, billed=billed)
        images = (GeneratedImage(index=0, url="memory://a"),) if state is TaskState.SUCCEEDED else ()
        trace_id = paid.key if self.kind == KINDS[0] else None
        facts = {"state": state, "error": error, "images": images, "trace_id": trace_id, "created_at": paid.at}
        return ImageTask(id=paid.id, service="studio", **facts)  # type: ignore[arg-type]

    def note_counts(self, start: Start, counts: Counts) -> None:
        if start is self.latest:
            rows_that_are_over_stay_over(self, counts)
            self.told = counts

    # The end.

    def teardown(self) -> None:
        try:
            if self.starts:
                self.come_to_an_end()
        finally:
            for start in self.starts:
                start.put_away()
            self.stack.close()

    def come_to_an_end(self) -> None:
        """Let all that is left come to its end, at a service that works again."""
        self.status = self.world.delivery = "works"
        self.next_answers.clear()
        for start in self.old:
            self.go_on(start)
        for _ in range(MOST_STARTS):
            self.go_on(self.latest)
            checkpoint = self.world.checkpoint()
            if self.latest.ended == "success" or checkpoint.get("finished") == "failed":
                return
            if self.latest.ended == "deferred":
                self.world.now += WORK_SECONDS if self.told else 0.0
                self.start(resumes=True)
            else:
                self.again(is_cleared=False)
        raise AssertionError("a try comes to no end")


def no_row_is_paid_for_twice(model: PaidOnce, row: int, start: Start) -> None:
    """Check rule 1, as the service takes a submission of a row from a start."""
    for paid in model.paid:
        if paid.row != row or paid.excused or paid.cost_nothing(model.world.now):
            continue
        paid.excused = paid.accepted
        assert paid.excused, f"row {row} is paid for again, beside {paid}"


def no_row_is_submitted_too_often(model: PaidOnce, try_number: int, row: int) -> None:
    """Check rule 2, as a submission of a row arrives."""
    most = model.row_attempts + (model.max_tries > FIRST_MAX_TRIES)
    assert model.submissions[try_number, row] <= most, f"row {row} is submitted too often"


def max_cost_is_kept(model: PaidOnce, generation: int) -> None:
    """Check rule 3, as the service takes a submission."""
    spent = sum(1 for paid in model.paid if paid.generation == generation and not paid.cost_nothing(model.world.now))
    assert model.max_cost is None or spent <= model.max_cost, f"{spent} are paid for, and max_cost is {model.max_cost}"


def no_paid_row_is_without_an_owner(model: PaidOnce) -> None:
    """Check rules 4 and 5, where the batch is over."""
    checkpoint, manifest = model.world.checkpoint(), model.world.manifest()
    if checkpoint.get("finished") is None:
        return
    for paid in model.paid:
        if paid.generation != checkpoint["generation"] or paid.cost_nothing(model.world.now):
            continue
        row = manifest[paid.row]
        billed = (row["error"] or {}).get("billed", "yes")
        if row["image_task_id"] == paid.id:
            assert billed != "no", f"{paid} may be billed, and its outcome is {row}"
        elif not paid.excused:
            assert row["image_task_id"] is None, f"{paid} has no owner: {row}"
            assert billed != "no", f"{paid} has no owner: {row}"


def rows_that_are_over_stay_over(model: PaidOnce, counts: Counts) -> None:
    """Check rule 6, as the latest start says how far it is."""
    if model.told is not None:
        assert counts.failed >= model.told.failed, f"{model.told}, then {counts}"
        assert counts.succeeded >= model.told.succeeded, f"{model.told}, then {counts}"


QUICK = settings(
    max_examples=60,
    stateful_step_count=25,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_each_row_is_paid_for_once() -> None:
    run_state_machine_as_test(PaidOnce, settings=QUICK)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_each_row_is_paid_for_once_in_many_more_orders() -> None:
    run_state_machine_as_test(PaidOnce, settings=settings(QUICK, max_examples=2000))
