from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout

from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    ImageTaskFailedError,
    ImageTaskNotFoundError,
    ImageTaskTimeoutError,
    InvalidRequestError,
    ProtocolError,
)
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.operators.image_task import ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from tests.task_runner import TaskRunner

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke", "deferrable": False},
    "reschedule": {"mode": "reschedule", "deferrable": False},
    "deferrable": {"deferrable": True},
}
by_acedatacloud = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
every_mode = pytest.mark.parametrize("mode", MODES)


def sensor(image_task_id: Any = None, **arguments: Any) -> Callable[[], ImageTaskSensor]:
    return lambda: ImageTaskSensor(**{"task_id": "wait", "image_task_id": image_task_id, "retries": 2, **arguments})


@pytest.fixture
def submitted(runner: TaskRunner) -> Callable[..., str]:
    """Submit a prompt through the operator and return its image task id."""

    def submit(prompt: str = "a red kite", **arguments: Any) -> str:
        # A task of its own for each prompt, since a repetition by the same task gets the same image task.
        task_id = f"submit_{len(runner.xcoms)}"
        outcome = runner.run(lambda: ImageTaskSubmitOperator(task_id=task_id, prompt=prompt, **arguments))
        assert outcome.state == "success", outcome.error
        return str(runner.xcoms[(task_id, "return_value")])

    return submit


def result(runner: TaskRunner) -> Any:
    return runner.xcoms[("wait", "return_value")]


@every_mode
def test_the_result_is_the_same_in_every_mode(
    runner: TaskRunner, submitted: Callable[..., str], mode: str, service_name: str
) -> None:
    image_task_id = submitted()

    assert runner.run(sensor(image_task_id, **MODES[mode])).state == "success"

    record = result(runner)
    assert list(record) == [
        *("id", "service", "conn_id", "trace_id", "state", "model", "prompt", "images", "image_count_requested"),
        *("created_at", "finished_at", "duration", "usage"),
    ]
    assert (record["id"], record["service"], record["state"]) == (image_task_id, service_name, "succeeded")
    image = record["images"][0]
    assert (image["url"] or image["path"]).startswith(("http://127.0.0.1:", "/"))
    assert image | {"url": "", "path": ""} == {"index": 0, "url": "", "path": "", "inline": False}
    # What is known of a file at the server has no time that could be read.
    assert image["path"] or record["finished_at"].endswith("+00:00")
    assert image["path"] or isinstance(record["duration"], float)


def test_a_sequence_gives_a_list_in_the_given_order(runner: TaskRunner, submitted: Callable[..., str]) -> None:
    ids = [submitted(f"kite {number}") for number in range(3)]
    assert len(set(ids)) == 3
    asked = [ids[2], {"id": ids[0], "service": None, "conn_id": "imagetasks_default"}, ids[1]]

    runner.run(sensor(asked, deferrable=True))

    assert [record["id"] for record in result(runner)] == [ids[2], ids[0], ids[1]]


def test_an_unfinished_image_task_is_left_to_the_triggerer(runner: TaskRunner, submitted: Callable[..., str]) -> None:
    image_task_id = submitted("a kite [never]")

    before = time.time()
    outcome = runner.run(sensor(image_task_id, deferrable=True, timeout=600, poll_interval=30))

    assert outcome.state == "deferred"
    kwargs = outcome.message.trigger_kwargs
    assert outcome.message.classpath.endswith("triggers.image_task.ImageTaskTrigger")
    assert kwargs["image_task_ids"] == [image_task_id]
    assert kwargs["poll_interval"] == 30
    assert before + 600 <= kwargs["deadline"] <= time.time() + 600
    assert outcome.message.trigger_timeout.total_seconds() > 600


def test_the_event_is_a_hint_and_an_unfinished_image_task_is_deferred_again_with_its_first_deadline(
    runner: TaskRunner, submitted: Callable[..., str]
) -> None:
    make = sensor(submitted("a kite [never]"), deferrable=True, timeout=600)
    first = runner.run(make)

    again = runner.resume(make, first, {"status": "done"})

    assert again.state == "deferred"
    assert again.message.trigger_kwargs["deadline"] == first.message.trigger_kwargs["deadline"]


def test_the_deadline_comes_from_the_event_where_airflow_drops_the_arguments_of_the_deferral(
    runner: TaskRunner, submitted: Callable[..., str]
) -> None:
    make = sensor(submitted("a kite [never]"), deferrable=True)
    deadline = time.time() + 77

    event = {"status": "done", "deadline": deadline, "asked_at": time.time()}
    outcome = runner.run(make, next_method="execute_complete", next_kwargs={"event": event})

    assert outcome.message.trigger_kwargs["deadline"] == deadline


@pytest.mark.parametrize("event", [None, {}, {"status": "success"}, "done"])
def test_an_unknown_event_fails(runner: TaskRunner, submitted: Callable[..., str], event: Any) -> None:
    make = sensor(submitted(), deferrable=True)

    outcome = runner.run(make, next_method="execute_complete", next_kwargs={"event": event})

    assert isinstance(outcome.error, ProtocolError)


@every_mode
@pytest.mark.parametrize("prompt", ["a kite [fail]", "a kite [no-images]"])
def test_a_failed_image_task_fails_the_sensor_without_retries_and_pushes_why(
    runner: TaskRunner, submitted: Callable[..., str], mode: str, prompt: str
) -> None:
    image_task_id = submitted(prompt)

    outcome = runner.run(sensor(image_task_id, **MODES[mode]))

    assert outcome.state == "failed"
    assert isinstance(outcome.error, ImageTaskFailedError)
    assert isinstance(outcome.error, AirflowFailException)
    assert image_task_id in str(outcome.error)
    assert "Clear the submit task" in str(outcome.error)
    pushed = runner.xcoms[("wait", "image_task_error")]
    assert set(pushed) == {"class", "code", "message", "billed"}
    assert pushed["class"] == "ImageTaskFailedError"


@by_acedatacloud
def test_a_late_refusal_is_a_content_policy_error(runner: TaskRunner, submitted: Callable[..., str]) -> None:
    outcome = runner.run(sensor(submitted("a kite [refuse-late]")))

    assert isinstance(outcome.error, ContentPolicyError)
    assert runner.xcoms[("wait", "image_task_error")]["class"] == "ContentPolicyError"


def test_of_a_sequence_the_good_records_are_pushed_and_the_failed_are_named(
    runner: TaskRunner, submitted: Callable[..., str]
) -> None:
    good, bad = submitted("a kite"), submitted("a kite [fail]")

    outcome = runner.run(sensor([good, bad]))

    assert outcome.state == "failed"
    assert [record["id"] for record in runner.xcoms[("wait", "image_tasks")]] == [good]
    assert bad in str(outcome.error)
    assert good not in str(outcome.error)


@every_mode
@pytest.mark.parametrize(("soft_fail", "state"), [(False, "failed"), (True, "skipped")])
def test_at_the_deadline_the_error_says_that_it_may_still_be_billed_and_soft_fail_skips_instead(
    runner: TaskRunner, submitted: Callable[..., str], mode: str, soft_fail: bool, state: str
) -> None:
    runner.first_reschedule = "2026-03-01T00:00:00Z"
    image_task_id = submitted("a kite [never]")
    make = sensor(image_task_id, timeout=0, soft_fail=soft_fail, **MODES[mode])

    outcome = runner.run(make)
    if outcome.state == "deferred":
        outcome = runner.resume(make, outcome, {"status": "deadline"})

    assert outcome.state == state
    if not soft_fail:
        assert isinstance(outcome.error, ImageTaskTimeoutError)
        assert isinstance(outcome.error, AirflowSensorTimeout)
        assert image_task_id in str(outcome.error)
        assert "may have been billed" in str(outcome.error)


def test_an_id_that_the_service_does_not_know_is_waited_for_only_a_minute(runner: TaskRunner) -> None:
    submitted_at = {"service": None, "submitted_at": "2026-03-01T00:00:00+00:00"}

    just_now = runner.run(sensor("nobody-knows-it", deferrable=True))
    long_ago = runner.run(sensor({"id": "nobody-knows-it", **submitted_at}, deferrable=True))

    assert just_now.state == "deferred"
    assert isinstance(long_ago.error, ImageTaskNotFoundError)
    assert "imagetasks_default" in str(long_ago.error)


@by_acedatacloud
def test_it_waits_by_trace_id(runner: TaskRunner, submitted: Callable[..., str]) -> None:
    image_task_id = submitted("a kite", trace_id="order-17")

    runner.run(sensor(None, trace_id="order-17"))

    assert result(runner)["id"] == image_task_id


@by_acedatacloud
def test_fewer_pictures_than_asked_for_are_a_success(runner: TaskRunner, submitted: Callable[..., str]) -> None:
    image_task_id = submitted("a kite [n-less]", options={"n": 3})

    assert runner.run(sensor(image_task_id)).state == "success"
    assert result(runner)["image_count_requested"] == 3
    assert len(result(runner)["images"]) == 2


@by_acedatacloud
def test_a_picture_in_the_record_itself_stays_out_of_xcom(runner: TaskRunner, submitted: Callable[..., str]) -> None:
    image_task_id = submitted("a kite [b64]")

    runner.run(sensor(image_task_id))

    assert result(runner)["images"] == [{"index": 0, "url": None, "path": None, "inline": True}]


@by_acedatacloud
def test_a_service_that_answered_at_once_needs_no_wait(runner: TaskRunner, submitted: Callable[..., str]) -> None:
    image_task_id = submitted("a kite [sync=anonymous]")

    assert image_task_id.startswith("inline:")
    assert runner.run(sensor(image_task_id, deferrable=True)).state == "success"
    assert result(runner)["images"][0]["url"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "image_task_id"),
        ("None", "pushed no id"),
        ("['a', 'b']", "render_template_as_native_obj"),
        ([], "empty"),
        ([""], "image_task_id"),
        (17, "17"),
        ({"files": []}, "did not push"),
        ({"id": "a", "service": "kie"}, "kie"),
        ([{"id": "a", "service": None, "conn_id": "x"}, {"id": "b", "service": None, "conn_id": "y"}], "x, y"),
        ([f"id-{number}" for number in range(501)], "500"),
    ],
)
@by_acedatacloud
def test_what_is_no_image_task_fails_without_a_request(
    runner: TaskRunner, image_service: LocalImageService, value: Any, said: str
) -> None:
    outcome = runner.run(sensor(value))

    assert outcome.state == "failed"
    assert isinstance(outcome.error, InvalidRequestError)
    assert said in str(outcome.error)
    assert image_service.stats()["dialects"]["acedatacloud"]["status_queries"] == 0


@pytest.mark.parametrize("arguments", [{}, {"image_task_id": "a", "trace_id": "b"}])
def test_either_an_id_or_a_trace_id_is_wanted(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="image_task_id or trace_id"):
        ImageTaskSensor(task_id="wait", **arguments)


def test_deferrable_follows_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")

    assert ImageTaskSensor(task_id="wait", image_task_id="a").deferrable is True


@by_acedatacloud
@pytest.mark.parametrize(("mode", "timeout"), [("poke", 1.5), ("reschedule", 0)])
@pytest.mark.parametrize("several", [False, True])
def test_a_service_that_wants_to_be_left_alone_for_longer_than_the_timeout_is_a_timeout_of_each(
    runner: TaskRunner, submitted: Callable[..., str], mode: str, timeout: float, several: bool
) -> None:
    # The pause is the account's, so it must not be that of the other tests.
    runner.connections["imagetasks_default"]["password"] = f"left-alone-{mode}-{several}"
    ids = [submitted(f"kite {number} [poll-429,retry-after=300]") for number in range(2 if several else 1)]
    runner.first_reschedule = "2026-03-01T00:00:00Z"
    before = time.monotonic()

    outcome = runner.run(sensor(ids if several else ids[0], timeout=timeout, poll_interval=1, **MODES[mode]))

    assert time.monotonic() - before < 10
    assert isinstance(outcome.error, ImageTaskTimeoutError)
    assert isinstance(outcome.error, AirflowSensorTimeout)
    assert [failed["id"] for failed in runner.xcoms[("wait", "image_task_failures")]] == ids
    assert "left alone" in outcome.error.message


@by_acedatacloud
def test_a_deferrable_sensor_leaves_a_service_alone_on_the_triggerer(
    runner: TaskRunner, submitted: Callable[..., str]
) -> None:
    runner.connections["imagetasks_default"]["password"] = "left-alone-deferred"
    image_task_id = submitted("a kite [poll-429,retry-after=30]")

    outcome = runner.run(sensor(image_task_id, **MODES["deferrable"]))

    assert outcome.state == "deferred"
    resumed = runner.resume(
        sensor(image_task_id, **MODES["deferrable"]), outcome, {"status": "deadline", "deadline": time.time() - 1}
    )
    assert resumed.state == "deferred"
