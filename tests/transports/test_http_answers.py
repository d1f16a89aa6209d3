"""Answers that are too long, too slow, or that tell the key: the same over both transports."""

from __future__ import annotations

import base64
import gzip
import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError, ServiceUnavailableError, UnknownOutcomeError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.services.wire import NoResponse, Request, Response
from airflow_provider_imagetasks.tasks import ImageRequest
from airflow_provider_imagetasks.transports import http as transport
from tests.driven_transports import TRANSPORTS, DrivenTransport, account
from tests.scripted_server import Reply, ScriptedServer, Trickle

SUBMISSION = Request(method="POST", path="/openai/images/generations", body={"prompt": "a red kite"})
QUERY = Request(method="GET", path="/api/v1/jobs/recordInfo")
KEY = "sk-no/body+may=see?this"
BASE64_KEY = base64.b64encode(KEY.encode()).decode()


@pytest.fixture(params=TRANSPORTS)
def driven(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> DrivenTransport:
    """Each transport in turn, in frozen time and without proxies."""
    monkeypatch.setenv("NO_PROXY", "*")
    one = DrivenTransport(request.param)
    one.freeze_time(monkeypatch)
    return one


def with_key(base_url: str, key: str = KEY) -> Account:
    return Account(conn_id="mine", service="acedatacloud", base_url=base_url, key=key)


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(KEY, id="plain"),
        pytest.param(f"Bearer {KEY}", id="as the header"),
        pytest.param(quote(KEY, safe=""), id="in a URL"),
        pytest.param(quote(KEY, safe="").lower(), id="in a URL, lower case"),
        pytest.param(BASE64_KEY, id="base64"),
        pytest.param(BASE64_KEY.rstrip("="), id="base64 without padding"),
        pytest.param(KEY.replace("/", "\\/"), id="as PHP writes JSON"),
    ],
)
@pytest.mark.parametrize("status", [200, 401])
def test_an_answer_that_repeats_the_key_comes_without_it(driven: DrivenTransport, told: str, status: int) -> None:
    body = f'{{"error": {{"code": "invalid_token", "message": "no account has {told}, sorry"}}}}'.encode()
    with ScriptedServer(Reply(body, status=status), Reply(body, status=status)) as server:
        answer = driven.ask(SUBMISSION, with_key(server.url))
        error = driven.outcome(AceDataCloud().get_task("task-1"), with_key(server.url))

    assert isinstance(answer, Response)
    assert told.encode() not in answer.content
    assert answer.json()["error"]["message"] == f"no account has {'Bearer ' if 'Bearer' in told else ''}***, sorry"
    assert "no account has" in error.message
    assert KEY not in str(error)


def test_the_headers_of_an_answer_come_without_the_key_too(driven: DrivenTransport) -> None:
    moved = Reply(b"", status=302, headers={"Location": f"https://login.example/{quote(KEY, safe='')}/x", "X-You": KEY})
    with ScriptedServer(moved, moved) as server:
        answer = driven.ask(SUBMISSION, with_key(server.url))
        error = driven.outcome(AceDataCloud().get_task("task-1"), with_key(server.url))

    assert isinstance(answer, Response)
    assert (answer.headers["location"], answer.headers["x-you"]) == ("https://login.example/***/x", "***")
    assert "https://login.example/***/x" in error.message


def test_a_compressed_answer_comes_without_the_key_too(driven: DrivenTransport) -> None:
    body = gzip.compress(json.dumps({"told": KEY}).encode())
    with ScriptedServer(Reply(body, headers={"Content-Encoding": "gzip"})) as server:
        answer = driven.ask(SUBMISSION, with_key(server.url))

    assert isinstance(answer, Response)
    assert answer.json() == {"told": "***"}


def test_a_placeholder_for_a_key_leaves_answers_as_they_are(driven: DrivenTransport) -> None:
    with ScriptedServer(Reply({"id": "local-1", "local": True})) as server:
        answer = driven.ask(SUBMISSION, with_key(server.url, "local"))

    assert isinstance(answer, Response)
    assert answer.json() == {"id": "local-1", "local": True}


@pytest.mark.parametrize("before", [0.0, 0.1])
@pytest.mark.parametrize("request_", [SUBMISSION, QUERY], ids=["submission", "query"])
def test_an_answer_that_trickles_ends_when_the_request_may_take_no_longer(
    driven: DrivenTransport, request_: Request, before: float
) -> None:
    with ScriptedServer(Trickle(before=before)) as server:
        started = time.monotonic()
        answer = driven.ask(request_, account(server.url, request_timeout=0.2))
        took = time.monotonic() - started

    assert isinstance(answer, NoResponse)
    assert (answer.reason, answer.may_have_left) == ("the answer took too long", True)
    # In workers the time counts anew once the answer begins, so that a long upload does not use it up.
    assert 0.15 <= took < 2
    assert len(server.requests) == 1


def test_a_submission_whose_answer_trickles_has_an_unknown_outcome(driven: DrivenTransport) -> None:
    with ScriptedServer(Trickle()) as server:
        flow = AceDataCloud().submit(ImageRequest(prompt="a red kite", model="gpt-image-2"))
        error = driven.outcome(flow, account(server.url, request_timeout=0.2))

    assert type(error) is UnknownOutcomeError
    assert "took too long" in error.message


def large(size: int, **headers: str) -> Reply:
    body = json.dumps({"id": "task-1", "padding": "x" * size}).encode()
    return Reply(gzip.compress(body) if "Content-Encoding" in headers else body, headers=headers)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(large(20_000), id="plain"),
        pytest.param(large(200_000, **{"Content-Encoding": "gzip"}), id="unpacked"),
    ],
)
def test_an_answer_that_is_too_large_is_none(
    driven: DrivenTransport, answer: Reply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LARGEST_ANSWER", 10_000)
    with ScriptedServer(answer) as server:
        reported = driven.ask(QUERY, account(server.url))

    assert isinstance(reported, NoResponse)
    assert (reported.reason, reported.may_have_left) == ("the answer was too large", True)


def test_what_an_answer_that_is_too_large_means_depends_on_the_request(
    driven: DrivenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LARGEST_ANSWER", 10_000)
    with ScriptedServer(*[large(20_000)] * 6) as server:
        read: Any = driven.outcome(AceDataCloud().get_task("task-1"), account(server.url))
        flow = AceDataCloud().submit(ImageRequest(prompt="a red kite", model="gpt-image-2"))
        submitted: ImageTaskError = driven.outcome(flow, account(server.url))

    assert (type(read), len(server.requests)) == (ServiceUnavailableError, 6)
    assert type(submitted) is UnknownOutcomeError


def test_an_answer_up_to_the_limit_is_whole(driven: DrivenTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = large(9_000)
    monkeypatch.setattr(transport, "LARGEST_ANSWER", len(reply.content))
    with ScriptedServer(reply) as server:
        answer = driven.ask(QUERY, account(server.url))

    assert isinstance(answer, Response)
    assert answer.content == reply.content
