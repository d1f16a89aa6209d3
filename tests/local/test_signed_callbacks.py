"""Callbacks as the local service signs them are taken by the service that they are said to come from."""

from __future__ import annotations

import queue
import time
from typing import Any

import pytest
import requests

from airflow_provider_imagetasks.exceptions import AuthenticationError
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.connection_contract import Callback
from airflow_provider_imagetasks.transports.answering_server import run_at_once
from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer

SUBMISSIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "fal": ("/fal/fal-ai/flux/dev?fal_webhook={url}", {"prompt": "a red kite"}),
    "replicate": ("/replicate/v1/models/a/b/predictions", {"input": {"prompt": "a red kite"}, "webhook": "{url}"}),
    "openai": (
        "/openai/v1/responses",
        {
            "model": "any",
            "input": "a red kite",
            "background": True,
            "store": True,
            "tools": [{"type": "image_generation", "size": "64x64"}],
        },
    ),
}
"""How a picture is asked for; OpenAI is told once where to call."""
SECRET = "whsec_YSBrZXk="


@pytest.mark.usefixtures("no_proxy")
@pytest.mark.parametrize("name", SUBMISSIONS)
def test_what_the_local_service_signs_is_believed_and_what_was_changed_is_not(name, start):
    received: queue.Queue[ReceivedRequest] = queue.Queue()

    def receive(request: ReceivedRequest) -> Reply:
        received.put(request)
        return Reply()

    checks = type(get_service(name))()
    path, fields = SUBMISSIONS[name]
    with ScriptedServer(otherwise=receive) as server:
        once = {"webhook_secret": SECRET, "webhook_url": server.url} if checks.has_account_webhook else {}
        service = start(api_keys=["right"], **once)
        body = {field: server.url if value == "{url}" else value for field, value in fields.items()}
        key = {"Authorization": f"{checks.key_scheme} right"}
        where = f"{service.url}{path.format(url=server.url)}"
        answer = requests.post(where, json=body, headers=key, timeout=10).json()
        call = received.get(timeout=30)
    account = Account(
        conn_id="c",
        service=name,
        base_url=f"{service.url}/{name}",
        key="right",
        trust_env=False,
        webhook_secret=once.get("webhook_secret"),
    )
    headers = {header.lower(): value for header, value in call.headers.items()}

    def checked(content: bytes) -> str | None:
        callback = Callback(headers=headers, body=content, at=time.time())
        return run_at_once(checks.check_callback(callback, account), account)

    assert checked(call.content) == answer.get("request_id", answer.get("id"))
    with pytest.raises(AuthenticationError):
        checked(call.content + b" ")
