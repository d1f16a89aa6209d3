"""What an error of an Airflow task says of money where nothing was submitted by it."""

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
