"""The dialect of OpenAI's Files and Batch APIs, for batches of pictures: results are made while they are read."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, require
from airflow_provider_imagetasks.local.dialects.dialect import Body, bearer_of, read_json
from airflow_provider_imagetasks.local.dialects.openai_batch_table import (
    BatchRecord,
    BatchRow,
    promise_event,
    result_line,
)
from airflow_provider_imagetasks.local.dialects.openai_responses import OpenAIDialect, size_of
from airflow_provider_imagetasks.local.directives import Occurrences
from airflow_provider_imagetasks.local.drawing import MEDIA_TYPES
from airflow_provider_imagetasks.local.service_state import ServiceState
from airflow_provider_imagetasks.local.task_table import NO_REFERENCES, TaskRecord
from airflow_provider_imagetasks.local.uploads import posted_form

ENDPOINTS = {"/v1/images/generations": "generation", "/v1/images/edits": "edit"}
MOST_ROWS = 50_000
LARGEST_FILE = 200 * 1024 * 1024
_PAGE_SIZE = 100
_PIECE = 256 * 1024


@dataclass(kw_only=True)
class _StoredFile:
    """A file that was uploaded."""

    id: str = field(default_factory=lambda: f"file-{uuid.uuid4().hex}")
    name: str
    content: bytes
    created_at: float


class OpenAIBatchesDialect(OpenAIDialect):
    """Speaks as OpenAI does of files and batches."""

    name, prefix = "openai/batches", "/openai/v1"

    def __init__(self, state: ServiceState) -> None:
        super().__init__(state)
        self._forget()
        state.on_reset.append(self._forget)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of files and batches."""
        files, batches = f"{self.prefix}/files", f"{self.prefix}/batches"
        return [
            web.post(files, self._asked(self._upload)),
            web.get(f"{files}/{{id}}", self._asked(self._file)),
            web.get(f"{files}/{{id}}/content", self._asked(self._content)),
            web.post(batches, self._asked(self._create)),
            web.get(batches, self._asked(self._list)),
            web.get(f"{batches}/{{id}}", self.handle_status),
            web.post(f"{batches}/{{id}}/cancel", self._asked(self._cancel)),
        ]

    async def status(self, request: web.Request) -> web.StreamResponse:
        """Answer with a batch."""
        self.counts.ids_queried += 1
        batch = self._batch(request)
        for row in batch.rows:
            self._mishap(row, "poll")
        return web.json_response(batch.as_json(self.state.now()))

    def _forget(self) -> None:
        self._files: dict[str, _StoredFile] = {}
        self._batches: dict[str, BatchRecord] = {}
        self._occurrences = Occurrences()

    def _asked(self, answer: Any) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                self.state.admission.check_key(bearer_of(request))
                response: web.StreamResponse = await answer(request)
                return response
            except RefusedError as refused:
                return await self.answer_refusal(request, refused)

        return handle

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        form = await posted_form(request, LARGEST_FILE + 1024 * 1024)
        file = form.get("file")
        require(form.get("purpose") == "batch", "this double takes files for batches only: set purpose to batch")
        if not isinstance(file, web.FileField):
            raise RefusedError(Reason.INVALID, "file is required")
        with file.file as opened:
            content = opened.read()
        stored = _StoredFile(name=file.filename, content=content, created_at=self.state.now())
        self._files[stored.id] = stored
        self.counts.credit_queries += 1
        return web.json_response(_file_as_json(stored))

    async def _file(self, request: web.Request) -> web.StreamResponse:
        stored = self._files.get(request.match_info["id"])
        if stored is None:
            raise self._nothing(f"No such File object: {request.match_info['id'][:80]}")
        return web.json_response(_file_as_json(stored))

    async def _create(self, request: web.Request) -> web.StreamResponse:
        self.counts.submissions += 1
        try:
            batch = await self._created(request)
        except RefusedError as refused:
            self.counts.refused[self.code_of(refused)] += 1
            raise
        for row in batch.rows:
            self.state.admission.check_answer(row.record)
        return web.json_response(batch.as_json(self.state.now()))

    async def _created(self, request: web.Request) -> BatchRecord:
        body = await read_json(request)
        endpoint = body.text("endpoint", required=True)
        require(endpoint in ENDPOINTS, f"endpoint is one of {', '.join(ENDPOINTS)}")
        require(body.get("completion_window") == "24h", "completion_window is 24h")
        metadata = body.get("metadata") or {}
        is_fine = isinstance(metadata, dict) and len(metadata) <= 16
        is_fine = is_fine and all(isinstance(each, str) and len(each) <= 512 for each in metadata.values())
        require(is_fine, "metadata has at most 16 texts of 512 characters")
        stored = self._files.get(body.text("input_file_id", required=True))
        if stored is None:
            raise self._nothing("No such File object")
        batch = BatchRecord(
            input_file_id=stored.id,
            endpoint=endpoint,
            metadata=metadata,
            bearer=bearer_of(request),
            created_at=self.state.now(),
            seconds=self.state.options.batch_latency,
        )
        await self._read_rows(stored.content, batch)
        for row in batch.rows:
            self._mishap(row, "create")
        self._batches[batch.id] = batch
        promise_event(batch, self.state, lambda: self._advance(batch))
        return batch

    async def _read_rows(self, content: bytes, batch: BatchRecord) -> None:
        """Understand a file of requests, or note for which of its lines it is not taken."""
        models, seen = set[str](), set[str]()
        lines = content.splitlines()
        if not 0 < len(lines) <= MOST_ROWS:
            batch.errors.append(_error("invalid_file", f"a file has 1 to {MOST_ROWS} requests", None))
        for number, line in enumerate(lines[:MOST_ROWS], start=1):
            try:
                row = await self._read_row(line, batch)
            except RefusedError as refused:
                batch.errors.append(_error(refused.code or "invalid_request", refused.message, number))
                continue
            models.add(row.record.model)
            if row.custom_id in seen:
                batch.errors.append(_error("duplicate_custom_id", "The custom_id was used before.", number))
            if len(models) > 1:
                batch.errors.append(_error("mismatched_model", "A file has one model only.", number))
            seen.add(row.custom_id)
            batch.rows.append(row)
            if self._occurs(row, "invalid"):
                batch.errors.append(_error("invalid_value", "the prompt asked to be invalid", number, "body.prompt"))
            if self._occurs(row, "limit"):
                batch.errors.append(_error("token_limit_exceeded", "Enqueued token limit reached.", None))

    async def _read_row(self, line: bytes, batch: BatchRecord) -> BatchRow:
        try:
            asked = json.loads(line)
        except ValueError as error:
            raise RefusedError(
                Reason.INVALID, "This line is not parseable as valid JSON.", code="invalid_json_line"
            ) from error
        require(isinstance(asked, dict) and isinstance(asked.get("body"), dict), "a line is an object with a body")
        own_id, body = asked.get("custom_id"), Body(asked["body"])
        require(isinstance(own_id, str) and 0 < len(own_id) <= 64, "custom_id is a text of 1 to 64 characters")
        require(asked.get("method") == "POST", "method is POST")
        require(asked.get("url") == batch.endpoint, "url is the endpoint of the batch")
        media_format = body.text("output_format") or "png"
        require(media_format in MEDIA_TYPES, f"output_format is one of {', '.join(MEDIA_TYPES)}")
        count = body.whole("n", 1)
        require(1 <= count <= 10, "n is a whole number from 1 to 10")
        images, references = body.get("images") or [], NO_REFERENCES
        kind = ENDPOINTS[batch.endpoint]
        if kind == "edit":
            is_fine = isinstance(images, list) and images and all(isinstance(each, dict) for each in images)
            require(is_fine, "images is a list of objects with an image_url")
            urls = [Body(each).text("image_url", required=True) for each in images]
            references = await self._references(urls, Body({"input_image_mask": body.get("mask")}))
        record = TaskRecord(
            dialect=self.name,
            prompt=body.text("prompt", required=True),
            model=body.text("model", required=True),
            kind=kind,
            request=body,
            bearer=batch.bearer,
            size=size_of(body.get("size"), references),
            image_count=count,
            media_format=media_format,
            in_base64=True,
            references=references,
        )
        return BatchRow(custom_id=str(own_id), record=record)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self.counts.batch_queries += 1
        limit, after = request.query.get("limit", "20"), request.query.get("after", "")
        most = min(int(limit), _PAGE_SIZE) if limit.isdecimal() and int(limit) else 20
        bearer = bearer_of(request)
        mine = [
            each for each in reversed(self._batches.values()) if not self.state.options.keys or each.bearer == bearer
        ]
        start = next((number for number, each in enumerate(mine, start=1) if each.id == after), 0)
        page = mine[start : start + most]
        for batch in page:
            self._advance(batch)
        data = [batch.as_json(self.state.now()) for batch in page]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return web.json_response({"object": "list", "data": data, **ends, "has_more": len(mine) > start + most})

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        batch = self._batch(request)
        if batch.ended_as in ("completed", "failed", "expired"):
            raise RefusedError(Reason.INVALID, f"Cannot cancel a batch with status '{batch.ended_as}'.")
        if batch.cancelled_at is None:
            batch.cancelled_at = self.state.now()
            self.counts.cancelled += 1
        self._advance(batch)
        await self.state.callbacks.look_again()
        return web.json_response(batch.as_json(self.state.now()))

    async def _content(self, request: web.Request) -> web.StreamResponse:
        """Send a file; that of results is made line by line, as fast as it is read."""
        file_id = request.match_info["id"]
        if file_id in self._files:
            return web.Response(body=self._files[file_id].content, content_type="application/jsonl")
        owner = next(
            (each for each in self._batches.values() if file_id in (each.output_file_id, each.error_file_id)), None
        )
        if owner is None:
            raise self._nothing(f"No such File object: {file_id[:80]}")
        rows = owner.results(made=file_id == owner.output_file_id)
        for row in rows:
            self._mishap(row, "content")
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        await response.prepare(request)
        # Whoever reads may leave at any moment.
        with suppress(ConnectionResetError):
            await self._send(request, response, rows)
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, rows: list[BatchRow]) -> None:
        for row in rows:
            line, is_last = await self._line(row)
            is_cut = row.record.applies("file-truncated")
            for start in range(0, len(line) // 2 if is_cut else len(line), _PIECE):
                await response.write(line[start : start + _PIECE])
            if is_cut and request.transport is not None:
                request.transport.close()
                return
            if is_last:
                break
        await response.write_eof()

    async def _line(self, row: BatchRow) -> tuple[bytes, bool]:
        pictures = []
        if row.is_made:
            pictures = [await self.state.picture(row.record, index) for index in range(row.record.image_count)]
        return await asyncio.to_thread(result_line, row, pictures)

    def _advance(self, batch: BatchRecord) -> None:
        batch.advance(self.state.now(), self._settle)

    def _settle(self, record: TaskRecord) -> dict[str, Any] | None:
        """Make a row now, and return why it has no picture where it has none."""
        try:
            self.state.admit(record)
        except RefusedError as refused:
            status, kind, code = self.worded(refused)
            return {"status": status, "type": kind, "code": code, "message": refused.message}
        finally:
            record.latency = 0.0
        failure = record.failure
        if failure is None:
            return None
        usual = "moderation_blocked" if failure.content else "server_error"
        status = 400 if failure.content else 500
        return {
            "status": status,
            "type": "image_generation_error",
            "code": failure.code or usual,
            "message": failure.message,
        }

    def _batch(self, request: web.Request) -> BatchRecord:
        batch = self._batches.get(request.match_info["id"])
        if batch is None:
            self.counts.not_found += 1
            raise self._nothing(f"No batch found with id '{request.match_info['id'][:80]}'.")
        self._advance(batch)
        return batch

    def _occurs(self, row: BatchRow, word: str) -> bool:
        """Whether a row's prompt asks now for something to happen with its batch, and count it."""
        behaviours = row.record.behaviours
        return behaviours.word("batch", "") == word and self._occurrences.applies(
            behaviours, "batch", key=f"{word}\0{row.record.prompt}"
        )

    def _mishap(self, row: BatchRow, when: str) -> None:
        record = row.record
        if not record.behaviours.settings:
            return
        if when == "create" and self._occurs(row, "no-quota"):
            raise RefusedError(Reason.NO_CREDIT, "the prompt asked for an empty balance")
        if when == "create" and self._occurs(row, "cut"):
            raise RefusedError(Reason.CUT, "the prompt asked for a cut connection")
        if when == "poll" and record.applies("poll-500"):
            raise RefusedError(Reason.SERVER_ERROR, "the prompt asked for a server error")
        if when == "content" and record.applies("file-404"):
            raise self._nothing("No such File object")
        if when == "content" and record.applies("file-500"):
            raise RefusedError(Reason.SERVER_ERROR, "the prompt asked for a server error")

    @staticmethod
    def _nothing(message: str) -> RefusedError:
        return RefusedError(Reason.NOT_FOUND, message)


def _file_as_json(stored: _StoredFile) -> dict[str, Any]:
    return {
        "id": stored.id,
        "object": "file",
        "bytes": len(stored.content),
        "created_at": int(stored.created_at),
        "filename": stored.name,
        "purpose": "batch",
        "status": "processed",
    }


def _error(code: str, message: str, line: int | None, parameter: str | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "line": line, "param": parameter}
