"""Whom a service calls when it is done: the operator's URL, else the connection's, else Airflow itself, else nobody."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_imagetasks.submissions.callback_urls import CallbackPlace, read_token
from tests.image_dag import ImageDag
from tests.task_runner import Outcome

SECRET = "a secret of sufficient length"
OURS = "http://127.0.0.1:9/imagetasks/callback/"
CONNECTIONS, OPERATORS = "http://127.0.0.1:9/connection", "http://127.0.0.1:9/operator"


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__CALLBACK_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__CALLBACK_SECRET", SECRET)


def sent(dag: ImageDag) -> list[str | None]:
    """Return the callback URLs with which image tasks were submitted."""
    return [task.request.get("callback_url") or task.request.get("callBackUrl") for task in dag.image_service.tasks]


@pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi", "kie"], indirect=True)
@pytest.mark.parametrize("arguments", [{}, {"callback_url": OPERATORS}], ids=["", "operator"])
@pytest.mark.parametrize("extra", [{}, {"callback_url": CONNECTIONS}], ids=["", "connection"])
@pytest.mark.usefixtures("set_up")
def test_the_operator_s_url_goes_before_the_connection_s_and_that_before_airflow_s(
    dag: ImageDag, arguments: dict[str, str], extra: dict[str, str]
) -> None:
    dag.runner.connections["imagetasks_default"]["extra"] |= extra

    dag.submit(**arguments)

    (url,) = sent(dag)
    if expected := arguments.get("callback_url") or extra.get("callback_url"):
        assert url == expected
        return
    assert url is not None
    assert read_token(url.removeprefix(OURS), SECRET) == CallbackPlace(
        conn_id="imagetasks_default", dag_id="a_dag", run_id="a_run", task_id="submit", map_index=-1
    )


@pytest.mark.parametrize(
    ("service_name", "fixtures", "expected"),
    [
        *(("acedatacloud", [], None), ("kie", [], None), ("xhuoapi", [], "https://callback.invalid/")),
        pytest.param("aigptimage", ["set_up"], None, id="a service without callbacks"),
    ],
    indirect=["service_name"],
)
def test_nobody_is_called_by_default(dag: ImageDag, request: Any, fixtures: list[str], expected: str | None) -> None:
    for name in fixtures:
        request.getfixturevalue(name)

    dag.submit()

    assert sent(dag) == [expected]


def deferred(dag: ImageDag) -> Outcome:
    """Wait for an image task that was submitted just now and is not there yet."""
    submitted_at = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    reference = {"id": "not-there-yet", "service": "kie", "conn_id": "imagetasks_default", "submitted_at": submitted_at}
    outcome = dag.wait(reference, deferrable=True, poll_interval=10)
    assert outcome.state == "deferred"
    return outcome


@pytest.mark.parametrize("service_name", ["kie"], indirect=True)
@pytest.mark.usefixtures("set_up")
def test_the_sensor_then_asks_once_soon_and_seldom_after(dag: ImageDag) -> None:
    outcome = deferred(dag)

    kwargs: Any = outcome.message.trigger_kwargs
    kwargs = kwargs.get("__var", kwargs)
    assert (kwargs["poll_interval"], kwargs["first_pause"]) == (60, 16)
    assert SECRET not in str(outcome.message)
    assert "callback" not in str(kwargs)


@pytest.mark.parametrize("service_name", ["kie"], indirect=True)
def test_without_callbacks_the_trigger_s_arguments_are_as_before(dag: ImageDag) -> None:
    assert "first_pause" not in str(deferred(dag).message.trigger_kwargs)
