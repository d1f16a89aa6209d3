"""Proxies and CAs that both transports take from the environment and from the connection."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import certifi
import pytest

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.transports.environment import Proxies, ca_bundle, tls_context
from tests.driven_transports import KEY, SUBMISSION, DrivenTransport, account
from tests.scripted_server import Reply, ScriptedServer
from tests.transports.conftest import CA_VARIABLES

pytestmark = pytest.mark.usefixtures("silent_environment")


MISSING = "/nowhere/missing.pem"


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_environment_s_proxy_is_used(
    driven: DrivenTransport, name: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(Reply({"via": "proxy"})) as proxy:
        monkeypatch.setenv(name, proxy.url.replace("http://", scheme))
        answer = driven.ask(SUBMISSION, account("http://service.example/base"))

    assert isinstance(answer, Response), answer
    assert answer.json() == {"via": "proxy"}
    assert proxy.requests[0].target == "http://service.example/base/openai/images/generations"
    assert proxy.requests[0].headers["Authorization"] == f"Bearer {KEY}"


NO_PROXY = (
    *("127.0.0.1", "x.example,127.0.0.1", "*", "127.0.0.0/8", "x.example, 127.0.0.0/8 ,::1", "127.0.0.1/32"),
    *("127.0.0.1:{port}", "x.example 127.0.0.0/8:{port}", "*:{port}"),
)


@pytest.mark.parametrize(("fields", "no_proxy"), [({"trust_env": False}, ""), *(({}, listed) for listed in NO_PROXY)])
def test_the_proxy_is_left_out_where_connection_or_environment_say_so(
    driven: DrivenTransport, fields: dict[str, Any], no_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer() as proxy, ScriptedServer(Reply({})) as server:
        monkeypatch.setenv("no_proxy", no_proxy.replace("{port}", server.url.rpartition(":")[2]))
        monkeypatch.setenv("http_proxy", proxy.url)
        driven.ask(SUBMISSION, account(server.url, **fields))

    assert (len(proxy.requests), len(server.requests)) == (0, 1)


EXEMPT = {
    "https://api.example/v1": [
        "api.example",
        ".api.example",
        "*.example",
        "EXAMPLE",
        "api.example:443",
        "example.:443",
        "https://api.example",
        "http://api.example:443/v1",
    ],
    "http://api.example.:8080": ["api.example", "api.example:8080", "x, y\tapi.example"],
    "https://10.1.2.3": ["10.0.0.0/8", "10.1.2.3", "10.1.2.3:443", "10.1.2.0/255.255.255.0", "10.1.2.3/8"],
    "https://[fd00::1]:8443": ["fd00::/8", "fd00::1", "[fd00::1]", "[fd00::1]:8443", "[fd00::/8]:8443", "FD00:0::1"],
}
NOT_EXEMPT = {
    "https://api.example/v1": [
        "",
        "pi.example",
        "api.example:80",
        "v1",
        "api.example.org",
        "0.0.0.0/0",
        ".",
        ",,",
        "http://",
    ],
    "https://10.1.2.3": ["10.1.2.4", "1.2.3", "11.0.0.0/8", "10.0.0.0/8:80", "10.1.2.3:8443", "::/0", "10.0.0.0/99"],
    "https://[fd00::1]:8443": ["fe00::/8", "[fd00::1]:443", "fd00::1:8443", "::1", "fd00"],
}


@pytest.mark.parametrize(
    ("url", "no_proxy", "is_exempt"),
    [
        (url, listed, is_exempt)
        for table, is_exempt in ((EXEMPT, True), (NOT_EXEMPT, False))
        for url, entries in table.items()
        for listed in entries
    ],
)
def test_no_proxy_may_list_names_addresses_and_networks_with_ports_and_without(
    url: str, no_proxy: str, is_exempt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", "proxy.example:3128")
    monkeypatch.setenv("no_proxy", no_proxy)

    assert Proxies(account(url)).of(url) == (None if is_exempt else "http://proxy.example:3128")


REFUSED: list[tuple[dict[str, str], dict[str, str], list[str]]] = [
    ({}, {"all_proxy": "socks5://me:secret@127.0.0.1:9"}, ["socks5", "trust_env"]),
    *(
        ({}, {"https_proxy": f"http://{proxy}"}, ["proxy for 127.0.0.1", "percent-encoded", "trust_env"])
        for proxy in ("me:sec#ret-secret@proxy.example:3128", "me:secret@proxy.example:port", "me:secret@", ":3128")
    ),
    ({"verify": MISSING}, {}, ["'verify' of connection 'mine'", MISSING]),
    *(({}, {name: MISSING}, [name, MISSING]) for name in CA_VARIABLES),
]


@pytest.mark.parametrize(("fields", "environment", "said"), REFUSED)
def test_a_kind_of_proxy_that_nobody_here_speaks_and_a_missing_ca_bundle_are_refused_by_name(
    driven: DrivenTransport, fields: Any, environment: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    error = driven.outcome(AceDataCloud().check_connection(), account("https://127.0.0.1:9", **fields))

    assert type(error) is InvalidRequestError
    assert all(words in error.message for words in said)
    assert "secret" not in error.message


@pytest.mark.parametrize("where", ["verify", "SSL_CERT_FILE"])
def test_a_ca_bundle_that_is_none_is_named_and_is_no_failure_of_the_network(
    driven: DrivenTransport, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    fields = {"verify": str(path)} if where == "verify" else {}
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    error = driven.outcome(AceDataCloud().check_connection(), account("https://127.0.0.1:9", **fields))

    assert type(error) is InvalidRequestError
    assert f"{path} of connection 'mine'" in error.message


def test_a_ca_bundle_is_read_again_only_where_it_has_changed(tmp_path: Path) -> None:
    one = account("https://x.example", verify=shutil.copy(certifi.where(), tmp_path / "ca.pem").as_posix())

    before = tls_context(one)
    assert tls_context(one) is before
    os.utime(tmp_path / "ca.pem", ns=(1, 1))
    assert tls_context(one) is not before


def test_the_ca_bundle_is_the_connection_s_then_the_environment_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, theirs = (str(tmp_path / name) for name in ("own.pem", "theirs.pem"))
    for path in (own, theirs):
        Path(path).touch()
    monkeypatch.setenv("SSL_CERT_FILE", theirs)

    found = [
        ca_bundle(account("https://x.example", **fields)) for fields in ({"verify": own}, {}, {"trust_env": False})
    ]
    assert found == [own, theirs, True]
    assert ca_bundle(account("https://x.example", verify=False)) is False
