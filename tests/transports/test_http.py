"""One suite over both transports: the same script gives the same results and the same sequence of requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.polling.waiting import Watch, wait
from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.services.aigptimage import AiGptImage
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.tasks import ImageRequest, TaskState
from tests.driven_transports import STARTED_AT, TRANSPORTS, DrivenTransport, account, comparable
from tests.scripted_server import CutAfterReading, CutBeforeReading, Hang, Reply, ScriptedServer, Step

ACEDATACLOUD, AIGPTIMAGE = AceDataCloud(), AiGptImage()
REQUEST = ImageRequest(prompt="a red kite at 5 €", model="gpt-image-2", options={"n": 2})

ACCEPTED = Reply({"task_id": "task-1"})
CREATED = Reply({"code": 200, "msg": "success", "data": {"taskId": "task-1"}})
RECORD = Reply({"id": "task-1", "finished_at": 5.5, "response": {"data": [{"url": "https://x.example/a.png"}]}})
PAGE = Reply(b"<html>a proxy's page</html>", headers={"Content-Type": "text/html"})
BROKEN = Reply({"error": {"code": "api_error", "message": "no luck"}}, status=500)
HALF_AN_ANSWER = CutAfterReading(b'HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{"task_id": "')
NOT_HTTP = CutAfterReading(b"SSH-2.0-OpenSSH_9.9\r\n")
BAD_GZIP = Reply(b"not compressed", headers={"Content-Encoding": "gzip"})
UNAVAILABLE = Reply(b"try later", status=503)


def limited(retry_after: str) -> Reply:
    return Reply({"error": {"code": "too_many_requests"}}, status=429, headers={"Retry-After": retry_after})


def submit() -> Flow[Any]:
    return ACEDATACLOUD.submit(REQUEST, key="derived")


def read() -> Flow[Any]:
    return ACEDATACLOUD.get_task("task-1")


def submit_with_key() -> Flow[Any]:
    return AIGPTIMAGE.submit(REQUEST, key="derived")


def submit_without_key() -> Flow[Any]:
    return AIGPTIMAGE.submit(REQUEST)


def read_jobs() -> Flow[Any]:
    return AIGPTIMAGE.get_task("task/1 +ä&x=%2F")


@dataclass(frozen=True)
class Scenario:
    """What the server does, and what has to come of it.

    :param expected: the class of the error, or None for success.
    :param pauses: the least pause before each repetition.
    """

    flow: Callable[[], Flow[Any]]
    script: Sequence[Step]
    expected: type[ImageTaskError] | None = None
    pauses: Sequence[float] = ()
    attributes: dict[str, Any] = field(default_factory=dict)


SCENARIOS = {
    "submit": Scenario(submit, [ACCEPTED]),
    "submit, slowed down in seconds": Scenario(submit, [limited("7"), limited("3"), ACCEPTED], pauses=[7, 3]),
    "submit, slowed down by date": Scenario(
        submit, [limited(formatdate(STARTED_AT + 9, usegmt=True)), ACCEPTED], pauses=[9]
    ),
    "submit, slowed down too long": Scenario(
        submit, [limited("3600")], RateLimitError, attributes={"retry_after": 3600.0, "billed": "no", "retryable": True}
    ),
    "submit, broken": Scenario(submit, [BROKEN], UnknownOutcomeError, attributes={"code": "api_error"}),
    "submit, cut before": Scenario(submit, [CutBeforeReading()], UnknownOutcomeError),
    "submit, cut after": Scenario(submit, [CutAfterReading()], UnknownOutcomeError, attributes={"trace_id": "derived"}),
    "submit, cut within the answer": Scenario(submit, [HALF_AN_ANSWER], UnknownOutcomeError),
    "submit, cut after a slow-down": Scenario(
        submit, [limited("2"), CutAfterReading()], UnknownOutcomeError, pauses=[2]
    ),
    "submit, no HTTP": Scenario(submit, [NOT_HTTP], UnknownOutcomeError),
    "submit, not compressed": Scenario(submit, [BAD_GZIP], UnknownOutcomeError),
    "submit, a page": Scenario(submit, [PAGE], UnknownOutcomeError),
    "submit, nothing": Scenario(submit, [Reply(b"")], UnknownOutcomeError),
    "submit, bad key": Scenario(
        submit, [Reply({"error": {"code": "invalid_token"}}, status=401)], AuthenticationError
    ),
    "read": Scenario(read, [RECORD]),
    "read, broken for a while": Scenario(
        read, [UNAVAILABLE, CutAfterReading(), HALF_AN_ANSWER, PAGE, RECORD], pauses=[1, 2, 4, 8]
    ),
    "read, reset for a while": Scenario(read, [CutBeforeReading(), NOT_HTTP, BAD_GZIP, RECORD], pauses=[1, 2, 4]),
    "read, broken for good": Scenario(read, [UNAVAILABLE] * 5, ServiceUnavailableError, pauses=[1, 2, 4, 8]),
    "read, cut for good": Scenario(read, [CutAfterReading()] * 5, ServiceUnavailableError, pauses=[1, 2, 4, 8]),
    "read, a page for good": Scenario(read, [PAGE] * 5, ProtocolError, pauses=[1, 2, 4, 8]),
    "read, not found": Scenario(read, [Reply({})]),
    "jobs: read": Scenario(read_jobs, [Reply({"code": 200, "data": {"state": "waiting"}})]),
    # No plain cut here: aiohttp by itself repeats a GET once whose connection was cut, which is free.
    "jobs: read, broken for a while": Scenario(
        read_jobs, [UNAVAILABLE, HALF_AN_ANSWER, Reply({"code": 404}, status=404)], pauses=[1, 2]
    ),
    "jobs: submit without a key, cut": Scenario(submit_without_key, [CutAfterReading()], UnknownOutcomeError),
    "jobs: submit, cut and repeated": Scenario(
        submit_with_key, [CutAfterReading(), UNAVAILABLE, CREATED], pauses=[1, 2]
    ),
    "jobs: submit, cut and then refused": Scenario(
        submit_with_key, [CutAfterReading(), Reply({"code": 402, "msg": "no credits"})], UnknownOutcomeError, pauses=[1]
    ),
    "jobs: submit, refused": Scenario(
        submit_with_key, [Reply({"code": 402, "msg": "no credits"})], QuotaExceededError, attributes={"billed": "no"}
    ),
}  # fmt: skip


@pytest.fixture(params=TRANSPORTS)
def driven(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> DrivenTransport:
    """Each transport in turn, in frozen time and without proxies."""
    monkeypatch.setenv("NO_PROXY", "*")
    one = DrivenTransport(request.param)
    one.freeze_time(monkeypatch)
    return one


@pytest.mark.parametrize("scenario", [pytest.param(scenario, id=name) for name, scenario in SCENARIOS.items()])
def test_a_flow_ends_as_it_should(driven: DrivenTransport, scenario: Scenario) -> None:
    with ScriptedServer(*scenario.script) as server:
        outcome = driven.outcome(scenario.flow(), account(server.url))

    if scenario.expected is None:
        assert not isinstance(outcome, ImageTaskError), outcome
    else:
        assert type(outcome) is scenario.expected
    for name, value in scenario.attributes.items():
        assert getattr(outcome, name) == value
    reset = sum(isinstance(step, CutBeforeReading) for step in scenario.script)
    assert len(server.requests) == len(scenario.script) - reset
    assert (
        len({(request.method, request.path, str(request.query), str(request.body)) for request in server.requests}) < 2
    )
    assert len(driven.pauses) == len(scenario.pauses)
    for pause, least in zip(driven.pauses, scenario.pauses, strict=True):
        assert least <= pause <= least + 1


@pytest.mark.parametrize("scenario", [pytest.param(scenario, id=name) for name, scenario in SCENARIOS.items()])
def test_both_transports_do_the_same(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    ours = ("Authorization", "User-Agent", "Accept", "Content-Type", "X-Request-ID", "Cookie")
    seen = {}
    for kind in TRANSPORTS:
        driven = DrivenTransport(kind)
        driven.freeze_time(monkeypatch)
        monkeypatch.setattr("random.uniform", lambda low, high: low)
        with ScriptedServer(*scenario.script) as server:
            outcome = comparable(driven.outcome(scenario.flow(), account(server.url)))
        asked = [
            (request.method, request.path, request.query, request.body, [request.headers.get(name) for name in ours])
            for request in server.requests
        ]
        seen[kind] = (outcome, asked, driven.pauses)

    assert seen["requests"] == seen["aiohttp"]


def test_an_unknown_outcome_is_kept_although_the_repetition_was_refused(driven: DrivenTransport) -> None:
    with ScriptedServer(CutAfterReading(), Reply({"code": 402, "msg": "no credits"})) as server:
        error = driven.outcome(submit_with_key(), account(server.url))

    assert type(error) is UnknownOutcomeError
    assert error.billed == "unknown"
    assert type(error.__cause__) is QuotaExceededError
    assert [request.headers["X-Request-ID"] for request in server.requests] == ["derived", "derived"]


def test_a_refused_connection_is_tried_again_and_was_not_billed(driven: DrivenTransport) -> None:
    with ScriptedServer() as server:
        closed = server.url

    error = driven.outcome(submit(), account(closed))

    assert type(error) is ServiceUnavailableError
    assert (error.billed, error.retryable, len(driven.pauses)) == ("no", True, 4)
    assert "refused" in error.message or "Connect call failed" in error.message


def test_a_server_that_hangs_leaves_the_outcome_unknown(driven: DrivenTransport) -> None:
    with ScriptedServer(Hang()) as server:
        error = driven.outcome(submit(), account(server.url, request_timeout=0.2))

    assert type(error) is UnknownOutcomeError
    assert "took too long" in error.message
    assert len(server.requests) == 1


def test_a_wait_runs_over_either_transport(driven: DrivenTransport) -> None:
    watch = Watch(
        image_task_ids=("task-1",), trace_id=None, asked_at=STARTED_AT, deadline=STARTED_AT + 600, poll_interval=10
    )
    script = [Reply({}), Reply({"id": "task-1"}), UNAVAILABLE, RECORD]
    with ScriptedServer(*script) as server:
        reason = driven.run(wait(watch, ACEDATACLOUD, Pace(None), first_pause=10), account(server.url))
        assert reason == "done"

    assert len(server.requests) == 4
    assert sum(driven.pauses) >= 10 + 8 + 8 + 1


def test_what_is_sent_and_what_comes_back_is_whole(driven: DrivenTransport) -> None:
    with ScriptedServer(ACCEPTED, RECORD, Reply({"code": 404}, status=404)) as server:
        submitted, finished, missing = (driven.run(flow(), account(server.url)) for flow in (submit, read, read_jobs))

    assert (submitted.id, submitted.prompt) == ("task-1", "a red kite at 5 €")
    assert (finished.state, finished.images[0].url) == (TaskState.SUCCEEDED, "https://x.example/a.png")
    assert missing.state is TaskState.NOT_FOUND
    assert server.requests[0].body["prompt"] == "a red kite at 5 €"
    assert server.requests[2].query == {"taskId": ["task/1 +ä&x=%2F"]}
