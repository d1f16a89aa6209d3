"""The table of cases: what a start of a submit task does, by what the ledger holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_imagetasks.submissions.decisions import Decision, Reattach, Reconcile, Refuse, Submit, decide
from airflow_provider_imagetasks.submissions.records import SubmissionRecord

ASKED, ANOTHER = "fingerprint-of-now", "fingerprint-of-before"
INTENT = SubmissionRecord(fingerprint=ASKED, generation=3, max_tries=2, intent_at=1_000.0)
TAKEN = replace(INTENT, image_task_id="task-7", submitted_at=1_001.0)
HANDED_ON = replace(TAKEN, finished=True)
REPORTED = replace(INTENT, reported_unknown=True)
RETRY, CLEAR = 2, 5


@pytest.mark.parametrize(
    ("record", "max_tries", "expected"),
    [
        pytest.param(None, RETRY, Submit(0), id="nothing recorded: submit"),
        pytest.param(TAKEN, RETRY, Reattach(TAKEN), id="id, retry: re-attach"),
        pytest.param(HANDED_ON, RETRY, Reattach(HANDED_ON), id="id handed on, retry: re-attach"),
        pytest.param(HANDED_ON, CLEAR, Submit(4), id="id handed on, Clear: a new generation"),
        pytest.param(TAKEN, CLEAR, Reattach(TAKEN), id="id never handed on, Clear: resume"),
        pytest.param(INTENT, RETRY, Reconcile(INTENT), id="intent without id, retry: ask the service"),
        pytest.param(INTENT, CLEAR, Reconcile(INTENT), id="intent without id, Clear, nobody told: ask the service"),
        pytest.param(REPORTED, RETRY, Reconcile(REPORTED), id="unknown outcome, retry: ask the service"),
        pytest.param(REPORTED, CLEAR, Submit(4), id="unknown outcome that was reported, Clear: a new generation"),
    ],
)
def test_the_same_request(record: SubmissionRecord | None, max_tries: int, expected: Decision) -> None:
    assert decide(record, fingerprint=ASKED, max_tries=max_tries) == expected


@pytest.mark.parametrize(
    ("record", "max_tries", "expected_class", "generation"),
    [
        pytest.param(TAKEN, RETRY, Refuse, None, id="id, retry: refuse"),
        pytest.param(HANDED_ON, RETRY, Refuse, None, id="id handed on, retry: refuse"),
        pytest.param(HANDED_ON, CLEAR, Submit, 4, id="id handed on, Clear: a new generation"),
        pytest.param(TAKEN, CLEAR, Submit, 4, id="id never handed on, Clear: a new generation"),
        pytest.param(INTENT, RETRY, Reconcile, None, id="intent without id, retry: ask the service"),
        pytest.param(REPORTED, CLEAR, Submit, 4, id="unknown outcome that was reported, Clear: a new generation"),
    ],
)
def test_another_request_than_before(
    record: SubmissionRecord, max_tries: int, expected_class: type[Decision], generation: int | None
) -> None:
    decision = decide(replace(record, fingerprint=ANOTHER), fingerprint=ASKED, max_tries=max_tries)

    assert isinstance(decision, expected_class)
    assert getattr(decision, "generation", None) == generation
