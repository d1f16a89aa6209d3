"""The table of cases: what a start of a submit task does, by what the ledger holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_imagetasks.submissions.decisions import Decision, Reattach, Reconcile, Refuse, Submit, decide
from airflow_provider_imagetasks.submissions.submission_record import SubmissionRecord

ASKED, ANOTHER = "fingerprint-of-now", "fingerprint-of-before"
INTENT = SubmissionRecord(fingerprint=ASKED, generation=3, max_tries=2, intent_at=1_000.0)
TAKEN = replace(INTENT, image_task_id="task-7", submitted_at=1_001.0)
HANDED_ON = replace(TAKEN, finished=True)
REPORTED = replace(INTENT, reported_unknown=True)
REFUSED = replace(INTENT, refused=True)
RETRY, CLEAR = 2, 5


@pytest.mark.parametrize(
    ("record", "max_tries", "expected", "expected_of_another_request"),
    [
        pytest.param(TAKEN, RETRY, Reattach(TAKEN), Refuse, id="id, retry"),
        pytest.param(HANDED_ON, RETRY, Reattach(HANDED_ON), Refuse, id="id handed on, retry"),
        pytest.param(HANDED_ON, CLEAR, Submit(4), Submit, id="id handed on, Clear"),
        pytest.param(TAKEN, CLEAR, Reattach(TAKEN), Submit, id="id never handed on, Clear"),
        pytest.param(INTENT, RETRY, Reconcile(INTENT, True), Reconcile, id="intent without id, retry"),
        pytest.param(INTENT, CLEAR, Reconcile(INTENT, True), Reconcile, id="intent without id, Clear, nobody told"),
        pytest.param(REPORTED, RETRY, Reconcile(REPORTED, True), Reconcile, id="unknown outcome, retry"),
        pytest.param(REPORTED, CLEAR, Submit(4), Submit, id="unknown outcome that was reported, Clear"),
    ],
)
def test_what_is_on_record_decides(
    record: SubmissionRecord, max_tries: int, expected: Decision, expected_of_another_request: type[Decision]
) -> None:
    assert decide(record, fingerprint=ASKED, max_tries=max_tries) == expected

    other = decide(replace(record, fingerprint=ANOTHER), fingerprint=ASKED, max_tries=max_tries)
    assert isinstance(other, expected_of_another_request)
    assert getattr(other, "generation", 4) == 4
    assert getattr(other, "is_same", False) is False


@pytest.mark.parametrize("max_tries", [RETRY, CLEAR], ids=["retry", "Clear"])
@pytest.mark.parametrize(("asked", "generation"), [(ASKED, 3), (ANOTHER, 4)], ids=["unchanged", "changed"])
def test_what_was_refused_is_submitted_and_another_request_never_under_its_key(
    max_tries: int, asked: str, generation: int
) -> None:
    assert decide(REFUSED, fingerprint=asked, max_tries=max_tries) == Submit(generation)


@pytest.mark.parametrize("record", [INTENT, TAKEN, HANDED_ON, REPORTED, REFUSED])
def test_what_a_deleted_run_left_is_no_business_of_the_run_that_was_made_again(record: SubmissionRecord) -> None:
    assert decide(record, fingerprint=ASKED, max_tries=RETRY, is_left_over=True) == Submit(4)
