"""A service, or something before it, denies an image task that is there: no wait and no read believes that at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskNotFoundError
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.tasks import TaskState
from tests.image_dag import ImageDag
from tests.status_route import DENIALS, StatusRoute

LONG_AGO = "2026-03-01T00:00:00+00:00"
"""A moment of submission since which the service had its minute to write the image task down."""

pytestmark = [
    pytest.mark.usefixtures("no_proxy"),
    pytest.mark.parametrize("service_name", DENIALS, indirect=True),
]


@pytest.fixture
def told(dag: ImageDag, service_name: str) -> dict[str, Any]:
    """What a submit task pushed a while ago of an image task that is finished."""
    return {"id": dag.submitted(), "service": service_name, "conn_id": "imagetasks_default", "submitted_at": LONG_AGO}


@pytest.fixture
def hook(route: StatusRoute, connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> ImageTaskHook:
    monkeypatch.setenv("AIRFLOW_CONN_DENIED", json.dumps({"conn_type": "imagetasks", **connection}))
    return ImageTaskHook("denied")


@pytest.mark.parametrize(
    "how",
    [{"mode": "poke", "deferrable": False}, {"mode": "reschedule", "deferrable": False}, {"deferrable": True}],
    ids=["poke", "reschedule", "deferrable"],
)
def test_a_sensor_asks_again(
    dag: ImageDag, route: StatusRoute, told: dict[str, Any], service_name: str, how: dict[str, Any]
) -> None:
    route.breaks(DENIALS[service_name], times=2)

    assert dag.wait(told, **how).state == "success"


def test_a_sensor_that_resumes_asks_again(
    dag: ImageDag, route: StatusRoute, told: dict[str, Any], service_name: str
) -> None:
    told["id"] = dag.submitted("a kite [latency=600]")
    deferred = dag.wait(told, deferrable=True)
    assert deferred.state == "deferred"
    dag.image_service.finish(["a kite [latency=600]"])
    route.breaks(DENIALS[service_name], times=2)

    assert dag.wait(told, resume=deferred, event={"status": "done"}, deferrable=True).state == "success"


def test_a_download_asks_again(dag: ImageDag, route: StatusRoute, told: dict[str, Any], service_name: str) -> None:
    route.breaks(DENIALS[service_name], times=2)

    assert dag.save(told).state == "success"


def test_what_is_denied_again_and_again_is_not_found(
    dag: ImageDag, route: StatusRoute, told: dict[str, Any], service_name: str
) -> None:
    route.breaks(DENIALS[service_name])

    assert isinstance(dag.wait(told).error, ImageTaskNotFoundError)


def wait(hook: ImageTaskHook, image_task_id: str) -> Any:
    return hook.wait(image_task_id, timeout=20, poll_interval=1)


def await_task(hook: ImageTaskHook, image_task_id: str) -> Any:
    return asyncio.run(hook.await_task(image_task_id, timeout=20, poll_interval=1))


def get_task(hook: ImageTaskHook, image_task_id: str) -> Any:
    return hook.get_task(image_task_id)


def aget_task(hook: ImageTaskHook, image_task_id: str) -> Any:
    return asyncio.run(hook.aget_task(image_task_id))


@pytest.mark.parametrize("read", [wait, await_task, get_task, aget_task])
def test_the_hook_remembers_whose_record_it_read(
    hook: ImageTaskHook, route: StatusRoute, told: dict[str, Any], service_name: str, read: Callable[..., Any]
) -> None:
    assert hook.get_task(told["id"]).state is TaskState.SUCCEEDED
    route.breaks(DENIALS[service_name], times=2)

    assert read(hook, told["id"]).state is TaskState.SUCCEEDED


def test_an_id_that_nobody_was_told_of_is_not_found_at_once(hook: ImageTaskHook, route: StatusRoute) -> None:
    assert hook.get_task("no-such-id").state is TaskState.NOT_FOUND
    assert len(route.server.requests) == 1
