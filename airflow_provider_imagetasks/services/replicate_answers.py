"""What Replicate's answers mean: how a prediction stands, what it made, why it was refused or failed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskError,
    ImageTaskFailedError,
    ProtocolError,
    RateLimitError,
    ResultExpiredError,
)
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.base import IMAGE_COUNT_OPTIONS
from airflow_provider_imagetasks.services.fields import (
    LONGEST_PROMPT,
    mapping,
    moment,
    number,
    options_named,
    text,
    whole_number,
)
from airflow_provider_imagetasks.services.hosted_models import picture_addresses
from airflow_provider_imagetasks.services.refusals import object_in, perhaps_billed, refusal_by_status
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState

SERVICE = "replicate"
_CODE = re.compile(r"\((E\d{3,5})\)")
_SENSITIVE = "E005"
_NSFW = re.compile(
    r"(?:[\w .]{1,60}: ){0,6}(?:NSFW content (?:was )?detected|All generated images contained NSFW content)",
    re.IGNORECASE,
)
"""What models say that have no code for it, also where Cog says before what failed."""
_SECONDS = re.compile(r"(\d{1,5}(?:\.\d+)?) ?s(?:ec|econds?)?\b", re.IGNORECASE)


def refusal(answer: Response, said: Mapping[str, Any]) -> ImageTaskError:
    """Return what an answer with an error means."""
    status = answer.status
    message = text(said.get("detail")) or text(said.get("title")) or "no reason given"
    code = _code_in(message) or str(status)
    what = f"Replicate answered HTTP {status}: {message}"
    facts: dict[str, Any] = {"service": SERVICE, "code": code}
    if status < 500 and _is_sensitive(message):
        return ContentPolicyError(what, **facts)
    if status == 403:
        return AuthenticationError(what, **facts)
    if status == 429:
        told = _SECONDS.search(message)
        seconds = exchange.retry_after(answer)
        return RateLimitError(what, retry_after=float(told[1]) if seconds is None and told else seconds, **facts)
    return refusal_by_status(status, what, **facts)


def read_prediction(answer: Response, image_task_id: str) -> ImageTask:
    """Return the image task of an answer to the question for one.

    :raises ImageTaskError: it cannot be told.
    """
    said = object_in(answer, service=SERVICE)
    if answer.status == 404 and "detail" in said:
        state = TaskState.NOT_FOUND
        return ImageTask(id=image_task_id, service=SERVICE, state=state, has_record=False, raw=said)
    if answer.status >= 400:
        raise refusal(answer, said)
    return task_of(said, text(said.get("id")) or image_task_id)


def task_of(record: Mapping[str, Any], image_task_id: str) -> ImageTask:
    """Return the image task that a record tells of; an unknown word means running.

    :raises ProtocolError: it has no state.
    """
    word = (text(record.get("status")) or "").lower()
    if not word:
        raise ProtocolError("The record has no status", service=SERVICE, image_task_id=image_task_id)
    state = TaskState.RUNNING
    error: ImageTaskError | None = None
    urls: list[str] = []
    if word in ("failed", "canceled", "cancelled", "aborted"):
        made = picture_addresses(record.get("output"), takes_texts=True)
        used = {"predict_time": mapping(record.get("metrics")).get("predict_time")}
        error = perhaps_billed(_failure(record, word, image_task_id), pictures=made, used=used)
    elif word == "succeeded":
        urls = list(dict.fromkeys(picture_addresses(record.get("output"), takes_texts=True)))
        error = None if urls else _without_picture(record, image_task_id)
        state = TaskState.SUCCEEDED
    asked, metrics = mapping(record.get("input")), mapping(record.get("metrics"))
    counts = [whole_number(value) for _, value in options_named(IMAGE_COUNT_OPTIONS, asked)]
    return ImageTask(
        id=image_task_id,
        service=SERVICE,
        state=TaskState.FAILED if error else state,
        raw_state=word,
        model=text(record.get("model")) or text(record.get("version")),
        prompt=text(asked.get("prompt"), most=LONGEST_PROMPT),
        images=tuple(GeneratedImage(index=index, url=url) for index, url in enumerate(urls)),
        image_count_requested=counts[0] if counts else 1,
        created_at=moment(record.get("created_at")),
        finished_at=moment(record.get("completed_at")),
        duration=number(metrics.get("predict_time")),
        usage=metrics or None,
        error=error,
        raw=record,
    )


def _failure(record: Mapping[str, Any], word: str, image_task_id: str) -> ImageTaskError:
    told = record.get("error")
    message = text(told) or text(mapping(told).get("detail")) or text(mapping(told).get("message")) or "no reason given"
    facts: dict[str, Any] = {"service": SERVICE, "image_task_id": image_task_id}
    if word != "failed":
        what = "It was cancelled, or its deadline was over. The time that it ran is billed"
        error = ImageTaskFailedError(what, code="canceled", **facts)
        if word == "aborted":
            what = "It was stopped before it could start: its deadline was over, or it was cancelled"
            error = ImageTaskFailedError(what, code="aborted", billed="no", **facts)
        error.was_cancelled = True
        return error
    code = _code_in(message)
    if _is_sensitive(message):
        what = f"The model refused it because of its content policy: {message}. The time that it ran may be billed"
        return ContentPolicyError(what, code=code or "nsfw", billed="unknown", **facts)
    return ImageTaskFailedError(f"Replicate reports that it failed: {message}", code=code, **facts)


def _without_picture(record: Mapping[str, Any], image_task_id: str) -> ImageTaskError:
    facts: dict[str, Any] = {"service": SERVICE, "image_task_id": image_task_id}
    if record.get("data_removed") is True:
        # An hour after the end, and for good.
        advice = "Clear the submit task with its downstream for a new picture; a batch stores pictures as they come."
        what = "Replicate has deleted the picture, as it does an hour after making it"
        return ResultExpiredError(what, code="data_removed", retryable=False, retry_advice=advice, **facts)
    return ImageTaskFailedError("The prediction succeeded without a picture", code="no_images", **facts)


def _code_in(message: str) -> str | None:
    found = _CODE.search(message)
    return found[1] if found else None


def _is_sensitive(message: str) -> bool:
    return _code_in(message) == _SENSITIVE or bool(_NSFW.match(message))
