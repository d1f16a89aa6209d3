"""The dialect of Replicate: predictions of official models, versions and deployments, and the list of all of them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, note_queried, require
from airflow_provider_imagetasks.local.callback_sender import signing_headers, webhook_key
from airflow_provider_imagetasks.local.dialects.dialect import Body, Dialect, bearer_of, file_url, read_json
from airflow_provider_imagetasks.local.dialects.model_inputs import asked_of_model
from airflow_provider_imagetasks.local.task_table import TaskRecord

PAGE_SIZE = 100
ACCOUNT = {"type": "user", "username": "local", "name": "Local", "github_url": "https://example.com/local"}
_ERRORS = {
    Reason.INVALID: (422, "Unprocessable entity"),
    Reason.UNPROCESSABLE: (422, "Unprocessable entity"),
    Reason.CONTENT: (422, "Input flagged as sensitive (E005)"),
    Reason.MISSING_KEY: (401, "Unauthenticated"),
    Reason.WRONG_KEY: (401, "Unauthenticated"),
    Reason.EXPIRED_KEY: (401, "Unauthenticated"),
    Reason.NO_CREDIT: (402, "Insufficient credit"),
    Reason.NOT_FOUND: (404, "Not found"),
    Reason.RATE_LIMITED: (429, "Too many requests"),
    Reason.ERROR_IN_200: (400, "Bad request"),
}
_CANCELED = "canceled"


class ReplicateDialect(Dialect):
    """Speaks as Replicate does. Its callbacks are signed by https://www.standardwebhooks.com."""

    name, prefix = "replicate", "/replicate"
    usual_model = "black-forest-labs/flux-schnell"
    callback_field = "webhook"
    cancelled_code = _CANCELED

    def routes(self) -> list[web.RouteDef]:
        """Return the dialect's routes."""
        api = f"{self.prefix}/v1"
        return [
            web.post(f"{api}/{{kind:models|deployments}}/{{owner}}/{{name}}/predictions", self.handle_submission),
            web.post(f"{api}/predictions", self.handle_submission),
            web.get(f"{api}/predictions", self._handle_list),
            web.get(f"{api}/predictions/{{id}}", self.handle_status),
            web.post(f"{api}/predictions/{{id}}/cancel", self.handle_cancel),
            web.get(f"{api}/account", self._handle_account),
            web.get(f"{api}/webhooks/default/secret", self._handle_secret),
        ]

    async def read_submission(self, request: web.Request) -> TaskRecord:
        """Understand a request for pictures."""
        body = await read_json(request)
        require(isinstance(body.get("input"), dict), "input is an object and is required")
        place = request.match_info
        model = f"{place['owner']}/{place['name']}" if "owner" in place else body.text("version", required=True)
        if place.get("kind") == "deployments":
            model = f"deployments/{model}"
        asked = {**body, "model": model}
        return await asked_of_model(
            self.state, Body(body["input"]), dialect=self.name, model=model, bearer=bearer_of(request), request=asked
        )

    async def callback(self, record: TaskRecord, origin: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the record and the headers that sign it."""
        body = self.record(record, origin)
        return body, signing_headers(body, self.state.options)

    async def accepted(self, request: web.Request, record: TaskRecord) -> web.StreamResponse:
        """Answer with the record."""
        return web.json_response(self.record(record, str(request.url.origin()), is_new=True), status=201)

    async def status(self, request: web.Request) -> web.StreamResponse:
        """Answer the record of one prediction."""
        self.counts.ids_queried += 1
        record = self.record_of(request)
        note_queried([record])
        return web.json_response(self.record(record, str(request.url.origin())))

    def record(self, record: TaskRecord, origin: str, *, is_new: bool = False) -> dict[str, Any]:
        """Word an image task.

        :param is_new: whether that answers its submission, when it is only about to start.
        """
        finished, failure = record.finished and not is_new, record.failure
        status = "starting" if is_new or not record.status_queries else "processing"
        if record.behaviours.asks("unknown-state"):
            status = record.behaviours.word("unknown-state", "dreaming")
        if finished:
            status = "succeeded" if failure is None else _CANCELED if failure.code == _CANCELED else "failed"
        url, version = f"{origin}{self.prefix}/v1/predictions/{record.id}", record.model.rpartition(":")[2]
        return {
            "id": record.id,
            "model": record.model.partition(":")[0],
            "version": version if ":" in record.model else "hidden",
            "input": record.request["input"],
            "logs": "",
            "output": self._output(record, origin) if finished and failure is None else None,
            "data_removed": False,
            "error": _words(record) if finished and failure is not None and failure.code != _CANCELED else None,
            "source": "api",
            "status": status,
            "created_at": _moment(record.created_at),
            "started_at": _moment(record.created_at) if finished else None,
            "completed_at": _moment(record.finished_at) if finished else None,
            "metrics": {"predict_time": record.latency} if finished else {},
            "urls": {"get": url, "cancel": f"{url}/cancel"},
        }

    def error(self, refused: RefusedError) -> tuple[web.Response, str]:
        """Word an error; return the answer and the code to count it under."""
        status, title = _ERRORS.get(refused.reason, (refused.status, "Internal server error"))
        detail = f"{refused.message} (E005)" if refused.reason is Reason.CONTENT else refused.message
        return web.json_response({"title": title, "detail": detail, "status": status}, status=status), str(status)

    async def _handle_list(self, request: web.Request) -> web.StreamResponse:
        """Answer a page of predictions, the newest first."""
        try:
            return await self.queried(request, self._list)
        except RefusedError as refused:
            return await self.answer_refusal(request, refused)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self.counts.batch_queries += 1
        cursor = request.query.get("cursor", "0")
        start = int(cursor) if cursor.isdecimal() else 0
        found = self.state.tasks.all_of(self.name, bearer_of(request))
        page = list(itertools.islice(found, start, start + PAGE_SIZE + 1))
        note_queried(page[:PAGE_SIZE])
        origin = str(request.url.origin())
        here = f"{origin}{self.prefix}/v1/predictions?cursor="
        return web.json_response(
            {
                "previous": f"{here}{max(0, start - PAGE_SIZE)}" if start else None,
                "next": f"{here}{start + PAGE_SIZE}" if len(page) > PAGE_SIZE else None,
                "results": [self.record(each, origin) for each in page[:PAGE_SIZE]],
            }
        )

    async def stopped(self, request: web.Request, record: TaskRecord, was_running: bool) -> web.StreamResponse:
        """Answer a cancel with the record; one that is over stays as it is."""
        return web.json_response(self.record(record, str(request.url.origin())))

    async def _handle_account(self, request: web.Request) -> web.StreamResponse:
        return await self._if_let_in(request, ACCOUNT)

    async def _handle_secret(self, request: web.Request) -> web.StreamResponse:
        return await self._if_let_in(request, {"key": webhook_key(self.state.options)})

    async def _if_let_in(self, request: web.Request, told: dict[str, Any]) -> web.StreamResponse:
        self.counts.credit_queries += 1
        try:
            self.state.admission.check_key(bearer_of(request))
        except RefusedError as refused:
            return self.error(refused)[0]
        return web.json_response(told)

    @staticmethod
    def _output(record: TaskRecord, origin: str) -> Any:
        """Return the pictures in the shape that the model has: one alone for some, else a list."""
        urls = [file_url(origin, record, index) for index in range(record.image_count)]
        return urls[0] if "-pro" in record.model and len(urls) == 1 else urls


def _words(record: TaskRecord) -> str:
    failure = record.failure
    if failure is None:
        return ""
    code = failure.code or ("E005" if failure.content else "")
    return f"{failure.message} ({code})" if code else failure.message


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
