"""What both transports take from the environment and from the connection, and what they refuse to do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import certifi
import pytest

from airflow_provider_imagetasks import __version__
from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.services.aigptimage import AiGptImage
from airflow_provider_imagetasks.services.wire import NoResponse, Request, Response
from airflow_provider_imagetasks.tasks import ImageRequest
from airflow_provider_imagetasks.transports.environment import ca_bundle, tls_context
from tests.driven_transports import KEY, TRANSPORTS, DrivenTransport, account
from tests.scripted_server import CutAfterReading, CutBeforeReading, Hang, Reply, ScriptedServer

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
SUBMISSION = Request(method="POST", path="/openai/images/generations", body={"prompt": "a red kite"})


@pytest.fixture(autouse=True)
def _silent_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXY_VARIABLES, *map(str.upper, PROXY_VARIABLES), *CA_VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=TRANSPORTS)
def driven(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> DrivenTransport:
    """Each transport in turn, in frozen time."""
    one = DrivenTransport(request.param)
    one.freeze_time(monkeypatch)
    return one


def test_every_request_names_package_version_and_key(driven: DrivenTransport) -> None:
    with ScriptedServer(Reply({})) as server:
        driven.ask(SUBMISSION, account(server.url))

    headers = server.requests[0].headers
    assert headers["User-Agent"] == f"airflow-provider-imagetasks/{__version__}"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert (headers["Accept"], headers["Content-Type"]) == ("application/json", "application/json")


def test_without_a_key_there_is_no_authorization(driven: DrivenTransport) -> None:
    with ScriptedServer(Reply({})) as server:
        keyless = account(server.url)
        object.__setattr__(keyless, "key", None)
        driven.ask(SUBMISSION, keyless)

    assert "Authorization" not in server.requests[0].headers


def test_a_netrc_file_never_replaces_the_key(
    driven: DrivenTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\ndefault login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with ScriptedServer(Reply({}), Reply({})) as server:
        driven.ask(SUBMISSION, account(server.url))
        driven.ask(Request(method="GET", path="/"), account(server.url))

    assert [request.headers["Authorization"] for request in server.requests] == [f"Bearer {KEY}"] * 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_key_stays(driven: DrivenTransport, status: int) -> None:
    with ScriptedServer() as elsewhere:
        moved = Reply(b"", status=status, headers={"Location": f"{elsewhere.url}/openai/tasks"})
        with ScriptedServer(moved, moved, moved) as server:
            flows = (
                AceDataCloud().get_task("task-1"),
                AiGptImage().get_task("task-1"),
                AceDataCloud().submit(ImageRequest(prompt="a red kite", model="gpt-image-2")),
            )
            errors = [driven.outcome(flow, account(server.url)) for flow in flows]

    at_submit = UnknownOutcomeError if status == 303 else ProtocolError
    assert [type(error) for error in errors] == [ProtocolError, ProtocolError, at_submit]
    assert all(elsewhere.url in error.message for error in errors)
    assert (len(server.requests), elsewhere.requests) == (3, [])


def test_cookies_are_not_kept(driven: DrivenTransport) -> None:
    limited = Reply({}, status=503, headers={"Set-Cookie": "session=1; Path=/"})
    with ScriptedServer(limited, Reply({})) as server:
        driven.run(AceDataCloud().get_task("task-1"), account(server.url))

    assert [request.headers.get("Cookie") for request in server.requests] == [None, None]


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


@pytest.mark.parametrize(
    ("fields", "no_proxy"), [({"trust_env": False}, ""), ({}, "127.0.0.1"), ({}, "x.example,127.0.0.1"), ({}, "*")]
)
def test_the_proxy_is_left_out_where_connection_or_environment_say_so(
    driven: DrivenTransport, fields: dict[str, Any], no_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", no_proxy)
    with ScriptedServer() as proxy, ScriptedServer(Reply({})) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        driven.ask(SUBMISSION, account(server.url, **fields))

    assert (len(proxy.requests), len(server.requests)) == (0, 1)


def test_a_request_that_was_cut_behind_the_proxy_may_have_left(
    driven: DrivenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(CutAfterReading()) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        answer = driven.ask(SUBMISSION, account("http://service.example"))

    assert isinstance(answer, NoResponse)
    assert answer.may_have_left is True


def test_a_request_that_the_proxy_did_not_take_has_not_left(
    driven: DrivenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)

    answer = driven.ask(SUBMISSION, account("http://service.example"))

    assert isinstance(answer, NoResponse)
    assert answer.may_have_left is False


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_request_for_which_the_proxy_opens_no_tunnel_has_not_left(
    driven: DrivenTransport, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(Reply(b"no way", status=status)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        answer = driven.ask(SUBMISSION, account("https://service.example"))

    assert isinstance(answer, NoResponse)
    assert answer.may_have_left is False
    assert (proxy.requests[0].method, proxy.requests[0].target) == ("CONNECT", "service.example:443")
    assert "Authorization" not in proxy.requests[0].headers


def test_a_kind_of_proxy_that_nobody_here_speaks_is_refused(
    driven: DrivenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", "socks5://me:secret@127.0.0.1:9")

    error = driven.outcome(AceDataCloud().check_connection(), account("http://service.example"))

    assert type(error) is InvalidRequestError
    assert "socks5" in error.message
    assert "trust_env" in error.message
    assert "secret" not in error.message


def test_a_request_to_a_server_without_tls_has_not_left(driven: DrivenTransport) -> None:
    with ScriptedServer() as server:
        answer = driven.ask(SUBMISSION, account(server.url.replace("http://", "https://")))

    assert isinstance(answer, NoResponse)
    assert answer.may_have_left is False


def test_a_request_that_was_cut_during_the_tls_handshake_has_not_left(driven: DrivenTransport) -> None:
    with ScriptedServer(CutBeforeReading()) as server:
        answer = driven.ask(SUBMISSION, account(server.url.replace("http://", "https://")))

    assert isinstance(answer, NoResponse)
    assert answer.may_have_left is False


def test_a_request_to_a_server_that_hangs_may_have_left(driven: DrivenTransport) -> None:
    with ScriptedServer(Hang()) as server:
        answer = driven.ask(SUBMISSION, account(server.url, request_timeout=0.2))

    assert isinstance(answer, NoResponse)
    assert answer.may_have_left is True
    assert answer.reason == "the answer took too long"


@pytest.mark.parametrize("answer", [CutAfterReading(), CutAfterReading(b"SSH-2.0-OpenSSH_9.9\r\n")])
def test_a_reason_names_neither_url_nor_key(driven: DrivenTransport, answer: CutAfterReading) -> None:
    with ScriptedServer(answer) as server:
        reported = driven.ask(SUBMISSION, account(server.url))

    assert isinstance(reported, NoResponse)
    assert KEY not in reported.reason
    assert server.url not in reported.reason
    assert "/openai" not in reported.reason


def test_a_missing_ca_bundle_is_named_by_its_field(driven: DrivenTransport, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")

    error = driven.outcome(AceDataCloud().check_connection(), account("https://127.0.0.1:9", verify=missing))

    assert type(error) is InvalidRequestError
    assert "'verify' of connection 'mine'" in error.message
    assert missing in error.message


@pytest.mark.parametrize("name", CA_VARIABLES)
def test_a_missing_ca_bundle_is_named_by_its_variable(
    driven: DrivenTransport, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/nowhere/missing.pem")

    error = driven.outcome(AceDataCloud().check_connection(), account("https://127.0.0.1:9"))

    assert isinstance(error, ImageTaskError)
    assert name in error.message


def test_a_ca_bundle_is_read_again_only_where_it_has_changed(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    shutil.copy(certifi.where(), bundle)
    one = account("https://x.example", verify=str(bundle))

    before = tls_context(one)
    assert tls_context(one) is before
    os.utime(bundle, ns=(1, 1))
    assert tls_context(one) is not before


def test_the_ca_bundle_is_the_connection_s_then_the_environment_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, theirs = tmp_path / "own.pem", tmp_path / "theirs.pem"
    own.touch()
    theirs.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(theirs))

    assert ca_bundle(account("https://x.example", verify=str(own))) == str(own)
    assert ca_bundle(account("https://x.example")) == str(theirs)
    assert ca_bundle(account("https://x.example", trust_env=False)) is True
    assert ca_bundle(account("https://x.example", verify=False)) is False
