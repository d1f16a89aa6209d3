"""A server on loopback that answers as it is told, and both transports to it, which wait for no pause."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.wire import Answer, Flow, Sleep, Step
from airflow_provider_imagetasks.transports.http import AiohttpTransport, RequestsTransport

Reply = tuple[int, Any] | None
"""A status and a JSON body; None cuts the connection once the request was read."""
MOST_STEPS = 200
"""Requests and pauses of a flow; one that makes more does not end."""


class EndlessFlowError(Exception):
    """A flow that does not end."""


class AnsweringServer(ThreadingHTTPServer):
    """Answers each request with the next reply, the last one for ever, and remembers what it was asked."""

    daemon_threads = True
    replies: list[Reply]
    requests: list[tuple[str, Mapping[str, str], str]]
    methods: list[str]

    def script(self, replies: Reply | list[Reply]) -> None:
        """Give the next requests these replies."""
        self.replies, self.requests = list(replies) if isinstance(replies, list) else [replies], []
        self.methods = []


class _Handler(BaseHTTPRequestHandler):
    server: AnsweringServer

    def _reply(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8", "replace")
        self.server.methods.append(self.command)
        self.server.requests.append((self.path, dict(self.headers.items()), body))
        replies = self.server.replies
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if reply is None:
            self.close_connection = True
            return
        status, content = reply
        sent = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = do_PUT = do_DELETE = _reply  # noqa: N815 - the names that the base class looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@contextmanager
def answering_server() -> Iterator[AnsweringServer]:
    """Serve on a free port."""
    server = AnsweringServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Steps:
    """The steps of a flow; ``paused`` is for how many seconds it wanted to wait, which nobody does."""

    def __init__(self) -> None:
        self.count, self.paused = 0, 0.0

    def without_pause(self, step: Step) -> Step:
        """Return what is done in place of a step.

        :raises EndlessFlowError: it is one too many.
        """
        self.count += 1
        if self.count > MOST_STEPS:
            raise EndlessFlowError(f"it does not end (after {MOST_STEPS} requests and pauses)")
        if not isinstance(step, Sleep):
            return step
        self.paused += step.seconds
        return Sleep(0)


class _Requests(RequestsTransport):
    steps: Steps

    def _performed(self, step: Step) -> Answer | float:
        return super()._performed(self.steps.without_pause(step))


class _Aiohttp(AiohttpTransport):
    steps: Steps

    async def _performed(self, step: Step) -> Answer | float:
        return await super()._performed(self.steps.without_pause(step))


def run_at_once(flow: Flow[Any], account: Account, steps: Steps | None = None) -> Any:
    """Run a flow over requests.

    :param steps: counts those that it makes.
    """
    transport = _Requests(account)
    transport.steps = steps or Steps()
    with transport:
        return transport.run(flow)


def run_in_loop(flow: Flow[Any], account: Account, steps: Steps | None = None) -> Any:
    """Run a flow over aiohttp.

    :param steps: counts those that it makes.
    """

    async def run() -> Any:
        transport = _Aiohttp(account)
        transport.steps = steps or Steps()
        async with transport:
            return await transport.run(flow)

    return asyncio.run(run())
