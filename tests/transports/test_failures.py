"""No answer, or one too long or too slow: whether the request may have left, and why, without address or key."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import ServiceUnavailableError, UnknownOutcomeError
from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.services.wire import NoResponse, Request, Response, ask
from airflow_provider_imagetasks.tasks import ImageRequest
from airflow_provider_imagetasks.transports import answers
from airflow_provider_imagetasks.transports.failures import NO_HTTP
from airflow_provider_imagetasks.transports.http import RequestsTransport
from tests.driven_transports import KEY, SUBMISSION, DrivenTransport, account
from tests.scripted_server import CutAfterReading, CutBeforeReading, Hang, Reply, ScriptedServer, Step, Trickle

SERVICE = "service.example"


def failure(driven: DrivenTransport, url: str, **fields: Any) -> NoResponse:
    answer = driven.ask(SUBMISSION, account(url, **fields))
    assert isinstance(answer, NoResponse), answer
    assert not any(said in answer.reason for said in (KEY, url, "/openai"))
    return answer


@pytest.mark.parametrize("step", [CutAfterReading(), CutAfterReading(b"SSH-2.0-OpenSSH_9.9\r\n"), Hang()])
def test_a_request_that_was_cut_or_is_not_answered_may_have_left_behind_a_proxy_too(
    driven: DrivenTransport, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = {"request_timeout": 1 if step == Hang() else 60}
    with ScriptedServer(step, step) as server:
        answers = [failure(driven, server.url, **limit)]
        monkeypatch.setenv("http_proxy", server.url)
        answers += [failure(driven, f"http://{SERVICE}", **limit)]

    assert all(answer.may_have_left for answer in answers)
    assert all((answer.reason == "the answer took too long") is (step == Hang()) for answer in answers)
    assert len(server.requests) == 2


@pytest.mark.parametrize("lengths", ["7, 3", "7\r\nContent-Length: 3", "17, 17, 5"])
def test_a_submission_whose_answer_has_two_lengths_may_have_left_and_is_not_made_again(
    driven: DrivenTransport, lengths: str
) -> None:
    answer = f'HTTP/1.1 200 OK\r\nContent-Length: {lengths}\r\n\r\n{{"task_id": "a"}}'
    with ScriptedServer(otherwise=lambda _request: CutAfterReading(answer.encode())) as server:
        told = failure(driven, server.url)
        submitted = driven.outcome(AceDataCloud().submit(REQUEST), account(server.url))

    assert (told.may_have_left, told.reason) == (True, NO_HTTP)
    assert isinstance(submitted, UnknownOutcomeError)
    assert len(server.requests) == 1 + 1


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
def test_a_request_that_did_not_get_through_the_tls_handshake_has_not_left(driven: DrivenTransport, script) -> None:
    with ScriptedServer(*script) as server:
        assert failure(driven, server.url.replace("http://", "https://")).may_have_left is False


QUERY = Request(method="GET", path="/api/v1/jobs/recordInfo")
REQUEST = ImageRequest(prompt="a red kite", model="gpt-image-2")


@pytest.fixture
def small_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transports that take at most 10,000 bytes."""
    monkeypatch.setattr(answers, "LARGEST_ANSWER", 10_000)


def large(size: int, **headers: str) -> Reply:
    body = json.dumps({"id": "task-1", "padding": "x" * size}).encode()
    return Reply(gzip.compress(body) if "Content-Encoding" in headers else body, headers=headers)


TRICKLES = {
    "a body": Trickle(),
    "after a pause": Trickle(before=0.1),
    "a status line": Trickle(head=b"HTTP/1.1 200 "),
    "a header": Trickle(head=b"HTTP/1.1 200 OK\r\nX-Header: "),
    "endless headers": Trickle(head=b"HTTP/1.1 200 OK\r\n", repeated=b"X-Header: 1\r\n"),
    "endless preliminaries": Trickle(head=b"", repeated=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the size of a chunk": Trickle(head=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=", repeated=b"y"),
    "until it is closed": Trickle(head=b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
}


@pytest.mark.parametrize("step", TRICKLES.values(), ids=TRICKLES)
@pytest.mark.parametrize("request_", [SUBMISSION, QUERY], ids=["submission", "query"])
def test_an_answer_that_trickles_ends_when_the_request_may_take_no_longer(
    driven: DrivenTransport, request_: Request, step: Trickle
) -> None:
    with ScriptedServer(step) as server:
        started = time.monotonic()
        answer = driven.ask(request_, account(server.url, request_timeout=0.5))
        took = time.monotonic() - started

    assert isinstance(answer, NoResponse)
    assert (answer.reason, answer.may_have_left) == ("the answer took too long", True)
    # In workers the time counts anew once the answer begins, so that a long upload does not use it up.
    assert 0.4 <= took < 40
    assert len(server.requests) == 1


def test_a_proxy_whose_answer_to_the_tunnel_trickles_has_not_let_the_request_out(
    drive_with: Callable[[str], DrivenTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(Trickle(head=b"HTTP/1.1 200 OK\r\nX-Header: ")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        started = time.monotonic()
        # aiohttp does not tell this from an answer that is late.
        answer = failure(drive_with("requests"), f"https://{SERVICE}", request_timeout=0.2)

    assert (answer.may_have_left, answer.reason) == (False, "it took too long to connect")
    assert time.monotonic() - started < 40


def test_a_connection_is_used_again_after_an_answer_in_time_and_not_after_one_that_was_cut() -> None:
    quick, slow = Reply({}), Trickle(head=b"HTTP/1.1 200 OK\r\nX-Header: ")
    with (
        ScriptedServer(quick, slow, quick) as server,
        RequestsTransport(account(server.url, request_timeout=3)) as on_worker,
    ):
        answers_ = [on_worker.run(ask(QUERY)) for _ in range(3)]

    assert [type(answer) for answer in answers_] == [Response, NoResponse, Response]


def test_a_submission_whose_answer_is_too_slow_or_too_large_has_an_unknown_outcome_and_a_read_is_repeated(
    driven: DrivenTransport, small_answers: None
) -> None:
    with ScriptedServer(Trickle(), *[large(20_000)] * 6) as server:
        slow = driven.outcome(AceDataCloud().submit(REQUEST), account(server.url, request_timeout=1))
        submitted = driven.outcome(AceDataCloud().submit(REQUEST), account(server.url))
        read = driven.outcome(AceDataCloud().get_task("task-1"), account(server.url))

    assert [type(error) for error in (slow, submitted, read)] == [*[UnknownOutcomeError] * 2, ServiceUnavailableError]
    assert "took too long" in slow.message
    assert len(server.requests) == 1 + 6


@pytest.mark.parametrize("size", [9_000, 20_000])
@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}], ids=["plain", "unpacked"])
def test_an_answer_up_to_the_limit_is_whole_and_a_larger_one_is_none(
    driven: DrivenTransport, small_answers: None, size: int, headers: dict[str, str]
) -> None:
    with ScriptedServer(large(size, **headers)) as server:
        answer = driven.ask(QUERY, account(server.url))

    if size < answers.LARGEST_ANSWER:
        assert isinstance(answer, Response)
        assert answer.content == large(size).content
    else:
        assert isinstance(answer, NoResponse)
        assert (answer.reason, answer.may_have_left) == ("the answer was too large", True)
