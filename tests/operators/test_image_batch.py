"""The batch operator in Airflow's task runner: tries, Clears, kills, deferrals, and what is left behind."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_imagetasks.batch.batch_ledger import BatchLedger
from airflow_provider_imagetasks.batch.row_submissions import RowSubmissions
from airflow_provider_imagetasks.exceptions import ContentPolicyError, QuotaExceededError, UnknownOutcomeError
from airflow_provider_imagetasks.files import fetching
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from tests.image_batch import ImageBatch, Killed

ONE_SERVICE = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
Patch = pytest.MonkeyPatch


def test_every_row_becomes_a_picture_and_a_row_of_the_manifest(batch: ImageBatch) -> None:
    rows = [{"prompt": "a kite", "id": "K1"}, {"prompt": "a boat", "id": "B2"}, {"prompt": "a tree"}]

    assert batch.start(requests=rows).state == "success"
    assert batch.created == ["a boat", "a kite", "a tree"]
    assert [(row["id"], row["index"], row["prompt"], row["status"]) for row in batch.rows] == [
        ("K1", 0, "a kite", "succeeded"),
        ("B2", 1, "a boat", "succeeded"),
        (None, 2, "a tree", "succeeded"),
    ]
    for row in batch.rows:
        (file,) = row["files"]
        content = Path(urlsplit(file["uri"]).path).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file["sha256"], file["bytes"])
        assert (file["image_task_id"], row["error"]) == (row["image_task_id"], None)
    summary, progress, begun = (batch.pushed(key) for key in ("return_value", "progress", "image_batch"))
    assert (summary["total"], summary["succeeded"], summary["failed"]) == (3, 3, 0)
    assert Path(urlsplit(summary["manifest"]).path) == batch.folder / "manifest.jsonl"
    assert (progress["submitted"], progress["succeeded"], progress["running"]) == (3, 3, 0)
    assert (begun["total"], begun["generation"], begun["conn_id"]) == (3, 0, "imagetasks_default")
    assert begun["folder"].startswith(f"{batch.output_folder}/.imagetasks/")


@ONE_SERVICE
class TestTries:
    def test_refused_rows_are_typed_and_only_a_clear_repeats_them_and_nothing_else(self, batch: ImageBatch) -> None:
        prompts = ["a kite", "a boat [refuse]", "a tree", "a bird [refuse]"]
        failed = batch.start(*prompts)

        assert failed.state == "failed"
        assert isinstance(failed.error, ContentPolicyError)
        assert "2 of 4 rows failed" in str(failed.error)
        assert batch.pushed("image_task_error")["class"] == batch.rows[1]["error"]["class"] == "ContentPolicyError"
        assert batch.statuses == "succeeded failed succeeded failed"

        batch.start(*prompts, try_number=2)
        assert batch.counts["refused"] == {"forbidden": 2}

        # What was frozen is read, whatever the arguments are by now.
        batch.start("something else", try_number=3, max_tries=4)
        assert (batch.counts["created"], batch.counts["refused"]) == (2, {"forbidden": 4})
        assert [row["prompt"] for row in batch.rows] == prompts
        assert batch.statuses == "succeeded failed succeeded failed"

    def test_a_row_that_failed_at_no_cost_is_submitted_again_within_the_start(
        self, batch: ImageBatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        # What max_failed allows does not fail the task, and stands in its log.
        assert batch.start("a kite [fail]", row_attempts=3, max_failed=1).state == "success"
        reason = batch.rows[0]["error"]["message"].rstrip(".")
        told = f"1 of 1 rows failed (1 x ImageTaskFailedError), as max_failed allows. row 0: {reason}"
        assert told in capsys.readouterr().out
        assert (batch.created, batch.pushed()["failed"]) == (["a kite [fail]"] * 3, 1)
        assert batch.rows[0]["error"]["class"] == "ImageTaskFailedError"

    def test_a_retry_after_a_success_that_airflow_did_not_learn_of_pays_nothing_and_a_clear_makes_new_pictures(
        self, batch: ImageBatch
    ) -> None:
        batch.start("a kite")
        summary, first = batch.pushed(), batch.rows
        batch.start("a kite", try_number=2)
        assert (batch.pushed(), batch.created) == (summary, ["a kite"])

        batch.start("a kite", try_number=2, max_tries=3)
        assert batch.created == ["a kite", "a kite"]
        assert [json.loads((batch.folder / "manifest.0.jsonl").read_text())] == first
        assert batch.rows[0]["image_task_id"] != first[0]["image_task_id"]
        assert batch.pushed("image_batch")["generation"] == 1

    def test_a_picture_that_could_not_be_fetched_is_fetched_by_a_retry_and_not_paid_again(
        self, batch: ImageBatch
    ) -> None:
        assert batch.start("a kite [file-500=4]").state == "up_for_retry"
        assert batch.rows[0]["error"]["class"] == "DownloadError"

        assert batch.start("a kite [file-500=4]", try_number=2).state == "success"
        assert batch.created == ["a kite [file-500=4]"]

    def test_no_balance_stops_submitting(self, batch: ImageBatch) -> None:
        outcome = batch.start(*[f"kite {number} [no-credit]" for number in range(200)])

        assert outcome.state == "failed"
        assert isinstance(outcome.error, QuotaExceededError)
        assert batch.counts["submissions"] <= 8
        assert len(batch.rows) == 200


class TestKills:
    """What a start that was killed leaves behind is taken up, and never paid for again."""

    def kill_after_answers(self, batch: ImageBatch, monkeypatch: Patch, *prompts: str) -> None:
        def settle(self: BatchLedger, *_arguments: Any) -> None:
            patch.undo()
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(BatchLedger, "settle", settle)
            assert isinstance(batch.start(*prompts).error, Killed)

    @pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi", "aigptimage"], indirect=True)
    def test_killed_after_the_answers_nothing_is_paid_twice(self, batch: ImageBatch, monkeypatch: Patch) -> None:
        prompts = [f"kite {number}" for number in range(5)]
        self.kill_after_answers(batch, monkeypatch, *prompts)

        assert batch.start(*prompts, try_number=2).state == "success"
        assert batch.created == prompts
        assert batch.statuses == " ".join(["succeeded"] * 5)

    @ONE_SERVICE
    def test_killed_in_the_middle_of_a_group_the_rest_is_submitted_once(
        self, batch: ImageBatch, monkeypatch: Patch
    ) -> None:
        prompts = [f"kite {number}" for number in range(6)]
        submit_one, count = RowSubmissions._submit_one, 0

        async def killed(self: RowSubmissions, *arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count <= 3:
                return await submit_one(self, *arguments)
            # Nothing is written down after a kill either.
            patch.setattr(BatchLedger, "settle", None)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(RowSubmissions, "_submit_one", killed)
            assert batch.start(*prompts).error is not None
        assert len(batch.created) <= 3
        assert batch.start(*prompts, try_number=2).state == "success"
        assert batch.created == prompts

    @pytest.mark.parametrize("service_name", ["kie"], indirect=True)
    def test_where_the_service_cannot_tell_the_row_fails_and_a_clear_submits_it(
        self, batch: ImageBatch, monkeypatch: Patch
    ) -> None:
        self.kill_after_answers(batch, monkeypatch, "a kite")

        assert isinstance(batch.start("a kite", try_number=2).error, UnknownOutcomeError)
        error = batch.rows[0]["error"]
        assert (error["class"], error["code"], error["billed"]) == ("UnknownOutcomeError", None, "unknown")
        assert batch.created == ["a kite"]
        assert batch.start("a kite", try_number=3, max_tries=5).state == "success"
        assert batch.created == ["a kite", "a kite"]

    @ONE_SERVICE
    def test_an_answer_that_was_cut_off_is_found_again(self, batch: ImageBatch) -> None:
        assert batch.start("a kite [cut-after=1]", "a boat").state == "success"
        assert batch.created == ["a boat", "a kite [cut-after=1]"]
        assert batch.statuses == "succeeded succeeded"


@ONE_SERVICE
class TestDeferral:
    def test_it_defers_when_all_is_submitted_and_finishes_when_it_resumes(self, batch: ImageBatch) -> None:
        arguments: dict[str, Any] = {"prompts": ["a kite [latency=600]", "a boat"], "deferrable": True}
        deferred = batch.start(**arguments)

        assert deferred.state == "deferred"
        assert deferred.message.classpath.endswith("ImageBatchTrigger")
        assert batch.pushed("progress")["submitted"] == 2
        assert "kite" not in json.dumps(deferred.message.trigger_kwargs, default=str)
        batch.image_service.finish(["a kite [latency=600]"])
        assert batch.start(resume=deferred, **arguments).state == "success"
        assert batch.statuses == "succeeded succeeded"
        assert batch.created == ["a boat", "a kite [latency=600]"]

    def test_it_resumes_where_it_was_begun_whatever_the_path_renders_to_then(self, batch: ImageBatch) -> None:
        deferred = batch.start("a kite [latency=600]", deferrable=True)
        assert deferred.message.next_kwargs == {"output_path": batch.output_folder}
        batch.runner.states.clear()
        batch.image_service.finish(["a kite [latency=600]"])

        resumed = batch.start("a kite", resume=deferred, output_path=f"{batch.output_folder}/tomorrow")

        # Its deferral names the folder that it left, whatever else is kept of it.
        assert resumed.state == "success", resumed.error
        assert batch.created == ["a kite [latency=600]"]

    def test_a_resumed_batch_that_does_not_find_its_folder_pays_for_nothing_again(self, batch: ImageBatch) -> None:
        deferred = batch.start("a kite [never]", deferrable=True)
        # A deferral of an earlier version says nothing of the folder.
        deferred.message.next_kwargs.pop("output_path")
        batch.runner.states.clear()

        resumed = batch.start("a kite", resume=deferred, output_path=f"{batch.output_folder}/tomorrow")

        assert "was started" in str(resumed.error)
        assert batch.pushed("image_task_error")["code"] == "batch_folder"
        assert batch.created == ["a kite [never]"]

    def test_an_event_of_an_unknown_kind_fails(self, batch: ImageBatch) -> None:
        deferred = batch.start("a kite [never]", deferrable=True)
        resumed = batch.start("a kite [never]", resume=deferred, event={"status": "strange"})

        assert "does not know" in str(resumed.error)

    def test_it_never_submits_more_than_may_run_and_defers_where_nothing_ends(self, batch: ImageBatch) -> None:
        prompts = [f"kite {number} [never]" for number in range(5)]

        assert batch.start(*prompts, deferrable=True, max_active_tasks=2).state == "deferred"
        assert batch.image_service.stats()["peak_active_tasks"] == 2

    def test_a_row_that_runs_out_of_time_fails_and_the_batch_ends(self, batch: ImageBatch) -> None:
        assert batch.start("a kite [never]", "a boat", timeout=1, max_failed=1).state == "success"
        error = batch.rows[0]["error"]
        assert (error["class"], error["billed"]) == ("ImageTaskTimeoutError", "unknown")


@ONE_SERVICE
def test_without_the_word_on_what_was_frozen_nothing_is_submitted(batch: ImageBatch) -> None:
    batch.start("a kite", "a boat [refuse]")
    (batch.folder / "batch.json").unlink()

    assert "batch.json" in str(batch.start("another", try_number=2).error)
    assert batch.created == ["a kite"]


@ONE_SERVICE
def test_dry_run_counts_and_estimates_and_writes_nothing(batch: ImageBatch, tmp_path: Path) -> None:
    assert batch.start("a kite", "a boat", prices={"gpt-image-2": 0.04}, dry_run=True).state == "success"
    assert (batch.pushed()["total"], batch.pushed()["cost"]) == (2, pytest.approx(0.08))
    assert batch.counts["submissions"] == 0
    assert not (tmp_path / "pictures").exists()


@ONE_SERVICE
def test_a_dry_run_of_a_batch_that_was_begun_says_what_is_paid_for(
    batch: ImageBatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = ["a kite", f"a boat [file-500={fetching.ATTEMPTS}]"]
    assert batch.start(*prompts, prices={"gpt-image-2": 0.04}).state == "up_for_retry"
    folder = batch.pushed("image_batch")["folder"]
    before = sorted(path.name for path in batch.folder.iterdir())
    capsys.readouterr()
    assert batch.start(*prompts, dry_run=True).state == "success"

    begun = batch.pushed()["begun"]
    assert begun == {"folder": folder, "total": 2, "succeeded": 1, "failed": 1, "running": 0}
    said = " ".join(capsys.readouterr().out.split())
    assert "of its 2 rows, 1 are delivered, 1 failed and 0 are open" in said
    assert "may be paid for" in said
    assert sorted(path.name for path in Path(urlsplit(folder).path).iterdir()) == before
    assert batch.start(*prompts, prices={"gpt-image-2": 0.04}).state == "success"
    assert len(batch.created) == 2


@ONE_SERVICE
def test_names_may_hold_the_row_and_its_id(batch: ImageBatch, tmp_path: Path) -> None:
    rows = [{"prompt": "a kite", "id": "SKU-1"}, {"prompt": "a boat", "id": "../x"}]
    batch.start(requests=rows, filename="{row:03d}-{id}.{ext}")

    names = sorted(path.name for path in (tmp_path / "pictures").glob("*.*g"))
    assert (names[0], names[1][:7]) == ("000-SKU-1.png", "001-_x-")


@ONE_SERVICE
@pytest.mark.parametrize(("executor", "says"), [("CeleryExecutor", True), ("LocalExecutor", False)])
def test_a_local_folder_is_spoken_of_where_workers_are_on_other_machines(
    batch: ImageBatch, monkeypatch: Patch, capsys: pytest.CaptureFixture[str], executor: str, says: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    batch.start("a kite")

    assert ("a disk that all workers share" in " ".join(capsys.readouterr().out.split())) is says


@ONE_SERVICE
def test_rows_are_never_rendered_and_a_single_prompt_is(batch: ImageBatch) -> None:
    batch.start(requests=[{"prompt": "{{ run_id }}", "options": {"user": "{{ run_id }}"}}])
    assert batch.created == ["{{ run_id }}"]
    assert batch.image_service.tasks[0].request["user"] == "{{ run_id }}"

    batch.runner.states.clear()
    batch.start(prompts="a kite in {{ run_id }}", output_path=f"{batch.output_folder}/others")
    assert "a kite in a_run" in batch.created


def test_more_than_a_thousand_literal_rows_warn(output_folder: str) -> None:
    with pytest.warns(UserWarning, match="requests_path"):
        ImageBatchOperator(task_id="b", prompts=["a kite"] * 1001, output_path=output_folder)


@pytest.mark.parametrize("rows", [{}, {"prompts": ["a"], "requests": [{"prompt": "b"}]}])
def test_the_rows_come_from_one_place(output_folder: str, rows: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one of prompts, requests and requests_path"):
        ImageBatchOperator(task_id="b", output_path=output_folder, **rows)


FALS_HEADER = "X-Fal-Object-Lifecycle-Preference"


@pytest.mark.parametrize(
    ("service_name", "options", "seconds"),
    [
        ("acedatacloud", {}, None),
        ("replicate", {}, 15),
        ("fal", {}, None),
        ("fal", {FALS_HEADER: {"expiration_duration_seconds": 2_880}}, 12),
        ("fal", {FALS_HEADER: {"expiration_duration_seconds": 60}}, 10),
    ],
    indirect=["service_name"],
)
def test_a_worker_comes_back_the_sooner_the_shorter_any_picture_of_the_batch_lives(
    batch: ImageBatch, options: dict[str, Any], seconds: float | None
) -> None:
    rows = [{"prompt": "a boat [never]"}, {"prompt": "a kite [never]", "options": options}]

    deferred = batch.start(requests=rows, options={}, deferrable=True)

    assert deferred.message.trigger_kwargs.get("longest_ready") == seconds
