"""What is reported where no answer came: whether the request may have left, and why, without address or key."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_imagetasks.services.wire import NoResponse
from tests.driven_transports import KEY, SUBMISSION, DrivenTransport, account
from tests.scripted_server import CutAfterReading, CutBeforeReading, Hang, Reply, ScriptedServer, Step

SERVICE = "service.example"


def failure(driven: DrivenTransport, url: str, **fields: Any) -> NoResponse:
    answer = driven.ask(SUBMISSION, account(url, **fields))
    assert isinstance(answer, NoResponse), answer
    assert not any(said in answer.reason for said in (KEY, url, "/openai"))
    return answer


@pytest.mark.parametrize("step", [CutAfterReading(), CutAfterReading(b"SSH-2.0-OpenSSH_9.9\r\n")])
def test_a_request_that_was_cut_may_have_left_behind_a_proxy_too(
    driven: DrivenTransport, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(step, step) as server:
        assert failure(driven, server.url).may_have_left is True
        monkeypatch.setenv("http_proxy", server.url)
        assert failure(driven, f"http://{SERVICE}").may_have_left is True


def test_a_request_to_a_server_that_hangs_may_have_left(driven: DrivenTransport) -> None:
    with ScriptedServer(Hang()) as server:
        answer = failure(driven, server.url, request_timeout=0.2)

    assert (answer.may_have_left, answer.reason) == (True, "the answer took too long")
    assert len(server.requests) == 1


def test_a_request_that_the_proxy_did_not_take_has_not_left(
    driven: DrivenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer() as gone:
        monkeypatch.setenv("http_proxy", gone.url)

    assert failure(driven, f"http://{SERVICE}").may_have_left is False


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_request_for_which_the_proxy_opens_no_tunnel_has_not_left(
    driven: DrivenTransport, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(Reply(b"no way", status=status)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        assert failure(driven, f"https://{SERVICE}").may_have_left is False

    assert (proxy.requests[0].method, proxy.requests[0].target) == ("CONNECT", f"{SERVICE}:443")
    assert "Authorization" not in proxy.requests[0].headers


@pytest.mark.parametrize("script", [[], [CutBeforeReading()]], ids=["no TLS", "cut during the handshake"])
def test_a_request_that_did_not_get_through_the_tls_handshake_has_not_left(
    driven: DrivenTransport, script: list[Step]
) -> None:
    with ScriptedServer(*script) as server:
        assert failure(driven, server.url.replace("http://", "https://")).may_have_left is False
