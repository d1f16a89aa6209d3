from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    RateLimitError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.wire import Flow, ToolAnswer, ToolCall, ask
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState
from airflow_provider_imagetasks.transports import open_async_transport, open_transport
from tests import driven_transports
from tests.driven_transports import KEY
from tests.polled_accounts import until
from tests.scripted_server import CutAfterReading, CutBeforeReading, Hang, ReceivedRequest, Reply, ScriptedServer, Step
from tests.tool_server_by_hand import ToolServer, says

SERVICE = get_service("acedatacloud_mcp")
TASK_ID = "0b6c2c4e-1111-4222-8333-444444444444"
account = partial(driven_transports.account, service="acedatacloud_mcp", request_timeout=30)


pytestmark = pytest.mark.usefixtures("no_pauses")
ACCEPTED = says({"task_id": TASK_ID})
FORGOTTEN = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "Session not found"}}


def submission() -> Flow[ImageTask]:
    return SERVICE.submit(ImageRequest(prompt="a red kite", model="gpt-image-2"), key="derived")


def outcome(flow: Flow[Any], account: Account) -> Any:
    """Return what a flow came to: its result, or its error, which never holds the key."""

    async def in_loop() -> Any:
        async with open_async_transport(account) as transport:
            return await transport.run(flow)

    found: Any
    try:
        found = asyncio.run(in_loop())
    except ImageTaskError as error:
        found = error
    assert KEY not in str(found)
    return found


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as scripted:
        yield scripted


def against(server: ScriptedServer, answers: Callable[[ReceivedRequest], Step], flow: Flow[Any], **fields: Any) -> Any:
    server.otherwise = answers
    return outcome(flow, account(f"{server.url}/mcp", **fields))


def test_the_key_is_sent_and_no_session_is_assumed_over_either_transport(server: ScriptedServer) -> None:
    tools = ToolServer(ACCEPTED)

    assert against(server, tools, submission()).id == TASK_ID
    assert tools.methods == ["initialize", "notifications/initialized", "tools/list", "tools/call"]
    with open_transport(account(f"{server.url}/mcp")) as transport:
        assert [transport.run(submission()).id for _ in range(2)] == [TASK_ID] * 2
    assert tools.methods.count("initialize") == 2
    assert {request.headers["Authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert {request.path for request in server.requests} == {"/mcp"}


def test_a_stream_of_events_is_an_answer_too_and_a_cookie_not_kept(server: ScriptedServer) -> None:
    tools = ToolServer(ACCEPTED)

    def stream(request: ReceivedRequest) -> Step:
        reply = tools(request)
        if not isinstance(reply, Reply) or not reply.body:
            return reply
        event = f"event: message\r\ndata: {json.dumps(reply.body)}\r\n\r\n".encode()
        return Reply(event, headers={**reply.headers, "Content-Type": "text/event-stream", "Set-Cookie": "a=b"})

    assert against(server, stream, submission()).id == TASK_ID
    assert not any("Cookie" in request.headers for request in server.requests)


TEXT, JSON = {"Content-Type": "text/html"}, {"Content-Type": "application/json"}
REFUSED_KEY = Reply({"error": f"invalid_token {KEY}"}, status=401)
REFUSED_BEFORE_THE_CALL: list[tuple[Step, type[ImageTaskError], str]] = [
    (Reply(b"<html>Welcome</html>", headers=TEXT), InvalidRequestError, "/mcp"),
    (Reply({"hello": "world"}, headers=JSON), InvalidRequestError, "/mcp"),
    (Reply({"detail": "Not Found"}, status=404), InvalidRequestError, "/mcp"),
    (Reply(status=405), InvalidRequestError, "/mcp"),
    (REFUSED_KEY, AuthenticationError, "invalid_token ***"),
    *((Reply(b"<html>", status=status), ServiceUnavailableError, f"HTTP {status}") for status in (500, 502, 503)),
]


@pytest.mark.parametrize(("step", "error_class", "said"), REFUSED_BEFORE_THE_CALL)
def test_what_is_answered_before_the_call_is_named_and_nothing_was_billed(
    server: ScriptedServer, step: Step, error_class: type[ImageTaskError], said: str
) -> None:
    error = against(server, lambda _request: step, submission())

    assert (type(error), error.billed) == (error_class, "no")
    assert said in error.message


def test_a_server_without_the_tool_is_named_with_what_it_has(server: ScriptedServer) -> None:
    error = against(server, ToolServer(says(""), tools=("list_files",)), submission())
    tested = against(server, ToolServer(says(""), tools=("openai_get_task",)), SERVICE.check_connection())

    assert (type(error), type(tested), error.billed) == (InvalidRequestError, InvalidRequestError, "no")
    assert all(words in error.message for words in ("openai_generate_image", f"{server.url}/mcp", "list_files"))
    assert "openai_edit_image" in tested.message
    assert not any(request.body and request.body["method"] == "tools/call" for request in server.requests)


def test_a_server_that_is_down_is_worth_a_retry_and_a_missing_ca_bundle_is_not_and_neither_is_billed() -> None:
    with ScriptedServer() as gone:
        url = f"{gone.url}/mcp"

    down = outcome(submission(), account(url))
    missing = outcome(submission(), account("https://mcp.example/mcp", verify="/nowhere/ca.pem"))

    assert (type(down), down.billed, down.retryable) == (ServiceUnavailableError, "no", True)
    assert (type(missing), missing.billed, missing.retryable) == (InvalidRequestError, "no", False)
    assert url in down.message
    assert "/nowhere/ca.pem" in missing.message


HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n%b\r\n"


@pytest.mark.parametrize(
    "step",
    [
        *(CutBeforeReading(), CutAfterReading(), CutAfterReading(HALF % b"" + b"{"), Hang()),
        CutAfterReading(HALF % b"Content-Type: text/event-stream\r\n" + b"id"),
        *(Reply({"error": "bad gateway"}, status=502), Reply(b"{", headers=JSON), Reply(b"<html>", headers=TEXT)),
        *(Reply(status=202), Reply({"jsonrpc": "2.0", "id": 77, "result": {}})),
    ],
    ids=["reset", "cut", "cut-in-the-answer", "no-answer", "cut-in-a-stream", "502", "half", "page", "202", "other"],
)
def test_a_call_that_left_and_has_no_answer_is_an_unknown_outcome_and_not_made_again(
    server: ScriptedServer, step: Step
) -> None:
    tools = ToolServer(step)

    # Long enough for a session to be opened on a machine with much to do.
    error = against(server, tools, submission(), request_timeout=5)

    assert isinstance(error, UnknownOutcomeError), error
    assert error.billed == "unknown"
    assert "openai_generate_image" in error.message
    assert tools.methods.count("tools/call") <= 1


@pytest.mark.parametrize("method", ["initialize", "notifications/initialized", "tools/list"])
def test_a_server_that_opens_no_session_in_time_is_away_and_not_called_wrong(
    server: ScriptedServer, method: str
) -> None:
    tools = ToolServer(ACCEPTED)

    def answers(request: ReceivedRequest) -> Step:
        return Hang() if (request.body or {}).get("method") == method else tools(request)

    error = against(server, answers, submission(), request_timeout=0.5)

    assert (type(error), error.billed) == (ServiceUnavailableError, "no")


def test_a_redirect_is_not_followed_and_a_429_says_how_long_to_wait(server: ScriptedServer) -> None:
    limited = Reply({"error": "slow down"}, status=429, headers={"Retry-After": "7"})
    with ScriptedServer(otherwise=lambda _request: Reply(status=200)) as elsewhere:
        moved = Reply(status=307, headers={"Location": f"{elsewhere.url}/mcp/"})
        error = against(server, lambda _request: moved, submission())
    slowly = against(server, ToolServer(limited), SERVICE.read_one(TASK_ID))

    assert elsewhere.requests == []
    assert (type(error), error.billed) == (ProtocolError, "no")
    assert "set the connection's Host" in error.message
    assert (type(slowly), slowly.retry_after) == (RateLimitError, 7)


@pytest.mark.parametrize("status", [301, 302, 303, 408, 409, 500])
def test_whatever_the_opening_of_a_session_is_answered_with_no_picture_was_asked_for(
    server: ScriptedServer, status: int
) -> None:
    unopened = Reply(b"no", status=status, headers={"Location": "https://elsewhere.example/mcp/?a=b"})
    error = against(server, lambda _request: unopened, submission())

    assert isinstance(error, ServiceUnavailableError if status > 400 else InvalidRequestError)
    assert error.billed == "no"
    assert f"HTTP {status}" in error.message
    assert ("https://elsewhere.example/mcp/. " in error.message) is (status < 400)


def test_a_session_that_the_server_forgot_is_opened_again_once(server: ScriptedServer) -> None:
    tools = ToolServer(Reply(FORGOTTEN, status=404), ACCEPTED, session_id="first")
    forgetful = ToolServer(
        Reply({"error": {"message": "Bad Request: No valid session ID provided"}}, status=400), session_id="first"
    )

    assert against(server, tools, submission()).id == TASK_ID
    assert isinstance(against(server, forgetful, SERVICE.read_one(TASK_ID)), ServiceUnavailableError)
    for asked in (tools, forgetful):
        assert (asked.methods.count("initialize"), asked.methods.count("tools/call")) == (2, 2)


def at_once(server: ScriptedServer, ids: list[str]) -> list[Any]:
    """Return what questions for these ids come to, which are asked at once over one transport."""

    async def together() -> list[Any]:
        async with open_async_transport(account(f"{server.url}/mcp")) as transport:
            flows = [transport.run(SERVICE.read_one(image_task_id)) for image_task_id in ids]
            return await asyncio.gather(*flows, return_exceptions=True)

    return asyncio.run(together())


def test_one_failed_call_does_not_end_the_calls_of_others(server: ScriptedServer) -> None:
    def step(request: ReceivedRequest) -> Step:
        arguments = (request.body or {}).get("params", {}).get("arguments", {})
        if arguments.get("id") == "cut":
            return CutAfterReading()
        return ToolServer(says({"id": TASK_ID, "finished_at": None}))(request)

    server.otherwise = step
    results = at_once(server, ["fine", "cut"] * 4)

    assert [isinstance(result, ServiceUnavailableError) for result in results] == [False, True] * 4
    assert [request.body["method"] for request in server.requests if request.body].count("initialize") == 1


def test_many_who_find_the_server_down_share_one_attempt(server: ScriptedServer) -> None:
    server.otherwise = lambda _request: Reply(status=503)

    assert all(isinstance(result, ServiceUnavailableError) for result in at_once(server, [TASK_ID] * 20))
    assert len(server.requests) == 1


def test_the_key_is_not_in_what_the_server_repeats(server: ScriptedServer) -> None:
    said = says({"error": "Authentication Error", "message": f"bad key {KEY}"})
    error = against(server, ToolServer(said), submission())

    assert isinstance(error, AuthenticationError)
    assert "bad key ***" in error.message


def test_a_proxy_of_the_environment_is_used_unless_the_connection_says_otherwise(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(otherwise=ToolServer(ACCEPTED)) as proxy:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", proxy.url)

        assert outcome(submission(), account("http://mcp.example/mcp", allow_private_hosts=True)).id == TASK_ID
        assert {request.target for request in proxy.requests} == {"http://mcp.example/mcp"}
        assert against(server, ToolServer(ACCEPTED), submission(), trust_env=False).id == TASK_ID
        assert len(server.requests) == len(proxy.requests)


def test_an_answer_has_the_words_of_the_tool_or_without_text_its_structure(server: ScriptedServer) -> None:
    structured = Reply({"content": [], "structuredContent": {"result": json.dumps({"task_id": TASK_ID})}})
    answer = against(server, ToolServer(says("hello")), ask(ToolCall(tool="openai_get_task")))

    assert isinstance(answer, ToolAnswer)
    assert (answer.text, answer.tool, answer.is_error) == ("hello", "openai_get_task", False)
    assert against(server, ToolServer(structured), submission()).id == TASK_ID


async def test_a_session_dropped_in_a_wait_is_opened_again() -> None:
    with LocalImageService(latency=0.3) as first:
        port = int(first.url.rpartition(":")[2])
        async with open_async_transport(account(f"{first.url}/mcp/acedatacloud")) as transport:
            assert (await transport.run(SERVICE.read_one(TASK_ID))).state is TaskState.NOT_FOUND
            await asyncio.to_thread(first.stop)
            with pytest.raises(ServiceUnavailableError):
                await transport.run(SERVICE.read_one(TASK_ID))
            with LocalImageService(latency=0, port=port):
                assert (await transport.run(SERVICE.read_one(TASK_ID))).state is TaskState.NOT_FOUND


async def test_a_caller_that_is_cancelled_leaves_the_session_to_the_others() -> None:
    with LocalImageService(latency=0) as local:
        async with open_async_transport(account(f"{local.url}/mcp/acedatacloud", request_timeout=10)) as transport:
            task = await transport.run(SERVICE.submit(ImageRequest(prompt="[poll-hang]", model="gpt-image-2")))
            hanging = asyncio.create_task(transport.run(SERVICE.read_one(task.id)))
            await until(lambda: local.tasks[0].status_queries)
            hanging.cancel()
            with pytest.raises(asyncio.CancelledError):
                await hanging

            assert (await transport.run(SERVICE.read_one(TASK_ID))).state is TaskState.NOT_FOUND


async def test_an_event_loop_that_ends_while_a_session_is_opened_leaves_nothing_running(server: ScriptedServer) -> None:
    server.otherwise = lambda _request: Hang()
    async with open_async_transport(account(f"{server.url}/mcp", request_timeout=30)) as transport:
        asking = asyncio.create_task(transport.run(SERVICE.read_one(TASK_ID)))
        await until(lambda: server.requests)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
