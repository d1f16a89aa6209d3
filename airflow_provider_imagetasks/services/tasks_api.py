"""The Tasks API family: ``POST /openai/images/generations`` or ``.../edits``, then ``POST /openai/tasks``.

Follows AceDataCloud's "OpenAI Tasks API" and "OpenAI Images" guides and its page "Responses and errors". A record has
no status field: it is finished when ``finished_at`` is set, and what it came to stands in ``response``. Failures come
inside HTTP 200.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    ProtocolError,
)
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.fields import (
    LONGEST_PROMPT,
    is_data_url,
    mapping,
    moment,
    number,
    sequence,
    text,
)
from airflow_provider_imagetasks.services.hosted_models import addresses_named
from airflow_provider_imagetasks.services.inline_ids import inline_id
from airflow_provider_imagetasks.services.refusals import perhaps_billed, unexplained
from airflow_provider_imagetasks.services.tasks_api_errors import failure, is_only_an_error, refusal
from airflow_provider_imagetasks.services.wire import Call, Flow, Part, Request, Response
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageFile, ImageRequest, ImageTask, TaskState

PAGE_SIZE = 50
MOST_LISTED = 10_000
"""Image tasks that a list without a limit has at most: a service that ignores what is asked for has no end."""
FILTERS = (
    *("ids", "trace_ids", "application_id", "user_id", "type"),
    *("offset", "limit", "created_at_min", "created_at_max"),
)
_FLAT = ("image_url", "image_urls")
"""Where a record without ``data`` may have its pictures."""
_KEY = re.compile(r"[0-9a-f]{64}")
"""How the trace ids read that submissions of this package go out with."""


class TasksApiService(Service):
    """Submit with ``async``, as JSON or with files as a multipart form, then ask ``/openai/tasks`` for up to 50 ids."""

    default_model = "gpt-image-2"
    default_edit_model = "gpt-image-2"
    generations_path: ClassVar[str] = "/openai/images/generations"
    edits_path: ClassVar[str] = "/openai/images/edits"
    tasks_path: ClassVar[str] = "/openai/tasks"
    model_field: ClassVar[str] = "model"
    """The field of a request, and of what a record repeats of it, that names the model."""
    url_fields: ClassVar[tuple[str, ...]] = ("url", "image_url", "image_urls")
    """The fields of each picture in ``data`` that may say where it is: which one it is differs by the model."""
    images_field: ClassVar[str] = "image"
    """Where a request has the pictures to edit: a list, or a single one where ``most_edit_images`` is 1."""
    batch_size: ClassVar[int] = 50
    keeps_answers_at_once: ClassVar[bool] = True
    """Whether an image task that was answered with its pictures at once can be asked for by its id later."""
    finds_by_trace_id: ClassVar[bool] = True
    makes_edits: ClassVar[bool] = True
    takes_files: ClassVar[bool] = True
    takes_callback_url: ClassVar[bool] = True

    def complete(self, request: ImageRequest, account: Account) -> ImageRequest:
        """Return the request as it is sent; pictures that are given twice are refused."""
        self.require_pictures_once(request, self.images_field)
        return super().complete(request, account)

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        """Ask for a picture; ``key`` becomes the trace id where the request has none of its own."""
        trace_id = (request.trace_id or key) if self.finds_by_trace_id else None
        submission = self._submission(request, trace_id)
        try:
            return (
                yield from exchange.submit(
                    submission,
                    lambda response: self._accepted(response, request, trace_id),
                    service=self.name,
                    repeatable=False,
                    how_to_look=self.how_to_look,
                    trace_id=trace_id,
                )
            )
        except InvalidRequestError as error:
            if self.fallback_callback_url and request.callback_url == self.fallback_callback_url:
                error.retry_advice = (
                    f"{error.retry_advice} If it is the callback address {self.fallback_callback_url} that it refuses, "
                    "set callback_url to one of your own."
                )
            raise

    def _submission(self, request: ImageRequest, trace_id: str | None) -> Call:
        body = self._body(request, trace_id)
        if not request.is_edit:
            return Request(method="POST", path=self.generations_path, body=body)
        # The documents disagree on the size that an edit has when none is given.
        body.setdefault("size", "auto")
        parts = [Part(name="image", file=image) for image in request.images if isinstance(image, ImageFile)]
        if isinstance(request.mask, ImageFile):
            parts.append(Part(name="mask", file=request.mask))
        if not parts:
            body["image"] = list(request.images)
        return Request(method="POST", path=self.edits_path, body=body, parts=tuple(parts))

    def _body(self, request: ImageRequest, trace_id: str | None) -> dict[str, Any]:
        """Return what a request for new pictures and one for an edit have in common."""
        body: dict[str, Any] = {**request.options, "prompt": request.prompt, "async": True}
        own = {self.model_field: request.model, "callback_url": request.callback_url, "trace_id": trace_id}
        return body | {name: value for name, value in own.items() if value}

    def _question(self, action: str, query: Mapping[str, Any]) -> Call:
        """Return what asks for one record (``retrieve``) or for several (``retrieve_batch``)."""
        return Request(method="POST", path=self.tasks_path, body={"action": action, **query})

    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        """Ask for one record; ``{}`` means that the service does not know it."""
        return self._retrieve({"id": image_task_id}, image_task_id)

    def read_by_trace_id(self, trace_id: str) -> Flow[ImageTask]:
        """Ask for the record that was submitted with this trace id."""
        task = yield from self._retrieve({"trace_id": trace_id}, "")
        if task.trace_id not in (None, text(trace_id)):
            # As a cache may do it: whoever believed it would hand on another's picture, and lose its own.
            raise ProtocolError(
                f"The answer is the record of another trace id, {task.trace_id}",
                service=self.name,
                billed="unknown",
            )
        return replace(task, trace_id=task.trace_id or trace_id)

    def find_by_trace_ids(self, trace_ids: Sequence[str]) -> Flow[list[ImageTask]]:
        """Ask by batch, page by page: a single answer does not tell whether one trace id has several image tasks."""
        # A service that does not know the filter answers with every record of the account: that must have an end.
        return self.list_tasks(trace_ids=list(trace_ids), limit=PAGE_SIZE * len(trace_ids))

    def read_batch(self, image_task_ids: Sequence[str]) -> Flow[dict[str, ImageTask]]:
        """Ask for several records in one request, matched by their id; those that are missing are not found."""
        if len(image_task_ids) == 1:
            return {image_task_ids[0]: (yield from self.read_one(image_task_ids[0]))}
        tasks = yield from self._retrieve_batch({"ids": list(image_task_ids), "limit": len(image_task_ids)})
        by_id = {task.id: task for task in tasks}
        return {each: by_id.get(each) or self.not_found(each) for each in image_task_ids}

    def list_tasks(self, **filters: Any) -> Flow[list[ImageTask]]:
        """Ask for records, page by page.

        :param filters: ``ids``, ``trace_ids``, ``application_id``, ``user_id``, ``type``, ``created_at_min``,
            ``created_at_max`` (Unix seconds), ``offset`` (records to skip), ``limit`` (at most so many; none: all that
            match, up to 10,000). The order is the service's.
        :raises InvalidRequestError: there are more than 10,000, and no ``limit`` says how many are wanted.
        """
        unknown = sorted(set(filters) - set(FILTERS))
        if unknown:
            raise InvalidRequestError(f"{self.title} has no filter {', '.join(unknown)}; it has {', '.join(FILTERS)}")
        query = {name: value for name, value in filters.items() if value is not None}
        limit, offset = query.pop("limit", len(query.get("ids", ())) or None), query.pop("offset", 0)
        found: dict[str, ImageTask] = {}
        while limit is None or len(found) < limit:
            size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit - len(found))
            page_query = {**query, "offset": offset, "limit": size}
            page = yield from exchange.patiently(partial(self._retrieve_batch, page_query))
            new = {task.id: task for task in page if task.id not in found}
            found.update(new)
            offset += len(page)
            # A page that brings nothing new is the end, or a service that does not page.
            if not new or len(page) < size:
                break
            if limit is None and len(found) >= MOST_LISTED:
                raise InvalidRequestError(
                    f"{self.title} lists more than {MOST_LISTED:,} image tasks; use filters to get fewer (does the "
                    "service apply them?), or set limit and offset",
                    service=self.name,
                    billed="unknown",
                )
        return list(found.values())[:limit]

    def check_connection(self) -> Flow[str]:
        """Ask for an empty batch."""
        yield from exchange.patiently(lambda: self._retrieve_batch({"ids": [], "limit": 1}))
        return f"{self.title} accepts the key. An empty balance shows only when a picture is submitted."

    def _retrieve(self, query: Mapping[str, str], image_task_id: str) -> Flow[ImageTask]:
        question = self._question("retrieve", query)
        return exchange.read(
            question, lambda response: self._record(self._object(response), image_task_id), service=self.name
        )

    def _retrieve_batch(self, query: Mapping[str, Any]) -> Flow[list[ImageTask]]:
        return exchange.read(self._question("retrieve_batch", query), self._records, service=self.name)

    def _records(self, response: Response) -> list[ImageTask]:
        items = self._object(response).get("items")
        if not isinstance(items, list):
            raise ProtocolError("The answer to a batch query has no list 'items'", service=self.name)
        return [self._record(item, "") for item in items if isinstance(item, Mapping) and item.get("id")]

    def _record(self, record: Mapping[str, Any], image_task_id: str) -> ImageTask:
        """Return the image task that a record tells of; one without an id says that there is none of the given id."""
        found_id = text(record.get("id"))
        if not found_id:
            return self.not_found(image_task_id, record)
        request, response = mapping(record.get("request")), mapping(record.get("response"))
        started_at, finished_at = moment(record.get("started_at")), moment(record.get("finished_at"))
        took = finished_at - started_at if started_at is not None and finished_at is not None else None
        durations = (number(record.get("elapsed")), number(record.get("duration")), took)
        trace_id = text(record.get("trace_id"))
        state = TaskState.RUNNING
        images: tuple[GeneratedImage, ...] = ()
        error: ImageTaskError | None = None
        usage = _usage(response) or mapping(record.get("cost")) or None
        if record.get("finished_at"):
            images = self._pictures(response) or self._pictures(
                {"data": [{each: response.get(each) for each in _FLAT}]}
            )
            if response.get("error") or response.get("success") is False:
                error = failure(response, service=self.name, image_task_id=found_id, trace_id=trace_id)
                error = perhaps_billed(error, pictures=images, used={"used": usage, "cost": record.get("cost")})
            elif not images:
                identity: dict[str, Any] = {"service": self.name, "image_task_id": found_id, "trace_id": trace_id}
                error = ImageTaskFailedError("The image task finished without a picture", code="no_images", **identity)
            state = TaskState.FAILED if error else TaskState.SUCCEEDED
        return ImageTask(
            id=found_id,
            service=self.name,
            state=state,
            raw_state="finished" if record.get("finished_at") else "started" if started_at else "created",
            trace_id=trace_id,
            model=text(request.get(self.model_field)),
            prompt=text(request.get("prompt"), most=LONGEST_PROMPT),
            images=() if error else images,
            image_count_requested=self.image_count(request),
            created_at=moment(record.get("created_at")),
            finished_at=finished_at,
            duration=next((seconds for seconds in durations if seconds is not None), None),
            usage=usage,
            error=error,
            raw=record,
        )

    def _object(self, response: Response) -> Mapping[str, Any]:
        """Return the object that an answer holds, or raise the error that it tells of."""
        try:
            body = response.json()
        except ValueError:
            body = None
        if not 200 <= response.status < 300 or not isinstance(body, Mapping) or is_only_an_error(body):
            raise self._refusal(response, body)
        return body

    def _refusal(self, response: Response, body: Any) -> ImageTaskError:
        """Return the error of an answer that is no result; its body is None where it is not JSON."""
        if not (isinstance(body, Mapping) and body.get("error")):
            return unexplained(response, service=self.name)
        who = f"{self.name} answered HTTP {response.status}"
        return refusal(body, response.status, who, service=self.name, retry_after=exchange.retry_after(response))

    def _answer_to_submission(self, response: Response) -> Mapping[str, Any]:
        """Return the object of an answer: one that names an image task was taken, whatever its status and its error."""
        with suppress(ValueError):
            body = mapping(response.json())
            if text(body.get("task_id")):
                return body
        return self._object(response)

    def _accepted(self, response: Response, request: ImageRequest, trace_id: str | None) -> ImageTask:
        """Return the image task that a submission made: usually only its id, sometimes the pictures at once."""
        body = self._answer_to_submission(response)
        image_task_id, answered = text(body.get("task_id")), text(body.get("trace_id"))
        if trace_id and answered and answered != trace_id and _KEY.fullmatch(answered):
            raise ProtocolError(
                "The answer carries the trace id of another submission, as a cache on the way may repeat it",
                service=self.name,
            )
        images = self._pictures(body)
        known = {"trace_id": answered or trace_id, "usage": _usage(body)}
        task = self.submitted(image_task_id or "", request, response.at, body, **known)
        if images:
            finished: dict[str, Any] = {"state": TaskState.SUCCEEDED, "finished_at": response.at, "images": images}
            task = replace(task, raw_state="answered at once", **finished)
        if image_task_id and (self.keeps_answers_at_once or not images):
            return task
        if not images:
            raise ProtocolError(
                f"The answer to the submission has neither a task_id nor pictures: {response.excerpt()}",
                service=self.name,
            )
        if any(image.data is not None for image in images):
            raise ImageTaskError(
                "The service answered with the pictures themselves and without a task id that can be asked for "
                "later, so they cannot be passed on. Remove response_format from options, or set callback_url so "
                "that it keeps a record",
                service=self.name,
                billed="yes",
                retry_advice="A retry would pay again for the same result.",
            )
        return replace(task, id=inline_id(task))

    def _pictures(self, response: Mapping[str, Any]) -> tuple[GeneratedImage, ...]:
        """Return the pictures of an answer at once or of a record's ``response``; flat or nested data."""
        data = response.get("data")
        if isinstance(data, Mapping):
            data = data.get("data", [data])
        found: list[dict[str, str]] = []
        for entry in map(mapping, sequence(data)):
            encoded = entry.get("b64_json")
            urls = addresses_named(self.url_fields, entry, are_fields=True)
            inline = [{"data": encoded}] if isinstance(encoded, str) and encoded else []
            # A place without a picture stays one: the others keep theirs.
            found += [{"data" if is_data_url(url) else "url": url} for url in urls] or inline or [{}]
        return tuple(GeneratedImage(index=index, **where) for index, where in enumerate(found) if where)


def _usage(response: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what an answer says of what it used, with what it cost where it says so."""
    usage, cost = dict(mapping(response.get("usage"))), mapping(response.get("cost"))
    amount = number(cost.get("amount"))
    if amount is not None and cost.get("currency") == "credit":
        usage["credits"] = amount
    elif cost:
        usage["cost"] = cost
    return usage or None
