"""What OpenAI's responses mean: how a background response stands, which pictures it holds, why it came to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    ImageTaskError,
    ImageTaskFailedError,
    ProtocolError,
)
from airflow_provider_imagetasks.services.fields import mapping, moment, sequence, text
from airflow_provider_imagetasks.services.openai_errors import NO_REASON, SERVICE, failure, refusal_of
from airflow_provider_imagetasks.services.refusals import object_in, perhaps_billed
from airflow_provider_imagetasks.services.wire import Response
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageTask, TaskState

TOOL = "image_generation"
PROMPT_NOTE = "imagetasks_prompt"
"""The name under which the beginning of the prompt stands in ``metadata``, since a response does not repeat it."""
KEY_NAME = "imagetasks_key"
"""The name there of the key of a submission; a batch of requests has it, too."""
_CALL = f"{TOOL}_call"
_OVER = frozenset({"completed", "failed", "incomplete", "cancelled", "canceled"})


def read_response(answer: Response, image_task_id: str) -> ImageTask:
    """Return the image task of an answer to the question for a response.

    :raises ImageTaskError: it cannot be told.
    """
    said = object_in(answer, service=SERVICE)
    if answer.status == 404 and mapping(said.get("error")):
        state = TaskState.NOT_FOUND
        return ImageTask(id=image_task_id, service=SERVICE, state=state, has_record=False, raw=said)
    if answer.status >= 400:
        raise refusal_of(answer, said)
    return task_of(said, text(said.get("id")) or image_task_id)


def task_of(response: Mapping[str, Any], image_task_id: str) -> ImageTask:
    """Return the image task that a response tells of; an unknown word means running.

    A picture counts whatever the word: it is paid for, also where what the model would have said of it was cut off.

    :raises ProtocolError: it has no status.
    """
    word = (text(response.get("status")) or "").lower()
    if not word:
        raise ProtocolError("The response has no status", service=SERVICE, image_task_id=image_task_id)
    images: tuple[GeneratedImage, ...] = ()
    error: ImageTaskError | None = None
    state = TaskState.RUNNING
    used = {**mapping(response.get("usage")), **mapping(response.get("tool_usage"))}
    if word in _OVER:
        pictures = (call.get("result") for call in _items(response, _CALL))
        found = [each for each in pictures if isinstance(each, str) and each]
        images = tuple(GeneratedImage(index=index, data=data) for index, data in enumerate(found))
        error = None if images else perhaps_billed(_without_picture(response, word, image_task_id), used=used)
        state = TaskState.FAILED if error else TaskState.SUCCEEDED
    tools = (mapping(tool) for tool in sequence(response.get("tools")))
    created_at, finished_at = moment(response.get("created_at")), moment(response.get("completed_at"))
    return ImageTask(
        id=image_task_id,
        service=SERVICE,
        state=state,
        raw_state=word,
        model=next((text(tool.get("model")) for tool in tools if tool.get("type") == TOOL), None),
        prompt=text(mapping(response.get("metadata")).get(PROMPT_NOTE)),
        images=images,
        image_count_requested=1,
        created_at=created_at,
        finished_at=finished_at,
        duration=finished_at - created_at if finished_at is not None and created_at is not None else None,
        usage=used or None,
        error=error,
        raw=response,
    )


def key_of(record: Mapping[str, Any]) -> str | None:
    """Return the key that a response or a batch was created with, as its record repeats it; None where it does not."""
    return text(mapping(record.get("metadata")).get(KEY_NAME))


def require_own_key(record: Mapping[str, Any], key: str | None) -> None:
    """Refuse the answer to a submission that names what another one made.

    :param key: what the submission went out with.
    :raises ProtocolError: nobody knows what became of it.
    """
    if key and key_of(record) not in (None, key):
        what = "The answer carries the key of another submission, as a cache on the way may repeat it"
        raise ProtocolError(what, service=SERVICE)


def _without_picture(response: Mapping[str, Any], word: str, image_task_id: str) -> ImageTaskError:
    facts: dict[str, Any] = {"service": SERVICE, "image_task_id": image_task_id}
    if word in ("cancelled", "canceled"):
        error = ImageTaskFailedError("It was cancelled. What was done by then may be billed", code="cancelled", **facts)
        error.was_cancelled = True
        return error
    told = mapping(response.get("error"))
    reason = text(mapping(response.get("incomplete_details")).get("reason"))
    if not told and word == "incomplete" and reason:
        told = {"code": reason, "message": f"it ended before it was complete ({reason})"}
    if told or word == "failed":
        return failure(told, image_task_id=image_task_id)
    said = " ".join(filter(None, _words(response, "output_text")))
    if refused := " ".join(filter(None, _words(response, "refusal"))):
        what = f"The model refused to make a picture: {refused}"
        return ContentPolicyError(what, code="refusal", billed="unknown", **facts)
    what = f"The response is {word} without a picture. The model said: {said or NO_REASON}"
    return ImageTaskFailedError(what, code="no_images", **facts)


def _words(response: Mapping[str, Any], kind: str) -> Iterator[str | None]:
    """Yield what the model said: the texts, or the refusals, of its messages."""
    field = "refusal" if kind == "refusal" else "text"
    for message in _items(response, "message"):
        parts = map(mapping, sequence(message.get("content")))
        yield from (text(part.get(field), most=300) for part in parts if part.get("type") == kind)


def _items(response: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    return (item for item in map(mapping, sequence(response.get("output"))) if item.get("type") == kind)
