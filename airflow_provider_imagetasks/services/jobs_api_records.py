"""Reads the records of the jobs family (AI GPT Image's "Query Task": data.state decides, resultJson is a string)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    ImageTaskError,
    ImageTaskFailedError,
    ProtocolError,
)
from airflow_provider_imagetasks.services.fields import mapping, number, sequence, text, whole_number
from airflow_provider_imagetasks.services.refusals import CONTENT_POLICY_CODES
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState

SUCCESS_WORDS = frozenset({"success", "succeeded", "completed"})
FAILURE_WORDS = frozenset({"fail", "failed", "error", "cancelled", "canceled"})


def read_record(record: Mapping[str, Any], *, service: str, image_task_id: str) -> ImageTask:
    """Return the image task that ``data`` of a recordInfo answer tells of; an unknown word means running.

    :param service: name of the service.
    :param image_task_id: the id that was asked for.
    :raises ProtocolError: the record has no state at all.
    """
    word = text(record.get("state"))
    if not word:
        raise ProtocolError("The record has no state", service=service, image_task_id=image_task_id)
    state = TaskState.RUNNING
    images: tuple[GeneratedImage, ...] = ()
    error: ImageTaskError | None = None
    if word.lower() in SUCCESS_WORDS:
        images = _images(record.get("resultJson"))
        state = TaskState.SUCCEEDED
        if not images:
            what, state = "The image task finished without a picture", TaskState.FAILED
            error = ImageTaskFailedError(what, service=service, image_task_id=image_task_id, code="no_images")
    elif word.lower() in FAILURE_WORDS:
        state, error = TaskState.FAILED, _failure(record, service, image_task_id)
    asked, cost = _object(record.get("param")), number(record.get("costTime"))
    asked_input, credits_used = _object(asked.get("input")), number(record.get("creditsConsumed"))
    created, completed = number(record.get("createTime")), number(record.get("completeTime"))
    return ImageTask(
        id=text(record.get("taskId")) or image_task_id,
        service=service,
        state=state,
        raw_state=word,
        model=text(record.get("model")) or text(asked.get("model")),
        prompt=text(asked_input.get("prompt")) or text(asked.get("prompt")),
        images=images,
        image_count_requested=whole_number(asked_input.get("n")) or 1,
        created_at=created / 1000 if created is not None else None,
        finished_at=completed / 1000 if completed is not None else None,
        duration=cost / 1000 if cost is not None else None,
        usage={"credits": credits_used} if credits_used is not None else None,
        error=error,
        raw=record,
    )


def _images(result: Any) -> tuple[GeneratedImage, ...]:
    urls = [text(url) for url in sequence(_object(result).get("resultUrls"))]
    return tuple(GeneratedImage(index=index, url=url) for index, url in enumerate(urls) if url)


def _object(value: Any) -> Mapping[str, Any]:
    """Return an object that comes as itself or as a JSON string."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return mapping(value)


def _failure(record: Mapping[str, Any], service: str, image_task_id: str) -> ImageTaskError:
    reason, code = text(record.get("failMsg")) or "no reason given", text(record.get("failCode"))
    facts: dict[str, Any] = {"service": service, "image_task_id": image_task_id, "code": code}
    if code and code.lower() in CONTENT_POLICY_CODES:
        return ContentPolicyError(f"The service refused it by its content policy: {reason}", **facts)
    return ImageTaskFailedError(f"The service reports that the image task failed or was cancelled: {reason}", **facts)
