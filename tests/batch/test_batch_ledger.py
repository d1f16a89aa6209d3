"""What a start reads of what earlier ones left, and what it keeps itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.batch.batch_ledger import BatchLedger
from airflow_provider_imagetasks.batch.costs import Spending
from airflow_provider_imagetasks.batch.folder import BatchFolder
from airflow_provider_imagetasks.batch.manifest import manifest_row, outcome_row
from airflow_provider_imagetasks.batch.row_decisions import Checkpoint
from airflow_provider_imagetasks.batch.segments import Intent, SegmentName, intents_content
from airflow_provider_imagetasks.batch.state import BatchState, Stage
from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    DownloadError,
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    QuotaExceededError,
    RateLimitError,
)
from airflow_provider_imagetasks.services.account import Account
from tests.batch.batches import ACCOUNT

NO = ContentPolicyError("no")


class Batches:
    """Starts of one batch, one after another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = BatchFolder(f"file://{path}/pictures", "batch")
        self.begun: list[BatchLedger] = []

    def start(self, *, account: Account = ACCOUNT, **checkpoint: Any) -> BatchLedger:
        name = f"start-{len(self.begun)}"
        begun = Checkpoint(**{"generation": 0, "max_tries": 2, "start": name, **checkpoint})
        self.folder.write_checkpoint(begun)
        scratch = self.path / name
        scratch.mkdir()
        spending = Spending(10, max_cost=5, cost_of_row=lambda row, _pictures: 1.0)
        ledger = BatchLedger(self.folder, begun, BatchState(10), scratch, account, spending)
        self.begun.append(ledger)
        ledger.load()
        return ledger


@pytest.fixture
def batches(tmp_path: Path) -> Iterator[Batches]:
    starts = Batches(tmp_path)
    yield starts
    for ledger in starts.begun:
        ledger.close()


def outcome(row: int, error: ImageTaskError | None = None, image_task_id: str | None = "an-id") -> dict[str, Any]:
    return outcome_row({"index": row, "prompt": "p", "id": None}, image_task_id=image_task_id, error=error)


def intended(ledger: BatchLedger, *rows: int) -> tuple[SegmentName, list[Intent]]:
    intents = [one for one in ledger.state.next_intents(99, time.time()) if one.index in rows]
    return ledger.intend(intents), intents


def submitted(ledger: BatchLedger, *rows: int) -> None:
    name, intents = intended(ledger, *rows)
    ledger.settle(name, [replace(one, image_task_id=f"id-{one.index}", submitted_at=one.at) for one in intents])


def test_an_intent_outlives_the_process_without_an_answer(batches: Batches) -> None:
    intended(batches.start(), 1, 2)

    state = batches.start().state
    assert sorted(state.open) == [1, 2]
    assert all(intent.image_task_id is None for intent in state.open.values())
    assert state.next_new(99) == [0, 3, 4, 5, 6, 7, 8, 9]


def test_what_was_or_may_have_been_billed_is_spent_in_later_starts_too(batches: Batches) -> None:
    ledger = batches.start()
    submitted(ledger, 1, 2)
    name, intents = intended(ledger, 3, 4)
    ledger.settle(name, [intents[0], replace(intents[1], taken=False)])
    ledger.note(outcome(1))
    ledger.note(outcome(2, ContentPolicyError("refused late", billed="no")))
    ledger.flush()

    # Row 1 was paid for, row 3 perhaps; rows 2 and 4 cost nothing.
    assert batches.start().spending.amount == 2
    another = batches.start(generation=1)
    assert (another.spending.amount, len(another.state.open)) == (0, 0)


def test_a_row_that_was_not_submitted_again_gives_nothing_back_of_what_it_cost_before(batches: Batches) -> None:
    ledger = batches.start()
    submitted(ledger, 1)
    ledger.note(outcome(1, ImageTaskFailedError("it failed", billed="yes")))
    ledger.flush()
    again = batches.start(cleared_at=99)
    assert again.state.else_submit == {1}
    again.state.renewed(1)
    again.note(outcome(1, QuotaExceededError("max_cost is reached", code="max_cost"), image_task_id=None))
    again.flush()

    assert batches.start().spending.amount == 1


def test_an_id_is_taken_up_and_is_known_to_be_taken(batches: Batches) -> None:
    submitted(batches.start(), 4)

    ledger = batches.start()
    assert ledger.state.open[4].image_task_id == "id-4"
    known = ledger.known_taken[""]
    assert (known.index, known.attempt) == (4, 0)
    assert len(ledger.recent) == 1


def test_what_was_definitely_refused_is_new_again_under_another_attempt(batches: Batches) -> None:
    first = batches.start()
    name, intents = intended(first, 0)
    first.settle(name, [replace(intents[0], taken=False)])

    state = batches.start().state
    assert Stage(state.stages[0]) is Stage.NEW
    assert state.attempt_of(0, same=False) == 1
    assert state.attempt_of(0, same=True) == 0


def test_the_latest_word_on_a_row_counts(batches: Batches) -> None:
    first = batches.start()
    submitted(first, 0, 1)
    first.note(outcome(0))
    first.note(outcome(1, NO))
    first.flush()
    second = batches.start(cleared_at=2)
    assert second.state.open[1].image_task_id == "an-id"
    second.state.renewed(1)
    submitted(second, 1)

    third = batches.start(cleared_at=2)
    assert Stage(third.state.stages[0]) is Stage.SUCCEEDED
    assert third.state.open[1].attempt == 1
    assert (third.state.counts.succeeded, third.state.counts.submitted) == (1, 2)


def test_failures_are_repeated_by_what_the_start_is_about(batches: Batches) -> None:
    first = batches.start()
    first.note(outcome(0, RateLimitError("later"), None))
    first.note(outcome(1, NO, None))
    first.note(outcome(2, DownloadError("cut")))
    first.flush()

    retried = batches.start(retried_at=1).state
    assert [Stage(retried.stages[row]).name for row in range(3)] == ["NEW", "FAILED", "OPEN"]
    assert retried.open[2].image_task_id == "an-id"
    cleared = batches.start(cleared_at=1).state
    assert [Stage(cleared.stages[row]).name for row in range(3)] == ["NEW", "NEW", "OPEN"]


def test_rows_that_run_at_another_account_are_not_looked_for_at_this_one(batches: Batches) -> None:
    submitted(batches.start(), 0)

    with pytest.raises(InvalidRequestError, match="another connection"):
        batches.start(account=replace(ACCOUNT, base_url="https://other.example"))


def test_a_start_that_was_replaced_may_not_submit_and_writes_over_nothing(batches: Batches) -> None:
    old, new = batches.start(), batches.start()
    with pytest.raises(ImageTaskError, match="Another process"):
        intended(old, 0)
    new.note(outcome(0))
    new.flush()
    old.note(outcome(1))

    with pytest.raises(ImageTaskError, match="Another process"):
        old.flush()
    assert Stage(batches.start().state.stages[0]) is Stage.SUCCEEDED


def test_a_damaged_segment_stops_the_start(batches: Batches) -> None:
    intended(batches.start(), 0)
    batches.folder.write("intents-0-000000.jsonl", b'{"schema": 1}\n{"ind')

    with pytest.raises(ImageTaskError, match="cannot be understood"):
        batches.start()


def test_the_manifest_has_every_row_that_is_over_in_their_order(batches: Batches, tmp_path: Path) -> None:
    first = batches.start()
    first.note(outcome(7))
    first.note(outcome(2, NO, None))
    first.flush()
    second = batches.start()
    second.note(outcome(5))
    totals = second.write_manifest(tmp_path / "manifest")

    lines = [json.loads(line) for line in (tmp_path / "manifest").read_text().splitlines()]
    assert [line["index"] for line in lines] == [2, 5, 7]
    assert list(lines[0]) == list(manifest_row({}))
    assert (totals.succeeded, totals.failed, totals.classes) == (2, 1, {"ContentPolicyError": 1})


def test_a_delivered_row_shows_that_the_service_keeps_the_ids_of_this_batch(batches: Batches) -> None:
    first = batches.start()
    intended(first, 4)
    first.note(outcome(4, image_task_id="id-4"))
    first.flush()

    known = batches.start().known_taken[""]
    assert known is not None
    assert (known.index, known.attempt, known.image_task_id) == (4, 0, "id-4")


def test_submissions_of_earlier_starts_of_the_try_count_and_those_of_earlier_tries_do_not(batches: Batches) -> None:
    for _ in range(2):
        start = batches.start()
        start.state.renewed(1)
        submitted(start, 1)

    assert batches.start().state.submissions[1] == 2
    assert batches.start(retried_at=1).state.submissions[1] == 1


def test_why_nothing_more_is_submitted_is_known_to_the_next_start_of_the_try_only(batches: Batches) -> None:
    first = batches.start()
    first.note(outcome(0, QuotaExceededError("no balance", code="used_up"), image_task_id=None))
    first.note(outcome(1, QuotaExceededError("that was a read", billed="unknown")))
    first.flush()

    stopped = batches.start().stopped
    assert isinstance(stopped, QuotaExceededError)
    assert (stopped.message, stopped.code) == ("no balance", "used_up")
    assert batches.start(retried_at=9).stopped is None


def test_a_row_taken_up_again_has_its_time_from_the_beginning_of_the_try(batches: Batches) -> None:
    first = batches.start()
    submitted(first, 3)
    first.note(outcome(3, DownloadError("not there")))
    first.flush()

    for _ in range(2):
        assert batches.start(retried_at=9, began_at=1000.0).state.open[3].since == 1000.0


def test_a_segment_that_lost_lines_is_not_taken_for_whole(batches: Batches) -> None:
    first = batches.start()
    submitted(first, 1, 2, 3)
    (name,) = first.folder.segments(0)
    content = first.folder.read(str(name))
    assert content is not None
    first.folder.write(str(name), b"".join(content.splitlines(keepends=True)[:2]))

    with pytest.raises(ImageTaskError, match="1 of its 3 submissions") as unreadable:
        batches.start()
    assert (unreadable.value.code, unreadable.value.billed) == ("batch_folder", "unknown")


def test_a_start_that_was_replaced_writes_over_no_segment_of_its_successor(batches: Batches) -> None:
    old = batches.start()
    name, intents = intended(old, 1)
    new = batches.start()
    submitted(new, 2)
    old.settle(name, [replace(one, image_task_id="by-the-old") for one in intents])
    # Frozen after its look, it wakes up and writes the segment that would have come next.
    late = SegmentName(0, 1, "intents", old.checkpoint.start)
    old.folder.write(str(late), intents_content(intents, ACCOUNT))

    assert {row: one.image_task_id for row, one in batches.start().state.open.items()} == {
        1: "by-the-old",
        2: "id-2",
    }


def test_an_attempt_that_cost_nothing_is_not_spent_in_later_starts_either(batches: Batches) -> None:
    first = batches.start()
    submitted(first, 1)
    first.state.renewed(1, is_unbilled=True)
    submitted(first, 1)

    assert batches.start().spending.amount == 1.0


def test_a_start_that_is_replaced_while_it_writes_an_intent_may_not_submit(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = batches.start()
    write = BatchFolder.write

    def slowly(folder: BatchFolder, name: str, source: Any) -> None:
        monkeypatch.undo()
        # This one reads the ledger before the intent is there, and so submits the same.
        submitted(batches.start(), 0)
        write(folder, name, source)

    monkeypatch.setattr(BatchFolder, "write", slowly)
    with pytest.raises(ImageTaskError) as replaced:
        intended(old, 0)

    assert replaced.value.code == "replaced"
    assert batches.start().state.open_ids == ["id-0"]


def test_what_a_replaced_start_says_of_an_earlier_submission_ends_no_later_one(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = batches.start()
    submitted(old, 0)
    old.note(outcome(0, ImageTaskFailedError("failed", billed="no"), "id-0"))
    latest = batches.start()
    latest.state.renewed(0, is_unbilled=True)
    submitted(latest, 0)
    # It looked before it was replaced, and writes only now.
    monkeypatch.setattr(old, "require_latest_start", lambda: None)
    old.flush()

    assert batches.start().state.open[0].attempt == 1


def test_what_a_replaced_start_was_refused_ends_no_submission_that_another_one_had_taken(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = batches.start()
    name, intents = intended(old, 0)
    old.state.submitted(intents[0])
    old.settle(name, [replace(intents[0], taken=False)])
    old.note(outcome(0, NO, None))
    submitted_under_the_same_key = batches.start()
    submitted_under_the_same_key.state._attempts[0] = 0
    submitted(submitted_under_the_same_key, 0)
    monkeypatch.setattr(old, "require_latest_start", lambda: None)
    old.flush()

    assert batches.start().state.open_ids == ["id-0"]


def test_a_row_that_is_not_submitted_again_is_over_though_its_last_image_task_has_an_id(batches: Batches) -> None:
    start = batches.start()
    submitted(start, 0)
    start.state.opened(Intent(index=0, attempt=0, at=time.time(), image_task_id="id-0"))
    start.state.renewed(0, is_unbilled=True)
    start.note(outcome(0, QuotaExceededError("no credits"), None))
    start.flush()

    assert batches.start().state.stages[0] == Stage.FAILED
