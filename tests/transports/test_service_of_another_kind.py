"""What a service may say of its key and its hosts, over both transports."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ProtocolError
from airflow_provider_imagetasks.services.wire import NoResponse, Request, Response
from airflow_provider_imagetasks.transports.account_key import url_of
from tests.driven_transports import KEY, TRANSPORTS, DrivenTransport, account
from tests.scripted_server import CutAfterReading, Reply, ScriptedServer

EACH = pytest.mark.parametrize("kind", TRANSPORTS)


@EACH
@pytest.mark.parametrize(
    ("own", "header", "sent"),
    [
        ({}, "Authorization", f"Bearer {KEY}"),
        ({"key_scheme": "Key"}, "Authorization", f"Key {KEY}"),
        ({"key_header": "x-key", "key_scheme": None}, "x-key", KEY),
    ],
)
def test_the_key_goes_out_as_the_service_wants_it(kind: str, own: Any, header: str, sent: str, no_proxy: None) -> None:
    with ScriptedServer(Reply({})) as server:
        request = Request(method="GET", path="/", headers={"authorization": "of the flow's own"} if own else {})
        DrivenTransport(kind).ask(request, account(server.url, **own))

    headers = {name.lower(): value for name, value in server.requests[0].headers.items()}
    assert headers[header.lower()] == sent
    assert [value for value in headers.values() if KEY in value] == [sent]


@EACH
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_request_that_could_be_made_again_by_its_method_is_made_once(kind: str, method: Any, no_proxy: None) -> None:
    with ScriptedServer(Reply({}), CutAfterReading(), Reply({})) as server:
        driven, where = DrivenTransport(kind), account(server.url)

        def twice() -> Any:
            request = Request(method=method, path="/jobs", body={"a": 1})
            return (yield request), (yield request)

        first, second = driven.run(twice(), where)

    assert (type(first), type(second), second.may_have_left) == (Response, NoResponse, True)
    assert [(request.method, request.body) for request in server.requests] == [(method, {"a": 1})] * 2


HOSTS = (".easel.example", "api.paint.example")


@pytest.mark.parametrize(
    ("host", "may_go"),
    [
        ("https://eu1.easel.example", True),
        ("https://easel.example", True),
        ("https://api.paint.example", True),
        ("http://127.0.0.1:1", True),
        ("http://eu1.easel.example", False),
        ("https://weasel.example", False),
        ("https://eu1.easel.example.thief.example", False),
        ("https://eu1.easel.example@thief.example", False),
        ("https://thief.example#.easel.example", False),
        ("https://thief.example/.easel.example", False),
        ("https://me:secret@eu1.easel.example", False),
        ("https://eu1.easel.example:8443", False),
        ("https://www.paint.example", False),
        ("http://127.0.0.1:2", False),
        ("https://[", False),
        ("", False),
    ],
)
def test_the_key_goes_only_to_hosts_that_the_service_names(host: str, may_go: bool) -> None:
    where, request = account("http://127.0.0.1:1", key_hosts=HOSTS), Request(method="GET", path="/v1/x", host=host)

    if may_go:
        assert url_of(where, request) == f"{host}/v1/x"
    else:
        with pytest.raises(ProtocolError, match="its key must not be sent") as caught:
            url_of(where, request)
        assert "secret" not in str(caught.value)
    with pytest.raises(ProtocolError):
        url_of(account("https://api.easel.example"), request)


@EACH
def test_nothing_is_sent_to_another_host(kind: str, no_proxy: None) -> None:
    with ScriptedServer(Reply({})) as server, ScriptedServer(Reply({})) as thief:
        driven, where = DrivenTransport(kind), account(server.url, key_hosts=HOSTS)
        request = Request(method="GET", path="/", host=thief.url)

        def ask() -> Any:
            return (yield request)

        error = driven.outcome(ask(), where)

    assert (type(error), error.billed) == (ProtocolError, "no")
    assert server.requests == thief.requests == []
