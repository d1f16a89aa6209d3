"""One request and its rules: when it is repeated, how long to wait before, and when its outcome is unknown.

Reading is free and is repeated; that it fails says nothing of whether the picture was paid for. A submission costs
money: it is repeated only where the service certainly did not take it, or where it recognises the repetition by a key.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskError,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services.bounds import bounded, bounded_error
from airflow_provider_imagetasks.services.fields import is_too_long, mapping, number, options_named, text
from airflow_provider_imagetasks.services.wire import (
    Answer,
    Call,
    Flow,
    NoResponse,
    Request,
    Response,
    Result,
    ToolCall,
    ask,
    pause,
)
from airflow_provider_imagetasks.tasks import ImageTask, TaskState, require_sendable, utc_moment

ATTEMPTS = 5
LONGEST_PAUSE = 60.0
"""Seconds that a flow waits before it asks again; a service that wants longer is left to Airflow's retry."""

Interpretation = Callable[[Response], Result]

_CORRECTIONS: dict[type[ImageTaskError], str] = {
    AuthenticationError: "Correct the API key (the connection's password)",
    QuotaExceededError: "Top up the account at the service",
}
"""Advice after a failed read, instead of the error's own, which would have a submission made anew."""
# How an answer may name an image task where its family does not.
_ID_NAMES = ("task_id", "record_id", "job_id", "image_task_id")


def retry_after(response: Response) -> float | None:
    """Return the seconds of a ``Retry-After`` header, in either of its forms, None without a readable one."""
    value = response.headers.get("retry-after", "").strip()
    try:
        # Of several the last counts: some clients join them, others keep only that.
        seconds = float(value.rpartition(",")[2])
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.fromtimestamp(response.at, tz=UTC)).total_seconds()
    return max(0.0, seconds) if seconds < float("inf") else None


def read(request: Call, interpret: Interpretation[Result], *, service: str) -> Flow[Result]:
    """Make a request that costs nothing, once.

    :param interpret: turns a response into the result, or raises an ``ImageTaskError``. An image task that failed is
        a result, with its ``error``.
    :param service: its name, for messages.
    :raises ImageTaskError: what ``interpret`` raised, ``ProtocolError`` for any other exception of it, or
        ``ServiceUnavailableError`` where no answer came. ``billed`` is always ``"unknown"``.
    """

    def understood(response: Response) -> Result:
        result: Result = bounded(interpret(response))
        return result

    try:
        require_sendable(f"The request to {service}", _content(request))
        answer = yield from ask(request)
        return _interpreted(answer, request, understood, service)
    except ImageTaskError as error:
        error.billed = "unknown"
        if not error.retryable:
            correction = _CORRECTIONS.get(type(error), "Correct what it names")
            error.retry_advice = f"{correction}; asking again costs nothing."
        raise


def patiently(make_flow: Callable[[], Flow[Result]], *, attempts: int = ATTEMPTS) -> Flow[Result]:
    """Run a flow that costs nothing up to ``attempts`` times, with growing pauses, or those that the service asks for.

    :param make_flow: makes the flow anew for each attempt.
    :raises ImageTaskError: what the last attempt raised, or what asking again cannot mend.
    """
    for attempt in range(1, attempts + 1):
        try:
            return (yield from make_flow())
        except ImageTaskError as error:
            seconds = _pause_before_next(error, attempt, attempts)
            if seconds is None:
                raise
        yield from pause(seconds)
    raise AssertionError("the last attempt returns or raises")


def submit(
    request: Call,
    interpret: Interpretation[ImageTask],
    *,
    service: str,
    repeatable: bool,
    how_to_look: str,
    trace_id: str | None = None,
    attempts: int = ATTEMPTS,
) -> Flow[ImageTask]:
    """Make a request that costs money.

    It is made again where an error says that it was not billed and may be retried (429, no connection), and after an
    unknown outcome only where it is ``repeatable``.

    :param interpret: turns a response into the image task, or raises an ``ImageTaskError`` whose ``billed`` is
        ``"no"`` for a definite refusal. Any other exception of it, and an image task without an id or one that is not
        found, means that the outcome is unknown.
    :param repeatable: whether the service answers the same request with the same image task.
    :param how_to_look: where a person finds out what became of it.
    :param trace_id: the request's correlation id, for messages.
    :raises UnknownOutcomeError: the service may have taken it; never made again.
    :raises ImageTaskError: a definite refusal.
    """

    def accepted(response: Response) -> ImageTask:
        found = interpret(response)
        age = number(response.headers.get("age", "").rpartition(",")[2]) or 0.0
        if age > 0:
            what = f"The answer is {age:.0f} s old: a cache on the way repeats that of an earlier submission"
            raise ProtocolError(what, service=service)
        if is_too_long(found.id):
            raise ProtocolError(
                f"The image task id in the answer is too long ({len(found.id)} characters)", service=service
            )
        task: ImageTask = bounded(found)
        if not task.id or task.state is TaskState.NOT_FOUND:
            said = response.excerpt() or "an empty body"
            raise ProtocolError(f"The answer to the submission names no image task: {said}", service=service)
        return task

    require_sendable(f"The request to {service}", _content(request))
    first_unknown: UnknownOutcomeError | None = None
    for attempt in range(1, attempts + 1):
        answer = yield from ask(request)
        try:
            return _interpreted(answer, request, accepted, service)
        except ImageTaskError as error:
            refused_again = error if first_unknown else None
            named = _image_task_named_in(answer) if error.billed == "no" else None
            if named:
                error.billed = "unknown"
                error.message = f"{error.message.rstrip('.')}; but the answer names image task {named[:80]}"
            if error.billed == "unknown" and first_unknown is None:
                what = f"The outcome of the submission at {utc_moment(answer.at)} is unknown"
                reason = error.message.rstrip(".")
                message = f"{what} ({reason}). {how_to_look}"
                facts = {"code": error.code, "trace_id": error.trace_id or trace_id, "image_task_id": named}
                first_unknown = UnknownOutcomeError(message, service=service, reason=reason, **facts)
            for_account = isinstance(error, RateLimitError)
            seconds = _pause_before_next(error, attempt, attempts) if repeatable or not first_unknown else None
            if seconds is None:
                if first_unknown is None:
                    raise
                # A refusal of the repetition says nothing about the first, which may have been taken.
                raise first_unknown from refused_again or error.__cause__
        yield from pause(seconds, for_account=for_account)
    raise AssertionError("the last attempt returns or raises")


def typed(flow: Flow[Result], *, service: str) -> Flow[Result]:
    """Run a flow that costs nothing, in which what nobody foresaw is a ``ProtocolError``, and no end for others.

    :param service: its name, for messages.
    """
    try:
        return (yield from flow)
    except ImageTaskError:
        raise
    except Exception as error:
        raise bounded_error(ProtocolError(_broken(error, service), service=service, billed="unknown")) from error


def typed_submission(submission: Flow[ImageTask], *, service: str, how_to_look: str) -> Flow[ImageTask]:
    """Run a submission, in which what nobody foresaw is an unknown outcome, once a request may have left.

    :param service: its name, for messages.
    :param how_to_look: where a person finds out what became of it.
    :raises ProtocolError: it broke before that.
    """
    has_left = False
    try:
        step = next(submission)
        while True:
            has_left = has_left or isinstance(step, Call)
            step = submission.send((yield step))
    except StopIteration as end:
        task: ImageTask = end.value
        return task
    except ImageTaskError:
        raise
    except Exception as error:
        reason = _broken(error, service)
        if has_left:
            what = f"The outcome of the submission is unknown ({reason}). {how_to_look}"
            raise bounded_error(UnknownOutcomeError(what, service=service, reason=reason)) from error
        advice = "A retry would fail in the same way: the code of the service has to be corrected."
        broken = ProtocolError(reason, service=service, billed="no", retryable=False, retry_advice=advice)
        raise bounded_error(broken) from error


def _broken(error: Exception, service: str) -> str:
    return f"The code of the service {service} failed at a request or an answer ({type(error).__name__}: {error})"[:200]


def _image_task_named_in(answer: Answer) -> str | None:
    """Return the id by which an answer that is no success names an image task all the same."""
    if isinstance(answer, Response):
        with suppress(ValueError):
            ids = (text(value) for _, value in options_named(_ID_NAMES, mapping(answer.json())))
            return next(filter(None, ids), None)
    return None


def _content(request: Call) -> Sequence[Any]:
    if isinstance(request, Request):
        return request.path, request.parameters, request.body
    return (request.arguments,) if isinstance(request, ToolCall) else ()


def _interpreted(answer: Answer, request: Call, interpret: Interpretation[Result], service: str) -> Result:
    if isinstance(answer, NoResponse):
        silence = ServiceUnavailableError(
            f"No answer from {service}: {answer.reason}",
            service=service,
            billed="unknown" if answer.may_have_left else "no",
        )
        if answer.ended:
            silence.concerns_account, silence.retry_advice = True, "A retry starts it again."
        raise silence
    try:
        return interpret(answer)
    except ImageTaskError as error:
        bounded_error(error, request)
        raise
    except Exception as error:
        # What comes from outside does not decide the class of an exception.
        what = f"The answer is not understood ({type(error).__name__}: {error})"[:200]
        told = ProtocolError(f"{what}: {answer.excerpt() or 'an empty body'}", service=service)
        raise bounded_error(told, request) from error


def _pause_before_next(error: ImageTaskError, attempt: int, attempts: int) -> float | None:
    """Return how long to wait before asking again, None where asking again is not for this flow to do."""
    if not error.retryable or error.concerns_account or attempt >= attempts:
        return None
    wanted = error.retry_after if isinstance(error, RateLimitError) else None
    if wanted is not None:
        return wanted + random.uniform(0, min(1.0, 0.1 + wanted / 10)) if wanted <= LONGEST_PAUSE else None
    return float(2 ** (attempt - 1)) + random.uniform(0, 1)
