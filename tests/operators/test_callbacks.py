"""Whom a service calls when it is done: the operator's URL, else the connection's, else Airflow itself, else nobody."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.operators.image_task import ImageTaskSubmitOperator
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from airflow_provider_imagetasks.submissions.callback_urls import CallbackPlace, read_token
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask
from tests.task_runner import TaskRunner

SECRET = "a secret of sufficient length"
OURS = "http://127.0.0.1:9/imagetasks/callback/"


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__CALLBACK_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__CALLBACK_SECRET", SECRET)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The callback URLs with which image tasks were submitted."""
    urls: list[str | None] = []
    submit = ImageTaskHook.submit_completed

    def recording(self: ImageTaskHook, request: ImageRequest, *, key: str | None = None) -> ImageTask:
        urls.append(request.callback_url)
        return submit(self, request, key=key)

    monkeypatch.setattr(ImageTaskHook, "submit_completed", recording)
    return urls


def run(runner: TaskRunner, **arguments: Any) -> None:
    outcome = runner.run(lambda: ImageTaskSubmitOperator(task_id="submit", prompt="a red kite", **arguments))
    assert outcome.state == "success", outcome.error


with_callbacks = pytest.mark.parametrize("service_name", ["acedatacloud", "xhuoapi", "kie"], indirect=True)


@with_callbacks
@pytest.mark.usefixtures("set_up")
def test_airflow_is_called_where_nobody_else_is_named(runner: TaskRunner, sent: list[str | None]) -> None:
    run(runner)

    (url,) = sent
    assert url is not None
    assert read_token(url.removeprefix(OURS), SECRET) == CallbackPlace(
        conn_id="imagetasks_default", dag_id="a_dag", run_id="a_run", task_id="submit", map_index=-1
    )


@with_callbacks
@pytest.mark.usefixtures("set_up")
def test_the_connection_s_url_goes_before_it(runner: TaskRunner, sent: list[str | None]) -> None:
    runner.connections["imagetasks_default"]["extra"]["callback_url"] = "http://127.0.0.1:9/connection"

    run(runner)

    assert sent == ["http://127.0.0.1:9/connection"]


@with_callbacks
@pytest.mark.usefixtures("set_up")
def test_the_operator_s_url_goes_before_both(runner: TaskRunner, sent: list[str | None]) -> None:
    runner.connections["imagetasks_default"]["extra"]["callback_url"] = "http://127.0.0.1:9/connection"

    run(runner, callback_url="http://127.0.0.1:9/operator")

    assert sent == ["http://127.0.0.1:9/operator"]


@pytest.mark.parametrize(
    ("service_name", "expected"),
    [("acedatacloud", None), ("kie", None), ("xhuoapi", "https://callback.invalid/")],
    indirect=["service_name"],
)
def test_nobody_is_called_by_default(runner: TaskRunner, sent: list[str | None], expected: str | None) -> None:
    run(runner)

    assert sent == [expected]


@pytest.mark.parametrize("service_name", ["aigptimage"], indirect=True)
@pytest.mark.usefixtures("set_up")
def test_a_service_without_callbacks_is_not_asked_for_one(runner: TaskRunner, sent: list[str | None]) -> None:
    run(runner)

    assert sent == [None]


@pytest.mark.parametrize("service_name", ["kie"], indirect=True)
@pytest.mark.usefixtures("set_up")
def test_the_sensor_then_asks_once_soon_and_seldom_after(runner: TaskRunner) -> None:
    run(runner, options={"aspect_ratio": "1:1"})
    runner.xcoms.clear()

    outcome = runner.run(lambda: sensor_of_an_unfinished_one(runner))

    assert outcome.state == "deferred"
    kwargs = outcome.message.trigger_kwargs
    kwargs = kwargs.get("__var", kwargs) if isinstance(kwargs, dict) else kwargs
    assert kwargs["poll_interval"] == 60
    assert kwargs["first_pause"] == 16
    assert SECRET not in str(outcome.message)
    assert "callback" not in str(kwargs)


@pytest.mark.parametrize("service_name", ["kie"], indirect=True)
def test_without_callbacks_the_trigger_s_arguments_are_as_before(runner: TaskRunner) -> None:
    outcome = runner.run(lambda: sensor_of_an_unfinished_one(runner))

    assert outcome.state == "deferred"
    assert "first_pause" not in str(outcome.message.trigger_kwargs)


def sensor_of_an_unfinished_one(runner: TaskRunner) -> ImageTaskSensor:
    reference = {
        "id": "not-there-yet",
        "service": "kie",
        "conn_id": "imagetasks_default",
        "submitted_at": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
    }
    return ImageTaskSensor(task_id="wait", image_task_id=reference, deferrable=True, poll_interval=10)
