"""The dialects of AceDataCloud and XHuoAPI: OpenAI-like image routes, and a Tasks API to query what they started."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, Submission
from airflow_provider_imagetasks.local.dialects import mishaps
from airflow_provider_imagetasks.local.dialects.dialect import Dialect, bearer_of, read_json
from airflow_provider_imagetasks.local.dialects.fields import seconds_field, text_field, texts_field, whole_field
from airflow_provider_imagetasks.local.dialects.tasks_api_orders import is_asynchronous, read_edit, read_generation
from airflow_provider_imagetasks.local.dialects.tasks_api_records import (
    APPLICATION_ID,
    TasksApiVariant,
    TaskWording,
    account_id,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_imagetasks.local.records import TaskRecord
    from airflow_provider_imagetasks.local.state import ServiceState

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
_STATUS_OF_CODE = {code: status for status, code in _ERRORS.values() if status != 200}


TASKS_API_VARIANTS = (
    TasksApiVariant(name="acedatacloud", prefix="/acedatacloud"),
    TasksApiVariant(
        name="xhuoapi",
        prefix="/xhuoapi/v1",
        honours_async=False,
        newer_times=False,
        says_success_in_batch=False,
    ),
)


class TasksApiDialect(Dialect):
    """Speaks one variant of the Tasks API family."""

    def __init__(self, state: ServiceState, variant: TasksApiVariant) -> None:
        super().__init__(state, name=variant.name, prefix=variant.prefix)
        self.variant = variant
        self._wording = TaskWording(state, variant)

    def routes(self) -> list[web.RouteDef]:
        """Return the dialect's routes."""
        return [
            web.post(f"{self.prefix}/openai/images/{{operation:generations|edits}}", self.handle_submission),
            web.post(f"{self.prefix}/openai/tasks", self.handle_status),
        ]

    async def read_submission(self, request: web.Request) -> Submission:
        """Understand a request for pictures.

        :raises RefusedError: when it is not valid.
        """
        read = read_edit if request.match_info["operation"] == "edits" else read_generation
        return await read(request, self.state, self.variant)

    def after_admission(self, request: web.Request, record: TaskRecord, *, is_new: bool) -> None:
        """Promise the callback, if one was asked for."""
        url = text_field(record.request, "callback_url")
        if not is_new or not url:
            return
        origin = str(request.url.origin())

        async def body() -> dict[str, Any]:
            result = await self._wording.response(record, origin)
            head = {"success": result["success"], "task_id": record.id, "trace_id": record.trace_id}
            return {**head, "error": result["error"]} if "error" in result else {**head, "data": result}

        self.state.callbacks.promise(record, url, body)

    async def accepted(self, request: web.Request, record: TaskRecord) -> web.StreamResponse:
        """Answer with the id, or hold the request and answer with the pictures when it was synchronous."""
        if is_asynchronous(record.request, self.variant) and not record.behaviours.asks("sync"):
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
        return await self._wording.response(record, str(request.url.origin()))

    async def status(self, request: web.Request) -> web.StreamResponse:
        """Answer ``retrieve`` and ``retrieve_batch``.

        :raises RefusedError: when the request is neither.
        """
        body = await read_json(request)
        return web.json_response(await self.found(request, body.get("action", "retrieve"), body))

    async def found(self, request: web.Request, action: str, query: dict[str, Any]) -> dict[str, Any]:
        """Return what a status query finds: a record, or an object that holds several.

        :raises RefusedError: when it is neither ``retrieve`` nor ``retrieve_batch``.
        """
        if action == "retrieve":
            return await self._retrieve(request, query)
        if action == "retrieve_batch":
            return await self._retrieve_batch(request, query)
        raise RefusedError(Reason.INVALID, "action is retrieve or retrieve_batch")

    def error(self, refused: RefusedError) -> tuple[web.Response, str]:
        """Word an error; return the answer and the code to count it under."""
        status, code = _ERRORS.get(refused.reason, (500, "api_error"))
        if refused.reason is Reason.SERVER_ERROR:
            status = refused.status
            code = "timeout" if status == 504 else code
        if refused.code is not None:
            code = refused.code
            status = status if status == 200 else _STATUS_OF_CODE.get(code, status)
        body: dict[str, Any] = {"error": {"code": code, "message": refused.message}}
        body["trace_id"] = str(uuid.uuid4())
        return web.json_response(body, status=status), code

    async def _retrieve(self, request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
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
            return {}
        mishaps.note_queried(found)
        return await self._wording.record(found[0], str(request.url.origin()))

    async def _retrieve_batch(self, request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        self.counts.batch_queries += 1
        offset, limit = whole_field(body, "offset", 0), whole_field(body, "limit", _DEFAULT_PAGE)
        matching = list(self._matching(body, bearer_of(request)))
        page = matching[offset : offset + limit]
        mishaps.note_queried(page)
        origin = str(request.url.origin())
        items = [await self._wording.record(record, origin, in_batch=True) for record in page]
        return {"items": items, "count": len(matching)}

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
                and application_id in ("", APPLICATION_ID)
                and user_id in ("", account_id(record.bearer, "user"))
            ):
                yield record
