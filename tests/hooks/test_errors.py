"""What an error of an Airflow task says of money where nothing was submitted by it, and what XComs tell of it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from tests.image_dag import ImageDag

pytestmark = pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
NO_KEY: dict[str, Any] = {"password": ""}
NO_SERVICE: dict[str, Any] = {"extra": {"service": "nobody"}}
TOO_MANY = [f"id-{number}" for number in range(501)]
OTHERS = {"id": "an-id", "service": "kie", "conn_id": "imagetasks_default"}


@pytest.mark.parametrize("operation", ["wait", "save"])
@pytest.mark.parametrize(
    ("connection_says", "image_task_id"),
    [
        pytest.param(NO_KEY, None, id="no key"),
        pytest.param(NO_SERVICE, None, id="no service"),
        pytest.param({}, OTHERS, id="another service's"),
        pytest.param({}, ["an-id", ""], id="one without an id"),
    ],
)
def test_who_only_reads_never_says_that_a_picture_was_not_billed(
    dag: ImageDag, operation: str, connection_says: dict[str, Any], image_task_id: Any
) -> None:
    dag.submitted()
    dag.runner.connections["imagetasks_default"].update(connection_says)

    outcome = getattr(dag, operation)(image_task_id)

    assert outcome.state == "failed"
    assert "It may have been billed." in str(outcome.error)


def test_a_sensor_of_too_many_says_nothing_of_money_either(dag: ImageDag) -> None:
    assert "It may have been billed." in str(dag.wait(TOO_MANY).error)


@pytest.mark.parametrize("read", ["get_task", "wait", "get_tasks"])
def test_neither_does_the_hook(monkeypatch: pytest.MonkeyPatch, read: str, service_name: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_IMAGETASKS_DEFAULT", '{"conn_type": "imagetasks", "extra": {"service": "kie"}}')

    with pytest.raises(ImageTaskError) as raised:
        getattr(ImageTaskHook(), read)("an-id")
    assert raised.value.billed == "unknown"


def told_of(dag: ImageDag, operation: str) -> list[dict[str, Any]]:
    return list(dag.runner.xcoms[operation, "image_task_failures"])


@pytest.mark.parametrize(
    ("operation", "prompt", "error_class", "advice"),
    [
        ("wait", "a kite [fail]", "ImageTaskFailedError", "Clear the submit task with its downstream"),
        ("save", "a kite [fail]", "ImageTaskFailedError", "Clear the submit task with its downstream"),
        ("save", "a kite [file-404]", "ResultExpiredError", "A retry reads the image task again"),
        ("save", "a kite [file-html]", "UnsafeResultError", "A retry would be refused in the same way"),
        ("save", "a kite [never]", "ImageTaskError", "better put an ImageTaskSensor before this task"),
    ],
)
def test_whoever_looks_at_the_image_task_is_told_why_it_failed_and_what_to_do(
    dag: ImageDag,
    operation: str,
    prompt: str,
    error_class: str,
    advice: str,
    no_pauses: None,
) -> None:
    image_task_id = dag.submitted(prompt)

    outcome = getattr(dag, operation)()

    (failure,) = told_of(dag, operation)
    assert (failure["id"], failure["class"]) == (image_task_id, error_class)
    assert failure["advice"] in str(outcome.error)
    assert advice in failure["advice"]
    error = {"class", "code", "message", "billed", "advice"}
    assert {name: failure[name] for name in error} == dag.runner.xcoms[operation, "image_task_error"]


@pytest.mark.parametrize("operation", ["wait", "save"])
def test_an_account_that_is_refused_is_told_of_each_image_task_that_was_asked_for(
    dag: ImageDag, operation: str
) -> None:
    ids = [dag.submitted("a kite"), dag.submitted("a boat")]
    dag.runner.connections["imagetasks_default"].update(NO_KEY)

    assert getattr(dag, operation)(ids).state == "failed"

    told = told_of(dag, operation)
    assert [each["id"] for each in told] == ids
    assert {(each["class"], each["billed"]) for each in told} == {("AuthenticationError", "unknown")}


def test_of_several_downloads_what_is_in_place_is_told_and_each_that_is_not(dag: ImageDag) -> None:
    good, bad = dag.submitted("a kite"), dag.submitted("a kite [file-html]")

    assert dag.save([good, bad]).state == "failed"

    (stored,) = dag.runner.xcoms["save", "image_files"]["files"]
    assert stored["image_task_id"] == good
    assert [(each["id"], each["class"]) for each in told_of(dag, "save")] == [(bad, "UnsafeResultError")]


@pytest.mark.parametrize(
    ("operation", "prompt", "line"),
    [
        ("submit", "a kite [refuse]", "It was not billed. Change the prompt, then Clear the task."),
        ("wait", "a kite [fail]", "It was not billed. Clear the submit task with its downstream for a new picture."),
        ("save", "a kite [file-html]", "It was billed. A retry would be refused in the same way."),
    ],
)
def test_whether_it_was_billed_and_what_to_do_have_a_line_of_their_own_in_the_log(
    dag: ImageDag, caplog: pytest.LogCaptureFixture, operation: str, prompt: str, line: str
) -> None:
    outcome = dag.submit(prompt) if operation == "submit" else getattr(dag, operation)(dag.submitted(prompt))

    assert outcome.state == "failed"
    assert [record.levelname for record in caplog.records if record.getMessage() == line] == ["ERROR"]
