"""The jobs family: ``POST /api/v1/jobs/createTask`` and ``GET /api/v1/jobs/recordInfo``.

Follows AI GPT Image's "Create Task", "Query Task" and "Errors" pages. Every answer is an envelope
``{code, msg, data}``; the envelope's code counts, not the HTTP status alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

from airflow_provider_imagetasks.exceptions import (
    ContentPolicyError,
    ImageTaskError,
    ImageTaskFailedError,
    ImageTaskNotFoundError,
    InvalidRequestError,
    ProtocolError,
    RateLimitError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.fields import (
    LONGEST_PROMPT,
    LONGEST_RETRY_AFTER,
    mapping,
    moment,
    number,
    options_named,
    text,
    whole_number,
)
from airflow_provider_imagetasks.services.hosted_models import addresses_named, picture_addresses, require_pictures
from airflow_provider_imagetasks.services.refusals import (
    CONTENT_POLICY_CODES,
    STATUSES,
    named_refusal,
    perhaps_billed,
    unexplained,
)
from airflow_provider_imagetasks.services.wire import Flow, Request, Response, read_json
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageRequest, ImageTask, TaskState

SUCCESS_WORDS = frozenset({"success", "succeeded", "completed"})
FAILURE_WORDS = frozenset({"fail", "failed", "error", "cancelled", "canceled"})
IMAGE_LISTS = ("input_urls", "image_urls", "image_input")
"""Fields in which models take the pictures of an edit. The first is usual; naming another in options picks that."""
SINGLE_IMAGES = ("image_url", "image")
"""Likewise of models that take a single picture."""
RESULT_FIELDS = ("resultUrls", "result_urls", "resultImageUrl", "images", "image_urls", "image_url", "url")
"""Fields of a result that say where its pictures are; the first is documented, others are seen."""
KIND_OPTIONS = ("taskType",)
"""Options that name what is made, beside the model."""


class JobsApiService(Service):
    """Submit with ``createTask``, then ask ``recordInfo`` for one id at a time."""

    makes_edits: ClassVar[bool] = True
    create_path: ClassVar[str] = "/api/v1/jobs/createTask"
    record_path: ClassVar[str] = "/api/v1/jobs/recordInfo"
    images_fields: ClassVar[Mapping[str, str]] = {}
    """Where a model takes the pictures of an edit, by how its name begins; ``IMAGE_LISTS[0]`` for all others."""
    error_codes: ClassVar[Mapping[int, type[ImageTaskError]]] = STATUSES
    """The codes of AI GPT Image's "Errors" page, which mean what they mean in HTTP."""
    not_found_codes: ClassVar[frozenset[int]] = frozenset({404})
    """The codes that answer a status query where there is no such image task."""
    refusing_codes: ClassVar[frozenset[int]] = frozenset()
    """Further codes by which the service says that it did not take a request, or does not charge for it."""

    def complete(self, request: ImageRequest, account: Account) -> ImageRequest:
        """Return the request as it is sent; models of other media, and pictures that do not fit, are refused."""
        completed = super().complete(request, account)
        for name, said in (("model", completed.model), *options_named(KIND_OPTIONS, completed.options)):
            require_pictures(name, said)
        self._body(completed)
        return completed

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        """Ask for a picture; ``key`` goes out as ``X-Request-ID`` where the service honours it."""
        body = self._body(request)
        if request.callback_url:
            body["callBackUrl"] = request.callback_url
        headers = {"X-Request-ID": key} if self.repeats_submit_by_key and key else {}
        return (
            yield from exchange.submit(
                Request(method="POST", path=self.create_path, body=body, headers=headers),
                lambda response: self._created(response, request),
                service=self.name,
                repeatable=bool(headers),
                how_to_look=self.how_to_look,
            )
        )

    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        """Ask for one record."""
        request = Request(method="GET", path=self.record_path, parameters={"taskId": image_task_id})
        return exchange.read(request, lambda answer: self._record(answer, image_task_id), service=self.name)

    def check_connection(self) -> Flow[str]:
        """Ask for an id that cannot exist: "not found" means that the key is good."""
        yield from self.get_task(f"connection-test-{uuid.uuid4()}")
        return f"{self.title} accepts the key. Missing credits show only when a picture is submitted."

    def _body(self, request: ImageRequest) -> dict[str, Any]:
        named = next((field for field in (*IMAGE_LISTS, *SINGLE_IMAGES) if field in request.options), None)
        usual = (field for start, field in self.images_fields.items() if (request.model or "").startswith(start))
        field = named or next(usual, IMAGE_LISTS[0])
        return {"model": request.model, "input": fields_of(request, field, takes_one=field in SINGLE_IMAGES)}

    def _record(self, response: Response, image_task_id: str) -> ImageTask:
        envelope, code = self._envelope(response)
        if code != 200:
            if code in self.not_found_codes and not self._named_code(envelope, code):
                return self.not_found(image_task_id, envelope)
            error = self._refusal(response, envelope, code)
            if not isinstance(error, ImageTaskFailedError):
                raise error
            with suppress(ProtocolError):
                # Where there is a record, it says how the image task stands.
                return self._task_in(mapping(envelope.get("data")), image_task_id)
            # It is the image task that failed, not the status request: others that are read with it are still good.
            # What the same code says of money to a submission, it does not say of one that was taken.
            error.image_task_id, error.billed = image_task_id, "unknown"
            error.message = f"{error.message.rstrip('.')}. No record says whether a picture was made and charged"
            error.retry_advice = ImageTaskNotFoundError.default_advice
            return replace(
                self.not_found(image_task_id, envelope), state=TaskState.FAILED, raw_state=str(code), error=error
            )
        record = envelope.get("data")
        if not isinstance(record, Mapping):
            raise ProtocolError("The answer has no record in 'data'", service=self.name, image_task_id=image_task_id)
        return self._task_in(record, image_task_id)

    def _created(self, response: Response, request: ImageRequest) -> ImageTask:
        if named := self._named_in(response):
            return self.submitted(named[0], request, response.at, named[1])
        envelope, code = self._envelope(response)
        if code != 200:
            raise self._refusal(response, envelope, code)
        return self.submitted("", request, response.at, envelope)

    @staticmethod
    def _named_in(response: Response) -> tuple[str, Mapping[str, Any]] | None:
        """Return which image task an answer names, and its envelope: what has an id was taken, whatever its code."""
        with suppress(ValueError):
            envelope = mapping(response.json())
            image_task_id = text(mapping(envelope.get("data")).get("taskId"))
            return (image_task_id, envelope) if image_task_id else None
        return None

    def _envelope(self, response: Response) -> tuple[Mapping[str, Any], int]:
        """Return the envelope and the code that counts: the HTTP status where that is an error, else its own."""
        try:
            envelope = response.json()
        except ValueError:
            envelope = None
        if not isinstance(envelope, Mapping) or 300 <= response.status < 400:
            raise unexplained(response, service=self.name)
        own = whole_number(envelope.get("code"))
        if own is None and 200 <= response.status < 300:
            if self._named_code(envelope, response.status):
                raise self._refusal(response, envelope, response.status)
            raise ProtocolError(f"The answer has no code: {response.excerpt()}", service=self.name)
        code = response.status if own in (None, 200) and not 200 <= response.status < 300 else own
        return envelope, code if code is not None else response.status

    def _refusal(self, response: Response, envelope: Mapping[str, Any], code: int) -> ImageTaskError:
        message = text(envelope.get("msg")) or text(envelope.get("message")) or "no reason given"
        what = f"{self.name} answered code {code}: {message}"
        facts: dict[str, Any] = {"service": self.name, "code": str(code)}
        error_class = self.error_codes.get(code)
        named = self._named_code(envelope, code) if error_class is not ImageTaskFailedError else None
        if named:
            named_class, facts["code"] = named
            return named_class(what, **facts)
        if (code >= 500 or code == 408) and whole_number(envelope.get("code")) != code:
            # A status alone may be a gateway's, which does not know what became of an image task.
            return ServiceUnavailableError(what, **facts)
        if error_class is RateLimitError:
            seconds = number(mapping(envelope.get("data")).get("retryAfter"))
            if seconds is not None and seconds > LONGEST_RETRY_AFTER:
                # The documents name no unit: these can only be milliseconds.
                seconds /= 1000
            if seconds is None:
                seconds = exchange.retry_after(response)
            return RateLimitError(what, retry_after=seconds, **facts)
        if error_class is not None:
            return error_class(what, billed="no" if code in self.refusing_codes else None, **facts)
        if code >= 500 or code == 408:
            return ServiceUnavailableError(what, **facts)
        return ProtocolError(what, billed="no" if 400 <= code < 500 else None, retryable=False, **facts)

    @staticmethod
    def _named_code(envelope: Mapping[str, Any], code: int) -> tuple[type[ImageTaskError], str] | None:
        """Return what an envelope that is no success says by a code that is not the family's."""
        said = {name: envelope.get(name) for name in ("code", "msg", "message")}
        return named_refusal(envelope.get("error") or said, code)

    def _task_in(self, record: Mapping[str, Any], image_task_id: str) -> ImageTask:
        """Return the image task that ``data`` of a recordInfo answer tells of; an unknown word means running."""
        word = text(record.get("state"))
        if not word:
            raise ProtocolError("The record has no state", service=self.name, image_task_id=image_task_id)
        state = TaskState.RUNNING
        error: ImageTaskError | None = None
        images: list[GeneratedImage] = []
        if word.lower() in FAILURE_WORDS:
            state, error = TaskState.FAILED, self._failure(record, image_task_id)
            named = addresses_named(RESULT_FIELDS, object_of(record.get("resultJson")), are_fields=True)
            error = perhaps_billed(error, pictures=named, used={"credits": record.get("creditsConsumed")})
        elif word.lower() in SUCCESS_WORDS:
            result = record.get("resultJson")
            urls = addresses_named(RESULT_FIELDS, object_of(result), are_fields=True)
            urls = urls or ([] if object_of(result) else picture_addresses(result, takes_texts=True))
            images = [GeneratedImage(index=index, url=url) for index, url in enumerate(urls)]
            state = TaskState.SUCCEEDED
            if not images:
                what, state = "The image task finished without a picture", TaskState.FAILED
                error = ImageTaskFailedError(what, service=self.name, image_task_id=image_task_id, code="no_images")
        asked = object_of(record.get("param"))
        asked_input, credits_used = object_of(asked.get("input")), number(record.get("creditsConsumed"))
        return ImageTask(
            id=text(record.get("taskId")) or image_task_id,
            service=self.name,
            state=state,
            raw_state=word,
            model=text(record.get("model")) or text(asked.get("model")),
            prompt=text(asked_input.get("prompt") or asked.get("prompt"), most=LONGEST_PROMPT),
            images=tuple(images),
            image_count_requested=self.image_count(asked_input),
            created_at=moment(record.get("createTime")),
            finished_at=moment(record.get("completeTime")),
            duration=_seconds(record.get("costTime")),
            usage={"credits": credits_used} if credits_used is not None else None,
            error=error,
            raw=record,
        )

    def _failure(self, record: Mapping[str, Any], image_task_id: str) -> ImageTaskError:
        reason, code = text(record.get("failMsg")) or "no reason given", text(record.get("failCode"))
        facts: dict[str, Any] = {"service": self.name, "image_task_id": image_task_id, "code": code}
        if code and code.lower() in CONTENT_POLICY_CODES:
            return ContentPolicyError(f"The service refused it because of its content policy: {reason}", **facts)
        what = f"The service reports that the image task failed or was cancelled: {reason}"
        return ImageTaskFailedError(what, **facts)


def fields_of(request: ImageRequest, images_field: str, *, takes_one: bool) -> dict[str, Any]:
    """Return options, prompt and pictures of a request as the fields of one object.

    :param images_field: where the pictures go: a list, or the single one where ``takes_one``.
    :raises InvalidRequestError: there are more pictures than may be, or they are given twice.
    """
    fields = {**request.options, **({} if request.prompt is None else {"prompt": request.prompt})}
    if not request.is_edit:
        return fields
    Service.require_pictures_once(request, images_field)
    if takes_one and len(request.images) > 1:
        raise InvalidRequestError(f"images holds {len(request.images)} pictures; model {request.model} takes one")
    return {**fields, images_field: request.images[0] if takes_one else list(request.images)}


def _seconds(milliseconds: Any) -> float | None:
    found = number(milliseconds)
    return found / 1000 if found is not None else None


def object_of(value: Any) -> Mapping[str, Any]:
    """Return an object that comes as itself or as a JSON string."""
    if isinstance(value, str):
        try:
            value = read_json(value)
        except ValueError:
            return {}
    return mapping(value)
