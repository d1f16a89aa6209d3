"""What becomes of a request: an image task, a refusal, or a mishap that its prompt asks for."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from aiohttp import web

from airflow_provider_imagetasks.local.directives import DIRECTIVES, Occurrences
from airflow_provider_imagetasks.local.options import RateLimit, ServiceOptions
from airflow_provider_imagetasks.local.task_table import Failure, TaskRecord, TaskTable

_KEYS_WATCHED = 1_000

PROXY_PAGE = (
    "<!DOCTYPE html><html><head><title>Gateway</title></head>"
    "<body><h1>This page comes from something in between</h1></body></html>"
)


class Reason(Enum):
    """Why a request is not answered the way its sender hopes."""

    INVALID = "invalid"
    UNPROCESSABLE = "unprocessable"
    MISSING_KEY = "missing key"
    WRONG_KEY = "wrong key"
    EXPIRED_KEY = "expired key"
    NO_CREDIT = "no credit"
    CONTENT = "content"
    RATE_LIMITED = "rate limited"
    NOT_FOUND = "not found"
    SERVER_ERROR = "server error"
    ERROR_IN_200 = "error in 200"
    ODD_CLIENT = "odd client"
    CUT = "cut"
    HANG = "hang"
    GARBAGE = "garbage"
    HTML = "html"


_Mishaps = Mapping[str, tuple[Reason, str]]
"""Directives, with the reason and the words of what they make happen."""

_AT_SUBMISSION: _Mishaps = {
    "expired-key": (Reason.EXPIRED_KEY, "for an expired key"),
    "no-credit": (Reason.NO_CREDIT, "for an empty balance"),
    "refuse": (Reason.CONTENT, "to be refused for its content"),
    "429": (Reason.RATE_LIMITED, "to be limited"),
    "500": (Reason.SERVER_ERROR, "for a server error"),
    "cut": (Reason.CUT, "for a cut connection"),
    "html": (Reason.HTML, "for an HTML page"),
    "error-in-200": (Reason.ERROR_IN_200, "for an error in HTTP 200"),
}
_AFTER_SUBMISSION: _Mishaps = {
    "500-after": (Reason.SERVER_ERROR, "for a late server error"),
    "cut-after": (Reason.CUT, "for a late cut"),
    "hang-after": (Reason.HANG, "for no answer"),
    "garbage": (Reason.GARBAGE, "for garbage"),
}
_AT_STATUS_QUERIES: _Mishaps = {
    "poll-429": (Reason.RATE_LIMITED, "to be limited"),
    "poll-500": (Reason.SERVER_ERROR, "for a server error"),
    "poll-cut": (Reason.CUT, "for a cut connection"),
    "poll-hang": (Reason.HANG, "for no answer"),
    "poll-garbage": (Reason.GARBAGE, "for garbage"),
    "poll-html": (Reason.HTML, "for an HTML page"),
}


@dataclass(eq=False)
class RefusedError(Exception):
    """A request ends here; the dialect words the answer.

    :param status: the HTTP status, for reasons that leave it open.
    :param code: the error code to use instead of the dialect's usual one.
    :param retry_after: seconds that the sender should wait.
    :param limit: the limit that was hit, when it is a configured one.
    """

    reason: Reason
    message: str
    status: int = 500
    code: str | None = None
    retry_after: float | None = None
    limit: RateLimit | None = None

    @property
    def is_below_any_dialect(self) -> bool:
        """Whether the HTTP answer itself goes wrong."""
        return self.reason in (Reason.CUT, Reason.HANG, Reason.GARBAGE, Reason.HTML)


def require(condition: object, words: str, reason: Reason = Reason.INVALID) -> None:
    """Refuse a request with ``RefusedError`` unless a condition holds."""
    if not condition:
        raise RefusedError(reason, words)


def _refuse_if_asked(record: TaskRecord, mishaps: _Mishaps, occurrences: Occurrences, key: str = "") -> None:
    """Let the first of some mishaps happen that a prompt asks for and that apply this time."""
    behaviours = record.behaviours
    for name, (reason, words) in mishaps.items() if behaviours.settings else ():
        if not occurrences.applies(behaviours, name, key=key):
            continue
        usual, kind = 200 if reason is Reason.HTML else 500, DIRECTIVES[name].value
        number = behaviours.number(name, usual) if kind == "status" else behaviours.option(name, "status", usual)
        raise RefusedError(
            reason,
            f"the prompt asked {words}",
            status=int(number),
            code=(behaviours.word(name, "") or None) if kind == "word" else None,
            retry_after=behaviours.option(name, "retry-after", 1) if reason is Reason.RATE_LIMITED else None,
        )


def note_queried(records: Iterable[TaskRecord]) -> None:
    """Count a status query of these image tasks; raise ``RefusedError`` where the prompt of one asks for that now."""
    for record in records:
        record.status_queries += 1
        _refuse_if_asked(record, _AT_STATUS_QUERIES, record.occurrences)


async def broken_answer(request: web.Request, refused: RefusedError) -> web.StreamResponse:
    """Return the answer, if there is one, for a reason that is below any dialect."""
    if refused.reason is Reason.CUT:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
    if refused.reason is Reason.HANG:
        # Nobody sets it: this ends when the client leaves or the service stops.
        await asyncio.Event().wait()
    if refused.reason is Reason.GARBAGE:
        return web.Response(text='{"task_', content_type="application/json")
    return web.Response(status=refused.status, text=PROXY_PAGE, content_type="text/html")


class Gate:
    """Lets through at most so many requests of a key in a time, whatever second the window starts in."""

    def __init__(self, limit: RateLimit | None) -> None:
        self._limit = limit
        self._passed: dict[str | None, deque[float]] = {}

    def check(self, bearer: str | None) -> None:
        """Count a request, and refuse it when the key has used up its limit; refused ones are not counted."""
        if self._limit is None:
            return
        now = time.monotonic()
        passed = self._passed.setdefault(bearer, deque())
        while passed and passed[0] <= now - self._limit.seconds:
            passed.popleft()
        if len(passed) >= self._limit.count:
            raise RefusedError(
                Reason.RATE_LIMITED,
                f"more than {self._limit.count} requests in {self._limit.seconds:g} seconds",
                retry_after=passed[0] + self._limit.seconds - now,
                limit=self._limit,
            )
        passed.append(now)
        if len(self._passed) > _KEYS_WATCHED:
            del self._passed[next(iter(self._passed))]


class Admission:
    """Decides about submissions, and writes the accepted ones into the table; others raise ``RefusedError``."""

    def __init__(self, options: ServiceOptions, tasks: TaskTable) -> None:
        self._options = options
        self._tasks = tasks
        self._occurrences = Occurrences()
        self._creations = Gate(options.creations)
        self.queries = Gate(options.queries)

    def check_key(self, bearer: str | None) -> None:
        """Let a request in by its key."""
        if self._options.keys:
            require(bearer is not None, "no bearer token was sent", Reason.MISSING_KEY)
            require(bearer in self._options.keys, "this bearer token is not known here", Reason.WRONG_KEY)

    def admit(self, asked: TaskRecord) -> tuple[TaskRecord, bool]:
        """Return the image task that was asked for, and whether it is new (or the earlier one that this repeats)."""
        if asked.request_id is not None:
            earlier = self._tasks.submitted_before(asked.dialect, asked.bearer, asked.request_id)
            if earlier is not None:
                return earlier, False
        prompt, options, place = asked.prompt, self._options, f"{asked.dialect}\0{asked.prompt}"
        _refuse_if_asked(asked, _AT_SUBMISSION, self._occurrences, place)
        occurrence = self._occurrences.count(place)
        if options.chance("rate limit", prompt, occurrence) < options.rate_limit_rate:
            raise RefusedError(Reason.RATE_LIMITED, "limited at random", retry_after=1)
        is_fine = options.chance("refuse", prompt, occurrence) >= options.refuse_rate
        require(is_fine, "refused at random, as if for its content", Reason.CONTENT)
        if options.max_active is not None and self._tasks.active_of(asked.bearer) >= options.max_active:
            words, seconds = f"{options.max_active} image tasks are running already", self._tasks.seconds_to_next_end(5)
            raise RefusedError(Reason.RATE_LIMITED, words, retry_after=seconds)
        self._creations.check(asked.bearer)
        self._decide(asked, occurrence)
        self._tasks.add(asked)
        return asked, True

    def check_answer(self, record: TaskRecord) -> None:
        """Let the answer to an accepted submission go wrong where its prompt asks for it."""
        _refuse_if_asked(record, _AFTER_SUBMISSION, self._occurrences, f"{record.dialect}\0{record.prompt}")

    def _decide(self, record: TaskRecord, occurrence: int) -> None:
        """Decide how long an image task takes and how it ends."""
        options, behaviours = self._options, record.behaviours
        if behaviours.asks("fail"):
            record.failure = Failure("the prompt asked to fail", behaviours.word("fail", "") or None)
        elif behaviours.asks("refuse-late"):
            code = behaviours.word("refuse-late", "") or None
            record.failure = Failure("the prompt asked to be refused late for its content", code, content=True)
        elif options.chance("fail", record.prompt, occurrence) < options.fail_rate:
            record.failure = Failure("failed at random")
        latency = behaviours.number("latency", options.latency_of(record.prompt, occurrence))
        record.latency = math.inf if behaviours.asks("never") else latency
        if behaviours.asks("n-less"):
            record.image_count = max(1, record.image_count - int(behaviours.number("n-less", 1)))
        if behaviours.asks("n-more"):
            record.image_count += min(100, int(behaviours.number("n-more", 1)))
        if behaviours.asks("odd-texts"):
            record.request = _odd(record.request)
        if behaviours.asks("no-images") or record.failure is not None:
            record.image_count = 0
        record.in_base64 = record.in_base64 or behaviours.asks("b64")
        record.queryable = record.queryable and behaviours.word("sync", "") != "anonymous"


def _odd(value: Any) -> Any:
    """Return what a request holds with U+0000 and half of a surrogate pair at the end of each text."""
    if isinstance(value, dict):
        return {name: _odd(entry) for name, entry in value.items()}
    return value + "\0\ud800" if isinstance(value, str) else value
