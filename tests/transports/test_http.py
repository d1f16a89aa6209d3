"""One suite over both transports: the same script gives the same results and the same sequence of requests."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Sequence
from email.utils import formatdate
from operator import itemgetter
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
from airflow_provider_imagetasks.services.acedatacloud import AceDataCloud
from airflow_provider_imagetasks.services.aigptimage import AiGptImage
from airflow_provider_imagetasks.services.wire import Flow, NoResponse, Request, Response, ToolCall, ask
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest, TaskState
from airflow_provider_imagetasks.transports import answers, open_async_transport, open_transport
from tests.driven_transports import KEY, STARTED_AT, SUBMISSION, TRANSPORTS, DrivenTransport, account, comparable
from tests.scripted_server import CutAfterReading, CutBeforeReading, ReceivedRequest, Reply, ScriptedServer, Step

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
TWO_AGES = CutAfterReading(b'HTTP/1.1 200 OK\r\nAge: 30\r\nAge: 60\r\nConnection: close\r\n\r\n{"task_id": "task-1"}')
TWO_PAUSES = CutAfterReading(b"HTTP/1.1 429 Slowly\r\nRetry-After: 9\r\nRetry-After: 4\r\nConnection: close\r\n\r\n{}")
POLICY = {"Content-Security-Policy": "x" * 9_000, "Set-Cookie": "y" * 60_000}
UNAVAILABLE = Reply(b"try later", status=503)
USED_UP = Reply({"error": {"code": "used_up", "message": "no balance"}}, status=403)
NO_CREDITS = Reply({"code": 402, "msg": "no credits"})


def limited(retry_after: str) -> Reply:
    return Reply({"error": {"code": "too_many_requests"}}, status=429, headers={"Retry-After": retry_after})


FLOWS: dict[str, Callable[[], Flow[Any]]] = {
    "submit": lambda: ACEDATACLOUD.submit(REQUEST, key="derived"),
    "read": lambda: ACEDATACLOUD.get_task("task-1"),
    "edit": lambda: ACEDATACLOUD.submit(EDIT, key="derived"),
    "jobs: submit with a key": lambda: AIGPTIMAGE.submit(REQUEST, key="derived"),
    "jobs: submit": lambda: AIGPTIMAGE.submit(REQUEST),
    "jobs: read": lambda: AIGPTIMAGE.get_task("task/1 +ä&x=%2F"),
}
CUT, RESET = CutAfterReading(), CutBeforeReading()
TWICE, GONE = (1, 2), (1, 2, 4, 8)


# A flow, what the server does in turn, the class of the error if it ends in one, and the pauses without chance.
SCENARIOS: list[tuple[str, list[Step], type[ImageTaskError] | None, Sequence[float]]] = [
    ("submit", [ACCEPTED], None, ()),
    ("submit", [limited("7"), limited("3"), ACCEPTED], None, (7, 3)),
    ("submit", [limited(formatdate(STARTED_AT + 9, usegmt=True)), ACCEPTED], None, (9,)),
    ("submit", [TWO_PAUSES, ACCEPTED], None, (4,)),
    ("submit", [TWO_AGES], UnknownOutcomeError, ()),
    ("submit", [limited("3600")], RateLimitError, ()),
    ("submit", [Reply(ACCEPTED.body, headers=POLICY)], None, ()),
    ("jobs: submit", [Reply(CREATED.body, headers=POLICY)], None, ()),
    ("read", [Reply(RECORD.body, headers=POLICY)], None, ()),
    ("submit", [Reply(ACCEPTED.body, headers={"X-Long": "x" * 70_000})], UnknownOutcomeError, ()),
    *(("submit", [step], UnknownOutcomeError, ()) for step in (BROKEN, RESET, CUT, HALF_AN_ANSWER, NOT_HTTP)),
    *(("submit", [step], UnknownOutcomeError, ()) for step in (BAD_GZIP, PAGE, Reply(b""))),
    ("submit", [limited("2"), CUT], UnknownOutcomeError, (2,)),
    ("submit", [Reply({"error": {"code": "invalid_token"}}, status=401)], AuthenticationError, ()),
    ("read", [RECORD], None, ()),
    ("read", [UNAVAILABLE, CUT, HALF_AN_ANSWER, PAGE, RECORD], None, GONE),
    ("read", [RESET, NOT_HTTP, BAD_GZIP, RECORD], None, (1, 2, 4)),
    ("read", [UNAVAILABLE] * 5, ServiceUnavailableError, GONE),
    ("read", [CUT] * 5, ServiceUnavailableError, GONE),
    ("read", [PAGE] * 5, ProtocolError, GONE),
    ("read", [Reply({})], None, ()),
    ("jobs: read", [Reply({"code": 200, "data": {"state": "waiting"}})], None, ()),
    ("jobs: read", [UNAVAILABLE, CUT, Reply({"code": 404}, status=404)], None, TWICE),
    ("jobs: submit", [CUT], UnknownOutcomeError, ()),
    ("jobs: submit with a key", [CUT, UNAVAILABLE, CREATED], None, TWICE),
    ("jobs: submit with a key", [CUT, NO_CREDITS], UnknownOutcomeError, (1,)),
    ("jobs: submit with a key", [NO_CREDITS], QuotaExceededError, ()),
    ("edit", [ACCEPTED], None, ()),
    ("edit", [limited("3"), limited("3"), ACCEPTED], None, (3, 3)),
    ("edit", [USED_UP], QuotaExceededError, ()),
    ("edit", [CUT], UnknownOutcomeError, ()),
    ("edit", [limited("3"), CutAfterReading(b"HTTP/1.1 2")], UnknownOutcomeError, (3,)),
    ("edit", [Reply(b"<html>", status=502)], UnknownOutcomeError, ()),
]
BILLED = {UnknownOutcomeError: "unknown", RateLimitError: "no", QuotaExceededError: "no"}


def received(request: ReceivedRequest) -> tuple[Any, ...]:
    """Return what of a request has to be the same over both transports, the texts of a form in any order."""
    ours = [request.headers.get(name) for name in ("Authorization", "User-Agent", "Accept", "X-Request-ID", "Cookie")]
    media_type, _, _ = request.headers.get("Content-Type", "").partition(";")
    form = sorted(request.form, key=itemgetter(0)) if media_type.startswith("multipart/") else ()
    return request.method, request.path, request.query, request.body, ours, media_type, form


@pytest.mark.parametrize(("flow", "script", "expected", "pauses"), SCENARIOS)
def test_a_flow_ends_as_it_should_and_over_both_transports_alike(
    flow: str,
    script: list[Step],
    expected: type[ImageTaskError] | None,
    pauses: Sequence[float],
    drive_with: Callable[[str], DrivenTransport],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: low)
    seen = {}
    for kind in TRANSPORTS:
        driven = drive_with(kind)
        with ScriptedServer(*script) as server:
            outcome = driven.outcome(FLOWS[flow](), account(server.url))
        requests = [received(request) for request in server.requests]
        seen[kind] = (comparable(outcome), requests)

        assert (type(outcome) if isinstance(outcome, ImageTaskError) else None) is expected, outcome
        assert expected not in BILLED or outcome.billed == BILLED[expected]
        assert requests == requests[:1] * (len(script) - script.count(RESET))
        assert driven.pauses == list(pauses)

    assert seen["requests"] == seen["aiohttp"]


def test_a_refused_connection_is_tried_again_and_was_not_billed(driven: DrivenTransport) -> None:
    with ScriptedServer() as server:
        closed = server.url

    error = driven.outcome(FLOWS["submit"](), account(closed))

    assert type(error) is ServiceUnavailableError
    assert (error.billed, error.retryable, len(driven.pauses)) == ("no", True, 4)
    assert "refused" in error.message or "Connect call failed" in error.message


def test_a_form_arrives_as_it_was_meant(driven: DrivenTransport) -> None:
    with ScriptedServer(ACCEPTED) as server:
        task = driven.run(FLOWS["edit"](), account(server.url))

    (request,) = server.requests
    texts = {name: content.decode() for name, filename, _, content in request.form if filename is None}
    assert task.id == "task-1"
    assert (request.method, request.path) == ("POST", "/openai/images/edits")
    assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    options = {"n": "2", "quality": "high", "extra": '{"a": [1, null]}', "size": "auto"}
    ours = {"async": "true", "model": "gpt-image-2", "prompt": EDIT.prompt, "trace_id": "derived"}
    assert texts == {**ours, **options}
    assert len(request.form) == len(texts) + 3
    assert [field for field in request.form if field[1] is not None] == [
        (name, file.name, file.media_type, file.content)
        for name, file in (("image", PHOTO), ("image", OTHER), ("mask", MASK))
    ]


def test_every_request_names_package_version_and_key_which_no_netrc_file_replaces(
    driven: DrivenTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\ndefault login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with ScriptedServer(*[Reply({})] * 3) as server:
        driven.ask(SUBMISSION, account(server.url))
        driven.ask(Request(method="GET", path="/"), account(server.url))
        driven.ask(SUBMISSION, account(server.url, key=None))

    for request in server.requests:
        assert request.headers["User-Agent"] == f"airflow-provider-imagetasks/{__version__}"
        assert request.headers["Accept"] == "application/json"
    assert server.requests[0].headers["Content-Type"] == "application/json"
    assert [request.headers.get("Authorization") for request in server.requests] == [f"Bearer {KEY}"] * 2 + [None]


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_not_followed_and_the_key_stays_and_only_one_that_repeats_the_request_proves_that_none_was_taken(
    driven: DrivenTransport, status: int
) -> None:
    with ScriptedServer() as elsewhere:
        moved = Reply(b"", status=status, headers={"Location": f"{elsewhere.url}/openai/tasks"})
        with ScriptedServer(moved, moved, moved) as server:
            flows = ("read", "jobs: read", "submit")
            errors = [driven.outcome(FLOWS[flow](), account(server.url)) for flow in flows]

    at_submit = ProtocolError if status in (307, 308) else UnknownOutcomeError
    assert [type(error) for error in errors] == [ProtocolError, ProtocolError, at_submit]
    assert all(elsewhere.url in error.message for error in errors)
    assert (len(server.requests), elsewhere.requests) == (3, [])


@pytest.mark.parametrize(
    "location",
    ["http://[", "/caf\u00e9", "//", "http://\u00e9\udcff.example/", "http://x:99999/", "javascript:0", "\x01"],
)
def test_wherever_a_redirect_leads_it_is_an_answer_with_all_that_it_says(
    driven: DrivenTransport, location: str
) -> None:
    headers = {"Location": location.encode("latin-1", "replace").decode("latin-1")}
    moved, taken = (Reply(body, status=302, headers=headers) for body in ({"moved": True}, ACCEPTED.body))
    with ScriptedServer(moved, taken) as server:
        answer = driven.ask(Request(method="GET", path="/"), account(server.url))
        submitted = driven.outcome(FLOWS["submit"](), account(server.url))

    assert isinstance(answer, Response)
    assert (answer.status, answer.json()) == (302, {"moved": True})
    assert submitted.id == "task-1"


def test_what_a_redirect_holds_is_unpacked_within_bounds(
    driven: DrivenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "LARGEST_ANSWER", 1024 * 1024)
    bomb = gzip.compress(bytes(8 * 1024 * 1024))
    headers = {"Location": "/", "Content-Encoding": "gzip"}
    with ScriptedServer(Reply(bomb, status=302, headers=headers)) as server:
        answer = driven.ask(Request(method="GET", path="/"), account(server.url))

    assert isinstance(answer, NoResponse)
    assert answer.reason == "the answer was too large"


def test_cookies_are_not_kept(driven: DrivenTransport) -> None:
    limited = Reply({}, status=503, headers={"Set-Cookie": "session=1; Path=/"})
    with ScriptedServer(limited, Reply({})) as server:
        driven.run(FLOWS["read"](), account(server.url))

    assert [request.headers.get("Cookie") for request in server.requests] == [None, None]


def test_what_is_sent_and_what_comes_back_is_whole(driven: DrivenTransport) -> None:
    flows = ("submit", "read", "jobs: read", "jobs: submit with a key")
    with ScriptedServer(ACCEPTED, RECORD, Reply({"code": 404}, status=404), CREATED) as server:
        submitted, finished, missing, _ = (driven.run(FLOWS[flow](), account(server.url)) for flow in flows)

    assert (submitted.id, submitted.prompt) == ("task-1", "a red kite at 5 €")
    assert (finished.state, finished.images[0].url) == (TaskState.SUCCEEDED, "https://x.example/a.png")
    assert missing.state is TaskState.NOT_FOUND
    assert server.requests[0].body["prompt"] == "a red kite at 5 €"
    assert server.requests[2].query == {"taskId": ["task/1 +ä&x=%2F"]}
    assert server.requests[3].headers["X-Request-ID"] == "derived"


@pytest.mark.parametrize(
    ("service", "call"), [("acedatacloud_mcp", Request(method="GET", path="/")), ("acedatacloud", ToolCall(tool="a"))]
)
async def test_an_http_request_is_no_tool_call(service: str, call: Request | ToolCall) -> None:
    mine = account("http://127.0.0.1:1", service=service)

    async with open_async_transport(mine) as transport:
        with pytest.raises(TypeError, match="is_tool_server"):
            await transport.run(ask(call))
    with open_transport(mine) as on_worker, pytest.raises(TypeError, match="is_tool_server"):
        await asyncio.to_thread(on_worker.run, ask(call))
