"""A check of a service against the contract, over both transports: for the tests of whoever adds one.

The service's own words are needed for it: what it answers in each case. A server on loopback gives those answers; no
pause is waited for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    RateLimitError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.connection_contract import OLDEST_CALLBACK, Callback
from airflow_provider_imagetasks.services.wire import Flow
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState
from airflow_provider_imagetasks.transports.answering_server import (
    AnsweringServer,
    Reply,
    answering_server,
    run_at_once,
    run_in_loop,
)

KEY = "key-of-the-check"
PROMPT = "a red kite over the sea"
UNKNOWN_ID = "nobody-knows-this-id"
"""The id beside ``image_task_id`` in a question for several."""


@dataclass(kw_only=True)
class ServiceAnswers:
    """What a service answers, in its own words: each a status and a body.

    :param accepted: to a submission; ``image_task_id`` is the id that it gives, as the flows name it.
    :param running: to a status question; likewise ``succeeded``, ``failed`` and ``not_found``. A list where one
        question makes several requests.
    :param picture_urls: where the pictures of ``succeeded`` are; None for one that the record itself holds.
    :param refusals: to a submission that is not taken, by the class of error that it means.
    :param connection: to the free request that checks the key.
    :param several: to a question for ``image_task_id``, which succeeded, and ``UNKNOWN_ID``: where its ``batch_size``
        is more than one. A service that ``batch_leaves_out`` some is to leave out the latter.
    :param cancelled: to a cancel that is taken: where it ``can_cancel``.
    :param callback: a call that is signed well, with the headers that count for that alone: where it signs them.
    :param webhook_secret: what the connection has to check that with.
    :param callback_keys: to the question for the keys that it publishes for that.
    """

    image_task_id: str
    accepted: Reply
    running: Reply | list[Reply]
    succeeded: Reply | list[Reply]
    failed: Reply | list[Reply]
    not_found: Reply | list[Reply]
    picture_urls: tuple[str | None, ...]
    connection: Reply | list[Reply]
    refusals: Mapping[type[ImageTaskError], Reply] = field(default_factory=dict)
    several: Reply | list[Reply] = None
    cancelled: Reply | list[Reply] = None
    callback: Callback | None = None
    webhook_secret: str | None = None
    callback_keys: Reply | list[Reply] = (404, {})


def check_service(service: Service, answers: ServiceAnswers, *, model: str | None = None) -> None:
    """Hold a service against the contract, over both transports; nothing but loopback is asked.

    :param service: over HTTP; a service of MCP tools cannot be checked.
    :param model: for the submissions, where the service has no default.
    :raises AssertionError: lists everything that is wrong.
    """
    with answering_server() as server:
        problems = [
            f"{kind}: {problem}"
            for kind, run in (("requests", run_at_once), ("aiohttp", run_in_loop))
            for problem in _Check(service, answers, server, run, model).problems()
        ]
    unique = dict.fromkeys(problem.partition(": ")[2] for problem in problems)
    both = [problem for problem in unique if f"requests: {problem}" in problems and f"aiohttp: {problem}" in problems]
    alone = [problem for problem in problems if problem.partition(": ")[2] not in both]
    assert not problems, f"{service.name} breaks the contract of a service:\n- " + "\n- ".join([*both, *alone])


class _Surprise(str):
    """An exception that is none of ours, as a text."""

    __slots__ = ()


class _Check:
    """One round of checks, over one transport."""

    def __init__(
        self,
        service: Service,
        answers: ServiceAnswers,
        server: AnsweringServer,
        run: Callable[[Flow[Any], Account], Any],
        model: str | None,
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
        self._request = service.complete(ImageRequest(prompt=PROMPT, model=model), self._account)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong."""
        yield from self._facts()
        yield from self._submissions()
        yield from self._lost_submissions()
        yield from self._refusals()
        yield from self._reads()
        yield from self._broken_reads()
        yield from self._batches()
        yield from self._cancels()
        yield from self._callbacks()
        said = self._outcome(self._service.check_connection, self._answers.connection)
        if not isinstance(said, str) or isinstance(said, _Surprise):
            yield f"check_connection gives {said!r}, not a sentence"

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
        if service.image_count({service.image_count_options[0]: 3}) != 3 * service.images_per_request:
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

    def _batches(self) -> Iterator[str]:
        service, known = self._service, self._answers.image_task_id
        if service.batch_size == 1:
            return
        tasks = self._outcome(lambda: service.read_tasks_once([known, UNKNOWN_ID]), self._answers.several)
        if not isinstance(tasks, dict):
            yield f"a question for several (ServiceAnswers.several) gives {tasks!r}, not image tasks by their id"
            return
        states = {name: task.state.value for name, task in tasks.items()}
        wanted = {known: "succeeded", **({} if service.batch_leaves_out else {UNKNOWN_ID: "not_found"})}
        if states != wanted:
            yield f"a question for one that succeeded and one that is not there gives {states}"
        if tasks.get(known) is not None and tasks[known].id != known:
            yield f"a question for several gives {known!r} the id {tasks[known].id!r}"
        if len(self._server.requests) > service.requests_per_read:
            yield f"a question for two makes {len(self._server.requests)} requests, more than requests_per_read"

    def _cancels(self) -> Iterator[str]:
        known = self._answers.image_task_id

        def cancel(reply: Reply | list[Reply]) -> Any:
            return self._outcome(lambda: self._service.cancel(known), reply)

        told = cancel(self._answers.cancelled if self._service.can_cancel else (200, {}))
        asked = "".join(path + body for path, _headers, body in self._server.requests)
        if not self._service.can_cancel:
            if not isinstance(told, str | ImageTaskError) or isinstance(told, _Surprise):
                yield f"cancel gives {told!r}, neither a sentence about the bill nor an error"
            return
        if not isinstance(told, str) or isinstance(told, _Surprise) or not told:
            yield f"a cancel that is taken (ServiceAnswers.cancelled) gives {told!r}, no sentence about the bill"
        if not any(own_id in asked for own_id in (known, known.rpartition(".")[2])):
            yield "a cancel does not name the image task"
        for case, reply in (("no answer", None), ("HTTP 500", (500, {}))):
            error = cancel(reply)
            if not isinstance(error, ImageTaskError):
                yield f"a cancel with {case} gives {error!r}, not an error"
            elif error.billed != "unknown":
                yield f"a cancel with {case} says billed={error.billed!r}, which nobody can know"

    def _callbacks(self) -> Iterator[str]:
        good = self._answers.callback
        if good is None:
            if type(self._service).check_callback is not Service.check_callback:
                yield "it checks callbacks, and ServiceAnswers.callback has none that is signed well"
            return
        account = replace(self._account, webhook_secret=self._answers.webhook_secret)

        def checked(callback: Callback) -> Any:
            return self._outcome(lambda: self._service.check_callback(callback, account), self._answers.callback_keys)

        found = checked(good)
        if not isinstance(found, str) or not f".{self._answers.image_task_id}".endswith(f".{found}"):
            yield f"a callback that is signed well gives {found!r}, not the image task that it is about"
            return
        forged = {
            "of an hour ago": replace(good, at=good.at + 12 * OLDEST_CALLBACK),
            "without headers": replace(good, headers={}),
            "without a body": replace(good, body=b""),
            "for another image task": replace(good, body=good.body.replace(found.encode(), b"x")),
            **{
                f"with another {name}": replace(good, headers={**good.headers, name: value[::-1] + "0"})
                for name, value in good.headers.items()
            },
        }
        for case, callback in forged.items():
            error = checked(callback)
            if not isinstance(error, AuthenticationError):
                yield f"a callback {case} gives {error!r}, not AuthenticationError: anybody could send it"
