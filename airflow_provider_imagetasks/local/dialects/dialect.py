"""What all dialects have in common: the order of checks, and the answers that no dialect words."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, Submission
from airflow_provider_imagetasks.local.dialects import mishaps

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.records import TaskRecord
    from airflow_provider_imagetasks.local.state import ServiceState
    from airflow_provider_imagetasks.local.statistics import DialectStatistics


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
                mishaps.check_after_submission(self.state.admission, record)
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

    async def answer_refusal(self, request: web.Request, refused: RefusedError) -> tuple[web.StreamResponse, str]:
        """Answer a request that ends there, or misbehave; return also the code to count it under."""
        if refused.reason in mishaps.BELOW_ANY_DIALECT:
            return await mishaps.broken_answer(request, refused)
        answer, code = self.error(refused)
        if refused.retry_after is not None and self.says_when_to_return:
            answer.headers["Retry-After"] = str(whole_seconds(refused.retry_after))
        return answer, code


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
