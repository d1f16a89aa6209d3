"""Batches whose service cannot be read, refuses, or answers nothing: no row is paid twice, and every start ends."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from airflow.sdk.execution_time import task_runner as airflows_runner
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_imagetasks.batch import row_submissions
from airflow_provider_imagetasks.batch import start as start_of_batch
from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskFailedError,
    ImageTaskTimeoutError,
    QuotaExceededError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from tests.image_batch import ImageBatch
from tests.scripted_server import Reply
from tests.status_route import PAGE_404, StatusRoute
from tests.task_runner import Outcome

ONE_SERVICE = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
ONE_ID_A_REQUEST = pytest.mark.parametrize("service_name", ["acedatacloud", "aigptimage"], indirect=True)
CANNOT_TELL = pytest.mark.parametrize("service_name", ["kie"], indirect=True)
THREE = ["a kite [latency=0.5]", "a boat [latency=0.5]", "a tree [latency=0.5]"]
NO_BALANCE = Reply({"error": {"code": "used_up"}, "code": 402, "msg": "no credits", "data": None}, status=403)
CLEAR = {"try_number": 3, "max_tries": 5}


def until_it_ends(
    batch: ImageBatch, *, most: int = 6, first: Outcome | None = None, **arguments: Any
) -> tuple[Outcome, list[Outcome]]:
    """Start a deferrable batch, resume it each time that it defers, and return how it ended, and each deferral."""
    outcome: Outcome = first or batch.start(deferrable=True, **arguments)
    deferrals: list[Outcome] = []
    while outcome.state == "deferred":
        deferrals.append(outcome)
        assert len(deferrals) <= most, "it goes on for ever"
        until_its_trigger_fires(batch, outcome)
        outcome = batch.start(resume=outcome, deferrable=True, **arguments)
    return outcome, deferrals


def until_its_trigger_fires(batch: ImageBatch, deferral: Outcome) -> None:
    """Have all end that is to end at all, and wait until nothing runs any more, or the deadline is over."""
    prompts = {task.prompt for task in batch.image_service.tasks}
    batch.image_service.finish([prompt for prompt in prompts if "[never]" not in prompt])
    while batch.image_service.stats()["active_tasks"] and time.time() < deferral.message.trigger_kwargs["deadline"]:
        time.sleep(0.02)


@ONE_ID_A_REQUEST
class TestStatusRoute:
    """A status question that fails says nothing about money."""

    @pytest.mark.parametrize(
        "reply",
        [
            pytest.param(PAGE_404, id="a proxy's page"),
            pytest.param(Reply({"error": {"code": "bad_request", "message": "no"}}, status=400), id="400"),
            pytest.param(Reply(b"too large", status=413), id="413"),
            pytest.param(Reply(b"", status=500), id="500"),
            pytest.param(Reply(b"{", status=200), id="half an answer"),
        ],
    )
    def test_broken_for_a_while_it_costs_nothing_but_time(
        self, batch: ImageBatch, route: StatusRoute, reply: Reply
    ) -> None:
        route.breaks(reply, times=4)

        assert batch.start(*THREE, poll_interval=1).state == "success"
        assert batch.created == sorted(THREE)
        assert batch.statuses == "succeeded succeeded succeeded"

    @pytest.mark.parametrize(
        "wrong",
        [{"max_cost": "x"}, {"max_failed": "x"}, {"filename": "{nope}"}, {"conn_id": "gone"}],
        ids=lambda wrong: next(iter(wrong)),
    )
    def test_what_keeps_a_later_start_from_looking_says_nothing_of_what_is_at_the_service(
        self, batch: ImageBatch, wrong: dict[str, Any]
    ) -> None:
        deferred = batch.start("a kite [latency=10]", deferrable=True)
        assert deferred.state == "deferred"

        how: dict[str, Any] = {"deferrable": True, "resume": deferred, "event": {"status": "done"}, **wrong}
        failed = batch.start("a kite [latency=10]", **how)

        assert "may have been billed" in str(failed.error)
        assert "It was not billed" not in str(failed.error)

    @pytest.mark.parametrize("reply", [PAGE_404, Reply(b"", status=500)], ids=["a proxy's page", "500"])
    def test_broken_for_good_rows_end_by_their_deadline_and_a_clear_finds_them(
        self, batch: ImageBatch, route: StatusRoute, reply: Reply
    ) -> None:
        route.breaks(reply)
        prices = dict.fromkeys(("gpt-image-2", "gpt-image-2-text-to-image"), 1)
        failed = batch.start(*THREE, timeout=1.5, poll_interval=1, max_cost=3, prices=prices)

        assert isinstance(failed.error, ImageTaskTimeoutError)
        assert "It was not billed" not in str(failed.error)
        assert {row["error"]["billed"] for row in batch.rows} == {"unknown"}
        assert "It could not be read" in batch.rows[0]["error"]["message"]
        assert None not in [row["image_task_id"] for row in batch.rows]

        route.mend()
        assert batch.start(*THREE, max_cost=3, prices=prices, **CLEAR).state == "success"
        assert batch.created == sorted(THREE)

    def test_one_row_that_cannot_be_read_keeps_no_other_back(self, batch: ImageBatch, route: StatusRoute) -> None:
        def broken(ids: list[str]) -> Reply | None:
            poison = next(task.id for task in batch.image_service.tasks if "boat" in task.prompt)
            return Reply(b"", status=502) if poison in ids else None

        route.broken = broken
        ended = batch.start(*THREE, timeout=12, poll_interval=1, max_failed=1)

        assert ended.state == "success"
        assert batch.statuses == "succeeded failed succeeded"
        assert batch.rows[1]["error"]["billed"] == "unknown"

    @pytest.mark.parametrize("reply", [NO_BALANCE, Reply(b"", status=401)], ids=["no balance", "no key"])
    def test_an_account_that_is_refused_ends_the_start_and_a_clear_pays_nothing_again(
        self, batch: ImageBatch, route: StatusRoute, reply: Reply
    ) -> None:
        route.breaks(reply)
        refused = batch.start(*THREE, timeout=20)

        assert isinstance(refused.error, AuthenticationError | QuotaExceededError)
        assert "It was not billed" not in str(refused.error)
        route.mend()
        assert batch.start(*THREE, **CLEAR).state == "success"
        assert batch.created == sorted(THREE)


class TestResumes:
    """What a start knows is known to the next one, and none goes on for ever."""

    @ONE_SERVICE
    def test_a_row_that_fails_unbilled_is_submitted_as_often_as_row_attempts_says(self, batch: ImageBatch) -> None:
        prompts = ["a kite [fail] [latency=600]", "a boat [latency=600]"]
        ended, deferrals = until_it_ends(batch, prompts=prompts, row_attempts=2)

        assert deferrals
        assert isinstance(ended.error, ImageTaskFailedError)
        assert batch.created == ["a boat [latency=600]", *["a kite [fail] [latency=600]"] * 2]

    @ONE_SERVICE
    def test_a_retry_has_its_own_attempts(self, batch: ImageBatch) -> None:
        # Whoever retries wants that: an unbilled failure is worth another request.
        until_it_ends(batch, prompts=["a kite [fail]"], row_attempts=1)
        assert len(batch.created) == 1
        batch.start("a kite [fail]", row_attempts=2, try_number=2)
        assert len(batch.created) <= 3

    @ONE_SERVICE
    @pytest.mark.parametrize("trouble", ["[500]", "[cut]", "[html]", "[error-in-200]"])
    def test_a_row_that_no_submission_of_is_answered_ends(self, batch: ImageBatch, trouble: str) -> None:
        ended = batch.start(f"a kite {trouble}", "a boat", row_attempts=2)

        assert isinstance(ended.error, ServiceUnavailableError)
        assert (ended.state, ended.error.billed) == ("up_for_retry", "no")
        assert batch.counts["submissions"] == 3
        assert batch.created == ["a boat"]
        assert batch.start(f"a kite {trouble}", "a boat", row_attempts=1, try_number=2).error is not None
        assert batch.counts["submissions"] == 4

    @CANNOT_TELL
    def test_an_unknown_outcome_that_may_be_paid_twice_is_not_paid_for_ever(self, batch: ImageBatch) -> None:
        ended = batch.start("a kite [500-after]", on_unknown_outcome="resubmit", row_attempts=3)

        assert isinstance(ended.error, UnknownOutcomeError)
        assert len(batch.created) == 3

    @ONE_SERVICE
    def test_a_row_that_cannot_be_read_any_more_ends_with_its_deadline(self, batch: ImageBatch) -> None:
        ended, deferrals = until_it_ends(batch, prompts=["a kite [never] [poll-500]"], timeout=3, poll_interval=1)

        assert len(deferrals) <= 5
        assert isinstance(ended.error, ImageTaskTimeoutError)
        assert ended.error.billed == "unknown"

    @ONE_SERVICE
    def test_one_taken_up_again_has_its_time_once_and_not_at_every_start(self, batch: ImageBatch) -> None:
        batch.start("a kite [never]", timeout=1)
        first = batch.rows[0]["image_task_id"]
        assert batch.start("a kite [never]", timeout=4, deferrable=True, **CLEAR).state == "deferred"

        ended, deferrals = until_it_ends(batch, most=8, prompts=["a kite [never]"], timeout=4)

        assert isinstance(ended.error, ImageTaskTimeoutError)
        assert batch.rows[0]["image_task_id"] == first
        assert deferrals

    @ONE_SERVICE
    def test_an_empty_balance_is_known_to_the_starts_that_follow(self, batch: ImageBatch) -> None:
        prompts = ["a kite [fail] [latency=600]", *[f"a boat {number} [no-credit]" for number in range(20)]]
        first = batch.start(prompts=prompts, deferrable=True)
        submissions, failed = batch.counts["submissions"], batch.pushed("progress")["failed"]

        ended = until_it_ends(batch, first=first, prompts=prompts)[0]

        assert first.state == "deferred"
        assert isinstance(ended.error, ImageTaskFailedError | QuotaExceededError)
        # Not even the row that failed at no cost is asked for again.
        assert batch.counts["submissions"] == submissions
        assert batch.pushed("progress")["failed"] >= failed
        assert len(batch.rows) == 21


@ONE_SERVICE
def test_what_was_not_billed_is_not_counted_again_by_the_next_start(batch: ImageBatch) -> None:
    prompts = ["a kite [fail] [latency=600]", "a boat", "a tree"]
    arguments = {"prices": {"gpt-image-2": 1}, "max_cost": 3, "row_attempts": 3}
    ended, _ = until_it_ends(batch, prompts=prompts, **arguments)

    assert batch.statuses == "failed succeeded succeeded"
    # Not for want of money.
    assert isinstance(ended.error, ImageTaskFailedError)
    assert batch.created.count(prompts[0]) == 3


@ONE_SERVICE
class TestWhatIsLeft:
    """What is missing of a batch, or of its end, is no reason to pay for it again."""

    def test_a_batch_whose_result_airflow_did_not_take_keeps_its_pictures_on_a_clear(self, batch: ImageBatch) -> None:
        batch.runner.refused_xcoms = {"return_value"}
        assert batch.start("a kite", "a boat").state != "success"
        batch.runner.refused_xcoms = set()

        assert batch.start("a kite", "a boat", **CLEAR).state == "success"
        assert batch.created == ["a boat", "a kite"]

    def test_a_folder_that_lost_what_was_submitted_submits_nothing(self, batch: ImageBatch) -> None:
        deferred = batch.start("a kite [never]", deferrable=True)
        for file in [*batch.folder.glob("intents-*"), *batch.folder.glob("outcomes-*")]:
            file.unlink()

        resumed = batch.start("a kite [never]", resume=deferred, deferrable=True)

        assert resumed.error is not None
        assert "has no record of them" in str(resumed.error)
        assert batch.created == ["a kite [never]"]

    @pytest.mark.parametrize("again", [{}, CLEAR], ids=["retry", "Clear"])
    @pytest.mark.parametrize("failing", ["batch.json", "life.json", "intents-", "outcomes-", ""])
    def test_a_storage_that_fails_for_a_moment_is_not_taken_for_an_empty_folder(
        self, batch: ImageBatch, monkeypatch: pytest.MonkeyPatch, failing: str, again: dict[str, Any]
    ) -> None:
        batch.start("a kite", "a boat [refuse]")
        # On Airflow before 3.3 nothing else is known of it.
        batch.runner.states.clear()
        info = LocalFileSystem.info

        def fails(self: LocalFileSystem, path: str, **options: Any) -> Any:
            if failing in path:
                raise OSError(5, "Input/output error")
            return info(self, path, **options)

        with monkeypatch.context() as patch:
            patch.setattr(LocalFileSystem, "info", fails)
            failed = batch.start("a kite", "a boat [refuse]", **again)
        assert failed.state != "success"
        assert batch.created == ["a kite"]

        batch.start("a kite", "a boat [refuse]", try_number=4, max_tries=5)
        assert batch.created == ["a kite"]

    @pytest.mark.parametrize("how", ["retry", "Clear", "resume"])
    def test_a_folder_that_lost_some_of_it_submits_nothing(
        self, batch: ImageBatch, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = [f"kite {number} [never]" for number in range(4)]
        monkeypatch.setattr(row_submissions, "LARGEST_GROUP", 2)
        deferred = batch.start(*rows, deferrable=True)
        if not batch.runner.states:
            pytest.skip("this Airflow keeps no counts, by which that could be known")
        segments = sorted(batch.folder.glob("intents-*"))
        assert len(segments) > 1
        segments[-1].unlink()
        again = {"retry": {"try_number": 2}, "Clear": CLEAR, "resume": {"resume": deferred}}[how]

        failed = batch.start(*rows, deferrable=True, **again)

        assert failed.error is not None
        assert "has no record of 2 of them" in str(failed.error)
        assert batch.pushed("image_task_error")["code"] == "batch_folder"
        assert batch.created == rows


@pytest.mark.parametrize("service_name", ["acedatacloud", "kie"], indirect=True)
class TestAnswersAboutOthers:
    """A status answer is believed only of the image task that was asked for."""

    def test_the_record_of_another_image_task_is_a_failed_read(self, batch: ImageBatch, route: StatusRoute) -> None:
        batch.start("another one", output_path=f"{batch.output_folder}/others")
        other = batch.image_service.tasks[0].id
        batch.runner.states.clear()
        route.mistaken_for = other

        failed = batch.start("a kite", timeout=3, poll_interval=1)
        assert f"the record of another image task, {other}" in str(failed.error)
        assert batch.rows[0]["error"]["billed"] == "unknown"

        route.mistaken_for = None
        assert batch.start("a kite", **CLEAR).state == "success"
        assert batch.rows[0]["image_task_id"] != other
        assert batch.created == ["a kite", "another one"]


class TestWhatIsLearntLate:
    """What the service, or an old start, tells of a row after its answer was lost is kept with the row."""

    @ONE_SERVICE
    def test_the_id_of_a_row_that_was_found_is_on_record(self, batch: ImageBatch) -> None:
        prompts = ["a kite [cut-after=1] [never]", "a boat [never]"]
        assert batch.start(*prompts, deferrable=True).state == "deferred"

        assert sorted(batch.intents) == sorted(task.id for task in batch.image_service.tasks)
        batch.start(*prompts, timeout=1, try_number=2)
        assert len(batch.created) == 2

    @CANNOT_TELL
    @pytest.mark.parametrize("again", [CLEAR, {"try_number": 2}], ids=["Clear", "retry"])
    def test_an_id_that_an_old_start_wrote_down_late_is_taken_up(
        self, batch: ImageBatch, again: dict[str, int]
    ) -> None:
        assert isinstance(batch.start("a kite [500-after=1]").error, UnknownOutcomeError)
        (made,) = batch.image_service.tasks
        (segment,) = batch.folder.glob("intents-*")
        head, intent = map(json.loads, segment.read_text().splitlines())
        answered = {**intent, "image_task_id": made.id, "submitted_at": made.created_at}
        segment.write_text("\n".join(map(json.dumps, (head, answered))))

        assert batch.start("a kite [500-after=1]", **again).state == "success"
        assert batch.rows[0]["image_task_id"] == made.id
        assert len(batch.created) == 1

    @ONE_SERVICE
    def test_an_old_start_that_wakes_up_after_a_clear_is_no_clear(
        self, batch: ImageBatch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin, comms, others = start_of_batch.new_checkpoint, "SUPERVISOR_COMMS", []

        def frozen(*arguments: Any) -> Any:
            monkeypatch.setattr(start_of_batch, "new_checkpoint", begin)
            ours = getattr(airflows_runner, comms)
            others.append(batch.start("a kite", try_number=2, max_tries=3))
            setattr(airflows_runner, comms, ours)
            return begin(*arguments)

        monkeypatch.setattr(start_of_batch, "new_checkpoint", frozen)
        old = batch.start("a kite", try_number=1, max_tries=2)

        assert [other.state for other in others] == ["success"]
        assert old.error is not None
        assert old.error.code == "replaced"
        assert batch.created == ["a kite"]
