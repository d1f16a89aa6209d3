"""A check of a service against the contract, over both transports: for the tests of whoever adds one.

The service's own words are needed for it: what it answers in each case. A server on loopback gives those answers; no
pause is waited for.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from airflow_provider_imagetasks.exceptions import ImageTaskError, RateLimitError, UnknownOutcomeError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.wire import Answer, Flow, Sleep, Step
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState
from airflow_provider_imagetasks.transports.http import AiohttpTransport, RequestsTransport

KEY = "key-of-the-check"
PROMPT = "a red kite over the sea"
Reply = tuple[int, Any] | None
"""A status and a JSON body; None cuts the connection once the request was read."""


@dataclass(kw_only=True)
class ServiceAnswers:
    """What a service answers, in its own words: each a status and a body.

    :param accepted: to a submission; ``image_task_id`` is the id that it gives, as the flows name it.
    :param running: to a status question; likewise ``succeeded``, ``failed`` and ``not_found``. A list where one
        question makes several requests.
    :param picture_urls: where the pictures of ``succeeded`` are.
    :param refusals: to a submission that is not taken, by the class of error that it means.
    :param connection: to the free request that checks the key.
    """

    image_task_id: str
    accepted: Reply
    running: Reply | list[Reply]
    succeeded: Reply | list[Reply]
    failed: Reply | list[Reply]
    not_found: Reply | list[Reply]
    picture_urls: tuple[str, ...]
    connection: Reply | list[Reply]
    refusals: Mapping[type[ImageTaskError], Reply] = field(default_factory=dict)


def check_service(service: Service, answers: ServiceAnswers) -> None:
    """Hold a service against the contract, over both transports; nothing but loopback is asked.

    :param service: over HTTP; a service of MCP tools cannot be checked.
    :raises AssertionError: lists everything that is wrong.
    """
    with _server() as server:
        problems = [
            f"{kind}: {problem}"
            for kind, run in (("requests", _run), ("aiohttp", _run_in_loop))
            for problem in _Check(service, answers, server, run).problems()
        ]
    unique = dict.fromkeys(problem.partition(": ")[2] for problem in problems)
    both = [problem for problem in unique if f"requests: {problem}" in problems and f"aiohttp: {problem}" in problems]
    alone = [problem for problem in problems if problem.partition(": ")[2] not in both]
    assert not problems, f"{service.name} breaks the contract of a service:\n- " + "\n- ".join([*both, *alone])


class _Server(ThreadingHTTPServer):
    """Answers each request with the next reply, the last one for ever, and remembers what it was asked."""

    daemon_threads = True
    replies: list[Reply]
    requests: list[tuple[str, Mapping[str, str], str]]

    def script(self, replies: Reply | list[Reply]) -> None:
        self.replies, self.requests = list(replies) if isinstance(replies, list) else [replies], []


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def _reply(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8", "replace")
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
def _server() -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Requests(RequestsTransport):
    def _performed(self, step: Step) -> Answer | float:
        return super()._performed(Sleep(0) if isinstance(step, Sleep) else step)


class _Aiohttp(AiohttpTransport):
    async def _performed(self, step: Step) -> Answer | float:
        return await super()._performed(Sleep(0) if isinstance(step, Sleep) else step)


def _run(flow: Flow[Any], account: Account) -> Any:
    with _Requests(account) as transport:
        return transport.run(flow)


def _run_in_loop(flow: Flow[Any], account: Account) -> Any:
    async def run() -> Any:
        async with _Aiohttp(account) as transport:
            return await transport.run(flow)

    return asyncio.run(run())


class _Surprise(str):
    """An exception that is none of ours, as a text."""

    __slots__ = ()


class _Check:
    """One round of checks, over one transport."""

    def __init__(
        self, service: Service, answers: ServiceAnswers, server: _Server, run: Callable[[Flow[Any], Account], Any]
    ) -> None:
        self._service, self._answers, self._server, self._run = service, answers, server, run
        self._account = Account(
            conn_id="check",
            service=service.name,
            base_url=f"http://127.0.0.1:{server.server_port}",
            key=KEY,
            trust_env=False,
            request_timeout=5.0,
            key_header=service.key_header,
            key_scheme=service.key_scheme,
        )
        self._request = service.complete(ImageRequest(prompt=PROMPT), self._account)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong."""
        yield from self._facts()
        yield from self._submissions()
        yield from self._lost_submissions()
        yield from self._refusals()
        yield from self._reads()
        yield from self._broken_reads()
        yield from self._rest()

    def _outcome(self, make: Callable[[], Flow[Any]], replies: Reply | list[Reply]) -> Any:
        """Return what a flow returns or raises; an exception that is none of ours as a text."""
        self._server.script(replies)
        try:
            return self._run(make(), self._account)
        except ImageTaskError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever a service does is told
            return _Surprise(f"{type(error).__name__}: {error}")

    def _submit(self, reply: Reply) -> Any:
        return self._outcome(lambda: self._service.submit(self._request, key="key-1"), reply)

    def _read(self, replies: Reply | list[Reply]) -> Any:
        return self._outcome(lambda: self._service.read_one(self._answers.image_task_id), replies)

    def _facts(self) -> Iterator[str]:
        service = self._service
        if not re.fullmatch(r"[a-z][a-z0-9_]*", service.name):
            yield f"name is {service.name!r}, which is no lower-case word"
        if not service.default_base_url.startswith("https://"):
            yield f"default_base_url is {service.default_base_url!r}, which is not https"
        if service.image_count({service.image_count_options[0]: 3}) != 3:
            yield f"image_count does not read {service.image_count_options[0]!r}"

    def _submissions(self) -> Iterator[str]:
        task = self._submit(self._answers.accepted)
        if not isinstance(task, ImageTask):
            yield f"a submission that is taken gives {task!r}, not an ImageTask"
            return
        if task.id != self._answers.image_task_id:
            yield f"a submission that is taken has the id {task.id!r}, not {self._answers.image_task_id!r}"
        if task.service != self._service.name:
            yield f"an image task is of the service {task.service!r}, not {self._service.name!r}"
        (path, headers, body), *more = self._server.requests
        if more:
            yield f"a submission that is taken makes {1 + len(more)} requests"
        said = f"{self._service.key_scheme} {KEY}" if self._service.key_scheme else KEY
        if {name.lower(): value for name, value in headers.items()}.get(self._service.key_header.lower()) != said:
            yield f"the key does not go out in {self._service.key_header}"
        if KEY in path or KEY in body:
            yield "the key stands in the address or the body of a submission"
        if PROMPT not in body:
            yield "the prompt is not sent"
        if self._request.model and self._request.model not in path + body:
            yield "the model is not sent"

    def _lost_submissions(self) -> Iterator[str]:
        cases: dict[str, Reply] = {
            "no answer": None,
            "HTTP 500": (500, {"error": "later"}),
            "HTTP 504 from a proxy": (504, b"<html>"),
            "an answer that is no JSON": (200, b"<html>"),
            "an empty object": (200, {}),
            "a list": (200, []),
        }
        for case, reply in cases.items():
            error, count = self._submit(reply), len(self._server.requests)
            if not isinstance(error, UnknownOutcomeError):
                yield f"a submission with {case} gives {error!r}, not UnknownOutcomeError: it may have been taken"
            if count > 1 and not self._service.repeats_submit_by_key:
                yield f"a submission with {case} is made {count} times, and may be paid for as often"

    def _refusals(self) -> Iterator[str]:
        refusals = dict(self._answers.refusals) or {RateLimitError: (429, {})}
        for error_class, reply in refusals.items():
            error = self._submit(reply)
            if type(error) is not error_class:
                yield f"a refusal that is {error_class.__name__} gives {error!r}"
            elif error.billed != "no":
                yield f"a refusal by {error_class.__name__} is billed {error.billed!r}, not 'no'"

    def _reads(self) -> Iterator[str]:
        answers = self._answers
        expected = {
            TaskState.RUNNING: answers.running,
            TaskState.SUCCEEDED: answers.succeeded,
            TaskState.FAILED: answers.failed,
            TaskState.NOT_FOUND: answers.not_found,
        }
        for state, replies in expected.items():
            task = self._read(replies)
            if not isinstance(task, ImageTask):
                yield f"reading one that is {state} gives {task!r}, not an ImageTask"
                continue
            if task.state is not state:
                yield f"one that is {state} is read as {task.state}"
            if task.id != answers.image_task_id:
                yield f"one that is {state} is read with the id {task.id!r}, not the one that was asked for"
            if (task.error is not None) is not (task.state is TaskState.FAILED):
                yield f"one that is {state} has the error {task.error!r}"
            if task.error is not None and task.error.image_task_id != answers.image_task_id:
                yield "the error of one that failed does not name it (image_task_id)"
            urls = tuple(image.url for image in task.images)
            if urls != (answers.picture_urls if state is TaskState.SUCCEEDED else ()):
                yield f"one that is {state} has the pictures {urls}"
            if len(self._server.requests) > self._service.requests_per_read:
                yield f"a status question makes {len(self._server.requests)} requests, more than requests_per_read"

    def _broken_reads(self) -> Iterator[str]:
        for case, reply in (("no answer", None), ("HTTP 500", (500, {})), ("no JSON", (200, b"<html>"))):
            error = self._read(reply)
            if not isinstance(error, ImageTaskError):
                yield f"a status question with {case} gives {error!r}, not an error"
            elif error.billed != "unknown":
                yield f"a status question with {case} says billed={error.billed!r}; a read knows nothing of money"
            elif not error.retryable:
                yield f"a status question with {case} is not asked again"

    def _rest(self) -> Iterator[str]:
        said = self._outcome(self._service.check_connection, self._answers.connection)
        if not isinstance(said, str) or isinstance(said, _Surprise):
            yield f"check_connection gives {said!r}, not a sentence"
        stopped = self._outcome(lambda: self._service.cancel(self._answers.image_task_id), (200, {}))
        if not isinstance(stopped, str | ImageTaskError) or isinstance(stopped, _Surprise):
            yield f"cancel gives {stopped!r}, neither a sentence about the bill nor an error"
