"""What fal's answers mean: how a request stands, what it came to, why it was refused or failed.

Follows fal's pages "Asynchronous Inference", "Request Error Types", "Model Errors" and its FAQ on what is billed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskError,
    ImageTaskFailedError,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ResultExpiredError,
)
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.fields import LONGEST_PROMPT, mapping, number, sequence, text
from airflow_provider_imagetasks.services.hosted_models import addresses_named, picture_addresses
from airflow_provider_imagetasks.services.refusals import object_in, perhaps_billed, refusal_by_status
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.tasks import MOST_IMAGES, GeneratedImage, ImageTask, TaskState

SERVICE = "fal"
CONTENT_POLICY = "content_policy_violation"
CANCELLED = "client_cancelled"
_NO_BALANCE = re.compile(r"balance|top.?up", re.IGNORECASE)
"""What a locked account is told; there is no code for it."""
_STILL_RUNNING = re.compile(r"still in progress", re.IGNORECASE)
"""What the result says of a request that is not over; the status may have been ahead of it."""
_OVER = {"FAILED": "failed", "ERROR": "failed", "CANCELED": CANCELLED, "CANCELLED": CANCELLED}
"""Words for a request that came to nothing, which fal's documents do not have, and descriptions of others do."""
_FURTHER_NAMES = ("image_urls", "image_url", "outputs", "output", "results", "result", "urls")
"""Where some models have their pictures as bare addresses; other texts, such as a prompt, may be addresses too."""
_PASSING = (401, 403, 408, 409, 425, 429)
"""Statuses of an answer about a result that speak of the question, and not of the request."""
_NO_REASON = "no reason given"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The request that was asked for.

    :param id: as this package knows it.
    :param model: its owner and app.
    """

    id: str
    model: str

    def task(self, state: TaskState, word: str, raw: Mapping[str, Any], **facts: Any) -> ImageTask:
        """Return the image task in a state, and in fal's word for it."""
        known: dict[str, Any] = {"id": self.id, "service": SERVICE, "model": self.model, "raw": raw}
        return ImageTask(**known, state=state, raw_state=word, **facts)


def refusal(answer: Response, said: Mapping[str, Any]) -> ImageTaskError:
    """Return what an answer with an error means: a flat one of fal's own, or the list of a model's."""
    status, (kind, message) = answer.status, _reason(answer, said)
    what = f"fal answered HTTP {status}: {message}"
    facts: dict[str, Any] = {"service": SERVICE, "code": kind or str(status)}
    if kind == CONTENT_POLICY:
        return ContentPolicyError(what, **facts)
    if status == 403:
        return (QuotaExceededError if _NO_BALANCE.search(message) else AuthenticationError)(what, **facts)
    if status == 429:
        return RateLimitError(what, retry_after=exchange.retry_after(answer), **facts)
    return refusal_by_status(status, what, **facts)


def read_status(answer: Response, asked: Asked) -> ImageTask | Mapping[str, Any]:
    """Return how a request stands, or what is said of one that is completed.

    :raises ImageTaskError: it cannot be told.
    """
    said = object_in(answer, service=SERVICE)
    if answer.status == 404 and "detail" in said:
        return replace(asked.task(TaskState.NOT_FOUND, "", said, has_record=False), raw_state=None)
    if answer.status >= 400:
        raise refusal(answer, said)
    word = text(said.get("status"))
    if not word:
        raise ProtocolError("The answer has no status", service=SERVICE, image_task_id=asked.id)
    if word.upper() == "COMPLETED":
        return said
    if kind := _OVER.get(word.upper()):
        return _failed(asked, kind, text(said.get("error")) or _NO_REASON, word=word, raw=said)
    return asked.task(TaskState.RUNNING, word, said)


def read_result(answer: Response, asked: Asked, status: Mapping[str, Any]) -> ImageTask:
    """Return what a completed request came to.

    :param status: what was said of it when it was asked for its status.
    :raises ImageTaskError: it cannot be told.
    """
    said = object_in(answer, service=SERVICE)
    told = bool(status.get("error") or status.get("error_type"))
    if answer.status < 300 and (not told or any(_addresses(said))):
        # A picture that is there is paid for, whatever was said of it before.
        return _finished(answer, said, asked, status)
    if answer.status == 404 and not told:
        what = "fal completed the request, but no longer has its result"
        error = ResultExpiredError(what, service=SERVICE, image_task_id=asked.id, code="404", retryable=False)
        return asked.task(TaskState.FAILED, "COMPLETED", said, error=error, has_record=False)
    kind, message = _reason(answer, said)
    if answer.status == 400 and not told and _STILL_RUNNING.search(message):
        return asked.task(TaskState.RUNNING, "IN_PROGRESS", said)
    told_kind, is_of_server = text(status.get("error_type")), answer.status >= 500
    has_verdict = kind or (told and not (is_of_server and message == _NO_REASON))
    if (is_of_server and not has_verdict) or (answer.status in _PASSING and not kind):
        # As anything in between may say it, too.
        raise refusal(answer, said)
    reason = message if message != _NO_REASON else text(status.get("error")) or message
    # An error without a kind, where the status has named one, may be about the question alone.
    is_free = is_of_server and (kind is not None or told_kind is None)
    return _failed(asked, told_kind or kind or str(answer.status), reason, is_free=is_free, raw=said)


def _failed(
    asked: Asked, kind: str, reason: str, *, raw: Mapping[str, Any], is_free: bool = False, word: str = "COMPLETED"
) -> ImageTask:
    facts: dict[str, Any] = {"service": SERVICE, "image_task_id": asked.id, "code": kind}
    error: ImageTaskError
    if kind == CONTENT_POLICY:
        what = f"fal refused it because of its content policy: {reason}. What was worked on before may be billed"
        error = ContentPolicyError(what, billed="unknown", **facts)
    elif kind == CANCELLED:
        error = ImageTaskFailedError(f"It was cancelled: {reason}", **facts)
        error.was_cancelled = True
    else:
        # "Server errors are never charged"; others are, where a runner had worked before.
        facts["billed"] = "no" if is_free else "unknown"
        error = ImageTaskFailedError(f"fal reports that it failed: {reason}", **facts)
        error = perhaps_billed(error, pictures=_addresses(raw))
    return asked.task(TaskState.FAILED, word, raw, error=error)


def _finished(answer: Response, said: Mapping[str, Any], asked: Asked, status: Mapping[str, Any]) -> ImageTask:
    urls, flags = _addresses(said), said.get("has_nsfw_concepts")
    # A model that makes one picture has one flag.
    flagged = {index for index, flag in enumerate(flags if isinstance(flags, list) else [flags]) if flag is True}
    images = [GeneratedImage(index=index, url=url) for index, url in enumerate(urls) if url and index not in flagged]
    error: ImageTaskError | None = None
    facts: dict[str, Any] = {"service": SERVICE, "image_task_id": asked.id}
    if not images and flagged:
        what = "fal's safety checker blacked out every picture (has_nsfw_concepts)"
        error = ContentPolicyError(what, billed="yes", code="nsfw", **facts)
    elif not images:
        kind, reason = _reason(answer, said)
        if kind or reason != _NO_REASON:
            return _failed(asked, kind or "no_images", reason, raw=said)
        error = ImageTaskFailedError("The request was completed without a picture", code="no_images", **facts)
    return asked.task(
        TaskState.FAILED if error else TaskState.SUCCEEDED,
        "COMPLETED",
        said,
        images=tuple(images),
        left_out=len(flagged.intersection(range(len(urls)))),
        error=error,
        prompt=text(said.get("prompt"), most=LONGEST_PROMPT),
        # The blacked out ones were asked for as well, and billed.
        image_count_requested=len(urls) or None,
        duration=number(mapping(status.get("metrics")).get("inference_time")),
    )


def _addresses(said: Mapping[str, Any]) -> Sequence[str | None]:
    """Return where the pictures of a result are, in their places: one that was blacked out may have none."""
    listed = [next(iter(picture_addresses(each, takes_texts=True)), None) for each in sequence(said.get("images"))]
    if any(listed):
        return listed[:MOST_IMAGES]
    made = {name: value for name, value in said.items() if name not in ("detail", "error")}
    named = addresses_named(("images", "image"), made) or picture_addresses(made, takes_texts=False)
    return named or addresses_named(_FURTHER_NAMES, made)


def _reason(answer: Response, said: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the kind and the words of an error, in either of fal's forms."""
    detail = said.get("detail")
    entries = [mapping(entry) for entry in sequence(detail)]
    kinds = [kind for entry in entries if (kind := text(entry.get("type")))]
    kind = CONTENT_POLICY if CONTENT_POLICY in kinds else next(iter(kinds), None)
    kind = kind or text(said.get("error_type")) or text(answer.headers.get("x-fal-error-type"))
    told = "; ".join(message for entry in entries if (message := text(entry.get("msg"))))
    return kind, text(detail) or told or text(said.get("error")) or _NO_REASON
