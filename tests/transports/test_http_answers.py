"""Answers that are too long or too slow: none, over both transports."""

from __future__ import annotations

import gzip
import json
import time

import pytest

from airflow_provider_imagetasks.exceptions import ServiceUnavailableError, UnknownOutcomeError
from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.services.wire import NoResponse, Request, Response
from airflow_provider_imagetasks.tasks import ImageRequest
from airflow_provider_imagetasks.transports import http as transport
from tests.driven_transports import SUBMISSION, DrivenTransport, account
from tests.scripted_server import Reply, ScriptedServer, Trickle

QUERY = Request(method="GET", path="/api/v1/jobs/recordInfo")
REQUEST = ImageRequest(prompt="a red kite", model="gpt-image-2")


@pytest.fixture
def small_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transports that take at most 10,000 bytes."""
    monkeypatch.setattr(transport, "LARGEST_ANSWER", 10_000)


def large(size: int, **headers: str) -> Reply:
    body = json.dumps({"id": "task-1", "padding": "x" * size}).encode()
    return Reply(gzip.compress(body) if "Content-Encoding" in headers else body, headers=headers)


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
        error = driven.outcome(AceDataCloud().submit(REQUEST), account(server.url, request_timeout=0.2))

    assert type(error) is UnknownOutcomeError
    assert "took too long" in error.message


@pytest.mark.parametrize("size", [9_000, 20_000])
@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}], ids=["plain", "unpacked"])
def test_an_answer_up_to_the_limit_is_whole_and_a_larger_one_is_none(
    driven: DrivenTransport, small_answers: None, size: int, headers: dict[str, str]
) -> None:
    with ScriptedServer(large(size, **headers)) as server:
        answer = driven.ask(QUERY, account(server.url))

    if size < transport.LARGEST_ANSWER:
        assert isinstance(answer, Response)
        assert answer.content == large(size).content
    else:
        assert isinstance(answer, NoResponse)
        assert (answer.reason, answer.may_have_left) == ("the answer was too large", True)


def test_what_an_answer_that_is_too_large_means_depends_on_the_request(
    driven: DrivenTransport, small_answers: None
) -> None:
    with ScriptedServer(*[large(20_000)] * 6) as server:
        read = driven.outcome(AceDataCloud().get_task("task-1"), account(server.url))
        submitted = driven.outcome(AceDataCloud().submit(REQUEST), account(server.url))

    assert (type(read), len(server.requests)) == (ServiceUnavailableError, 6)
    assert type(submitted) is UnknownOutcomeError
