"""Requests and answers as the services' documents show them, and what a flow has to make of an answer."""

from __future__ import annotations

from typing import Any

from airflow_provider_imagetasks.exceptions import ImageTaskError, ImageTaskFailedError
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState
from tests.flow_driver import response

TASK_ID = "11111111-2222-4333-8444-555555555555"
URL = "https://pictures.example/kite.png"
A, B = "https://pictures.example/a.png", "https://pictures.example/b.png"
PICTURE = {"url": URL}
REQUEST = ImageRequest(prompt="a red kite", model="gpt-image-2")

RUNNING, SUCCEEDED, NOT_FOUND = TaskState.RUNNING, TaskState.SUCCEEDED, TaskState.NOT_FOUND
Meaning = TaskState | tuple[type[ImageTaskError], str | None]
"""What a record has to mean: a state, or the class and the code of the image task's failure."""
NO_PICTURE: Meaning = (ImageTaskFailedError, "no_images")


def account(**fields: Any) -> Account:
    return Account(conn_id="mine", service="any", base_url="https://api.example", **fields)


def completed(service: str | Service, *, of: Account | None = None, **fields: Any) -> ImageRequest:
    """Return a request for a picture as the service is sent it.

    :param of: the account, for one with fields of its own.
    """
    service = get_service(service) if isinstance(service, str) else service
    return service.complete(ImageRequest(**{"prompt": "make it winter", **fields}), of or account())


def tasks_api_record(**fields: Any) -> dict[str, Any]:
    """Return a record of the Tasks API that has just been made, with further ``fields``."""
    request = {"model": "gpt-image-2", "prompt": "a red kite", "async": True}
    known = {"id": TASK_ID, "type": "images", "created_at": 1790000000.25, "trace_id": "t-1", "request": request}
    return known | fields


def finished_record(answer: Any, **fields: Any) -> dict[str, Any]:
    """Return a finished record of the Tasks API with this ``response``."""
    times = {"started_at": 1790000000.5, "finished_at": 1790000041.75, "elapsed": 41.25}
    return tasks_api_record(**times, response=answer, **fields)


def items(*records: Any, **fields: Any) -> Response:
    """Return the Tasks API's answer to ``retrieve_batch``."""
    return response({"items": list(records), "count": len(records)} | fields)


def envelope(data: Any, code: Any = 200, msg: str = "success") -> dict[str, Any]:
    """Return a whole answer of the jobs family."""
    return {"code": code, "msg": msg, "data": data}


def check_meaning(task: ImageTask, meaning: Meaning) -> None:
    """Fail unless the image task is in that state, or failed with that error; only a success has pictures."""
    assert task.id == TASK_ID
    if isinstance(meaning, TaskState):
        assert (task.state, task.error) == (meaning, None)
    else:
        assert task.state is TaskState.FAILED
        assert task.error is not None
        assert (type(task.error), task.error.code) == meaning
        assert (task.error.image_task_id, task.error.retryable) == (TASK_ID, False)
    assert bool(task.images) is (meaning is SUCCEEDED)
