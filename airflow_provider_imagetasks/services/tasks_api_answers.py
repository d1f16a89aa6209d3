"""Answers of the Tasks API family: errors by their code, and records.

Follows AceDataCloud's "Responses and errors" and "OpenAI Tasks API" pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.fields import mapping, number, sequence, text, whole_number
from airflow_provider_imagetasks.services.refusals import CONTENT_POLICY_CODES, STATUSES, unexplained
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState

ERROR_CODES: dict[str, type[ImageTaskError]] = {
    **dict.fromkeys(("bad_request", "api_not_implemented", "no_api"), InvalidRequestError),
    **dict.fromkeys(("no_token", "invalid_token", "token_expired", "token_mismatched"), AuthenticationError),
    "disabled": AuthenticationError,
    "used_up": QuotaExceededError,
    **dict.fromkeys(("forbidden", *CONTENT_POLICY_CODES), ContentPolicyError),
    **dict.fromkeys(("too_many_requests", "rate_limited"), RateLimitError),
    **dict.fromkeys(("api_error", "timeout"), ServiceUnavailableError),
}


def refusal(response: Response, body: Any, *, service: str) -> ImageTaskError:
    """Return the error of an answer that is no result.

    :param body: the parsed body, None where it is not JSON.
    """
    if not (isinstance(body, Mapping) and body.get("error")):
        return unexplained(response, service=service)
    code, message = _code_and_message(body)
    what = f"{service} answered HTTP {response.status}: {message}"
    facts: dict[str, Any] = {"service": service, "code": code, "trace_id": text(body.get("trace_id"))}
    error_class = ERROR_CODES.get((code or "").lower()) or STATUSES.get(response.status)
    if error_class is RateLimitError:
        return RateLimitError(what, retry_after=exchange.retry_after(response), **facts)
    if error_class is not None:
        return error_class(what, **facts)
    if response.status >= 500:
        return ServiceUnavailableError(what, **facts)
    # A definite 4xx, or an error of an unknown kind inside HTTP 200: the service said no to this request.
    return ProtocolError(what, billed="no", retryable=False, **facts)


def failure_in(
    body: Mapping[str, Any], *, service: str, image_task_id: str | None, trace_id: str | None = None
) -> ImageTaskError:
    """Return why an image task failed, as ``{"error": {"code", "message"} | "text", "trace_id"}`` tells it."""
    code, message = _code_and_message(body)
    facts: dict[str, Any] = {
        "service": service,
        "code": code,
        "trace_id": text(body.get("trace_id")) or trace_id,
        "image_task_id": image_task_id,
    }
    if ERROR_CODES.get((code or "").lower()) is ContentPolicyError:
        return ContentPolicyError(f"The service refused it by its content policy: {message}", **facts)
    return ImageTaskFailedError(f"The service reports that the image task failed: {message}", billed="no", **facts)


def _code_and_message(body: Mapping[str, Any]) -> tuple[str | None, str]:
    error = body.get("error")
    code = text(mapping(error).get("code"))
    return code, text(mapping(error).get("message")) or text(error) or code or "no reason given"


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
    took = finished_at - started_at if started_at is not None and finished_at is not None else None
    durations = (number(record.get("elapsed")), number(record.get("duration")), took)
    trace_id = text(record.get("trace_id"))
    state = TaskState.RUNNING
    images: tuple[GeneratedImage, ...] = ()
    error: ImageTaskError | None = None
    if record.get("finished_at"):
        images = read_images(response)
        identity: dict[str, Any] = {"service": service, "image_task_id": found_id, "trace_id": trace_id}
        if response.get("error") or response.get("success") is False:
            error = failure_in(response, **identity)
        elif not images:
            error = ImageTaskFailedError("The image task finished without a picture", code="no_images", **identity)
        state = TaskState.FAILED if error else TaskState.SUCCEEDED
    return ImageTask(
        id=found_id,
        service=service,
        state=state,
        raw_state="finished" if record.get("finished_at") else "started" if started_at else "created",
        trace_id=trace_id,
        model=text(request.get("model")),
        prompt=text(request.get("prompt")),
        images=() if error else images,
        image_count_requested=whole_number(request.get("n")) or 1,
        created_at=number(record.get("created_at")),
        finished_at=finished_at,
        duration=next((seconds for seconds in durations if seconds is not None), None),
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
