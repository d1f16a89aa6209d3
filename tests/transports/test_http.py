"""One suite over both transports: the same script gives the same results and the same sequence of requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_imagetasks import __version__
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
from airflow_provider_imagetasks.services.wire import Flow, Request
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest, TaskState
from tests.driven_transports import KEY, STARTED_AT, SUBMISSION, TRANSPORTS, DrivenTransport, account, comparable
from tests.scripted_server import (
    CutAfterReading,
    CutBeforeReading,
    FormField,
    ReceivedRequest,
    Reply,
    ScriptedServer,
    Step,
)

ACEDATACLOUD, AIGPTIMAGE = AceDataCloud(), AiGptImage()
REQUEST = ImageRequest(prompt="a red kite at 5 €", model="gpt-image-2", options={"n": 2})

# What a form must not trip over: all bytes, line ends, and what looks like the end of the form.
BYTES = bytes(range(256)) + b"\r\n--\r\n\r\n--boundary--\r\n"
PHOTO = ImageFile(name="images.jpg", media_type="image/jpeg", content=BYTES)
OTHER = ImageFile(name="images.png", media_type="image/png", content=b"\x89PNG" + BYTES * 300)
MASK = ImageFile(name="mask.png", media_type="image/png", content=b"")
EDIT = ImageRequest(
    prompt='make it "winter"\r\nat 5 € & more; ü',
    model="gpt-image-2",
    options={"n": 2, "quality": "high", "extra": {"a": [1, None]}},
    images=[PHOTO, OTHER],
    mask=MASK,
)
ACCEPTED = Reply({"task_id": "task-1"})
CREATED = Reply({"code": 200, "msg": "success", "data": {"taskId": "task-1"}})
RECORD = Reply({"id": "task-1", "finished_at": 5.5, "response": {"data": [{"url": "https://x.example/a.png"}]}})
PAGE = Reply(b"<html>a proxy's page</html>", headers={"Content-Type": "text/html"})
BROKEN = Reply({"error": {"code": "api_error", "message": "no luck"}}, status=500)
HALF_AN_ANSWER = CutAfterReading(b'HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{"task_id": "')
NOT_HTTP = CutAfterReading(b"SSH-2.0-OpenSSH_9.9\r\n")
BAD_GZIP = Reply(b"not compressed", headers={"Content-Encoding": "gzip"})
UNAVAILABLE = Reply(b"try later", status=503)
USED_UP = Reply({"error": {"code": "used_up", "message": "no balance"}}, status=403)
NO_CREDITS = Reply({"code": 402, "msg": "no credits"})


def limited(retry_after: str) -> Reply:
    return Reply({"error": {"code": "too_many_requests"}}, status=429, headers={"Retry-After": retry_after})


def submit() -> Flow[Any]:
    return ACEDATACLOUD.submit(REQUEST, key="derived")


def read() -> Flow[Any]:
    return ACEDATACLOUD.get_task("task-1")


def edit() -> Flow[Any]:
    return ACEDATACLOUD.submit(EDIT, key="derived")


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
    :param pauses: the pause before each repetition, without chance.
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
        submit_with_key,
        [CutAfterReading(), NO_CREDITS],
        UnknownOutcomeError,
        pauses=[1],
        attributes={"billed": "unknown"},
    ),
    "edit": Scenario(edit, [ACCEPTED]),
    "edit, slowed down": Scenario(edit, [limited("3"), limited("3"), ACCEPTED], pauses=[3, 3]),
    "edit, refused": Scenario(edit, [USED_UP], QuotaExceededError),
    "edit, cut": Scenario(edit, [CutAfterReading()], UnknownOutcomeError),
    "edit, slowed down, then cut": Scenario(
        edit, [limited("3"), CutAfterReading(b"HTTP/1.1 2")], UnknownOutcomeError, pauses=[3]
    ),
    "edit, a page": Scenario(edit, [Reply(b"<html>", status=502)], UnknownOutcomeError),
    "jobs: submit, refused": Scenario(
        submit_with_key, [NO_CREDITS], QuotaExceededError, attributes={"billed": "no"}
    ),
}  # fmt: skip


def received(request: ReceivedRequest) -> tuple[Any, ...]:
    """Return what of a request has to be the same over both transports, the texts of a form in any order."""
    ours = [request.headers.get(name) for name in ("Authorization", "User-Agent", "Accept", "X-Request-ID", "Cookie")]
    media_type, _, _ = request.headers.get("Content-Type", "").partition(";")
    form = sorted(request.form, key=lambda field: field.name) if media_type.startswith("multipart/") else ()
    return request.method, request.path, request.query, request.body, ours, media_type, form


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_a_flow_ends_as_it_should_and_over_both_transports_alike(
    scenario: Scenario, drive_with: Callable[[str], DrivenTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: low)
    seen = {}
    for kind in TRANSPORTS:
        driven = drive_with(kind)
        with ScriptedServer(*scenario.script) as server:
            outcome = driven.outcome(scenario.flow(), account(server.url))
        requests = [received(request) for request in server.requests]
        seen[kind] = (comparable(outcome), requests)

        assert (type(outcome) if isinstance(outcome, ImageTaskError) else None) is scenario.expected, outcome
        for name, value in scenario.attributes.items():
            assert getattr(outcome, name) == value
        reset = sum(isinstance(step, CutBeforeReading) for step in scenario.script)
        assert len(requests) == len(scenario.script) - reset
        assert all(request == requests[0] for request in requests)
        assert driven.pauses == list(scenario.pauses)

    assert seen["requests"] == seen["aiohttp"]


def test_a_refused_connection_is_tried_again_and_was_not_billed(driven: DrivenTransport) -> None:
    with ScriptedServer() as server:
        closed = server.url

    error = driven.outcome(submit(), account(closed))

    assert type(error) is ServiceUnavailableError
    assert (error.billed, error.retryable, len(driven.pauses)) == ("no", True, 4)
    assert "refused" in error.message or "Connect call failed" in error.message


def test_a_form_arrives_as_it_was_meant(driven: DrivenTransport) -> None:
    with ScriptedServer(ACCEPTED) as server:
        task = driven.run(edit(), account(server.url))

    (request,) = server.requests
    texts = sorted((field for field in request.form if field.filename is None), key=lambda field: field.name)
    files = [field for field in request.form if field.filename is not None]
    assert task.id == "task-1"
    assert (request.method, request.path) == ("POST", "/openai/images/edits")
    assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert [(field.name, field.content.decode()) for field in texts] == [
        ("async", "true"),
        ("extra", '{"a": [1, null]}'),
        ("model", "gpt-image-2"),
        ("n", "2"),
        ("prompt", EDIT.prompt),
        ("quality", "high"),
        ("size", "auto"),
        ("trace_id", "derived"),
    ]
    assert files == [
        FormField(name="image", content=PHOTO.content, filename="images.jpg", media_type="image/jpeg"),
        FormField(name="image", content=OTHER.content, filename="images.png", media_type="image/png"),
        FormField(name="mask", content=b"", filename="mask.png", media_type="image/png"),
    ]


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
    flows = (submit, read, read_jobs, submit_with_key)
    with ScriptedServer(ACCEPTED, RECORD, Reply({"code": 404}, status=404), CREATED) as server:
        submitted, finished, missing, _ = (driven.run(flow(), account(server.url)) for flow in flows)

    assert (submitted.id, submitted.prompt) == ("task-1", "a red kite at 5 €")
    assert (finished.state, finished.images[0].url) == (TaskState.SUCCEEDED, "https://x.example/a.png")
    assert missing.state is TaskState.NOT_FOUND
    assert server.requests[0].body["prompt"] == "a red kite at 5 €"
    assert server.requests[2].query == {"taskId": ["task/1 +ä&x=%2F"]}
    assert server.requests[3].headers["X-Request-ID"] == "derived"
