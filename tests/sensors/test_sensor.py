from __future__ import annotations

import time
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
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from tests.image_dag import ImageDag

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke", "deferrable": False},
    "reschedule": {"mode": "reschedule", "deferrable": False},
    "deferrable": {"deferrable": True},
}
by_acedatacloud = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
every_mode = pytest.mark.parametrize("mode", MODES)


@every_mode
def test_the_result_is_the_same_in_every_mode(dag: ImageDag, mode: str, service_name: str) -> None:
    image_task_id = dag.submitted()

    assert dag.wait(**MODES[mode]).state == "success"

    assert list(dag.record) == [
        *("id", "service", "conn_id", "trace_id", "state", "model", "prompt", "images", "image_count_requested"),
        *("created_at", "finished_at", "duration", "usage"),
    ]
    assert (dag.record["id"], dag.record["service"], dag.record["state"]) == (image_task_id, service_name, "succeeded")
    image = dag.record["images"][0]
    # OpenAI's records hold the picture itself, which stays there.
    is_inline = service_name == "openai"
    assert is_inline or (image["url"] or image["path"]).startswith(("http://127.0.0.1:", "/"))
    assert image | {"url": "", "path": ""} == {"index": 0, "url": "", "path": "", "inline": is_inline}
    # What is known of a file at the server has no time that could be read, and fal tells only how long it took.
    assert image["path"] or service_name == "fal" or dag.record["finished_at"].endswith("+00:00")
    assert image["path"] or isinstance(dag.record["duration"], float)


def test_a_sequence_gives_a_list_in_the_given_order(dag: ImageDag) -> None:
    ids = [dag.submitted(f"kite {number}") for number in range(3)]
    assert len(set(ids)) == 3

    dag.wait([ids[2], {"id": ids[0], "service": None, "conn_id": "imagetasks_default"}, ids[1]], deferrable=True)

    assert [record["id"] for record in dag.record] == [ids[2], ids[0], ids[1]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        *(({"poll_interval": value}, "poll_interval is") for value in (0, float("nan"), float("inf"), True, "2")),
        *(({"timeout": value}, "timeout is") for value in (float("nan"), float("inf"), True)),
    ],
    ids=str,
)
def test_seconds_that_nobody_can_wait_are_refused_when_the_dag_is_read(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ImageTaskSensor(task_id="wait", image_task_id="a", **given)


def test_an_unfinished_image_task_is_left_to_the_triggerer(dag: ImageDag) -> None:
    image_task_id, before = dag.submitted("a kite [never]"), time.time()

    outcome = dag.wait(deferrable=True, timeout=600, poll_interval=30)

    assert outcome.state == "deferred"
    kwargs = outcome.message.trigger_kwargs
    assert outcome.message.classpath.endswith("triggers.image_task.ImageTaskTrigger")
    assert (kwargs["image_task_ids"], kwargs["poll_interval"]) == ([image_task_id], 30)
    assert before + 600 <= kwargs["deadline"] <= time.time() + 600
    assert outcome.message.trigger_timeout.total_seconds() > 600


def test_the_event_is_a_hint_and_an_unfinished_image_task_is_deferred_again_with_its_first_deadline(
    dag: ImageDag,
) -> None:
    dag.submitted("a kite [never]")
    first = dag.wait(deferrable=True, timeout=600)

    again = dag.wait(resume=first, event={"status": "done"}, deferrable=True, timeout=600)

    assert again.state == "deferred"
    assert again.message.trigger_kwargs["deadline"] == first.message.trigger_kwargs["deadline"]


def test_the_deadline_comes_from_the_event_where_airflow_drops_the_arguments_of_the_deferral(dag: ImageDag) -> None:
    dag.submitted("a kite [never]")
    first = dag.wait(deferrable=True)
    first.message.next_kwargs.clear()
    deadline = time.time() + 77

    again = dag.wait(
        resume=first, event={"status": "done", "deadline": deadline, "asked_at": time.time()}, deferrable=True
    )

    assert again.message.trigger_kwargs["deadline"] == deadline


@pytest.mark.parametrize("event", [None, {}, {"status": "success"}, "done"])
def test_an_unknown_event_fails(dag: ImageDag, event: Any) -> None:
    dag.submitted("a kite [never]")

    resumed = dag.wait(resume=dag.wait(deferrable=True), event=event, deferrable=True)

    assert isinstance(resumed.error, ProtocolError)


@every_mode
@pytest.mark.parametrize("prompt", ["a kite [fail]", "a kite [no-images]"])
def test_a_failed_image_task_fails_the_sensor_without_retries_and_pushes_why(
    dag: ImageDag, mode: str, prompt: str
) -> None:
    image_task_id = dag.submitted(prompt)

    outcome = dag.wait(**MODES[mode])

    assert outcome.state == "failed"
    assert isinstance(outcome.error, ImageTaskFailedError)
    assert isinstance(outcome.error, AirflowFailException)
    assert image_task_id in str(outcome.error)
    assert "Clear the submit task" in str(outcome.error)
    pushed = dag.runner.xcoms["wait", "image_task_error"]
    assert set(pushed) == {"class", "code", "message", "billed", "advice"}
    assert pushed["class"] == "ImageTaskFailedError"


@by_acedatacloud
def test_a_late_refusal_is_a_content_policy_error(dag: ImageDag) -> None:
    dag.submitted("a kite [refuse-late]")

    assert isinstance(dag.wait().error, ContentPolicyError)
    assert dag.runner.xcoms["wait", "image_task_error"]["class"] == "ContentPolicyError"


def test_of_a_sequence_the_good_records_are_pushed_and_the_failed_are_named(dag: ImageDag) -> None:
    good, bad = dag.submitted("a kite"), dag.submitted("a kite [fail]")

    outcome = dag.wait([good, bad])

    assert outcome.state == "failed"
    assert [record["id"] for record in dag.runner.xcoms["wait", "image_tasks"]] == [good]
    assert bad in str(outcome.error)
    assert good not in str(outcome.error)


@every_mode
@pytest.mark.parametrize(("soft_fail", "state"), [(False, "failed"), (True, "skipped")])
def test_at_the_deadline_the_error_says_that_it_may_still_be_billed_and_soft_fail_skips_instead(
    dag: ImageDag, mode: str, soft_fail: bool, state: str
) -> None:
    dag.runner.first_reschedule = "2026-03-01T00:00:00Z"
    image_task_id = dag.submitted("a kite [never]")
    arguments = {"timeout": 0, "soft_fail": soft_fail, **MODES[mode]}

    outcome = dag.wait(**arguments)
    if outcome.state == "deferred":
        outcome = dag.wait(resume=outcome, event={"status": "deadline"}, **arguments)

    assert outcome.state == state
    if not soft_fail:
        assert isinstance(outcome.error, ImageTaskTimeoutError)
        assert isinstance(outcome.error, AirflowSensorTimeout)
        assert image_task_id in str(outcome.error)
        assert "may have been billed" in str(outcome.error)


def test_an_id_that_the_service_does_not_know_is_waited_for_only_a_minute(dag: ImageDag) -> None:
    submitted_at = {"service": None, "submitted_at": "2026-03-01T00:00:00+00:00"}

    just_now = dag.wait("nobody-knows-it", deferrable=True)
    long_ago = dag.wait({"id": "nobody-knows-it", **submitted_at}, deferrable=True)

    assert just_now.state == "deferred"
    assert isinstance(long_ago.error, ImageTaskNotFoundError)
    assert "imagetasks_default" in str(long_ago.error)
    # It fails without retries.
    assert "retry" not in str(long_ago.error)
    assert "Clear asks for the same id again" in str(long_ago.error)


@by_acedatacloud
def test_it_waits_by_trace_id(dag: ImageDag) -> None:
    image_task_id = dag.submitted("a kite", trace_id="order-17")

    dag.wait(trace_id="order-17")

    assert dag.record["id"] == image_task_id


@by_acedatacloud
def test_fewer_pictures_than_asked_for_are_a_success(dag: ImageDag) -> None:
    dag.submitted("a kite [n-less]", options={"n": 3})

    assert dag.wait().state == "success"
    assert (dag.record["image_count_requested"], len(dag.record["images"])) == (3, 2)


@by_acedatacloud
def test_a_picture_in_the_record_itself_stays_out_of_xcom(dag: ImageDag) -> None:
    dag.submitted("a kite [b64]")
    dag.wait()

    assert dag.record["images"] == [{"index": 0, "url": None, "path": None, "inline": True}]


@by_acedatacloud
def test_a_service_that_answered_at_once_needs_no_wait(dag: ImageDag) -> None:
    assert dag.submitted("a kite [sync=anonymous]").startswith("inline:")
    assert dag.wait(deferrable=True).state == "success"
    assert dag.record["images"][0]["url"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("None", "pushed no id"),
        ({"id": "a", "service": "kie"}, "kie"),
        ([{"id": "a", "service": None, "conn_id": "x"}, {"id": "b", "service": None, "conn_id": "y"}], "x, y"),
        ([f"id-{number}" for number in range(501)], "500"),
    ],
)
@by_acedatacloud
def test_what_is_no_image_task_fails_without_a_request(
    dag: ImageDag, image_service: LocalImageService, value: Any, said: str
) -> None:
    outcome = dag.wait(value)

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
    dag: ImageDag, mode: str, timeout: float, several: bool
) -> None:
    # The pause is the account's, so it must not be that of the other tests.
    dag.runner.connections["imagetasks_default"]["password"] = f"left-alone-{mode}-{several}"
    ids = [dag.submitted(f"kite {number} [poll-429,retry-after=300]") for number in range(2 if several else 1)]
    dag.runner.first_reschedule = "2026-03-01T00:00:00Z"
    before = time.monotonic()

    outcome = dag.wait(ids if several else ids[0], timeout=timeout, **MODES[mode])

    assert time.monotonic() - before < 60
    assert isinstance(outcome.error, ImageTaskTimeoutError)
    assert isinstance(outcome.error, AirflowSensorTimeout)
    assert [failed["id"] for failed in dag.runner.xcoms["wait", "image_task_failures"]] == ids
    assert "asks for a pause" in outcome.error.message


@by_acedatacloud
def test_a_deferrable_sensor_leaves_a_service_alone_on_the_triggerer(dag: ImageDag) -> None:
    dag.runner.connections["imagetasks_default"]["password"] = "left-alone-deferred"
    dag.submitted("a kite [poll-429,retry-after=30]")

    outcome = dag.wait(deferrable=True, timeout=600)

    assert outcome.state == "deferred"
    over = {"status": "deadline", "deadline": time.time() - 1}
    assert dag.wait(resume=outcome, event=over, deferrable=True, timeout=600).state == "deferred"
