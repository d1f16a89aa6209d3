"""The callback route: what is forged, oversized or badly signed comes to nothing, before anything is looked up."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.submissions.callback_urls import CallbackPlace, sign
from airflow_provider_imagetasks.ui import callback_route as module
from airflow_provider_imagetasks.ui.callback_route import LARGEST_BODY, WebhookSecrets, callback_route, signed_task_id

SECRET = "a secret of sufficient length"
SIGNING_KEY = "kie's key"
PLACE = CallbackPlace(conn_id="kie", dag_id="kites", run_id="a_run", task_id="submit", map_index=-1)
BODY = json.dumps({"code": 200, "data": {"taskId": "task-1", "state": "success"}}).encode()


class Airflow:
    """Stands for the metadata database: says what it was asked."""

    def __init__(self) -> None:
        self.woken: list[tuple[CallbackPlace, str | None]] = []
        self.looked_up: list[str] = []
        self.waiting = 1
        self.webhook_secret: str | None = None

    def wake(self, place: CallbackPlace, only: str | None) -> int:
        self.woken.append((place, only))
        return self.waiting

    def secret_of(self, conn_id: str) -> str | None:
        self.looked_up.append(conn_id)
        return self.webhook_secret


@pytest.fixture
def airflow() -> Airflow:
    return Airflow()


def client_of(airflow: Airflow, webhook_secret_of: Callable[[str], str | None]) -> TestClient:
    application = FastAPI()
    application.include_router(callback_route(SECRET, webhook_secret_of=webhook_secret_of, wake=airflow.wake))
    return TestClient(application)


@pytest.fixture
def client(airflow: Airflow) -> TestClient:
    return client_of(airflow, airflow.secret_of)


def url(place: CallbackPlace = PLACE, secret: str = SECRET) -> str:
    return f"/callback/{sign(place, secret)}"


def signed(image_task_id: str, *, at: float | None = None, key: str = SIGNING_KEY) -> dict[str, str]:
    timestamp = str(int(time.time() if at is None else at))
    digest = hmac.new(key.encode(), f"{image_task_id}.{timestamp}".encode(), hashlib.sha256).digest()
    return {"X-Webhook-Timestamp": timestamp, "X-Webhook-Signature": base64.b64encode(digest).decode()}


@pytest.mark.parametrize("body", [BODY, b"", b"not JSON", b"\xff\xfe", b"[" * 100_000, b'{"data": {"taskId": "no"}}'])
@pytest.mark.parametrize(("woken", "status"), [(1, 200), (0, 202)], ids=["somebody waits", "nobody waits"])
def test_a_callback_wakes_who_waits_for_the_submission_whatever_its_body_says(
    client: TestClient, airflow: Airflow, body: bytes, woken: int, status: int
) -> None:
    airflow.waiting = woken

    response = client.post(url(), content=body)

    assert (response.status_code, response.json()) == (status, {"woken": woken})
    assert airflow.woken == [(PLACE, None)]


def pieces() -> Iterator[bytes]:
    return (b"x" * (LARGEST_BODY // 10) for _ in range(20))


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        *[("POST", forged, lambda: BODY, 404) for forged in (url(secret="another secret of some length"), url()[:-2])],
        *[("POST", forged, lambda: BODY, 404) for forged in ("/callback/eyJ", "/callback/x.y")],
        ("POST", url(), lambda: b"x" * (LARGEST_BODY + 1), 413),
        ("POST", url(), pieces, 413),
        ("GET", url(), lambda: b"", 405),
    ],
    ids=["another's", "cut", "half", "made up", "too large", "too large in pieces", "no POST"],
)
def test_what_is_forged_or_oversized_is_refused_before_anything_is_looked_up(
    client: TestClient, airflow: Airflow, method: str, target: str, body: Callable[[], Any], status: int
) -> None:
    assert client.request(method, target, content=body()).status_code == status
    assert (airflow.woken, airflow.looked_up) == ([], [])


def test_with_a_webhook_secret_a_good_signature_wakes_the_one_it_is_for(client: TestClient, airflow: Airflow) -> None:
    airflow.webhook_secret = SIGNING_KEY

    assert client.post(url(), content=BODY, headers=signed("task-1")).status_code == 200
    assert airflow.woken == [(PLACE, "task-1")]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param(signed("task-1", key="somebody's key"), id="wrong key"),
        pytest.param(signed("task-2"), id="another task"),
        pytest.param(signed("task-1", at=time.time() - 3600), id="old"),
        pytest.param(signed("task-1", at=time.time() + 3600), id="from the future"),
        pytest.param({**signed("task-1"), "X-Webhook-Timestamp": "now"}, id="no time"),
        pytest.param({**signed("task-1"), "X-Webhook-Signature": ""}, id="empty"),
    ],
)
def test_with_a_webhook_secret_anything_else_is_refused(
    client: TestClient, airflow: Airflow, headers: dict[str, str]
) -> None:
    airflow.webhook_secret = SIGNING_KEY

    assert client.post(url(), content=BODY, headers=headers).status_code == 403
    assert airflow.woken == []


ID = "task-1"


@pytest.mark.parametrize(
    "body", [{"data": {"taskId": ID}}, {"data": {"task_id": ID}}, {"taskId": ID}, {"task_id": ID, "data": None}]
)
def test_the_id_is_found_wherever_kie_s_documents_put_it(body: dict[str, Any]) -> None:
    headers = {name.lower(): value for name, value in signed(ID, at=1000).items()}

    assert signed_task_id(SIGNING_KEY, headers, json.dumps(body).encode(), now=1010) == ID


def test_where_the_connection_cannot_be_looked_up_the_service_may_call_again(
    airflow: Airflow, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(conn_id: str) -> str | None:
        raise RuntimeError("the secrets backend is down")

    assert client_of(airflow, failing).post(url(), content=BODY).status_code == 503
    assert airflow.woken == []
    assert "left to polling" in caplog.text


def test_no_token_is_logged(client: TestClient, airflow: Airflow, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger=module.__name__)

    client.post(url(), content=BODY)

    assert "A callback for kites a_run submit[-1] woke 1" in caplog.text
    own = [record.getMessage() for record in caplog.records if record.name == module.__name__]
    assert own
    assert not any("eyJ" in message for message in own)


def test_the_server_s_access_log_masks_tokens(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="uvicorn.access"):
        logging.getLogger("uvicorn.access").info(
            '%s - "%s %s HTTP/%s" %d', "127.0.0.1:5", "POST", f"/imagetasks{url()}?x=1", "1.1", 202
        )

    assert '127.0.0.1:5 - "POST /imagetasks/callback/***?x=1 HTTP/1.1" 202' in caplog.text


def test_the_key_of_a_connection_is_read_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    def set_key(key: str | None) -> None:
        extra = {"service": "kie", **({"webhook_secret": key} if key else {})}
        fields = {"conn_type": "imagetasks", "password": "any", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps(fields))

    moments = iter([5.0, 64.0, 66.0, 66.0])
    secret_of = WebhookSecrets(clock=lambda: next(moments))
    set_key(" first ")
    assert secret_of("mine") == "first"
    set_key(None)

    assert [secret_of("mine"), secret_of("mine")] == ["first", None]


def test_a_connection_that_is_not_there_has_no_key_to_be_guessed() -> None:
    with pytest.raises(InvalidRequestError, match="no connection 'nobody_s'"):
        WebhookSecrets()("nobody_s")
