"""Reads the records of the Tasks API family (AceDataCloud's "OpenAI Tasks API", field table and example)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_imagetasks.exceptions import ImageTaskError, ImageTaskFailedError
from airflow_provider_imagetasks.services.fields import mapping, number, sequence, text, whole_number
from airflow_provider_imagetasks.services.tasks_api_errors import error_in
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState


def read_record(record: Mapping[str, Any], *, service: str, image_task_id: str) -> ImageTask:
    """Return the image task that a record tells of.

    :param service: name of the service.
    :param image_task_id: the id that was asked for, for a record without one: ``{}`` means not found.
    """
    found_id = text(record.get("id"))
    if not found_id:
        return ImageTask(id=image_task_id, service=service, state=TaskState.NOT_FOUND, raw=record)
    request, response = mapping(record.get("request")), mapping(record.get("response"))
    started_at, finished_at = number(record.get("started_at")), number(record.get("finished_at"))
    duration = number(record.get("elapsed"))
    if duration is None:
        duration = number(record.get("duration"))
    if duration is None and started_at is not None and finished_at is not None:
        duration = finished_at - started_at
    state = TaskState.RUNNING
    images: tuple[GeneratedImage, ...] = ()
    error: ImageTaskError | None = None
    if record.get("finished_at"):
        images = read_images(response)
        error = _failure(response, images, service, found_id, text(record.get("trace_id")))
        state = TaskState.FAILED if error else TaskState.SUCCEEDED
    return ImageTask(
        id=found_id,
        service=service,
        state=state,
        raw_state="finished" if record.get("finished_at") else "started" if started_at else "created",
        trace_id=text(record.get("trace_id")),
        model=text(request.get("model")),
        prompt=text(request.get("prompt")),
        images=() if error else images,
        image_count_requested=whole_number(request.get("n")) or 1,
        created_at=number(record.get("created_at")),
        finished_at=finished_at,
        duration=duration,
        usage=mapping(response.get("usage")) or mapping(record.get("cost")) or None,
        error=error,
        raw=record,
    )


def read_images(response: Mapping[str, Any]) -> tuple[GeneratedImage, ...]:
    """Return the pictures of a synchronous answer, a callback or a record's ``response``; flat or nested data."""
    data = response.get("data")
    if isinstance(data, Mapping):
        data = data.get("data")
    images = []
    for index, entry in enumerate(sequence(data)):
        url, encoded = text(mapping(entry).get("url")), text(mapping(entry).get("b64_json"))
        if url and url.startswith("data:"):
            url, encoded = None, url
        if url or encoded:
            images.append(GeneratedImage(index=index, url=url, data=None if url else encoded))
    return tuple(images)


def _failure(
    response: Mapping[str, Any],
    images: tuple[GeneratedImage, ...],
    service: str,
    image_task_id: str,
    trace_id: str | None,
) -> ImageTaskError | None:
    if response.get("error") or response.get("success") is False:
        return error_in(response, None, service=service, image_task_id=image_task_id, trace_id=trace_id)
    if not images:
        return ImageTaskFailedError(
            "The image task finished without a picture",
            service=service,
            image_task_id=image_task_id,
            trace_id=trace_id,
            code="no_images",
        )
    return None
