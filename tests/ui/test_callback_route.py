"""The callback route: what is forged, oversized or badly signed comes to nothing, before anything is looked up."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from fastapi import FastAPI
from fastapi.testclient import TestClient

from airflow_provider_imagetasks.exceptions import AuthenticationError, InvalidRequestError, ServiceUnavailableError
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.connection_contract import Callback, is_same
from airflow_provider_imagetasks.services.tasks_api import TasksApiService
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.services.wire import Request as ApiRequest
from airflow_provider_imagetasks.submissions.callback_urls import CallbackPlace, sign
from airflow_provider_imagetasks.ui import callback_route as module
from airflow_provider_imagetasks.ui.callback_route import LARGEST_BODY, CallbackAccounts, callback_route
from tests.installed_services import installed
from tests.scripted_server import Reply, ScriptedServer

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
        self.account = Account(conn_id="kie", service="kie", base_url="https://api.kie.ai", key="k")

    def wake(self, place: CallbackPlace, only: str | None) -> int:
        self.woken.append((place, only))
        return self.waiting

    def account_of(self, conn_id: str) -> Account:
        self.looked_up.append(conn_id)
        return self.account

    def has(self, **fields: Any) -> None:
        self.account = replace(self.account, **fields)


@pytest.fixture
def airflow() -> Airflow:
    return Airflow()


def client_of(airflow: Airflow, account_of: Callable[[str], Account]) -> TestClient:
    application = FastAPI()
    application.include_router(callback_route(SECRET, account_of=account_of, wake=airflow.wake))
    return TestClient(application)


@pytest.fixture
def client(airflow: Airflow) -> TestClient:
    return client_of(airflow, airflow.account_of)


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
    airflow.has(webhook_secret=SIGNING_KEY)

    assert client.post(url(), content=BODY, headers=signed("task-1")).status_code == 200
    assert airflow.woken == [(PLACE, "task-1")]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param(signed("task-1", key="somebody's key"), id="wrong key"),
        pytest.param(signed("task-2"), id="another task"),
        pytest.param(signed("task-1", at=time.time() - 86_400), id="old"),
        pytest.param(signed("task-1", at=time.time() + 86_400), id="from the future"),
        pytest.param({**signed("task-1"), "X-Webhook-Timestamp": "now"}, id="no time"),
        pytest.param({**signed("task-1"), "X-Webhook-Signature": ""}, id="empty"),
    ],
)
def test_with_a_webhook_secret_anything_else_is_refused(
    client: TestClient, airflow: Airflow, headers: dict[str, str]
) -> None:
    airflow.has(webhook_secret=SIGNING_KEY)

    assert client.post(url(), content=BODY, headers=headers).status_code == 403
    assert airflow.woken == []


ID = "task-1"


@pytest.mark.parametrize(
    "body", [{"data": {"taskId": ID}}, {"data": {"task_id": ID}}, {"taskId": ID}, {"task_id": ID, "data": None}]
)
def test_the_id_is_found_wherever_kie_s_documents_put_it(
    client: TestClient, airflow: Airflow, body: dict[str, Any]
) -> None:
    airflow.has(webhook_secret=SIGNING_KEY)

    assert client.post(url(), json=body, headers=signed(ID)).status_code == 200
    assert airflow.woken == [(PLACE, ID)]


@pytest.mark.parametrize("service", ["acedatacloud", "xhuoapi", "acedatacloud_mcp", "local"])
def test_what_a_service_cannot_sign_is_not_believed_where_the_connection_wants_it_signed(
    client: TestClient, airflow: Airflow, service: str, caplog: pytest.LogCaptureFixture
) -> None:
    airflow.has(service=service, webhook_secret=SIGNING_KEY)

    assert client.post(url(), content=BODY, headers=signed("task-1")).status_code == 403
    assert airflow.woken == []
    assert "does not sign callbacks: remove webhook_secret" in caplog.text


def test_a_connection_whose_files_are_not_on_this_machine_is_called_back_all_the_same(
    client: TestClient, airflow: Airflow
) -> None:
    airflow.has(verify="/only/on/workers.pem", webhook_secret=SIGNING_KEY)

    assert client.post(url(), content=BODY, headers=signed("task-1")).status_code == 200


class StandardWebhooks(TasksApiService):
    """Signs by https://www.standardwebhooks.com: base64 of HMAC-SHA256 over id, time and body; several by blank."""

    name, title, default_base_url = "standard", "Standard", "https://standard.example"

    def check_callback(self, callback: Callback, account: Account) -> Flow[str | None]:
        yield from ()
        timestamp = callback.header("webhook-timestamp")
        content = f"{callback.header('webhook-id')}.{timestamp}.".encode() + callback.body
        key = base64.b64decode((account.webhook_secret or "").removeprefix("whsec_"))
        wanted = f"v1,{base64.b64encode(hmac.digest(key, content, 'sha256')).decode()}"
        given = callback.header("webhook-signature").split()
        if not callback.is_of(timestamp) or not any(is_same(wanted, each) for each in given):
            raise AuthenticationError("the signature is not good", service=self.name)
        return str(callback.json()["id"])


class PublishedKeys(TasksApiService):
    """Signs with ED25519, and publishes the keys to check that with."""

    name, title, default_base_url = "published", "Published", "https://published.example"
    signer: ClassVar = Ed25519PrivateKey.from_private_bytes(b"k" * 32)

    def check_callback(self, callback: Callback, account: Account) -> Flow[str | None]:
        request = ApiRequest(method="GET", path="/.well-known/keys")
        found = yield from exchange.read(request, self._keys, service=self.name)
        try:
            signature = bytes.fromhex(callback.header("x-signature"))
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(found)).verify(signature, callback.body)
        except Exception as error:
            raise AuthenticationError("the signature is not good", service=self.name) from error
        return str(callback.json()["request_id"])

    def _keys(self, answer: Any) -> str:
        if answer.status != 200:
            raise ServiceUnavailableError("no keys", service=self.name)
        return str(answer.json()["key"])


@pytest.fixture
def others() -> Iterator[None]:
    with installed(standard=lambda: StandardWebhooks, published=lambda: PublishedKeys):
        yield


def standard(body: bytes, *, at: float, key: bytes = b"a key") -> dict[str, str]:
    content = f"msg-1.{int(at)}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return {"Webhook-Id": "msg-1", "Webhook-Timestamp": f"{int(at)}", "Webhook-Signature": f"v1,old v1,{signature}"}


@pytest.mark.parametrize(
    ("body", "how", "status"),
    [
        (b'{"id": "p-1"}', {}, 200),
        (b'{"id": "p-1"}', {"key": b"another"}, 403),
        (b'{"id": "p-1"}', {"at": 1_000.0}, 403),
        # What is signed and not understood.
        (b'{"no": "id"}', {}, 503),
    ],
    ids=["good", "wrong key", "old", "odd"],
)
def test_somebody_s_service_says_how_its_callbacks_are_signed(
    client: TestClient, airflow: Airflow, others: None, body: bytes, how: dict[str, Any], status: int
) -> None:
    airflow.has(service="standard", webhook_secret=f"whsec_{base64.b64encode(b'a key').decode()}")

    assert client.post(url(), content=body, headers=standard(body, **{"at": time.time(), **how})).status_code == status
    assert airflow.woken == ([(PLACE, "p-1")] if status == 200 else [])


KEYS = {"key": PublishedKeys.signer.public_key().public_bytes_raw().hex()}


@pytest.mark.parametrize(
    ("published", "signed_body", "status"),
    [(Reply(KEYS), b'{"request_id": "r-1"}', 200), (Reply(KEYS), b"another", 403), (Reply({}, 500), b"", 503)],
    ids=["good", "another body", "no keys"],
)
def test_a_service_may_be_asked_for_the_keys_that_it_signs_with(
    client: TestClient,
    airflow: Airflow,
    others: None,
    no_proxy: None,
    published: Reply,
    signed_body: bytes,
    status: int,
) -> None:
    headers = {"X-Signature": PublishedKeys.signer.sign(signed_body).hex()}
    with ScriptedServer(published) as server:
        airflow.has(service="published", base_url=server.url)
        response = client.post(url(), content=b'{"request_id": "r-1"}', headers=headers)

    assert response.status_code == status
    assert [request.path for request in server.requests] == ["/.well-known/keys"]
    assert airflow.woken == ([(PLACE, "r-1")] if status == 200 else [])


def test_where_the_connection_cannot_be_looked_up_the_service_may_call_again(
    airflow: Airflow, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(conn_id: str) -> Account:
        raise RuntimeError("the secrets backend is down")

    assert client_of(airflow, failing).post(url(), content=BODY).status_code == 503
    assert airflow.woken == []
    assert "polling goes on" in caplog.text


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


def test_a_connection_is_read_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    def set_key(key: str | None) -> None:
        extra = {"service": "kie", **({"webhook_secret": key} if key else {})}
        fields = {"conn_type": "imagetasks", "password": "any", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_MINE", json.dumps(fields))

    moments = iter([5.0, 64.0, 66.0, 66.0])
    account_of = CallbackAccounts(clock=lambda: next(moments))
    set_key(" first ")
    assert account_of("mine").webhook_secret == "first"
    set_key(None)

    assert [account_of("mine").webhook_secret, account_of("mine").webhook_secret] == ["first", None]


def test_a_connection_that_is_not_there_has_no_key_to_be_guessed() -> None:
    with pytest.raises(InvalidRequestError, match="no connection 'nobody_s'"):
        CallbackAccounts()("nobody_s")


def test_a_webhook_of_an_account_wakes_by_what_is_signed_alone(client: TestClient, airflow: Airflow) -> None:
    key = base64.b64encode(b"a key").decode()
    airflow.has(service="openai", webhook_secret=f"whsec_{key}")
    whole = CallbackPlace(conn_id="openai", dag_id="", run_id="", task_id="", map_index=-1)
    body, now = json.dumps({"type": "response.completed", "data": {"id": "resp_1"}}).encode(), str(int(time.time()))
    digest = hmac.digest(b"a key", f"wh-1.{now}.".encode() + body, "sha256")
    signature = {"webhook-id": "wh-1", "webhook-timestamp": now}
    signature["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"

    assert client.post(url(whole), content=body, headers=signature).status_code == 200
    assert client.post(url(whole), content=body + b" ", headers=signature).status_code == 403
    assert airflow.woken == [(whole, "resp_1")]
