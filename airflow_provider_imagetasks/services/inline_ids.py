"""Ids that are the record itself, for a service that answers with the pictures at once and gives no task id."""

from __future__ import annotations

import base64
import json

from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.bounds import bounded
from airflow_provider_imagetasks.services.fields import INLINE_PREFIX, whole_number
from airflow_provider_imagetasks.services.wire import excerpt
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState, prompt_excerpt


def inline_id(task: ImageTask) -> str:
    """Return an id that is the record itself, for an image task that finished at once and has no id.

    :param task: succeeded, its pictures all URLs.
    """
    record = {
        "service": task.service,
        "urls": [image.url for image in task.images],
        "model": task.model,
        "prompt": prompt_excerpt(task.prompt),
        "trace_id": task.trace_id,
        "count": task.image_count_requested,
        "finished_at": task.finished_at,
    }
    return INLINE_PREFIX + base64.urlsafe_b64encode(json.dumps(record).encode()).decode().rstrip("=")


def task_from_inline_id(image_task_id: str, service: str) -> ImageTask:
    """Return the image task that an ``inline:`` id holds; no request is made.

    :param service: name of the service that is asked.
    :raises InvalidRequestError: when the id is damaged, or comes from another service.
    """
    encoded = image_task_id.removeprefix(INLINE_PREFIX)
    try:
        record = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
        urls, origin = record["urls"], record["service"]
        if not (isinstance(urls, list) and urls and all(isinstance(url, str) for url in urls)):
            raise ValueError("it has no pictures")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _unreadable("image_task_id starts with 'inline:' but does not hold a record", service) from error
    if origin != service:
        raise _unreadable(
            f"image_task_id comes from the service {excerpt(str(origin), 80)}, but the connection is for {service}",
            service,
        )
    task = ImageTask(
        id=image_task_id,
        service=service,
        state=TaskState.SUCCEEDED,
        raw_state="inline",
        trace_id=record.get("trace_id"),
        model=record.get("model"),
        prompt=record.get("prompt"),
        images=tuple(GeneratedImage(index=index, url=url) for index, url in enumerate(urls)),
        image_count_requested=whole_number(record.get("count")),
        finished_at=record.get("finished_at"),
    )
    found: ImageTask = bounded(task)
    return found


def _unreadable(message: str, service: str) -> InvalidRequestError:
    advice = "Pass it on unchanged, with the connection that it was submitted with; asking again costs nothing."
    return InvalidRequestError(message, service=service, billed="unknown", retry_advice=advice)
