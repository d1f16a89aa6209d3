"""What is on record of a submission after each step, and so what the next start decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.submissions.decisions import Decision, Reattach, Reconcile, Submit
from airflow_provider_imagetasks.submissions.identity import SubmissionSlot
from airflow_provider_imagetasks.submissions.ledger import SubmissionLedger
from airflow_provider_imagetasks.submissions.stores import LedgerStore, NoStore, TaskStateStore
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState
from tests.submissions.test_stores import AirflowsState

ACCOUNT = Account(conn_id="c", service="acedatacloud", base_url="https://api.example.com", key="k")
REQUEST = ImageRequest(prompt="a kite", model="m")
SLOT = SubmissionSlot(dag_id="d", task_id="t", run_id="r", map_index=-1, max_tries=2, try_number=1)
RETRIED = replace(SLOT, try_number=2)
CLEARED = replace(SLOT, max_tries=3, try_number=2)
TASK = ImageTask(id="task-7", service="acedatacloud", state=TaskState.RUNNING, created_at=1_000.0)

Start = Callable[..., SubmissionLedger]


@pytest.fixture
def start() -> Start:
    """Open the ledger as a start of the task does; all share one store."""
    store: LedgerStore = TaskStateStore(AirflowsState())
    return lambda slot=SLOT, request=REQUEST: SubmissionLedger(store, slot, request, ACCOUNT)


def begin(ledger: SubmissionLedger) -> SubmissionLedger:
    """Write the intent down, as the decision demands."""
    decision = ledger.decide()
    assert isinstance(decision, Submit)
    ledger.intend(decision)
    return ledger


@pytest.mark.parametrize(("own", "expected"), [(None, SLOT.identity(0)), ("mine", "mine")])
def test_an_intent_carries_the_key_and_what_it_can_be_found_by(start: Start, own: str | None, expected: str) -> None:
    ledger = begin(start(replace(SLOT, clear_empties_state=True), replace(REQUEST, trace_id=own)))

    assert (ledger.key, ledger.record.trace_id) == (SLOT.identity(0), expected)


def test_where_its_record_is_kept_a_key_is_shared_with_no_run_of_the_same_names(start: Start) -> None:
    ledger = begin(start())

    assert ledger.key == ledger.record.trace_id == SLOT.identity(0, nonce=ledger.record.nonce) != SLOT.identity(0)
    retried = start(RETRIED)
    retried.decide()
    assert retried.key == ledger.key


@pytest.mark.parametrize(
    ("step", "on_a_retry", "on_a_clear"),
    [
        (lambda ledger: None, Reconcile, Reconcile),
        (lambda ledger: ledger.note_taken(TASK), Reattach, Reattach),
        (lambda ledger: [ledger.note_taken(TASK), ledger.finish()], Reattach, Submit),
        (lambda ledger: ledger.note_reported_unknown(), Reconcile, Submit),
        (lambda ledger: [ledger.note_refused(), ledger.finish()], Submit, Submit),
    ],
    ids=["cut off", "taken", "handed on", "outcome unknown", "refused"],
)
def test_what_a_later_start_does(
    start: Start, step: Callable[[SubmissionLedger], object], on_a_retry: type[Decision], on_a_clear: type[Decision]
) -> None:
    step(begin(start()))

    assert isinstance(start(RETRIED).decide(), on_a_retry)
    assert isinstance(start(CLEARED).decide(), on_a_clear)


def test_what_is_reported_after_a_clear_is_looked_for_by_the_retry_of_that(start: Start) -> None:
    begin(start())
    cleared = start(CLEARED)
    cleared.decide()
    cleared.note_reported_unknown()

    assert isinstance(start(replace(CLEARED, try_number=3)).decide(), Reconcile)


@pytest.mark.parametrize(
    ("slot", "request_", "expected"),
    [
        (SLOT, REQUEST, Submit(2)),
        (replace(SLOT, try_number=2), REQUEST, Submit(2, asks_first=True)),
        (CLEARED, REQUEST, Submit(3, asks_first=True)),
        # A trace id of the user's own may also be that of an older run.
        (replace(SLOT, try_number=2), replace(REQUEST, trace_id="mine"), Submit(2)),
    ],
    ids=["first try", "retry", "Clear", "trace id of the user's own"],
)
def test_where_nothing_is_kept_a_later_try_asks_first(
    slot: SubmissionSlot, request_: ImageRequest, expected: Submit
) -> None:
    assert SubmissionLedger(NoStore(), slot, request_, ACCOUNT).decide() == expected
