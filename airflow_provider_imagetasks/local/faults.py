"""Requests that end badly: why, and what a prompt can ask for to make them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from aiohttp import web

from airflow_provider_imagetasks.local.directives import DIRECTIVES, Behaviours
from airflow_provider_imagetasks.local.options import RateLimit
from airflow_provider_imagetasks.local.task_table import TaskRecord

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


BELOW_ANY_DIALECT = frozenset({Reason.CUT, Reason.HANG, Reason.GARBAGE, Reason.HTML})
"""What goes wrong with the HTTP answer itself."""

Faults = Mapping[str, tuple[Reason, str]]
"""Directives, with the reason and the words of what they make happen."""

AT_SUBMISSION: Faults = {
    "expired-key": (Reason.EXPIRED_KEY, "for an expired key"),
    "no-credit": (Reason.NO_CREDIT, "for an empty balance"),
    "refuse": (Reason.CONTENT, "to be refused for its content"),
    "429": (Reason.RATE_LIMITED, "to be limited"),
    "500": (Reason.SERVER_ERROR, "for a server error"),
    "cut": (Reason.CUT, "for a cut connection"),
    "html": (Reason.HTML, "for an HTML page"),
    "error-in-200": (Reason.ERROR_IN_200, "for an error in HTTP 200"),
}
AFTER_SUBMISSION: Faults = {
    "500-after": (Reason.SERVER_ERROR, "for a late server error"),
    "cut-after": (Reason.CUT, "for a late cut"),
    "hang-after": (Reason.HANG, "for no answer"),
    "garbage": (Reason.GARBAGE, "for garbage"),
}
_AT_STATUS_QUERIES: Faults = {
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


def refuse_if_asked(behaviours: Behaviours, asked_for: Faults, applies: Callable[[str], bool]) -> None:
    """Let the first of some faults happen that a prompt asks for.

    :param applies: tells whether a directive applies this time.
    :raises RefusedError: when one does.
    """
    for name, (reason, words) in asked_for.items():
        if not behaviours.asks(name) or not applies(name):
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
    """Count a status query of these image tasks and let them misbehave as their prompts ask.

    :raises RefusedError: when the prompt of one asks for a fault now.
    """
    for record in records:
        record.status_queries += 1
        refuse_if_asked(record.behaviours, _AT_STATUS_QUERIES, record.applies)


async def broken_answer(request: web.Request, refused: RefusedError) -> tuple[web.StreamResponse, str]:
    """Return the answer, if there is one, for a reason that is below any dialect, and the code to count it under."""
    if refused.reason is Reason.CUT:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(), "cut"
    if refused.reason is Reason.HANG:
        # Nobody sets it: this ends when the client leaves or the service stops.
        await asyncio.Event().wait()
    if refused.reason is Reason.GARBAGE:
        return web.Response(text='{"task_', content_type="application/json"), "garbage"
    page = web.Response(status=refused.status, text=PROXY_PAGE, content_type="text/html")
    return page, f"html {refused.status}"
