from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    ImageTaskFailedError,
    ImageTaskTimeoutError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from airflow_provider_imagetasks.services.tasks_api import TasksApiService
from airflow_provider_imagetasks.services.wire import Flow, Request, ask
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState
from tests.conftest import DIALECT_PATHS
from tests.installed_services import installed
from tests.scripted_server import Reply, ScriptedServer
from tests.task_runner import TaskRunner


def know(monkeypatch: pytest.MonkeyPatch, **connection: Any) -> None:
    """Let Airflow know a connection, by an id of its own as for "Test" in the UI."""
    monkeypatch.setenv("AIRFLOW_CONN_SOME_ID", json.dumps({"conn_type": "imagetasks", **connection}))


@pytest.fixture
def hook(connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> ImageTaskHook:
    know(monkeypatch, **connection)
    return ImageTaskHook("some_id")


@pytest.fixture
def submitted(hook: ImageTaskHook) -> Callable[..., str]:
    """Submit a prompt and return its image task id."""
    return lambda prompt="a red kite", **fields: hook.submit(ImageRequest(prompt=prompt, **fields)).id


def test_submit_returns_the_image_task_at_once(hook: ImageTaskHook, service_name: str) -> None:
    task = hook.submit(ImageRequest(prompt="a red kite [never]"))

    assert (task.service, task.state, task.prompt) == (service_name, TaskState.RUNNING, "a red kite [never]")
    assert task.model == (hook.account.default_model or hook.service.default_model)


def test_get_task_holds_the_whole_record_and_get_tasks_answers_for_every_id(
    hook: ImageTaskHook, submitted: Callable[..., str]
) -> None:
    known = submitted()

    tasks = hook.get_tasks([known, "unknown", known])

    assert {"application_id", "param", "text", "seed", "data_removed", "tool_usage"} & set(hook.get_task(known).raw)
    states = {known: TaskState.SUCCEEDED, "unknown": TaskState.NOT_FOUND}
    assert {image_task_id: task.state for image_task_id, task in tasks.items()} == states


@pytest.mark.parametrize("service_name", ["openai"], indirect=True)
def test_whoever_only_waits_leaves_the_pictures_out_of_what_is_read(
    hook: ImageTaskHook, submitted: Callable[..., str]
) -> None:
    known = submitted()
    (whole,) = hook.get_task(known).images
    hook.keeps_pictures = False
    (left,) = hook.get_task(known).images

    assert len(left.data or "") < 1_000 < 16_384 < len(whole.data or "")


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
async def test_list_tasks_and_its_asynchronous_twin_take_the_filters_by_name(
    hook: ImageTaskHook, submitted: Callable[..., str]
) -> None:
    other, mine = submitted(), submitted(trace_id="mine")

    assert [task.id for task in hook.list_tasks(trace_ids=["mine"], limit=5)] == [mine]
    assert [task.id for task in await hook.alist_tasks(ids=[other])] == [other]


def test_what_nobody_can_look_for_is_refused(hook: ImageTaskHook) -> None:
    with pytest.raises(InvalidRequestError, match=r"colour|cannot list"):
        hook.list_tasks(colour="red")
    for arguments in ({}, {"image_task_id": "a", "trace_id": "b"}):
        with pytest.raises(ValueError, match="image_task_id or trace_id"):
            hook.get_task(**arguments)


def test_wait_returns_the_finished_image_task_and_download_stores_its_pictures(
    hook: ImageTaskHook, submitted: Callable[..., str], tmp_path: Path
) -> None:
    finished = hook.wait(submitted(), timeout=10)
    (file,) = hook.download(finished, f"file://{tmp_path}")

    assert finished.state is TaskState.SUCCEEDED
    assert Path(file.uri.removeprefix("file://")).stat().st_size == file.picture.bytes


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1, True, "60", 10**400])
@pytest.mark.parametrize("name", ["timeout", "poll_interval"])
@pytest.mark.parametrize("service_name", ["kie"], indirect=True)
async def test_a_wait_that_would_never_end_is_refused(hook: ImageTaskHook, name: str, seconds: Any) -> None:
    with pytest.raises(ValueError, match=name):
        hook.wait("a", **{name: seconds})
    with pytest.raises(ValueError, match=name):
        await hook.await_task("a", **{name: seconds})


def test_wait_raises_why_it_failed_or_that_its_time_is_over(hook: ImageTaskHook, submitted: Callable[..., str]) -> None:
    with pytest.raises(ImageTaskFailedError):
        hook.wait(submitted("[fail]"), timeout=10)
    with pytest.raises(ImageTaskTimeoutError, match="may have been billed"):
        hook.wait(submitted("[never]"), timeout=0.05, poll_interval=0.01)


async def test_the_asynchronous_twins_do_the_same(hook: ImageTaskHook, submitted: Callable[..., str]) -> None:
    image_task_id = submitted()

    assert await hook.aget_task(image_task_id) == hook.get_task(image_task_id)
    assert await hook.aget_tasks([image_task_id, "x"]) == hook.get_tasks([image_task_id, "x"])
    assert await hook.await_task(image_task_id, timeout=10) == hook.wait(image_task_id, timeout=10)


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
        host = f"{service.url}/{DIALECT_PATHS[service_name]}"
        know(monkeypatch, host=host, password="a-wrong-one", extra={"service": service_name})
        good, message = ImageTaskHook("some_id").test_connection()

    assert good is False
    assert message.startswith("AuthenticationError")
    assert "a-wrong-one" not in message
    # Nothing was asked of a picture.
    assert "billed" not in message


def test_test_connection_names_the_field_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    know(monkeypatch, extra={"service": "dalle"})

    good, message = ImageTaskHook("some_id").test_connection()

    assert (good, "'service'" in message) == (False, True)


BASE_URLS = {
    "api.example.com:8443/https": "https://api.example.com:8443",
    "127.0.0.1:8750/http": "http://127.0.0.1:8750",
    "/": "https://api.acedata.cloud",
}


@pytest.mark.parametrize("host", BASE_URLS)
def test_a_connection_may_be_written_as_a_uri(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AS_URI", f"imagetasks://:key@{host}?service=acedatacloud")

    account = ImageTaskHook("as_uri").account

    assert (account.base_url, account.key) == (BASE_URLS[host], "key")


pytestmark = pytest.mark.usefixtures("no_proxy")

PAGE = Reply(b"<html>nothing here</html>", status=404)
USED_UP = Reply({"error": {"code": "used_up", "message": "no balance"}}, status=403)


@pytest.mark.parametrize(
    ("reply", "error_class", "state"),
    [(PAGE, InvalidRequestError, "up_for_retry"), (USED_UP, QuotaExceededError, "failed")],
)
def test_hook_and_sensor_do_not_say_that_the_picture_was_not_billed(
    reply: Reply, error_class: type[ImageTaskError], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(*[reply] * 3) as server:
        mine = {"host": server.url, "password": "key-of-the-tests", "extra": {"service": "acedatacloud"}}
        know(monkeypatch, **mine)
        with pytest.raises(error_class) as caught:
            ImageTaskHook("some_id").get_task("paid")
        runner = TaskRunner(connections={"imagetasks_default": mine})
        outcome = runner.run(lambda: ImageTaskSensor(task_id="wait", image_task_id="paid", poll_interval=1))

    # A proxy's page may be gone by the time of a retry, which asks again.
    assert outcome.state == state
    assert "asking again costs nothing" in str(outcome.error)
    for error in (caught.value, outcome.error):
        assert isinstance(error, error_class)
        assert error.billed == "unknown"
        assert not any(words in str(error) for words in ("not billed", "Clear"))


@pytest.mark.parametrize("is_async", [False, True], ids=["worker", "triggerer"])
async def test_a_proxy_that_cannot_be_used_says_nothing_of_money_either(
    is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("NO_PROXY", ""), ("no_proxy", ""), ("HTTPS_PROXY", "socks5://proxy.example:1080")):
        monkeypatch.setenv(name, value)
    know(monkeypatch, password="key", extra={"service": "acedatacloud"})

    hook = ImageTaskHook("some_id")
    with pytest.raises(InvalidRequestError, match="socks5") as caught:
        await hook.aget_task("paid") if is_async else hook.get_task("paid")
    assert caught.value.billed == "unknown"


@pytest.mark.parametrize("service_name", ["acedatacloud"], indirect=True)
def test_a_service_that_wants_to_be_left_alone_for_long_is_asked_neither_by_a_wait_nor_by_a_second_read(
    connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch, image_service: LocalImageService
) -> None:
    # The pause is the account's, so it must not be that of the other tests.
    fields = {"conn_type": "imagetasks", **connection, "password": "left-alone"}
    monkeypatch.setenv("AIRFLOW_CONN_SOME_ID", json.dumps(fields))
    hook = ImageTaskHook("some_id")
    image_task_id = hook.submit(ImageRequest(prompt="a red kite [poll-429,retry-after=300]")).id

    with pytest.raises(ImageTaskTimeoutError, match="asks for a pause"):
        hook.wait(image_task_id, timeout=0.5, poll_interval=0.1)
    for _ in range(2):
        with pytest.raises(RateLimitError, match=r"another (300|2[0-9][0-9]) s") as caught:
            hook.get_task(image_task_id)
        assert caught.value.billed == "unknown"
    assert image_service.stats()["dialects"]["acedatacloud"]["status_queries"] == 1


class Clumsy(TasksApiService):
    """Somebody's service, whose flows break where its author did not look."""

    name, title, default_base_url = "clumsy", "Clumsy", "https://clumsy.example"
    requires_key = False

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        if request.prompt == "a break":
            return {}["size"]  # type: ignore[no-any-return]
        yield from ask(Request(method="POST", path="/images"))
        return {}["id"]  # type: ignore[no-any-return]

    def list_tasks(self, **filters: Any) -> Flow[list[ImageTask]]:
        yield from ask(Request(method="GET", path="/images"))
        return {}["items"]  # type: ignore[no-any-return]

    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        yield from ask(Request(method="GET", path="/images"))
        return {}["id"]  # type: ignore[no-any-return]

    def cancel(self, image_task_id: str) -> Flow[str]:
        return (yield from self.read_one(image_task_id)).id

    def check_connection(self) -> Flow[str]:
        return (yield from self.read_one("none")).id


def test_what_breaks_in_a_flow_has_a_class_and_says_what_it_knows_of_the_bill(
    monkeypatch: pytest.MonkeyPatch, no_proxy: None, skipped_pauses: Any
) -> None:
    with ScriptedServer(otherwise=lambda _request: Reply({})) as server, installed(clumsy=lambda: Clumsy):
        fields = {"conn_type": "imagetasks", "host": server.url, "extra": {"service": "clumsy"}}
        monkeypatch.setenv("AIRFLOW_CONN_CLUMSY", json.dumps(fields))
        hook = ImageTaskHook("clumsy")
        with pytest.raises(UnknownOutcomeError, match=r"KeyError: 'id'.*Look at the account") as submitted:
            hook.submit(ImageRequest(prompt="a red kite"))
        with pytest.raises(ProtocolError, match=r"KeyError: 'size'.*It was not billed"):
            hook.submit(ImageRequest(prompt="a break"))
        reads = (hook.list_tasks, lambda: hook.get_task("a"), lambda: hook.cancel("a"))
        for read in reads:
            with pytest.raises(ProtocolError, match="The code of the service clumsy failed") as raised:
                read()
            assert raised.value.billed == "unknown"
        assert hook.test_connection() == (False, ANY)

    assert submitted.value.billed == "unknown"
