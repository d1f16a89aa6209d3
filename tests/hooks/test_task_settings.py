"""Airflow's own settings of a task: they mean the same in every mode of the sensor, and for a deferred batch."""

from __future__ import annotations

import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout, AirflowTaskTimeout

from airflow_provider_imagetasks.exceptions import ImageTaskTimeoutError, ServiceUnavailableError
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from tests.image_batch import ImageBatch
from tests.image_dag import ImageDag
from tests.scripted_server import Reply, ScriptedServer
from tests.task_runner import Outcome

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke", "deferrable": False},
    "reschedule": {"mode": "reschedule", "deferrable": False},
    "deferrable": {"deferrable": True},
}
EVERY_MODE = pytest.mark.parametrize("mode", [*MODES, "resumed"])
BY_ACEDATACLOUD = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
DEAD_KEY = Reply({"error": {"code": "invalid_token", "message": "who?"}}, status=401)
DOWN = Reply(b"down", status=503)


def waited(dag: ImageDag, mode: str, image_task_id: Any = None, **arguments: Any) -> Outcome:
    """Return how a wait ended in a mode; ``resumed`` is one that ends after its deferral."""
    if mode != "resumed":
        return dag.wait(image_task_id, **MODES[mode], **arguments)
    usable = dag.runner.connections["imagetasks_default"]
    with ScriptedServer(otherwise=lambda asked: Reply({"id": asked.body["id"], "started_at": 1})) as server:
        dag.runner.connections["imagetasks_default"] = {**usable, "host": server.url}
        deferred = dag.wait(image_task_id, deferrable=True, **arguments)
        dag.runner.connections["imagetasks_default"] = usable
    assert deferred.state == "deferred"
    return dag.wait(image_task_id, resume=deferred, event={"status": "done"}, deferrable=True, **arguments)


@BY_ACEDATACLOUD
@EVERY_MODE
@pytest.mark.parametrize(("setting", "state"), [("soft_fail", "skipped"), ("never_fail", "skipped"), (None, "failed")])
class TestSkips:
    def test_an_image_task_that_failed(
        self, dag: ImageDag, mode: str, setting: str | None, state: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        image_task_id = dag.submitted("a kite [fail]")

        outcome = waited(dag, mode, image_task_id, **({setting: True} if setting else {}))

        assert outcome.state == state
        assert dag.runner.xcoms["wait", "image_task_error"]["class"] == "ImageTaskFailedError"
        if setting is None:
            assert isinstance(outcome.error, AirflowFailException)

    def test_a_wait_that_is_over(self, dag: ImageDag, mode: str, setting: str | None, state: str) -> None:
        dag.runner.first_reschedule = "2026-03-01T00:00:00Z"
        image_task_id = dag.submitted("a kite [never]")

        outcome = waited(dag, mode, image_task_id, timeout=0, **({setting: True} if setting else {}))
        if outcome.state == "deferred":
            over = {"status": "deadline"}
            outcome = dag.wait(
                resume=outcome, event=over, timeout=0, deferrable=True, **({setting: True} if setting else {})
            )

        assert outcome.state == state
        assert dag.runner.xcoms["wait", "image_task_error"]["class"] == "ImageTaskTimeoutError"
        if setting is None:
            assert isinstance(outcome.error, AirflowSensorTimeout)

    def test_a_key_that_is_refused(self, dag: ImageDag, mode: str, setting: str | None, state: str) -> None:
        with ScriptedServer(otherwise=lambda _request: DEAD_KEY) as server:
            connection = dag.runner.connections["imagetasks_default"]
            dag.runner.connections["imagetasks_default"] = {**connection, "host": server.url}

            assert waited(dag, mode, "a", **({setting: True} if setting else {})).state == state


@pytest.mark.parametrize("service_name", ["kie"], indirect=True)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("setting", ["soft_fail", "never_fail"])
def test_a_wrong_argument_is_skipped_too(dag: ImageDag, mode: str, setting: str) -> None:
    assert waited(dag, mode, "None", **{setting: True}).state == "skipped"


@BY_ACEDATACLOUD
@EVERY_MODE
@pytest.mark.parametrize(
    ("setting", "state"), [("soft_fail", "up_for_retry"), ("never_fail", "skipped"), (None, "up_for_retry")]
)
def test_what_a_retry_may_mend_is_skipped_by_never_fail_only(
    dag: ImageDag, mode: str, setting: str | None, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_imagetasks.polling.status_requests.FAILED_READS", 1)
    with ScriptedServer(otherwise=lambda _request: DOWN) as server:
        connection = dag.runner.connections["imagetasks_default"]
        dag.runner.connections["imagetasks_default"] = {**connection, "host": server.url}

        outcome = waited(dag, mode, "a", **({setting: True} if setting else {}))

    assert outcome.state == state
    if state != "skipped":
        assert isinstance(outcome.error, ServiceUnavailableError)


@BY_ACEDATACLOUD
def test_the_log_of_a_skipped_sensor_says_why(dag: ImageDag, capsys: pytest.CaptureFixture[str]) -> None:
    image_task_id = dag.submitted("a kite [fail]")
    for mode in MODES:
        capsys.readouterr()
        waited(dag, mode, image_task_id, soft_fail=True)
        said = capsys.readouterr()
        assert "as soft_fail says" in said.out + said.err
        assert image_task_id in said.out + said.err


@BY_ACEDATACLOUD
@pytest.mark.parametrize("mode", MODES)
def test_a_rate_limit_at_the_first_question_is_waited_for(dag: ImageDag, mode: str) -> None:
    # The pause is the account's, so it must not be that of the other tests.
    dag.runner.connections["imagetasks_default"]["password"] = f"limited-at-first-{mode}"
    dag.submitted("a kite [poll-429=1,retry-after=1]")

    outcome = dag.wait(retries=0, **MODES[mode])

    assert outcome.state == ("deferred" if mode == "deferrable" else "success")


@BY_ACEDATACLOUD
class TestExecutionTimeout:
    TIMES: dict[str, Any] = {"execution_timeout": timedelta(seconds=60), "timeout": 600}

    def test_it_bounds_the_deferral_of_a_sensor(self, dag: ImageDag) -> None:
        dag.submitted("a kite [never]")

        outcome = dag.wait(deferrable=True, **self.TIMES)

        assert outcome.message.trigger_kwargs["deadline"] == pytest.approx(time.time() + 60, abs=10)
        assert outcome.message.trigger_timeout.total_seconds() < 180
        again = dag.wait(resume=outcome, event={"status": "done"}, deferrable=True, **self.TIMES)
        assert again.message.trigger_kwargs["deadline"] == outcome.message.trigger_kwargs["deadline"]

    def test_a_later_one_leaves_the_deadline_alone(self, dag: ImageDag) -> None:
        dag.submitted("a kite [never]")

        outcome = dag.wait(deferrable=True, timeout=60, execution_timeout=timedelta(hours=1))

        assert outcome.message.trigger_kwargs["deadline"] == pytest.approx(time.time() + 60, abs=10)

    @pytest.mark.parametrize(("soft_fail", "state"), [(False, "up_for_retry"), (True, "skipped")])
    def test_a_sensor_is_retried_once_it_is_over_as_on_a_worker(
        self, dag: ImageDag, soft_fail: bool, state: str
    ) -> None:
        dag.submitted("a kite [never]")
        deferred = dag.wait(deferrable=True, soft_fail=soft_fail, **self.TIMES)
        deferred.message.next_kwargs["ends_at"] = time.time() - 1

        outcome = dag.wait(
            resume=deferred, event={"status": "deadline"}, deferrable=True, soft_fail=soft_fail, **self.TIMES
        )

        assert outcome.state == state
        if not soft_fail:
            assert isinstance(outcome.error, ImageTaskTimeoutError)
            assert "execution_timeout (60 s) is over" in str(outcome.error)

    @pytest.mark.parametrize("mode", ["poke", "deferrable", "resumed"])
    @pytest.mark.parametrize(
        ("setting", "state"), [(None, "up_for_retry"), ("soft_fail", "skipped"), ("never_fail", "skipped")]
    )
    def test_it_is_told_in_our_own_words_where_it_strikes_on_a_worker(
        self, dag: ImageDag, mode: str, setting: str | None, state: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dag.submitted("a kite [never]")
        given = {**self.TIMES, **({setting: True} if setting else {})}
        deferred = dag.wait(deferrable=True, **{**given, "execution_timeout": None}) if mode == "resumed" else None

        def strikes(*_given: Any, **_how: Any) -> None:
            # As Airflow does at whatever a task is about to do.
            raise AirflowTaskTimeout("Timeout")

        if mode == "poke":
            between_pokes = SimpleNamespace(sleep=strikes, time=time.time, monotonic=time.monotonic)
            monkeypatch.setattr("airflow.sdk.bases.sensor.time", between_pokes)
        else:
            monkeypatch.setattr(ImageTaskHook, "read", strikes)

        mode_of = {"mode": "poke", "deferrable": False} if mode == "poke" else {"deferrable": True}
        outcome = dag.wait(resume=deferred, event={"status": "done"}, **mode_of, **given)

        assert outcome.state == state
        assert dag.runner.xcoms["wait", "image_task_error"]["class"] == "ImageTaskTimeoutError"
        assert [failed["id"] for failed in dag.runner.xcoms["wait", "image_task_failures"]] == [dag.image_task_id]
        if setting is None:
            assert "execution_timeout (60 s) is over" in str(outcome.error)

    def test_what_is_over_by_then_is_a_success(self, dag: ImageDag) -> None:
        dag.submitted("a kite [latency=600]")
        deferred = dag.wait(deferrable=True, **self.TIMES)
        assert deferred.state == "deferred"
        deferred.message.next_kwargs["ends_at"] = time.time() - 1
        dag.image_service.finish(["a kite [latency=600]"])

        outcome = dag.wait(resume=deferred, event={"status": "done"}, deferrable=True, **self.TIMES)

        assert outcome.state == "success"

    def test_a_batch_ends_within_it_on_a_worker_and_a_retry_goes_on_with_all(self, dag: ImageDag) -> None:
        batch = ImageBatch(dag.runner, dag.image_service, dag.output_folder)
        prompts = ["a kite", "a boat [latency=2.5]"]
        began_at = time.time()
        over = batch.start(*prompts, execution_timeout=timedelta(seconds=1.5), deferrable=False, poll_interval=1)

        assert time.time() - began_at < 40
        assert over.state == "up_for_retry"
        assert isinstance(over.error, ImageTaskTimeoutError)
        assert "execution_timeout (1.5 s) is over" in str(over.error)
        assert "submits none of it again" in str(over.error)
        assert dag.runner.xcoms["batch", "image_task_error"]["class"] == "ImageTaskTimeoutError"
        assert batch.start(*prompts, poll_interval=1, deferrable=False).state == "success"
        assert batch.created == sorted(prompts)

    def test_a_submission_of_a_batch_that_hangs_is_left_to_be_found(self, dag: ImageDag) -> None:
        batch = ImageBatch(dag.runner, dag.image_service, dag.output_folder)
        prompts = ["a kite", "a boat [hang-after=1]"]
        began_at = time.time()
        over = batch.start(*prompts, execution_timeout=timedelta(seconds=2))

        assert time.time() - began_at < 25
        assert "execution_timeout (2 s) is over" in str(over.error)
        assert batch.start(*prompts).state == "success"
        assert batch.created == sorted(prompts)

    def test_a_submission_and_a_download_that_hang_end_in_our_own_words(
        self, dag: ImageDag, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limit: dict[str, Any] = {"execution_timeout": timedelta(seconds=0.7)}
        hung = dag.submit("a kite [hang-after=1]", **limit)
        assert hung.state == "up_for_retry"
        assert "execution_timeout (0.7 s) is over" in str(hung.error)
        assert "It may have been billed. A retry continues from the record" in str(hung.error)
        assert dag.submit("a kite [hang-after=1]", try_number=2).state == "success"
        assert len(dag.created) == 1

        dag.submitted("a boat [file-slow=30]")
        began_at = time.time()
        slow = dag.save(**limit, retries=2)
        assert time.time() - began_at < 25
        assert "A retry fetches what is missing" in str(slow.error)
        assert dag.stored == []

    def test_it_bounds_the_deferral_of_a_batch_and_a_retry_goes_on_with_it(self, dag: ImageDag) -> None:
        batch = ImageBatch(dag.runner, dag.image_service, dag.output_folder)
        times = {**self.TIMES, "deferrable": True}
        deferred = batch.start("a kite [never]", "a boat", max_failed=2, **times)

        assert deferred.state == "deferred"
        assert deferred.message.trigger_kwargs["deadline"] == pytest.approx(time.time() + 60, abs=15)
        deferred.message.next_kwargs["ends_at"] = time.time() - 1
        over = batch.start(
            "a kite [never]", "a boat", resume=deferred, event={"status": "deadline"}, max_failed=2, **times
        )
        assert over.state == "up_for_retry"
        assert isinstance(over.error, ImageTaskTimeoutError)
        assert batch.start("a kite [never]", "a boat", max_failed=2, **times).state == "deferred"
        assert len(batch.created) == 2
