"""Requests and answers as the services' documents show them, and what a flow has to make of an answer."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    ImageTaskFailedError,
    RateLimitError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.exchange import ATTEMPTS
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.tasks import ImageRequest, ImageTask, TaskState
from tests.flow_driver import drive, response

TASK_ID = "11111111-2222-4333-8444-555555555555"
URL = "https://pictures.example/kite.png"
A, B = "https://pictures.example/a.png", "https://pictures.example/b.png"
PICTURE = {"url": URL}
RESULT = {"resultUrls": [URL]}
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


def job(state: Any, **fields: Any) -> dict[str, Any]:
    """Return what ``data`` of AI GPT Image's "Query Task" holds: null where there is nothing yet."""
    nothing = dict.fromkeys(("resultJson", "failCode", "failMsg", "costTime", "completeTime"))
    parameters = {"model": "gpt-image-2-text-to-image", "input": {"prompt": "a red kite"}}
    known = {"taskId": TASK_ID, "model": "gpt-image-2-text-to-image", "param": json.dumps(parameters)}
    return {**known, "state": state, **nothing, "createTime": 1790000000250, **fields}


def finished_job(result: Any, state: str = "success", **fields: Any) -> dict[str, Any]:
    """Return a finished job with this ``resultJson``."""
    return job(state, resultJson=result, costTime=41250, completeTime=1790000041500, **fields)


def envelope(data: Any, code: Any = 200, msg: str = "success") -> dict[str, Any]:
    """Return a whole answer of the jobs family."""
    return {"code": code, "msg": msg, "data": data}


WAYS = ("in HTTP 200", "with HTTP status", "HTTP status only")


def refused_jobs(code: int) -> dict[str, Response]:
    """Return the ways in which the jobs family may say a code: in the envelope, by HTTP status too, or by it alone."""
    body = envelope(None, code, "no luck")
    alone = response({"message": "no luck"}, status=code)
    return dict(zip(WAYS, (response(body), response(body, status=code), alone), strict=True))


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


def check_refusal(
    service: Service, answer: Response, code: str, on_read: type[ImageTaskError] | None, on_submit: type[ImageTaskError]
) -> None:
    """Fail unless a refusal ends a status request and a submission with these classes, after as many requests as due.

    :param on_read: None means that there is no such image task, ``ImageTaskFailedError`` that it has failed.
    """
    read = drive(service.get_task(TASK_ID), *[answer] * _requests(on_read))
    if on_read is None:
        assert read.result == service.not_found(TASK_ID)
    elif on_read is ImageTaskFailedError:
        check_meaning(read.result, (on_read, code))
        assert read.result.error.billed == "no"
        _check_error(read.result.error, on_read, code, service)
    else:
        _check_error(read.error, on_read, code, service)
    assert len(read.pauses) == _requests(on_read) - 1

    submitted = drive(service.submit(REQUEST), *[answer] * _requests(on_submit))
    error = _check_error(submitted.error, on_submit, code, service)
    assert error.billed == ("unknown" if on_submit is UnknownOutcomeError else "no")
    assert error.retryable is (_requests(on_submit) > 1)
    assert len(submitted.pauses) == _requests(on_submit) - 1


def _requests(error: type[ImageTaskError] | None) -> int:
    """Return how many requests are made before a flow gives up with this error."""
    return ATTEMPTS if error in (RateLimitError, ServiceUnavailableError) else 1


def _check_error(
    error: ImageTaskError | None, expected: type[ImageTaskError], code: str, service: Service
) -> ImageTaskError:
    assert error is not None
    assert (type(error), error.code, error.service) == (expected, code, service.name)
    assert "no luck" in error.message
    return error
