"""What all dialects have in common: the order of checks, and the answers that no dialect words."""

from __future__ import annotations

import asyncio
import json
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, Submission

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_imagetasks.local.records import TaskRecord
    from airflow_provider_imagetasks.local.state import ServiceState
    from airflow_provider_imagetasks.local.statistics import DialectStatistics

PROXY_PAGE = (
    "<!DOCTYPE html><html><head><title>Gateway</title></head>"
    "<body><h1>This page comes from something in between</h1></body></html>"
)


class Dialect(ABC):
    """How one service words its requests and answers.

    :param name: the service's name in a connection.
    :param prefix: the path below which the dialect is spoken.
    """

    says_when_to_return = True
    """Whether answers about limits have a ``Retry-After`` header."""

    def __init__(self, state: ServiceState, *, name: str, prefix: str) -> None:
        self.state = state
        self.name = name
        self.prefix = prefix

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """Return the dialect's routes."""

    async def close(self) -> None:  # noqa: B027 - most dialects keep nothing open
        """Let go of what the dialect keeps open."""

    @abstractmethod
    async def read_submission(self, request: web.Request) -> Submission:
        """Understand a request for pictures.

        :raises RefusedError: when it is not valid.
        """

    @abstractmethod
    async def accepted(self, request: web.Request, record: TaskRecord) -> web.StreamResponse:
        """Answer a submission that has its image task."""

    @abstractmethod
    async def status(self, request: web.Request) -> web.StreamResponse:
        """Answer a status query.

        :raises RefusedError: when there is no answer to it.
        """

    @abstractmethod
    def error(self, refused: RefusedError) -> tuple[web.Response, str]:
        """Word an error; return the answer and the code to count it under."""

    @property
    def counts(self) -> DialectStatistics:
        """The dialect's counts."""
        return self.state.statistics.dialects[self.name]

    async def handle_submission(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for pictures."""
        self.counts.submissions += 1
        try:
            self.check_client(request)
            self.state.admission.check_key(bearer_of(request))
            submission = await self.read_submission(request)
            record, is_new = self.state.admission.admit(submission)
        except RefusedError as refused:
            answer, code = await self.answer_refusal(request, refused)
            self.counts.refused[code] += 1
            return answer
        self.after_admission(request, record, is_new=is_new)
        try:
            if is_new:
                self.check_mishaps_after(record)
            return await self.accepted(request, record)
        except RefusedError as refused:
            return (await self.answer_refusal(request, refused))[0]

    def check_client(self, request: web.Request) -> None:  # noqa: B027 - most dialects let any client in
        """Turn away clients that the service's front does not like the look of.

        :raises RefusedError: when this is one.
        """

    def after_admission(  # noqa: B027 - most dialects have nothing to do here
        self, request: web.Request, record: TaskRecord, *, is_new: bool
    ) -> None:
        """Do what has to be done for an accepted image task before it is answered."""

    async def handle_status(self, request: web.Request) -> web.StreamResponse:
        """Answer a status query."""
        self.counts.status_queries += 1
        try:
            self.check_client(request)
            bearer = bearer_of(request)
            self.state.admission.check_key(bearer)
            self.state.admission.queries.check(bearer)
            return await self.status(request)
        except RefusedError as refused:
            answer, code = await self.answer_refusal(request, refused)
            if refused.reason is not Reason.NOT_FOUND:
                self.counts.queries_refused[code] += 1
            return answer

    def note_queried(self, records: Iterable[TaskRecord]) -> None:
        """Count a status query of these image tasks and let them misbehave as their prompts ask.

        :raises RefusedError: when the prompt of one asks for a mishap now.
        """
        for record in records:
            record.status_queries += 1
            if record.behaviours.settings:
                self._check_mishaps_of_query(record)

    async def answer_refusal(self, request: web.Request, refused: RefusedError) -> tuple[web.StreamResponse, str]:
        """Answer a request that ends there, or misbehave; return also the code to count it under."""
        if refused.reason is Reason.CUT:
            return cut(request), "cut"
        if refused.reason is Reason.HANG:
            # Nobody sets it: this ends when the client leaves or the service stops.
            await asyncio.Event().wait()
        if refused.reason is Reason.GARBAGE:
            return web.Response(text='{"task_', content_type="application/json"), "garbage"
        if refused.reason is Reason.HTML:
            page = web.Response(status=refused.status, text=PROXY_PAGE, content_type="text/html")
            return page, f"html {refused.status}"
        answer, code = self.error(refused)
        if refused.retry_after is not None and self.says_when_to_return:
            answer.headers["Retry-After"] = str(whole_seconds(refused.retry_after))
        return answer, code

    def check_mishaps_after(self, record: TaskRecord) -> None:
        """Let the answer to an accepted submission go wrong where its prompt asks for it.

        :raises RefusedError: when it does.
        """
        admission = self.state.admission
        if admission.applies(record, "500-after"):
            status = int(record.behaviours.option("500-after", "status", 500))
            raise RefusedError(Reason.SERVER_ERROR, "the prompt asked for a late server error", status=status)
        if admission.applies(record, "cut-after"):
            raise RefusedError(Reason.CUT, "the prompt asked for a late cut")
        if admission.applies(record, "hang-after"):
            raise RefusedError(Reason.HANG, "the prompt asked for no answer")
        if admission.applies(record, "garbage"):
            raise RefusedError(Reason.GARBAGE, "the prompt asked for garbage")

    def _check_mishaps_of_query(self, record: TaskRecord) -> None:
        behaviours = record.behaviours
        if record.applies("poll-429"):
            wait = behaviours.option("poll-429", "retry-after", 1)
            raise RefusedError(Reason.RATE_LIMITED, "the prompt asked to be limited", retry_after=wait)
        if record.applies("poll-500"):
            status = int(behaviours.option("poll-500", "status", 500))
            raise RefusedError(Reason.SERVER_ERROR, "the prompt asked for a server error", status=status)
        if record.applies("poll-cut"):
            raise RefusedError(Reason.CUT, "the prompt asked for a cut connection")
        if record.applies("poll-hang"):
            raise RefusedError(Reason.HANG, "the prompt asked for no answer")
        if record.applies("poll-garbage"):
            raise RefusedError(Reason.GARBAGE, "the prompt asked for garbage")
        if record.applies("poll-html"):
            status = int(behaviours.option("poll-html", "status", 200))
            raise RefusedError(Reason.HTML, "the prompt asked for an HTML page", status=status)


async def read_json(request: web.Request) -> dict[str, Any]:
    """Return the request's body.

    :raises RefusedError: when it is not a JSON object.
    """
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise RefusedError(Reason.INVALID, "the request body is not a JSON object")
    return body


def bearer_of(request: web.Request) -> str | None:
    """Return the request's bearer token, or None."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def cut(request: web.Request) -> web.Response:
    """Cut the request's connection; what is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def whole_seconds(seconds: float) -> int:
    """Round a waiting time up to whole seconds, as ``Retry-After`` has them."""
    return math.ceil(seconds)


def file_url(origin: str, record: TaskRecord, index: int) -> str:
    """Return the address of a picture, on the host that the sender itself used, unless its prompt asks for another.

    :param origin: scheme, host and port.
    """
    if record.behaviours.asks("result-url"):
        return record.behaviours.word("result-url", "")
    return f"{origin}/files/{record.id}/{index}.{record.media_format}"
