from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    ImageTaskFailedError,
    ImageTaskTimeoutError,
    InvalidRequestError,
)
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.tasks import ImageRequest, TaskState
from tests.conftest import DIALECT_PATHS


@pytest.fixture
def hook(connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> ImageTaskHook:
    """A hook with a connection of an id of its own, as for "Test" in the UI."""
    monkeypatch.setenv("AIRFLOW_CONN_SOME_ID", json.dumps({"conn_type": "imagetasks", **connection}))
    return ImageTaskHook("some_id")


@pytest.fixture
def submitted(hook: ImageTaskHook) -> Callable[..., str]:
    """Submit a prompt and return its image task id."""
    return lambda prompt="a red kite", **fields: hook.submit(ImageRequest(prompt=prompt, **fields)).id


def test_submit_returns_the_image_task_at_once(hook: ImageTaskHook, service_name: str) -> None:
    task = hook.submit(ImageRequest(prompt="a red kite [never]"))

    assert (task.service, task.state, task.prompt) == (service_name, TaskState.RUNNING, "a red kite [never]")
    assert task.model == hook.service.default_model


def test_get_task_holds_the_services_whole_record(hook: ImageTaskHook, submitted: Callable[..., str]) -> None:
    task = hook.get_task(submitted())

    assert task.state is TaskState.SUCCEEDED
    assert {"application_id", "param", "text"} & set(task.raw)


def test_get_tasks_answers_for_every_id(hook: ImageTaskHook, submitted: Callable[..., str]) -> None:
    known = submitted()

    tasks = hook.get_tasks([known, "unknown", known])

    assert {image_task_id: task.state for image_task_id, task in tasks.items()} == {
        known: TaskState.SUCCEEDED,
        "unknown": TaskState.NOT_FOUND,
    }


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
def test_fifty_ids_are_one_request(
    hook: ImageTaskHook, submitted: Callable[..., str], image_service: LocalImageService
) -> None:
    ids = [submitted(f"kite {number}") for number in range(60)]

    tasks = hook.get_tasks(ids)

    assert all(task.state is TaskState.SUCCEEDED for task in tasks.values())
    assert image_service.stats()["dialects"]["acedatacloud"]["status_queries"] == 2


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
def test_list_tasks_takes_the_filters_by_name(hook: ImageTaskHook, submitted: Callable[..., str]) -> None:
    submitted(trace_id="mine")
    submitted()

    assert [task.trace_id for task in hook.list_tasks(trace_ids=["mine"], limit=5)] == ["mine"]


def test_a_filter_that_the_service_does_not_have_is_named(hook: ImageTaskHook) -> None:
    with pytest.raises(InvalidRequestError, match=r"colour|cannot list"):
        hook.list_tasks(colour="red")


@pytest.mark.parametrize("arguments", [{}, {"image_task_id": "a", "trace_id": "b"}])
def test_get_task_wants_an_id_or_a_trace_id(hook: ImageTaskHook, arguments: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="image_task_id or trace_id"):
        hook.get_task(**arguments)


def test_wait_returns_the_finished_image_task(hook: ImageTaskHook, submitted: Callable[..., str]) -> None:
    assert hook.wait(submitted(), timeout=10).state is TaskState.SUCCEEDED


def test_wait_raises_why_it_failed(hook: ImageTaskHook, submitted: Callable[..., str]) -> None:
    with pytest.raises(ImageTaskFailedError):
        hook.wait(submitted("[fail]"), timeout=10)


def test_wait_ends_at_its_timeout(hook: ImageTaskHook, submitted: Callable[..., str]) -> None:
    with pytest.raises(ImageTaskTimeoutError, match="may have been billed"):
        hook.wait(submitted("[never]"), timeout=0.05, poll_interval=0.01)


async def test_the_asynchronous_twins_do_the_same(hook: ImageTaskHook, submitted: Callable[..., str]) -> None:
    image_task_id = submitted()

    assert await hook.aget_task(image_task_id) == hook.get_task(image_task_id)
    assert await hook.aget_tasks([image_task_id, "x"]) == hook.get_tasks([image_task_id, "x"])
    assert await hook.await_task(image_task_id, timeout=10) == hook.wait(image_task_id, timeout=10)


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
async def test_the_list_has_an_asynchronous_twin(hook: ImageTaskHook, submitted: Callable[..., str]) -> None:
    image_task_id = submitted()

    assert [task.id for task in await hook.alist_tasks(ids=[image_task_id])] == [image_task_id]


def test_download_stores_the_pictures(hook: ImageTaskHook, submitted: Callable[..., str], tmp_path: Path) -> None:
    (file,) = hook.download(hook.get_task(submitted()), f"file://{tmp_path}")

    assert Path(file.uri.removeprefix("file://")).stat().st_size == file.picture.bytes


def test_test_connection_costs_nothing_and_says_what_it_cannot_know(
    hook: ImageTaskHook, image_service: LocalImageService, service_name: str
) -> None:
    good, message = hook.test_connection()

    assert good is True
    assert "only when a picture is submitted" in message or "credits" in message
    assert image_service.stats()["dialects"][service_name]["created"] == 0


def test_test_connection_tells_a_wrong_key_without_showing_it(
    service_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalImageService(latency=0, api_keys=["the-right-one"]) as service:
        fields = {
            "conn_type": "imagetasks",
            "host": f"{service.url}/{DIALECT_PATHS[service_name]}",
            "password": "a-wrong-one",
            "extra": {"service": service_name},
        }
        monkeypatch.setenv("AIRFLOW_CONN_WRONG", json.dumps(fields))
        good, message = ImageTaskHook("wrong").test_connection()

    assert good is False
    assert message.startswith("AuthenticationError")
    assert "a-wrong-one" not in message


def test_test_connection_names_the_field_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WRONG", json.dumps({"conn_type": "imagetasks", "extra": {"service": "dalle"}}))

    good, message = ImageTaskHook("wrong").test_connection()

    assert good is False
    assert "'service'" in message


@pytest.mark.parametrize(
    ("uri", "base_url"),
    [
        ("imagetasks://:key@api.example.com:8443/https?service=acedatacloud", "https://api.example.com:8443"),
        ("imagetasks://:key@127.0.0.1:8750/http?service=acedatacloud", "http://127.0.0.1:8750"),
        ("imagetasks://:key@/?service=acedatacloud", "https://api.acedata.cloud"),
    ],
)
def test_a_connection_may_be_written_as_a_uri(uri: str, base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AS_URI", uri)

    account = ImageTaskHook("as_uri").account

    assert (account.base_url, account.key) == (base_url, "key")
