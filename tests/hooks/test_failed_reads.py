"""A status request that fails, as hook and sensor tell it: it may have been paid for, and asking again is free."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError, QuotaExceededError
from airflow_provider_imagetasks.hooks.image_task import ImageTaskHook
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from tests.scripted_server import Reply, ScriptedServer
from tests.task_runner import TaskRunner

pytestmark = pytest.mark.usefixtures("no_proxy")

PAGE = Reply(b"<html>nothing here</html>", status=404)
USED_UP = Reply({"error": {"code": "used_up", "message": "no balance"}}, status=403)
REFUSED_KEY = Reply({"error": {"code": "invalid_token", "message": "who?"}}, status=401)


def connection(server: ScriptedServer) -> dict[str, Any]:
    return {"host": server.url, "password": "key-of-the-tests", "extra": {"service": "acedatacloud"}}


@pytest.mark.parametrize(
    ("reply", "error_class"), [(PAGE, InvalidRequestError), (USED_UP, QuotaExceededError)], ids=["page", "used up"]
)
def test_the_hook_does_not_say_that_the_picture_was_not_billed(
    reply: Reply, error_class: type[ImageTaskError], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(reply) as server:
        monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps({"conn_type": "imagetasks", **connection(server)}))
        with pytest.raises(error_class) as caught:
            ImageTaskHook("mine").get_task("paid")

    assert caught.value.billed == "unknown"
    assert "not billed" not in str(caught.value)
    assert "Clear" not in str(caught.value)


@pytest.mark.parametrize("reply", [PAGE, USED_UP], ids=["page", "used up"])
def test_the_sensor_does_not_say_that_the_picture_was_not_billed(reply: Reply) -> None:
    with ScriptedServer(reply, reply) as server:
        runner = TaskRunner(connections={"imagetasks_default": connection(server)})
        outcome = runner.run(lambda: ImageTaskSensor(task_id="wait", image_task_id="paid", poll_interval=1))

    assert outcome.state == "failed"
    assert "not billed" not in str(outcome.error)
    assert "asking again costs nothing" in str(outcome.error)
    assert isinstance(outcome.error, ImageTaskError)
    assert outcome.error.billed == "unknown"


def test_the_test_of_a_connection_says_what_is_wrong_with_the_key_and_nothing_of_money(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ScriptedServer(REFUSED_KEY) as server:
        monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps({"conn_type": "imagetasks", **connection(server)}))
        is_good, said = ImageTaskHook("mine").test_connection()

    assert not is_good
    assert "AuthenticationError" in said
    assert "who?" in said
    assert "billed" not in said


@pytest.mark.parametrize("is_async", [False, True], ids=["worker", "triggerer"])
async def test_a_proxy_that_cannot_be_used_says_nothing_of_money_either(
    is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.example:1080")
    mine = {"conn_type": "imagetasks", "password": "key", "extra": {"service": "acedatacloud"}}
    monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps(mine))

    hook = ImageTaskHook("mine")
    with pytest.raises(InvalidRequestError, match="socks5") as caught:
        await hook.aget_task("paid") if is_async else hook.get_task("paid")

    assert caught.value.billed == "unknown"
