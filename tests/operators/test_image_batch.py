"""The batch operator in Airflow's task runner: tries, Clears, kills, deferrals, and what is left behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_imagetasks.batch.arguments import BatchLimits
from airflow_provider_imagetasks.batch.batch_ledger import BatchLedger
from airflow_provider_imagetasks.batch.folder import BatchFolder
from airflow_provider_imagetasks.batch.row_submissions import RowSubmissions
from airflow_provider_imagetasks.exceptions import ContentPolicyError, InvalidRequestError, UnknownOutcomeError
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.operators.image_batch import ImageBatchOperator
from tests.task_runner import Outcome, TaskRunner

ONE_SERVICE = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
SMALL = {"options": {"size": "256x256"}}

Start = Callable[..., Outcome]


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the package runs after it."""


@pytest.fixture
def limits() -> BatchLimits:
    """What a start keeps to; shorter than for users, since no service here takes a minute to write anything down."""
    return BatchLimits(idle=0.5, not_found_grace=1)


@pytest.fixture
def start(runner: TaskRunner, output_folder: str, limits: BatchLimits) -> Start:
    """Start the batch; say how Airflow starts it."""

    def run(*, try_number: int = 1, max_tries: int = 2, resume: Outcome | None = None, **arguments: Any) -> Outcome:
        arguments = {"output_path": output_folder, "retries": 2, "deferrable": False, **SMALL, **arguments}

        def make() -> ImageBatchOperator:
            operator = ImageBatchOperator(task_id="batch", **arguments)
            operator.limits = limits
            return operator

        if resume is not None:
            return runner.resume(make, resume, {"status": "done"})
        runner.xcoms.clear()
        return runner.run(make, try_number=try_number, max_tries=max_tries)

    return run


def created(image_service: LocalImageService) -> list[str]:
    return [entry["prompt"] for entry in image_service.stats()["created"]]


def result(runner: TaskRunner) -> dict[str, Any]:
    return dict(runner.xcoms[("batch", "return_value")])


def folder_of(runner: TaskRunner) -> Path:
    return Path(urlsplit(runner.xcoms[("batch", "image_batch")]["folder"]).path)


def manifest(runner: TaskRunner) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder_of(runner) / "manifest.jsonl").read_text().splitlines()]


def statuses(runner: TaskRunner) -> list[str]:
    return [row["status"] for row in manifest(runner)]


def test_every_row_becomes_a_picture_and_a_row_of_the_manifest(
    runner: TaskRunner, start: Start, image_service: LocalImageService
) -> None:
    outcome = start(requests=[{"prompt": "a kite", "id": "K1"}, {"prompt": "a boat", "id": "B2"}, {"prompt": "a tree"}])

    assert outcome.state == "success"
    assert sorted(created(image_service)) == ["a boat", "a kite", "a tree"]
    rows = manifest(runner)
    assert [(row["id"], row["index"], row["prompt"], row["status"]) for row in rows] == [
        ("K1", 0, "a kite", "succeeded"),
        ("B2", 1, "a boat", "succeeded"),
        (None, 2, "a tree", "succeeded"),
    ]
    for row in rows:
        (file,) = row["files"]
        content = Path(urlsplit(file["uri"]).path).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file["sha256"], file["bytes"])
        assert file["image_task_id"] == row["image_task_id"]
        assert row["error"] is None
    summary = result(runner)
    assert {name: summary[name] for name in ("total", "succeeded", "failed")} == {
        "total": 3,
        "succeeded": 3,
        "failed": 0,
    }
    assert Path(urlsplit(summary["manifest"]).path) == folder_of(runner) / "manifest.jsonl"
    progress = runner.xcoms[("batch", "progress")]
    assert (progress["submitted"], progress["succeeded"], progress["running"]) == (3, 3, 0)
    batch = runner.xcoms[("batch", "image_batch")]
    assert (batch["total"], batch["generation"], batch["conn_id"]) == (3, 0, "imagetasks_default")


@ONE_SERVICE
class TestTries:
    def test_refused_rows_are_typed_and_a_clear_repeats_only_them(
        self, runner: TaskRunner, start: Start, image_service: LocalImageService
    ) -> None:
        prompts = ["a kite", "a boat [refuse]", "a tree", "a bird [refuse]"]
        failed = start(prompts=prompts)

        assert failed.state == "failed"
        assert isinstance(failed.error, ContentPolicyError)
        assert "2 of 4 rows failed" in str(failed.error)
        assert runner.xcoms[("batch", "image_task_error")]["class"] == "ContentPolicyError"
        assert statuses(runner) == ["succeeded", "failed", "succeeded", "failed"]
        assert manifest(runner)[1]["error"]["class"] == "ContentPolicyError"
        before = image_service.stats()["dialects"]["acedatacloud"]

        start(prompts=prompts, try_number=2, max_tries=3)

        after = image_service.stats()["dialects"]["acedatacloud"]
        assert after["created"] == before["created"] == 2
        assert after["refused"]["forbidden"] - before["refused"]["forbidden"] == 2
        assert statuses(runner) == ["succeeded", "failed", "succeeded", "failed"]

    def test_a_retry_repeats_nothing_that_it_cannot_mend(self, start: Start, image_service: LocalImageService) -> None:
        start(prompts=["a kite", "a boat [refuse]"])
        before = image_service.stats()["dialects"]["acedatacloud"]["submissions"]
        start(prompts=["a kite", "a boat [refuse]"], try_number=2)

        assert image_service.stats()["dialects"]["acedatacloud"]["submissions"] == before

    def test_a_row_that_failed_at_no_cost_is_submitted_again_within_the_start(
        self, runner: TaskRunner, start: Start, image_service: LocalImageService
    ) -> None:
        outcome = start(prompts=["a kite [fail]"], row_attempts=3, max_failed=1)

        assert outcome.state == "success"
        assert created(image_service) == ["a kite [fail]"] * 3
        assert manifest(runner)[0]["error"]["class"] == "ImageTaskFailedError"

    def test_what_max_failed_allows_does_not_fail_the_task(self, runner: TaskRunner, start: Start) -> None:
        assert start(prompts=["a kite", "a boat [refuse]"], max_failed=0.5).state == "success"
        assert result(runner)["failed"] == 1

    def test_a_clear_of_a_success_makes_new_pictures_and_keeps_the_old_manifest(
        self, runner: TaskRunner, start: Start, image_service: LocalImageService
    ) -> None:
        start(prompts=["a kite"])
        first = manifest(runner)
        start(prompts=["a kite"], try_number=2, max_tries=3)

        assert created(image_service) == ["a kite", "a kite"]
        assert [json.loads((folder_of(runner) / "manifest.0.jsonl").read_text())] == first
        assert manifest(runner)[0]["image_task_id"] != first[0]["image_task_id"]
        assert runner.xcoms[("batch", "image_batch")]["generation"] == 1

    def test_a_retry_after_a_success_that_airflow_did_not_learn_of_pays_nothing(
        self, runner: TaskRunner, start: Start, image_service: LocalImageService
    ) -> None:
        start(prompts=["a kite"])
        summary = result(runner)
        start(prompts=["a kite"], try_number=2)

        assert result(runner) == summary
        assert created(image_service) == ["a kite"]

    def test_later_starts_read_what_was_frozen(
        self, runner: TaskRunner, start: Start, image_service: LocalImageService
    ) -> None:
        start(prompts=["a kite", "a boat [refuse]"])
        start(prompts=["something else"], try_number=2, max_tries=3)

        assert [row["prompt"] for row in manifest(runner)] == ["a kite", "a boat [refuse]"]
        assert created(image_service) == ["a kite"]

    def test_a_picture_that_could_not_be_fetched_is_fetched_by_a_retry_and_not_paid_again(
        self, runner: TaskRunner, start: Start, image_service: LocalImageService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("airflow_provider_imagetasks.files.fetching.FIRST_PAUSE", 0.01)
        first = start(prompts=["a kite [file-500=4]"])
        assert first.state == "up_for_retry"
        assert manifest(runner)[0]["error"]["class"] == "DownloadError"

        assert start(prompts=["a kite [file-500=4]"], try_number=2).state == "success"
        assert created(image_service) == ["a kite [file-500=4]"]

    def test_no_balance_stops_submitting(
        self, runner: TaskRunner, start: Start, image_service: LocalImageService
    ) -> None:
        outcome = start(prompts=[f"kite {number} [no-credit]" for number in range(200)])

        assert outcome.state == "failed"
        assert type(outcome.error).__name__ == "QuotaExceededError"
        assert image_service.stats()["dialects"]["acedatacloud"]["submissions"] <= 8
        assert len(manifest(runner)) == 200


class TestKills:
    """What a start that was killed leaves behind is taken up, and never paid for again."""

    def kill_after_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = BatchLedger.settle

        def settle(self: BatchLedger, *_arguments: Any) -> None:
            monkeypatch.setattr(BatchLedger, "settle", real)
            raise Killed

        monkeypatch.setattr(BatchLedger, "settle", settle)

    def kill_between_submissions(self, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        real = RowSubmissions._submit_one
        count = 0

        async def submit_one(self: RowSubmissions, *arguments: Any) -> Any:
            nonlocal count
            if (count := count + 1) > after:
                if count == after + 1:
                    monkeypatch.setattr(BatchLedger, "settle", None)
                raise Killed
            return await real(self, *arguments)

        monkeypatch.setattr(RowSubmissions, "_submit_one", submit_one)

    @pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi", "aigptimage"], indirect=True)
    def test_killed_after_the_answers_nothing_is_paid_twice(
        self, runner: TaskRunner, start: Start, image_service: LocalImageService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prompts = [f"kite {number}" for number in range(5)]
        with monkeypatch.context() as patch:
            self.kill_after_answers(patch)
            assert isinstance(start(prompts=prompts).error, Killed)
        assert start(prompts=prompts, try_number=2).state == "success"

        assert sorted(created(image_service)) == prompts
        assert statuses(runner) == ["succeeded"] * 5

    @ONE_SERVICE
    def test_killed_in_the_middle_of_a_group_the_rest_is_submitted_once(
        self, runner: TaskRunner, start: Start, image_service: LocalImageService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prompts = [f"kite {number}" for number in range(6)]
        with monkeypatch.context() as patch:
            real_settle = BatchLedger.settle
            self.kill_between_submissions(patch, after=3)
            assert isinstance(start(prompts=prompts).error, BaseException)
        assert BatchLedger.settle is real_settle
        assert len(created(image_service)) <= 3
        assert start(prompts=prompts, try_number=2).state == "success"

        assert sorted(created(image_service)) == prompts
        assert statuses(runner) == ["succeeded"] * 6

    @pytest.mark.parametrize("service_name", ["kie"], indirect=True)
    def test_where_the_service_cannot_tell_the_row_fails_and_a_clear_submits_it(
        self, runner: TaskRunner, start: Start, image_service: LocalImageService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            self.kill_after_answers(patch)
            assert isinstance(start(prompts=["a kite"]).error, Killed)
        second = start(prompts=["a kite"], try_number=2)

        assert isinstance(second.error, UnknownOutcomeError)
        assert manifest(runner)[0]["error"] | {"message": ""} == {
            "class": "UnknownOutcomeError",
            "code": None,
            "billed": "unknown",
            "message": "",
        }
        assert created(image_service) == ["a kite"]
        assert start(prompts=["a kite"], try_number=3, max_tries=5).state == "success"
        assert created(image_service) == ["a kite", "a kite"]

    @ONE_SERVICE
    def test_an_answer_that_was_cut_off_is_found_again(
        self, runner: TaskRunner, start: Start, image_service: LocalImageService
    ) -> None:
        assert start(prompts=["a kite [cut-after=1]", "a boat"]).state == "success"

        assert sorted(created(image_service)) == ["a boat", "a kite [cut-after=1]"]
        assert statuses(runner) == ["succeeded", "succeeded"]

    @ONE_SERVICE
    def test_a_start_that_was_replaced_submits_nothing_more(
        self, start: Start, image_service: LocalImageService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = BatchLedger.load

        def load(self: BatchLedger) -> None:
            real(self)
            self.folder.write("life.json", b'{"schema": 1, "generation": 0, "max_tries": 2, "start": "another"}')

        monkeypatch.setattr(BatchLedger, "load", load)
        outcome = start(prompts=["a kite"])

        assert "Another start of this task" in str(outcome.error)
        assert created(image_service) == []


@ONE_SERVICE
class TestDeferral:
    def test_it_defers_when_all_is_submitted_and_finishes_when_it_resumes(
        self, runner: TaskRunner, start: Start, image_service: LocalImageService
    ) -> None:
        arguments = {"prompts": ["a kite [latency=1]", "a boat"], "deferrable": True}
        deferred = start(**arguments)

        assert deferred.state == "deferred"
        kwargs = deferred.message.trigger_kwargs
        assert deferred.message.classpath.endswith("ImageBatchTrigger")
        assert runner.xcoms[("batch", "progress")]["submitted"] == 2
        assert "kite" not in json.dumps(kwargs, default=str)
        while image_service.stats()["active_tasks"]:
            pass
        resumed = start(resume=deferred, **arguments)

        assert resumed.state == "success"
        assert statuses(runner) == ["succeeded", "succeeded"]
        assert sorted(created(image_service)) == ["a boat", "a kite [latency=1]"]

    def test_it_resumes_where_it_was_begun_whatever_the_path_renders_to_then(
        self, runner: TaskRunner, start: Start, image_service: LocalImageService, output_folder: str
    ) -> None:
        deferred = start(prompts=["a kite [latency=1]"], deferrable=True)
        assert deferred.message.next_kwargs == {"output_path": output_folder}
        keeps_state = bool(runner.states)
        runner.states.clear()

        resumed = start(resume=deferred, prompts=["a kite"], output_path=f"{output_folder}/tomorrow")

        # It looks into the first folder, which an Airflow that keeps state then takes for another one's.
        assert ("another deployment" in str(resumed.error)) is keeps_state
        assert created(image_service) == ["a kite [latency=1]"]

    def test_a_resumed_batch_that_does_not_find_its_folder_pays_for_nothing_again(
        self, runner: TaskRunner, start: Start, image_service: LocalImageService, output_folder: str
    ) -> None:
        deferred = start(prompts=["a kite [never]"], deferrable=True)
        # A deferral of an earlier version says nothing of the folder.
        deferred.message.next_kwargs.pop("output_path")
        runner.states.clear()

        resumed = start(resume=deferred, prompts=["a kite"], output_path=f"{output_folder}/tomorrow")

        assert "was begun" in str(resumed.error)
        assert runner.xcoms[("batch", "image_task_error")]["code"] == "batch_folder"
        assert created(image_service) == ["a kite [never]"]

    def test_an_event_of_an_unknown_kind_fails(self, runner: TaskRunner, start: Start) -> None:
        deferred = start(prompts=["a kite [never]"], deferrable=True)
        make = lambda: ImageBatchOperator(task_id="batch", prompts=["x"], output_path="file:///tmp/x")  # noqa: E731

        assert "does not know" in str(runner.resume(make, deferred, {"status": "strange"}).error)

    def test_without_the_word_on_what_was_frozen_nothing_is_submitted(
        self, runner: TaskRunner, start: Start, image_service: LocalImageService
    ) -> None:
        start(prompts=["a kite", "a boat [refuse]"])
        (folder_of(runner) / "batch.json").unlink()

        assert "batch.json" in str(start(prompts=["another"], try_number=2).error)
        assert created(image_service) == ["a kite"]

    def test_it_never_submits_more_than_may_run_and_defers_where_nothing_ends(
        self, start: Start, image_service: LocalImageService
    ) -> None:
        deferred = start(prompts=[f"kite {n} [never]" for n in range(5)], deferrable=True, max_active_tasks=2)

        assert deferred.state == "deferred"
        assert image_service.stats()["peak_active_tasks"] == 2

    def test_a_row_that_runs_out_of_time_fails_and_the_batch_ends(self, runner: TaskRunner, start: Start) -> None:
        outcome = start(prompts=["a kite [never]", "a boat"], timeout=1, max_failed=1)

        assert outcome.state == "success"
        assert manifest(runner)[0]["error"]["class"] == "ImageTaskTimeoutError"
        assert manifest(runner)[0]["error"]["billed"] == "unknown"


@ONE_SERVICE
@pytest.mark.parametrize("limits", [BatchLimits(window=20, gather=0.5)])
def test_places_that_become_free_one_by_one_are_filled_in_groups(
    runner: TaskRunner, start: Start, image_service: LocalImageService
) -> None:
    # A place counts as taken until the pictures are stored, and they are stored one after the other.
    start(prompts=[f"kite {number}" for number in range(80)])

    assert len(created(image_service)) == 80
    # Each takes two writes.
    assert len(list(folder_of(runner).glob("intents-*"))) <= 20


@ONE_SERVICE
def test_dry_run_counts_and_estimates_and_writes_nothing(
    runner: TaskRunner, start: Start, image_service: LocalImageService, tmp_path: Path
) -> None:
    outcome = start(prompts=["a kite", "a boat"], prices={"gpt-image-2": 0.04}, dry_run=True)

    assert outcome.state == "success"
    assert result(runner)["total"] == 2
    assert result(runner)["cost"] == pytest.approx(0.08)
    assert image_service.stats()["dialects"]["acedatacloud"]["submissions"] == 0
    assert not (tmp_path / "pictures").exists()


@ONE_SERVICE
def test_names_may_hold_the_row_and_its_id(start: Start, tmp_path: Path) -> None:
    start(
        requests=[{"prompt": "a kite", "id": "SKU-1"}, {"prompt": "a boat", "id": "../x"}],
        filename="{row:03d}-{id}.{ext}",
    )

    names = sorted(path.name for path in (tmp_path / "pictures").glob("*.*g"))
    assert names[0] == "000-SKU-1.png"
    assert names[1].startswith("001-_x-")


@ONE_SERVICE
@pytest.mark.parametrize(("executor", "says"), [("CeleryExecutor", True), ("LocalExecutor", False)])
def test_a_local_folder_is_spoken_of_where_workers_are_on_other_machines(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], executor: str, says: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
    start(prompts=["a kite"])

    assert ("a disk that all workers share" in " ".join(capsys.readouterr().out.split())) is says


def test_a_folder_says_where_it_is(output_folder: str) -> None:
    assert BatchFolder(output_folder, "abc").uri == f"{output_folder}/.imagetasks/abc"


def test_more_than_a_thousand_literal_rows_warn(output_folder: str) -> None:
    with pytest.warns(UserWarning, match="requests_path"):
        ImageBatchOperator(task_id="b", prompts=["a kite"] * 1001, output_path=output_folder)


@ONE_SERVICE
def test_rows_are_never_rendered_and_a_single_text_is(
    runner: TaskRunner, start: Start, image_service: LocalImageService
) -> None:
    start(requests=[{"prompt": "{{ run_id }}", "options": {"user": "{{ run_id }}"}}])
    assert created(image_service) == ["{{ run_id }}"]
    assert image_service.tasks[0].request["user"] == "{{ run_id }}"


@ONE_SERVICE
def test_a_single_prompt_is_a_template(start: Start, image_service: LocalImageService) -> None:
    start(prompts="a kite in {{ run_id }}")

    assert created(image_service) == ["a kite in a_run"]


@pytest.mark.parametrize("rows", [{}, {"prompts": ["a"], "requests": [{"prompt": "b"}]}])
def test_the_rows_come_from_one_place(output_folder: str, rows: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one of prompts, requests and requests_path"):
        ImageBatchOperator(task_id="b", output_path=output_folder, **rows)


@ONE_SERVICE
def test_an_error_class_is_the_one_that_people_catch(start: Start) -> None:
    with pytest.raises(InvalidRequestError):
        raise start(prompts=[]).error or AssertionError
