"""The dialects of AceDataCloud and XHuoAPI: OpenAI-like image routes, and a Tasks API to query what they started."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, note_queried, require
from airflow_provider_imagetasks.local.dialects.dialect import Body, Dialect, bearer_of, file_url, read_json
from airflow_provider_imagetasks.local.drawing import MEDIA_TYPES, in_proportion
from airflow_provider_imagetasks.local.task_table import NO_REFERENCES, Failure, References, TaskRecord
from airflow_provider_imagetasks.local.uploads import MOST_REFERENCES, read_form

_DEFAULT_SIZE = (1024, 1024)
_LONGEST_SIDE = 3840
_MOST_PIXELS = 8_294_400
# The routes for edits take requests without a model; this is what their documentation says they then use.
_DEFAULT_EDIT_MODEL = "dall-e-3"
APPLICATION_ID = str(uuid.uuid5(uuid.NAMESPACE_DNS, "application.local.invalid"))
"""The one application that everybody here belongs to."""

_DEFAULT_PAGE = 12

_ERRORS = {
    Reason.INVALID: (400, "bad_request"),
    Reason.UNPROCESSABLE: (400, "bad_request"),
    Reason.MISSING_KEY: (400, "no_token"),
    Reason.WRONG_KEY: (401, "invalid_token"),
    Reason.EXPIRED_KEY: (401, "token_expired"),
    Reason.NO_CREDIT: (403, "used_up"),
    Reason.CONTENT: (403, "forbidden"),
    Reason.RATE_LIMITED: (429, "too_many_requests"),
    Reason.SERVER_ERROR: (500, "api_error"),
    Reason.ERROR_IN_200: (200, "api_error"),
}
_STATUS_OF_CODE = {code: status for status, code in _ERRORS.values() if status != 200} | {"insufficient_quota": 429}


class TasksApiRequests(Dialect):
    """Understands the requests of the family."""

    callback_field = "callback_url"
    honours_async = True
    """Whether ``async`` alone makes an image task, without a callback URL."""

    async def read_submission(self, request: web.Request) -> TaskRecord:
        """Understand a request for new pictures, or for an edit: as JSON with URLs, or as a form with files."""
        bearer = bearer_of(request)
        if request.match_info["operation"] == "generations":
            return self.asked(await read_json(request), bearer)
        if request.content_type != "multipart/form-data":
            return await self.edit_by_url(await read_json(request), bearer)
        fields, images, mask = await read_form(request)
        form = Body(fields)
        if not images:
            references = await self.state.referenced(form.urls("image", most=MOST_REFERENCES))
        else:
            try:
                references = await self.state.uploaded(images, mask)
            except ValueError as error:
                raise RefusedError(Reason.INVALID, str(error)) from error
        return self.asked(form, bearer, references)

    async def edit_by_url(self, body: Body, bearer: str | None) -> TaskRecord:
        """Understand the body of a request for an edit of pictures that are given by their URLs."""
        require(body.get("mask") is None, "mask is a file, and comes in a form")
        urls = body.urls("image", most=MOST_REFERENCES, allow_one=True)
        return self.asked(body, bearer, await self.state.referenced(urls))

    def asked(self, body: Body, bearer: str | None, edited: References | None = None) -> TaskRecord:
        """Understand the body of a request for new pictures, or for an edit of others."""
        require(edited is None or edited.names, "image is required")
        model = body.text("model", required=edited is None) or _DEFAULT_EDIT_MODEL
        references = edited or NO_REFERENCES
        size, failure = _size(body, model, references)
        kind = "images_generations" if edited is None else "images_edits"
        media_format = body.text("output_format") or "png"
        require(media_format in MEDIA_TYPES, f"output_format is one of {', '.join(MEDIA_TYPES)}")
        response_format = body.text("response_format") or "url"
        require(response_format in ("url", "b64_json"), "response_format is url or b64_json")
        image_count = body.get("n") or 1
        is_fine = isinstance(image_count, int) and not isinstance(image_count, bool) and 1 <= image_count <= 10
        require(is_fine, "n is a whole number from 1 to 10")
        require(response_format == "url" or image_count == 1, "response_format b64_json allows one picture only")
        trace_id = None if self.state.options.ignore_trace_id else body.text("trace_id")
        return TaskRecord(
            dialect=self.name,
            prompt=body.text("prompt", required=True),
            model=model,
            kind="images" if model.startswith("gpt-image-2") else kind,
            request=body,
            bearer=bearer,
            size=size,
            image_count=image_count,
            media_format=media_format,
            in_base64=response_format == "b64_json",
            queryable=bool(body.text("callback_url")) or (self.honours_async and body.get("async") is True),
            trace_id=trace_id or str(uuid.uuid4()),
            failure=failure,
            references=references,
        )


def _size(body: Body, model: str, references: References) -> tuple[tuple[int, int], Failure | None]:
    """Return the size to draw, and the failure that this size leads to once the request is accepted."""
    notation = body.get("size") or "auto"
    if notation == "auto":
        return in_proportion(references.size or (1, 1), _DEFAULT_SIZE[0]), None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", notation) if isinstance(notation, str) else None
    if match is None:
        raise RefusedError(Reason.INVALID, "size is auto or WIDTHxHEIGHT")
    width, height = int(match[1]), int(match[2])
    if not width or not height or max(width, height) > _LONGEST_SIDE or width * height > _MOST_PIXELS:
        message = f"size allows sides of 1 to {_LONGEST_SIDE} and {_MOST_PIXELS} pixels in all"
        return _DEFAULT_SIZE, Failure(message, "bad_request")
    if model.startswith("gpt-image-2") and (width % 16 or height % 16):
        return _DEFAULT_SIZE, Failure("both sides of size have to be multiples of 16", "bad_request")
    return (width, height), None


class TasksApiDialect(TasksApiRequests):
    """Speaks the Tasks API family as AceDataCloud does, from which the others differ."""

    name, prefix = "acedatacloud", "/acedatacloud"
    newer_times = True
    """Whether records have ``started_at`` and ``elapsed`` instead of ``duration``."""
    says_success_in_batch = True
    """Whether good responses have their ``success`` in a batch too."""

    def routes(self) -> list[web.RouteDef]:
        """Return the dialect's routes."""
        return [
            web.post(f"{self.prefix}/openai/images/{{operation:generations|edits}}", self.handle_submission),
            web.post(f"{self.prefix}/openai/tasks", self.handle_status),
        ]

    async def callback(self, record: TaskRecord, origin: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what a callback tells of the result; nothing signs it."""
        result = await self.response(record, origin)
        told = {"error": result["error"]} if "error" in result else {"data": result}
        return {"success": result["success"], "task_id": record.id, "trace_id": record.trace_id, **told}, {}

    async def accepted(self, request: web.Request, record: TaskRecord) -> web.StreamResponse:
        """Answer with the id, or hold the request and answer with the pictures when it was synchronous."""
        if record.queryable and not record.behaviours.asks("sync"):
            return web.json_response({"task_id": record.id})
        result = await self.result(record, request)
        if "error" in result:
            usual = _ERRORS[Reason.CONTENT if record.failure and record.failure.content else Reason.SERVER_ERROR][0]
            status = _STATUS_OF_CODE.get(result["error"]["code"], usual)
            return web.json_response({"error": result["error"], "trace_id": record.trace_id}, status=status)
        if record.behaviours.word("sync", "") == "anonymous":
            result = {"created": result["created"], "data": result["data"]}
        return web.json_response(result)

    async def result(self, record: TaskRecord, request: web.Request) -> dict[str, Any]:
        """Wait for an image task, and return its result."""
        await asyncio.sleep(record.remaining)
        return await self.response(record, str(request.url.origin()))

    async def status(self, request: web.Request) -> web.StreamResponse:
        """Answer ``retrieve`` and ``retrieve_batch``."""
        body = await read_json(request)
        return web.json_response(await self.found(request, body.get("action", "retrieve"), body))

    async def found(self, request: web.Request, action: str, query: Body) -> dict[str, Any]:
        """Return what a status query finds: a record, or an object that holds several."""
        require(action in ("retrieve", "retrieve_batch"), "action is retrieve or retrieve_batch")
        return await (self._retrieve if action == "retrieve" else self._retrieve_batch)(request, query)

    async def record(self, record: TaskRecord, origin: str, *, in_batch: bool = False) -> dict[str, Any]:
        """Return the record that a status query finds."""
        finished, newer = record.finished, self.newer_times
        response: dict[str, Any] = {"success": True, "task_id": record.id}
        if finished:
            response = await self.response(record, origin)
        elif record.behaviours.asks("unknown-state"):
            response["state"] = record.behaviours.word("unknown-state", "dreaming")
        if in_batch and not self.says_success_in_batch and response["success"]:
            del response["success"]
        return {
            "_id": record.id.replace("-", "")[:24],
            "id": record.id,
            "trace_id": record.trace_id,
            "type": record.kind,
            "application_id": APPLICATION_ID,
            "user_id": account_id(record.bearer, "user"),
            "credential_id": account_id(record.bearer, "credential"),
            "created_at": record.created_at,
            **({"started_at": record.created_at} if newer else {}),
            "finished_at": record.finished_at if finished else None,
            "elapsed" if newer else "duration": record.latency if finished else None,
            "request": record.request,
            "response": response,
        }

    async def response(self, record: TaskRecord, origin: str) -> dict[str, Any]:
        """Return the result of a finished image task as the synchronous answer has it."""
        if record.failure is not None:
            code = record.failure.code or ("forbidden" if record.failure.content else "api_error")
            return {"success": False, "error": {"code": code, "message": record.failure.message}}
        created = int(record.created_at + record.latency)
        images: Any = [await self._image(record, index, origin) for index in range(record.image_count)]
        words = len(record.behaviours.text.split())
        return {
            "success": True,
            "task_id": record.id,
            "trace_id": record.trace_id,
            "created": created,
            "model": record.model,
            "data": {"created": created, "data": images} if record.behaviours.asks("nested") else images,
            "usage": {"input_tokens": words, "output_tokens": len(images), "total_tokens": words + len(images)},
        }

    async def _image(self, record: TaskRecord, index: int, origin: str) -> dict[str, str]:
        image = {"revised_prompt": record.behaviours.text}
        if record.in_base64:
            image["b64_json"] = base64.b64encode(await self.state.picture(record, index)).decode("ascii")
        else:
            image["url"] = file_url(origin, record, index)
        return image

    def error(self, refused: RefusedError) -> tuple[web.Response, str]:
        """Word an error; return the answer and the code to count it under."""
        status, code = _ERRORS.get(refused.reason, (500, "api_error"))
        if refused.reason is Reason.SERVER_ERROR:
            status = refused.status
            code = "timeout" if status == 504 else code
        if refused.code is not None:
            code = refused.code
            status = status if status == 200 else _STATUS_OF_CODE.get(code, status)
        body = {"error": {"code": code, "message": refused.message}, "trace_id": str(uuid.uuid4())}
        return web.json_response(body, status=status), code

    async def _retrieve(self, request: web.Request, body: Body) -> dict[str, Any]:
        task_id, trace_id = body.text("id"), body.text("trace_id")
        require(task_id or trace_id, "retrieve takes an id or a trace_id")
        self.counts.ids_queried += 1
        tasks, bearer = self.state.tasks, bearer_of(request)
        traced = tasks.find_traced(self.name, trace_id, bearer) if trace_id else []
        found = next(iter(traced), None) if trace_id else tasks.find(self.name, task_id, bearer)
        if found is None:
            self.counts.not_found += 1
            return {}
        note_queried([found])
        return await self.record(found, str(request.url.origin()))

    async def _retrieve_batch(self, request: web.Request, body: Body) -> dict[str, Any]:
        self.counts.batch_queries += 1
        offset, limit = body.whole("offset", 0), body.whole("limit", _DEFAULT_PAGE)
        matching = list(self._matching(body, bearer_of(request)))
        page = matching[offset : offset + limit]
        note_queried(page)
        items = [await self.record(record, str(request.url.origin()), in_batch=True) for record in page]
        return {"items": items, "count": len(matching)}

    def _matching(self, body: Body, bearer: str | None) -> Iterator[TaskRecord]:
        tasks = self.state.tasks
        ids, trace_ids = body.texts("ids"), body.texts("trace_ids")
        self.counts.ids_queried += len(ids) + len(trace_ids)
        found = [task for task_id in ids if (task := tasks.find(self.name, task_id, bearer)) is not None]
        traced = [tasks.find_traced(self.name, trace_id, bearer) for trace_id in trace_ids]
        self.counts.not_found += len(ids) - len(found) + traced.count([])
        candidates: Iterable[TaskRecord]
        of_traces = [task for records in traced for task in records]
        if ids and trace_ids:
            wanted = {task.id for task in of_traces}
            candidates = [task for task in found if task.id in wanted]
        else:
            candidates = found + of_traces if ids or trace_ids else tasks.all_of(self.name, bearer)
        earliest, latest = body.seconds("created_at_min"), body.seconds("created_at_max")
        user_id, application_id, kind = (body.text(field) for field in ("user_id", "application_id", "type"))
        for record in candidates:
            if (
                (earliest is None or record.created_at >= earliest)
                and (latest is None or record.created_at <= latest)
                and kind in ("", record.kind)
                and application_id in ("", APPLICATION_ID)
                and user_id in ("", account_id(record.bearer, "user"))
            ):
                yield record


class XHuoApiDialect(TasksApiDialect):
    """Speaks as XHuoAPI does."""

    name, prefix = "xhuoapi", "/xhuoapi/v1"
    honours_async = newer_times = says_success_in_batch = False


def account_id(bearer: str | None, purpose: str) -> str:
    """Return an id that belongs to a key, another one for each purpose."""
    digest = hashlib.blake2b(f"{purpose}:{bearer or ''}".encode("utf-8", "surrogatepass"), digest_size=16)
    return str(uuid.UUID(bytes=digest.digest(), version=4))
