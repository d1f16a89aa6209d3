"""What all dialects have in common: the order of checks, the reading of requests, and the fields in them."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, broken_answer, require
from airflow_provider_imagetasks.local.service_state import DialectStatistics, ServiceState
from airflow_provider_imagetasks.local.task_table import TaskRecord

Found = TypeVar("Found")


class Dialect(ABC):
    """How one service words its requests and answers. What is not answered as its sender hopes raises ``RefusedError``.

    ``origin`` is always scheme, host and port that the sender used, where it finds pictures too.
    """

    name: str
    """The service's name in a connection."""
    prefix: str
    """The path below which the dialect is spoken."""
    says_when_to_return = True
    """Whether answers about limits have a ``Retry-After`` header."""
    callback_field = ""
    """Where in a request the URL of a callback is, if the dialect has callbacks."""
    cancelled_code = ""
    """The failure's code of an image task that was stopped, if the dialect has a cancel."""
    unknown_id = "The requested resource could not be found."
    """The words for an ``{id}`` that nothing has."""
    usual_model = ""
    """The model that a connection names, where the service has none of its own."""

    def __init__(self, state: ServiceState) -> None:
        self.state = state

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """Return the dialect's routes."""

    @abstractmethod
    async def read_submission(self, request: web.Request) -> TaskRecord:
        """Understand a request for pictures."""

    @abstractmethod
    async def accepted(self, request: web.Request, record: TaskRecord) -> web.StreamResponse:
        """Answer a submission that has its image task."""

    @abstractmethod
    async def status(self, request: web.Request) -> web.StreamResponse:
        """Answer a status query."""

    @abstractmethod
    def error(self, refused: RefusedError) -> tuple[web.Response, str]:
        """Word an error; return the answer and the code to count it under."""

    @property
    def counts(self) -> DialectStatistics:
        """The dialect's counts."""
        return self.state.statistics.dialects[self.name]

    async def handle_submission(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for pictures."""
        try:
            return await self.accepted(request, await self.submitted(request, self.read_submission))
        except RefusedError as refused:
            return await self.answer_refusal(request, refused)

    async def submitted(self, request: web.Request, read: Callable[[web.Request], Awaitable[TaskRecord]]) -> TaskRecord:
        """Let a request in, and return the image task that it asks for, as ``read`` understands it; count both."""
        self.counts.submissions += 1
        try:
            self.check_client(request)
            self.state.admission.check_key(self.bearer(request))
            record, is_new = self.state.admit(await read(request))
        except RefusedError as refused:
            self.counts.refused[self.code_of(refused)] += 1
            raise
        if is_new:
            self.promise_callback(request, record)
            self.state.admission.check_answer(record)
        return record

    def bearer(self, request: web.Request) -> str | None:
        """Return the request's key, or None."""
        return bearer_of(request)

    def check_client(self, request: web.Request) -> None:  # noqa: B027 - most dialects let any client in
        """Turn away clients that the service's front does not like the look of."""

    def promise_callback(self, request: web.Request, record: TaskRecord) -> None:
        """Promise the callback of a new image task, if one was asked for."""
        url = Body(record.request).text(self.callback_field) if self.callback_field else ""
        if url:
            origin = str(request.url.origin())
            self.state.callbacks.promise(record, url, lambda: self.callback(record, origin))

    async def callback(self, record: TaskRecord, origin: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the body of a callback and its further headers, once the image task has ended."""
        raise NotImplementedError

    async def handle_status(self, request: web.Request) -> web.StreamResponse:
        """Answer a status query."""
        try:
            return await self.queried(request, self.status)
        except RefusedError as refused:
            return await self.answer_refusal(request, refused)

    async def queried(self, request: web.Request, answer: Callable[[web.Request], Awaitable[Found]]) -> Found:
        """Let a status query in, and return what answers it; count both."""
        self.counts.status_queries += 1
        try:
            self.check_client(request)
            bearer = self.bearer(request)
            self.state.admission.check_key(bearer)
            self.state.admission.queries.check(bearer)
            return await answer(request)
        except RefusedError as refused:
            if refused.reason is not Reason.NOT_FOUND:
                self.counts.queries_refused[self.code_of(refused)] += 1
            raise

    async def handle_cancel(self, request: web.Request) -> web.StreamResponse:
        """Stop an image task, unless it is over, and answer how it stands."""
        try:
            self.state.admission.check_key(self.bearer(request))
            record = self.record_of(request)
        except RefusedError as refused:
            return await self.answer_refusal(request, refused)
        return await self.stopped(request, record, await self.state.cancel(record, self.cancelled_code))

    async def stopped(self, request: web.Request, record: TaskRecord, was_running: bool) -> web.StreamResponse:
        """Answer a cancel."""
        raise NotImplementedError

    def record_of(self, request: web.Request) -> TaskRecord:
        """Return the image task that a path names by its ``id``."""
        record = self.state.tasks.find(self.name, request.match_info["id"], self.bearer(request))
        if record is None or not self.is_asked_for_rightly(request, record):
            self.counts.not_found += 1
            raise RefusedError(Reason.NOT_FOUND, self.unknown_id.format(id=request.match_info["id"][:80]))
        return record

    def is_asked_for_rightly(self, request: web.Request, record: TaskRecord) -> bool:
        """Whether the rest of a path fits its ``id``."""
        return True

    def code_of(self, refused: RefusedError) -> str:
        """Return the code to count a refusal under."""
        if refused.is_below_any_dialect:
            return f"html {refused.status}" if refused.reason is Reason.HTML else refused.reason.value
        return self.error(refused)[1]

    async def answer_refusal(self, request: web.Request, refused: RefusedError) -> web.StreamResponse:
        """Answer a request that ends there, or misbehave."""
        if refused.is_below_any_dialect:
            return await broken_answer(request, refused)
        answer, _ = self.error(refused)
        if refused.retry_after is not None and self.says_when_to_return:
            answer.headers["Retry-After"] = str(math.ceil(refused.retry_after))
        return answer


class Body(dict[str, Any]):
    """The fields of a request; asking for one that is not what it has to be raises ``RefusedError``."""

    def text(self, field: str, *, required: bool = False) -> str:
        """Return a text, empty when it is absent."""
        value = "" if self.get(field) is None else self[field]
        is_fine = isinstance(value, str) and (value.strip() or not required)
        require(is_fine, f"{field} is a text" + (" and is required" if required else ""))
        return value

    def texts(self, field: str) -> list[str]:
        """Return a list of texts without repetitions, empty when it is absent."""
        value = self.get(field) or []
        is_fine = isinstance(value, list) and all(isinstance(item, str) for item in value)
        require(is_fine, f"{field} is a list of texts")
        return list(dict.fromkeys(value))

    def whole(self, field: str, default: int) -> int:
        """Return a whole number, 0 or more."""
        value = default if self.get(field) is None else self[field]
        is_fine = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        require(is_fine, f"{field} is a whole number, 0 or more")
        return value

    def seconds(self, field: str) -> float | None:
        """Return a number of Unix seconds, None when it is absent."""
        value = self.get(field)
        is_fine = isinstance(value, int | float | None) and not isinstance(value, bool)
        require(is_fine, f"{field} is a number of Unix seconds")
        return value

    def urls(self, field: str, *, most: int, allow_one: bool = False) -> list[str]:
        """Return a list of http(s) URLs, empty when it is absent; a single one may be allowed to come without one."""
        value = [] if self.get(field) is None else self[field]
        urls = [value] if allow_one and isinstance(value, str) else value
        is_fine = isinstance(urls, list) and len(urls) <= most and all(_is_url(url) for url in urls)
        require(is_fine, f"{field} is a list of at most {most} http(s) URLs")
        return urls


async def read_json(request: web.Request) -> Body:
    """Return the request's body, which has to be a JSON object."""
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        body = None
    require(isinstance(body, dict), "the request body is not a JSON object")
    return Body(body)


def bearer_of(request: web.Request, wanted: str = "bearer") -> str | None:
    """Return the request's token behind a scheme, or None."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == wanted else None


def file_url(origin: str, record: TaskRecord, index: int) -> str:
    """Return the address of a picture, on the host that the sender itself used, unless its prompt asks for another."""
    if record.behaviours.asks("result-url"):
        return record.behaviours.word("result-url", "")
    return f"{origin}/files/{record.id}/{index}.{record.media_format}"


def _is_url(value: Any) -> bool:
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
