"""The dialect of AceDataCloud: OpenAI-like image routes, and a Tasks API to query what they started."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, Submission
from airflow_provider_imagetasks.local.dialects.dialect import Dialect, bearer_of, file_url
from airflow_provider_imagetasks.local.dialects.fields import seconds_field, text_field, texts_field, whole_field
from airflow_provider_imagetasks.local.pictures import MEDIA_TYPES
from airflow_provider_imagetasks.local.records import Failure, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_imagetasks.local.state import ServiceState

_DEFAULT_PAGE = 12
_DEFAULT_SIZE = (1024, 1024)
_LONGEST_SIDE = 3840
_MOST_PIXELS = 8_294_400
_APPLICATION_ID = str(uuid.uuid5(uuid.NAMESPACE_DNS, "application.local.invalid"))

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
_STATUS_OF_CODE = {code: status for status, code in _ERRORS.values() if status != 200}


@dataclass(frozen=True, slots=True)
class TasksApiVariant:
    """One service of the family.

    :param honours_async: whether ``async`` alone makes an image task, without a callback URL.
    :param newer_times: whether records have ``started_at`` and ``elapsed`` instead of ``duration``.
    """

    name: str
    prefix: str
    honours_async: bool = True
    newer_times: bool = True


TASKS_API_VARIANTS = (TasksApiVariant(name="acedatacloud", prefix="/acedatacloud"),)


class TasksApiDialect(Dialect):
    """Speaks one variant of the Tasks API family."""

    def __init__(self, state: ServiceState, variant: TasksApiVariant) -> None:
        super().__init__(state, name=variant.name, prefix=variant.prefix)
        self._variant = variant

    def routes(self) -> list[web.RouteDef]:
        """Return the dialect's routes."""
        return [
            web.post(f"{self.prefix}/openai/images/generations", self.handle_submission),
            web.post(f"{self.prefix}/openai/tasks", self.handle_status),
        ]

    def read_submission(self, request: web.Request, body: dict[str, Any]) -> Submission:
        """Understand a request for pictures.

        :raises RefusedError: when it is not valid.
        """
        model = text_field(body, "model", required=True)
        size, failure = _size(body, model)
        media_format = text_field(body, "output_format") or "png"
        if media_format not in MEDIA_TYPES:
            raise RefusedError(Reason.INVALID, f"output_format is one of {', '.join(MEDIA_TYPES)}")
        response_format = text_field(body, "response_format") or "url"
        if response_format not in ("url", "b64_json"):
            raise RefusedError(Reason.INVALID, "response_format is url or b64_json")
        image_count = body.get("n") or 1
        if not isinstance(image_count, int) or isinstance(image_count, bool) or not 1 <= image_count <= 10:
            raise RefusedError(Reason.INVALID, "n is a whole number from 1 to 10")
        if response_format == "b64_json" and image_count > 1:
            raise RefusedError(Reason.INVALID, "response_format b64_json allows one picture only")
        trace_id = None if self.state.options.ignore_trace_id else text_field(body, "trace_id")
        return Submission(
            dialect=self.name,
            prompt=text_field(body, "prompt", required=True),
            model=model,
            kind="images" if model.startswith("gpt-image-2") else "images_generations",
            body=body,
            bearer=bearer_of(request),
            size=size,
            image_count=image_count,
            media_format=media_format,
            in_base64=response_format == "b64_json",
            queryable=self._is_asynchronous(body),
            trace_id=trace_id or str(uuid.uuid4()),
            failure=failure,
        )

    def after_admission(self, request: web.Request, record: TaskRecord, *, is_new: bool) -> None:
        """Promise the callback, if one was asked for."""
        url = text_field(record.request, "callback_url")
        if not is_new or not url:
            return
        origin = str(request.url.origin())

        async def body() -> dict[str, Any]:
            result = await self._response(record, origin)
            head = {"success": result["success"], "task_id": record.id, "trace_id": record.trace_id}
            return {**head, "error": result["error"]} if "error" in result else {**head, "data": result}

        self.state.callbacks.promise(record, url, body)

    async def accepted(self, request: web.Request, record: TaskRecord) -> web.StreamResponse:
        """Answer with the id, or hold the request and answer with the pictures when it was synchronous."""
        if self._is_asynchronous(record.request) and not record.behaviours.asks("sync"):
            return web.json_response({"task_id": record.id})
        await asyncio.sleep(record.remaining)
        result = await self._response(record, str(request.url.origin()))
        if "error" in result:
            status = _STATUS_OF_CODE.get(result["error"]["code"], 500)
            return web.json_response({"error": result["error"], "trace_id": record.trace_id}, status=status)
        if record.behaviours.word("sync", "") == "anonymous":
            result = {"created": result["created"], "data": result["data"]}
        return web.json_response(result)

    async def status(self, request: web.Request) -> web.StreamResponse:
        """Answer ``retrieve`` and ``retrieve_batch``.

        :raises RefusedError: when the request is neither.
        """
        body = await self.read_json(request)
        action = body.get("action", "retrieve")
        if action == "retrieve":
            return await self._retrieve(request, body)
        if action == "retrieve_batch":
            return await self._retrieve_batch(request, body)
        raise RefusedError(Reason.INVALID, "action is retrieve or retrieve_batch")

    def error(self, refused: RefusedError) -> tuple[web.Response, str]:
        """Word an error; return the answer and the code to count it under."""
        status, code = _ERRORS.get(refused.reason, (500, "api_error"))
        if refused.reason is Reason.SERVER_ERROR:
            status = refused.status
            code = "timeout" if status == 504 else code
        code = refused.code or code
        body: dict[str, Any] = {"error": {"code": code, "message": refused.message}}
        body["trace_id"] = str(uuid.uuid4())
        return web.json_response(body, status=status), code

    def _is_asynchronous(self, body: dict[str, Any]) -> bool:
        return bool(text_field(body, "callback_url")) or (self._variant.honours_async and body.get("async") is True)

    async def _retrieve(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        task_id, trace_id = text_field(body, "id"), text_field(body, "trace_id")
        if not task_id and not trace_id:
            raise RefusedError(Reason.INVALID, "retrieve takes an id or a trace_id")
        self.counts.ids_queried += 1
        bearer = bearer_of(request)
        if trace_id:
            found = self.state.tasks.find_traced(self.name, trace_id, bearer)[:1]
        else:
            one = self.state.tasks.find(self.name, task_id, bearer)
            found = [] if one is None else [one]
        if not found:
            self.counts.not_found += 1
            return web.json_response({})
        self.note_queried(found)
        return web.json_response(await self._record(found[0], str(request.url.origin())))

    async def _retrieve_batch(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        self.counts.batch_queries += 1
        offset, limit = whole_field(body, "offset", 0), whole_field(body, "limit", _DEFAULT_PAGE)
        matching = list(self._matching(body, bearer_of(request)))
        page = matching[offset : offset + limit]
        self.note_queried(page)
        origin = str(request.url.origin())
        items = [await self._record(record, origin) for record in page]
        return web.json_response({"items": items, "count": len(matching)})

    def _matching(self, body: dict[str, Any], bearer: str | None) -> Iterator[TaskRecord]:
        tasks = self.state.tasks
        ids, trace_ids = texts_field(body, "ids"), texts_field(body, "trace_ids")
        self.counts.ids_queried += len(ids) + len(trace_ids)
        if ids:
            found = [one for task_id in ids if (one := tasks.find(self.name, task_id, bearer)) is not None]
            self.counts.not_found += len(ids) - len(found)
        if trace_ids:
            traced = [tasks.find_traced(self.name, trace_id, bearer) for trace_id in trace_ids]
            self.counts.not_found += sum(1 for records in traced if not records)
            of_traces = [record for records in traced for record in records]
            if ids:
                wanted = {record.id for record in of_traces}
                of_traces = [record for record in found if record.id in wanted]
            found = of_traces
        candidates = found if ids or trace_ids else tasks.all_of(self.name, bearer)
        earliest, latest = seconds_field(body, "created_at_min"), seconds_field(body, "created_at_max")
        user_id = text_field(body, "user_id")
        application_id, kind = text_field(body, "application_id"), text_field(body, "type")
        for record in candidates:
            if (
                (earliest is None or record.created_at >= earliest)
                and (latest is None or record.created_at <= latest)
                and kind in ("", record.kind)
                and application_id in ("", _APPLICATION_ID)
                and user_id in ("", _account_id(record.bearer, "user"))
            ):
                yield record

    async def _record(self, record: TaskRecord, origin: str) -> dict[str, Any]:
        finished = record.finished
        times: dict[str, Any] = {"created_at": record.created_at}
        if self._variant.newer_times:
            times["started_at"] = record.created_at
        times["finished_at"] = record.finished_at if finished else None
        elapsed = record.latency if finished else None
        times["elapsed" if self._variant.newer_times else "duration"] = elapsed
        stub: dict[str, Any] = {"success": True, "task_id": record.id}
        if not finished and record.behaviours.asks("unknown-state"):
            stub["state"] = record.behaviours.word("unknown-state", "dreaming")
        return {
            "_id": record.id.replace("-", "")[:24],
            "id": record.id,
            "trace_id": record.trace_id,
            "type": record.kind,
            "application_id": _APPLICATION_ID,
            "user_id": _account_id(record.bearer, "user"),
            "credential_id": _account_id(record.bearer, "credential"),
            **times,
            "request": record.request,
            "response": await self._response(record, origin) if finished else stub,
        }

    async def _response(self, record: TaskRecord, origin: str) -> dict[str, Any]:
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


def _account_id(bearer: str | None, purpose: str) -> str:
    digest = hashlib.blake2b(f"{purpose}:{bearer or ''}".encode("utf-8", "surrogatepass"), digest_size=16)
    return str(uuid.UUID(bytes=digest.digest(), version=4))


def _size(body: dict[str, Any], model: str) -> tuple[tuple[int, int], Failure | None]:
    """Return the size to draw, and the failure that this size leads to once the request is accepted."""
    notation = body.get("size") or "auto"
    if notation == "auto":
        return _DEFAULT_SIZE, None
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
