from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    InvalidRequestError,
    QuotaExceededError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.operators.image_task import ImageTaskSubmitOperator
from tests.conftest import BY_HTTP
from tests.image_dag import ImageDag


def test_the_id_is_the_xcom_and_image_task_is_pushed_with_a_cut_prompt(dag: ImageDag, service_name: str) -> None:
    outcome = dag.submit(prompt="kite " * 100)

    pushed = dag.runner.xcoms[("submit", "image_task")]
    assert outcome.state == "success"
    assert set(pushed) == {"id", "service", "conn_id", "trace_id", "model", "prompt", "submitted_at"}
    assert pushed["id"] == dag.runner.xcoms[("submit", "return_value")] == dag.created[0]["id"]
    assert (pushed["service"], pushed["conn_id"]) == (service_name, "imagetasks_default")
    assert len(pushed["prompt"]) == 300


def test_nothing_is_pushed_beside_the_result_where_do_xcom_push_is_off(dag: ImageDag) -> None:
    dag.submit(do_xcom_push=False)

    # Links are Airflow's own to push.
    assert [key for _, key in dag.runner.xcoms if not key.startswith("_link_")] == []


def test_arguments_are_templates(dag: ImageDag) -> None:
    dag.submit(prompt="kite of {{ run_id }}", options={"size": "{{ '512x512' }}"})

    assert dag.created[0]["prompt"] == "kite of a_run"
    assert dag.runner.rendered["options"] == {"size": "512x512"}


@pytest.mark.parametrize(
    ("directive", "error_class"),
    [("refuse", ContentPolicyError), ("no-credit", QuotaExceededError), ("expired-key", AuthenticationError)],
)
@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
def test_a_definite_refusal_fails_without_retries_and_is_not_billed(
    dag: ImageDag, directive: str, error_class: type[Exception]
) -> None:
    outcome = dag.submit(f"a kite [{directive}]")

    assert outcome.state == "failed"
    assert isinstance(outcome.error, error_class)
    assert isinstance(outcome.error, AirflowFailException)
    assert "not billed" in str(outcome.error)
    assert dag.created == []


@pytest.mark.parametrize("service_name", ["kie"], indirect=True)
@pytest.mark.parametrize(
    ("policy", "state", "said"), [("fail", "failed", "Clear submits again"), ("resubmit", "up_for_retry", "pays twice")]
)
def test_an_unknown_outcome_is_not_sent_again_unless_retries_may(
    dag: ImageDag, policy: str, state: str, said: str
) -> None:
    outcome = dag.submit(prompt="a kite [cut-after]", on_unknown_outcome=policy)

    assert outcome.state == state
    assert isinstance(outcome.error, UnknownOutcomeError)
    assert said in str(outcome.error)
    assert len(dag.created) == 1


def test_an_unknown_policy_is_an_error_in_the_dag() -> None:
    with pytest.raises(ValueError, match="on_unknown_outcome"):
        ImageTaskSubmitOperator(task_id="submit", prompt="a red kite", on_unknown_outcome="again")


@pytest.mark.parametrize(
    ("arguments", "connection_fields", "said"),
    [
        ({"prompt": "{{ none }}"}, {}, "prompt"),
        ({"options": {"model": "x"}}, {}, "model"),
        ({}, {"extra": {}}, "'service'"),
        ({}, {"extra": {"service": "dalle"}}, "not known here"),
        ({}, {"password": ""}, "API key"),
        ({}, {"host": "https://user:pw@example.com"}, "Password"),
        ({}, {"conn_type": "http"}, "type"),
    ],
)
@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
def test_bad_input_fails_before_anything_is_sent(
    dag: ImageDag, arguments: dict[str, Any], connection_fields: Any, said: str
) -> None:
    dag.runner.connections["imagetasks_default"].update(connection_fields)

    outcome = dag.submit(**arguments)

    assert outcome.state == "failed"
    assert isinstance(outcome.error, InvalidRequestError | AuthenticationError)
    assert said in str(outcome.error)
    assert "key-of-the-tests" not in str(outcome.error)
    assert dag.image_service.stats()["dialects"]["acedatacloud"]["submissions"] == 0


def test_a_missing_connection_is_retried_since_airflow_may_only_have_failed_to_look_it_up(dag: ImageDag) -> None:
    outcome = dag.submit(conn_id="missing")

    assert outcome.state == "up_for_retry"
    assert isinstance(outcome.error, InvalidRequestError)
    assert "'missing'" in str(outcome.error)


def test_every_argument_can_be_mapped() -> None:
    mapped = ImageTaskSubmitOperator.partial(task_id="submit", conn_id="c", options={"n": 1}).expand(prompt=["a", "b"])

    assert mapped.operator_class is ImageTaskSubmitOperator
    assert "prompt" in mapped.template_fields


@BY_HTTP
def test_what_was_refused_is_told_with_its_prompt(dag: ImageDag, service_name: str) -> None:
    assert dag.submit("a red kite [refuse]").state == "failed"

    told = dag.runner.xcoms[("submit", "image_task_refused")]
    assert (told["prompt"], told["service"]) == ("a red kite [refuse]", service_name)
    assert (told["conn_id"], told["error"]["billed"]) == ("imagetasks_default", "no")
    assert set(told["error"]) == {"class", "code", "message", "billed"}


@pytest.mark.parametrize(
    "options", [{"output_format": "svg"}, {"outputFormat": "image/tiff"}, {"output_format": "MP4"}]
)
def test_a_kind_of_file_that_cannot_be_stored_is_refused_before_it_is_paid_for(
    dag: ImageDag, options: dict[str, str]
) -> None:
    outcome = dag.submit(options=options)

    assert isinstance(outcome.error, InvalidRequestError)
    assert "format" in str(outcome.error).lower()
    assert "It was not billed." in str(outcome.error)
    assert dag.created == []


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
@pytest.mark.parametrize("kind", ["jpeg", "WebP", "png", "auto", "image/png", 7])
def test_a_kind_of_file_that_can_be_stored_is_left_to_the_service(dag: ImageDag, kind: object) -> None:
    outcome = dag.submit(options={"output_format": kind, "size": "64x64"})

    assert not isinstance(outcome.error, InvalidRequestError) or "cannot store" not in str(outcome.error)


@pytest.mark.parametrize(("service_name", "said"), [("kie", True), ("acedatacloud", False)], indirect=["service_name"])
def test_the_log_says_that_it_goes_on_and_for_how_long_its_pictures_can_be_had(
    dag: ImageDag, said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    dag.submitted()

    told = capsys.readouterr().out
    assert "The image task goes on at the service: failing or clearing later tasks does not stop it" in told
    assert "cannot stop it either." in told
    assert ("Download its pictures within 24 hours after they are made" in told) is said


@pytest.mark.parametrize(
    ("service_name", "lifecycle", "poll_interval", "said"),
    [
        ("replicate", None, None, False),
        ("replicate", None, 1800, True),
        ("fal", None, 1800, False),
        ("fal", 60, 30, True),
        ("fal", 60, 5, False),
        ("openai", None, 1800, False),
    ],
    indirect=["service_name"],
)
def test_a_wait_that_may_outlive_the_pictures_is_warned_of(
    dag: ImageDag,
    connection: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    lifecycle: int | None,
    poll_interval: int | None,
    said: bool,
) -> None:
    header = {"X-Fal-Object-Lifecycle-Preference": {"expiration_duration_seconds": lifecycle}}
    connection["extra"] |= {"poll_interval": poll_interval}
    dag.submitted(options=header if lifecycle else {})

    assert ("they may be billed and gone before a download can start" in capsys.readouterr().out) is said
