"""Answers of an MCP server that come slowly, without end or without sense, and what they cost the calls beside them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError, InvalidRequestError, ServiceUnavailableError
from airflow_provider_imagetasks.sensors.image_task import ImageTaskSensor
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.wire import NoResponse, ToolCall, ask
from airflow_provider_imagetasks.transports import open_async_transport
from airflow_provider_imagetasks.transports.mcp.guarded_http import GuardedHttp
from tests.driven_transports import account
from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer, Step, Trickle
from tests.task_runner import TaskRunner
from tests.tool_server_by_hand import ToolServer, says

SERVICE = get_service("acedatacloud_mcp")
MIB = 1024 * 1024
JSON, EVENTS = b"Content-Type: application/json", b"Content-Type: text/event-stream"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n%b\r\n\r\n"
CALL = ToolCall(tool="openai_get_task", arguments={"id": "a"})


def of_call(step: Step) -> ToolServer:
    """A server that is ordinary but for the answer to a call."""
    return ToolServer(step)


@pytest.mark.parametrize(
    "step",
    [
        Trickle(head=HEAD % JSON),
        Trickle(head=HEAD % EVENTS, repeated=b": still there\n\n"),
        Trickle(head=b"HTTP/1.1 200 OK\r\nX-Header: "),
    ],
    ids=["JSON", "events", "a header"],
)
async def test_an_answer_that_trickles_ends_when_a_request_may_take_no_longer(step: Trickle, no_proxy: None) -> None:
    with ScriptedServer(otherwise=of_call(step)) as server:
        async with open_async_transport(
            account(f"{server.url}/mcp", service=SERVICE.name, request_timeout=4)
        ) as opened:
            began = time.monotonic()
            answer = await opened.run(ask(CALL))

    assert isinstance(answer, NoResponse)
    assert answer.reason.endswith("the answer took too long")
    assert time.monotonic() - began < 40


@pytest.mark.parametrize("kind", [JSON, EVENTS], ids=["JSON", "events"])
@pytest.mark.parametrize("keeps_pictures", [True, False], ids=["worker", "triggerer"])
async def test_an_answer_of_millions_of_values_is_refused(kind: bytes, keeps_pictures: bool, no_proxy: None) -> None:
    message = b'{"jsonrpc":"2.0","id":3,"result":[' + b"{}," * MIB + b"{}]}"
    body = message if kind == JSON else b"event: message\ndata: " + message + b"\n\n"
    name, _, value = kind.decode().partition(": ")
    mine = {"service": SERVICE.name, "request_timeout": 100}
    with ScriptedServer(otherwise=of_call(Reply(body, headers={name: value}))) as server:
        async with open_async_transport(account(f"{server.url}/mcp", **mine), keeps_pictures=keeps_pictures) as opened:
            with pytest.raises(ServiceUnavailableError):
                await asyncio.wait_for(opened.run(SERVICE.read_one("a")), 50)


@pytest.mark.parametrize("length", [9_000, 60_000])
@pytest.mark.parametrize("waits", [{"mode": "poke"}, {"deferrable": True}], ids=["worker", "deferrable"])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_an_answer_with_long_headers_is_read(length: int, waits: dict[str, Any], kind: str, no_proxy: None) -> None:
    record = {"id": "a", "finished_at": 5.5, "response": {"data": [{"url": "https://x.example/a.png"}]}}
    server_by_hand = ToolServer(says(record))

    def answers(request: ReceivedRequest) -> Step:
        step = server_by_hand(request)
        assert isinstance(step, Reply)
        headers = {**step.headers, "Content-Security-Policy": "x" * length}
        if kind == "application/json" or step.body is None:
            return replace(step, headers=headers)
        return Reply(b"event: message\ndata: " + step.content + b"\n\n", headers={**headers, "Content-Type": kind})

    with ScriptedServer(otherwise=answers) as server:
        connection = {"host": f"{server.url}/mcp", "password": "any", "extra": {"service": SERVICE.name}}
        runner = TaskRunner(connections={"imagetasks_default": connection})
        outcome = runner.run(lambda: ImageTaskSensor(task_id="wait", image_task_id="a", **waits))

    assert outcome.state == "success", outcome.error
    assert "tools/call" in server_by_hand.methods


class _Pieces(httpx2.AsyncBaseTransport):
    """Answers with a stream of events that is one line in small pieces."""

    def __init__(self, piece: bytes, count: int) -> None:
        self._piece, self._count = piece, count

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        async def stream() -> AsyncIterator[bytes]:
            for _ in range(self._count):
                yield self._piece
            yield b"\n\n"

        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream(), request=request)


async def test_a_long_line_is_collected_in_a_time_that_grows_with_it_and_not_with_its_square() -> None:
    http = GuardedHttp(account("https://mcp.example/mcp", service=SERVICE.name), _Pieces(b"x" * 1024, 32 * 1024))
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    began = time.process_time()

    response = await http.handle_async_request(httpx2.Request("POST", "https://mcp.example/mcp", json=message))
    received = [len(lines) async for lines in response.aiter_bytes()]

    assert sum(received) == 32 * MIB + 2
    # Copied anew with each piece, it would be 500 GB.
    assert time.process_time() - began < 20


@pytest.mark.parametrize("arguments", [{"id": "\ud800"}, {"id": float("nan")}, {"id": b"bytes"}, {"id": 10**5000}])
async def test_a_call_that_cannot_be_sent_leaves_the_session_to_the_others(
    arguments: dict[str, Any], no_proxy: None
) -> None:
    def answers(request: ReceivedRequest) -> Step:
        return ToolServer(says({"id": ((request.body or {}).get("params") or {}).get("arguments", {}).get("id")}))(
            request
        )

    with ScriptedServer(otherwise=answers) as server:
        async with open_async_transport(account(f"{server.url}/mcp", service=SERVICE.name)) as opened:
            flows = [SERVICE.read_one(f"task-{number}") for number in range(8)]
            broken = ask(ToolCall(tool="openai_get_task", arguments=arguments))
            ends = await asyncio.gather(
                *(opened.run(flow) for flow in (*flows[:4], broken, *flows[4:])), return_exceptions=True
            )
            sessions = [request for request in server.requests if (request.body or {}).get("method") == "initialize"]

    refused = ends.pop(4)
    assert isinstance(refused, InvalidRequestError)
    assert "openai_get_task cannot be sent" in refused.message
    assert [getattr(task, "id", task) for task in ends] == [f"task-{number}" for number in range(8)]
    assert len(sessions) == 1


async def test_an_id_that_cannot_be_sent_is_refused_by_name(no_proxy: None) -> None:
    with ScriptedServer(otherwise=of_call(says({}))) as server:
        async with open_async_transport(account(f"{server.url}/mcp", service=SERVICE.name)) as opened:
            with pytest.raises(ImageTaskError, match="U\\+D800"):
                await opened.run(SERVICE.read_one("a\ud800"))
    assert json.dumps(server.requests, default=str).count("tools/call") == 0
