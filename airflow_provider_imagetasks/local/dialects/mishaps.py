"""Answers that go wrong because a prompt asks for it, in whatever dialect it came."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Admission, Reason, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_imagetasks.local.records import TaskRecord

PROXY_PAGE = (
    "<!DOCTYPE html><html><head><title>Gateway</title></head>"
    "<body><h1>This page comes from something in between</h1></body></html>"
)
BELOW_ANY_DIALECT = frozenset({Reason.CUT, Reason.HANG, Reason.GARBAGE, Reason.HTML})
"""What goes wrong with the HTTP answer itself."""


async def broken_answer(request: web.Request, refused: RefusedError) -> tuple[web.StreamResponse, str]:
    """Return the answer, if there is one, for a reason that is below any dialect, and the code to count it under."""
    if refused.reason is Reason.CUT:
        return cut(request), "cut"
    if refused.reason is Reason.HANG:
        # Nobody sets it: this ends when the client leaves or the service stops.
        await asyncio.Event().wait()
    if refused.reason is Reason.GARBAGE:
        return web.Response(text='{"task_', content_type="application/json"), "garbage"
    page = web.Response(status=refused.status, text=PROXY_PAGE, content_type="text/html")
    return page, f"html {refused.status}"


def cut(request: web.Request) -> web.Response:
    """Cut the request's connection; what is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def check_after_submission(admission: Admission, record: TaskRecord) -> None:
    """Let the answer to an accepted submission go wrong where its prompt asks for it.

    :raises RefusedError: when it does.
    """
    if admission.applies(record, "500-after"):
        status = int(record.behaviours.option("500-after", "status", 500))
        raise RefusedError(Reason.SERVER_ERROR, "the prompt asked for a late server error", status=status)
    if admission.applies(record, "cut-after"):
        raise RefusedError(Reason.CUT, "the prompt asked for a late cut")
    if admission.applies(record, "hang-after"):
        raise RefusedError(Reason.HANG, "the prompt asked for no answer")
    if admission.applies(record, "garbage"):
        raise RefusedError(Reason.GARBAGE, "the prompt asked for garbage")


def note_queried(records: Iterable[TaskRecord]) -> None:
    """Count a status query of these image tasks and let them misbehave as their prompts ask.

    :raises RefusedError: when the prompt of one asks for a mishap now.
    """
    for record in records:
        record.status_queries += 1
        if record.behaviours.settings:
            _check_query(record)


def _check_query(record: TaskRecord) -> None:
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
