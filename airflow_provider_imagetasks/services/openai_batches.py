"""OpenAI's Batch API for pictures: a file of requests to the Images API, made within a day at half the price.

Follows OpenAI's guide "Batch API" and the references of its Batches, Files and Images APIs.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_imagetasks.exceptions import (
    ImageTaskError,
    InvalidRequestError,
    ProtocolError,
    RateLimitError,
    ResultExpiredError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.cancels import stop
from airflow_provider_imagetasks.services.fields import mapping, moment, sequence, text, whole_number
from airflow_provider_imagetasks.services.openai_answers import KEY_NAME, key_of, require_own_key
from airflow_provider_imagetasks.services.openai_batch_results import custom_id_in, read_line, results_in
from airflow_provider_imagetasks.services.openai_errors import SERVICE, refusal, refusal_of
from airflow_provider_imagetasks.services.openai_prices import BATCH_SHARE
from airflow_provider_imagetasks.services.provider_batches import (
    LineError,
    Listing,
    ProviderBatch,
    ProviderBatches,
    RequestGroup,
    ResultLine,
)
from airflow_provider_imagetasks.services.refusals import object_in
from airflow_provider_imagetasks.services.wire import Flow, Part, Request, Response
from airflow_provider_imagetasks.tasks import ImageFile, ImageRequest, ImageTask, TaskState

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
FILES_PATH, BATCHES_PATH = "/files", "/batches"
BATCH_ID = re.compile(r"batch_\w[\w-]{0,199}", re.ASCII)
FILE_ID = re.compile(r"\w[\w.-]{0,254}", re.ASCII)
PAGE_SIZE = 100
MOST_PAGES = 50
CLOCK_SLACK = 3_600.0
"""Seconds by which OpenAI's clock, or that of another worker, may differ from ours."""
INPUT_LIVES_FOR = 7 * 86_400
"""Seconds after which OpenAI may throw a file of requests away, whatever became of it."""
QUEUE_IS_FULL = "token_limit_exceeded"
"""The code of a batch that was not taken because of others that wait for the same model."""
_OVER = frozenset({"completed", "failed", "expired", "cancelled", "canceled"})
_PARTIAL = frozenset({"failed", "expired", "cancelled", "canceled"})
_SIZE = re.compile(r"(\d{2,4})x(\d{2,4})")
_USUAL_PIXELS = 1024 * 1024
_BYTES_A_PIXEL = {"png": 2.0, "jpeg": 0.5, "webp": 0.5}
"""Of the pictures of image models, in base64."""


class OpenAIBatches(ProviderBatches):
    """Batches of ``/images/generations`` and ``/images/edits``, of one model each."""

    most_rows = 50_000
    # Of the 200 MB that OpenAI takes.
    most_input_bytes = 64 * 1024 * 1024
    price_share = BATCH_SHARE

    def group_of(self, request: ImageRequest) -> RequestGroup:
        """Return which file a request can be in: OpenAI takes one endpoint and one model."""
        if "response" in request.options:
            raise InvalidRequestError(
                "options holds 'response', which only single pictures have; remove it, or leave out "
                "mode='provider_batch'"
            )
        return RequestGroup(endpoint=EDITS if request.is_edit else GENERATIONS, model=request.model or "")

    def line_of(self, request: ImageRequest, custom_id: str) -> bytes:
        """Return the line of a file of requests; files are part of it."""
        body: dict[str, Any] = {**request.options, "model": request.model, "prompt": request.prompt}
        if request.is_edit:
            body["images"] = [{"image_url": _url_of(image)} for image in request.images]
        if request.mask is not None:
            body["mask"] = {"image_url": _url_of(request.mask)}
        line = {"custom_id": custom_id, "method": "POST", "url": self.group_of(request).endpoint, "body": body}
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"

    def expected_bytes(self, request: ImageRequest) -> int:
        """Return how long the line of its result will be, by its size and format."""
        size = _SIZE.fullmatch(text(request.options.get("size")) or "")
        pixels = int(size[1]) * int(size[2]) if size else _USUAL_PIXELS
        each = _BYTES_A_PIXEL.get(text(request.options.get("output_format")) or "png", 2.0)
        return int(pixels * each)

    def upload(self, content: bytes, key: str) -> Flow[str]:
        """Hand over a file of requests, again where no answer comes, and return its id. Free."""
        file = ImageFile(name=f"{key}.jsonl", media_type="application/jsonl", content=content)
        request = Request(
            method="POST",
            path=FILES_PATH,
            body={
                "purpose": "batch",
                "expires_after[anchor]": "created_at",
                "expires_after[seconds]": str(INPUT_LIVES_FOR),
            },
            parts=(Part(name="file", file=file),),
        )
        return (yield from exchange.patiently(lambda: exchange.read(request, _uploaded, service=SERVICE)))

    def create(
        self, file_id: str, group: RequestGroup, key: str, *, names: Mapping[str, str], how_to_look: str
    ) -> Flow[ImageTask]:
        """Have a file of requests made. OpenAI knows no repetition: where the answer is lost, it is looked for."""
        body = {
            "input_file_id": file_id,
            "endpoint": group.endpoint,
            "completion_window": "24h",
            "metadata": {**{name: value[:512] for name, value in names.items()}, KEY_NAME: key},
        }
        return (
            yield from exchange.submit(
                Request(method="POST", path=BATCHES_PATH, body=body),
                lambda answer: _created(answer, key),
                service=SERVICE,
                repeatable=False,
                how_to_look=how_to_look,
            )
        )

    def read(self, batch_id: str) -> Flow[ImageTask]:
        """Ask once for a batch."""
        if not BATCH_ID.fullmatch(batch_id):
            yield from ()
            return ImageTask(id=batch_id, service=SERVICE, state=TaskState.NOT_FOUND, has_record=False)
        request = Request(method="GET", path=f"{BATCHES_PATH}/{batch_id}")
        return (yield from exchange.read(request, lambda answer: _read(answer, batch_id), service=SERVICE))

    def batch_of(self, task: ImageTask) -> ProviderBatch:
        """Return what an answer says of a batch."""
        return _batch(task.raw, task.id)

    def find(self, key: str, *, since: float) -> Flow[Listing]:
        """Look through the account's batches for the one of a key."""
        found: dict[str, ProviderBatch] = {}
        nameless, keeps_keys, is_readable, after = False, False, True, ""
        for _ in range(MOST_PAGES):
            asked = {"limit": str(PAGE_SIZE), **({"after": after} if after else {})}
            request = Request(method="GET", path=BATCHES_PATH, parameters=asked)
            page = yield from exchange.patiently(
                lambda request=request: exchange.read(request, _object, service=SERVICE)  # type: ignore[misc]
            )
            if not isinstance(page.get("data"), list):
                raise ProtocolError("The list of batches has no 'data'", service=SERVICE, billed="unknown")
            records = [batch for record in page["data"] if (batch := _listed(mapping(record))) is not None]
            is_readable = is_readable and len(records) == len(page["data"])
            for batch in records:
                keeps_keys = keeps_keys or batch.key is not None
                is_recent = batch.created_at is None or batch.created_at >= since - CLOCK_SLACK
                nameless = nameless or (batch.key is None and is_recent)
                if batch.key == key:
                    found[batch.id] = batch
            last = records[-1].id if records else ""
            if not page.get("has_more") or _are_all_older(records, since - CLOCK_SLACK):
                is_complete = is_readable and (keeps_keys or not nameless)
                return Listing(found=tuple(found.values()), is_complete=is_complete)
            if not last or last == after:
                break
            after = last
        return Listing(found=tuple(found.values()), is_complete=False)

    def cancel(self, batch_id: str) -> Flow[str]:
        """Ask OpenAI to stop a batch."""
        request = Request(method="POST", path=f"{BATCHES_PATH}/{batch_id}/cancel")
        yield from stop(
            request,
            batch_id,
            over=("completed", "failed", "expired"),
            service=SERVICE,
            title="OpenAI",
            refusal=refusal_of,
        )
        return "OpenAI was told to stop the batch. What was made is billed, and delivered when the task is cleared."

    def content_request(self, file_id: str) -> Request:
        """Return the request for the content of a file."""
        return Request(method="GET", path=f"{FILES_PATH}/{file_id}/content", headers={"Accept": "*/*"})

    def content_refused(self, status: int, content: bytes) -> ImageTaskError:
        """Return why a content is not to be had."""
        answer = Response(status=status, headers={}, content=content, at=0.0)
        if status in (404, 410):
            return ResultExpiredError(
                f"OpenAI no longer has the result file (HTTP {status}: {answer.excerpt() or 'an empty body'}); "
                "it keeps them for 30 days. What was made of it was billed",
                service=SERVICE,
                billed="yes",
            )
        try:
            error = refusal_of(answer, object_in(answer, service=SERVICE))
        except ImageTaskError as refused:
            error = refused
        error.billed = "unknown"
        return error

    def custom_id_in(self, beginning: bytes) -> str | None:
        """Return the custom id of a line of results by its first bytes."""
        return custom_id_in(beginning)

    def read_line(self, line: bytes) -> ResultLine:
        """Return what a line of results says."""
        return read_line(line)

    def results_in(self, line: bytes) -> Sequence[bytes]:
        """Return the results that a line holds."""
        return results_in(line)


def _url_of(image: str | ImageFile) -> str:
    if isinstance(image, ImageFile):
        return f"data:{image.media_type};base64,{base64.b64encode(image.content).decode()}"
    return image


def _are_all_older(batches: list[ProviderBatch], moment_: float) -> bool:
    """Whether a page, whose batches come from the newest on, is of before a moment, as then are all that follow."""
    moments = [batch.created_at for batch in batches]
    known = [each for each in moments if each is not None]
    is_in_order = len(known) == len(moments) and known == sorted(known, reverse=True)
    return is_in_order and bool(known) and known[0] < moment_


def _listed(record: Mapping[str, Any]) -> ProviderBatch | None:
    """Return a batch of a list; None for what is none."""
    own_id = text(record.get("id")) or ""
    return _batch(record, own_id) if BATCH_ID.fullmatch(own_id) and text(record.get("status")) else None


def _object(answer: Response) -> Mapping[str, Any]:
    said = object_in(answer, service=SERVICE)
    if answer.status >= 400:
        raise refusal_of(answer, said)
    return said


def _uploaded(answer: Response) -> str:
    file_id = text(_object(answer).get("id")) or ""
    if not FILE_ID.fullmatch(file_id):
        raise ProtocolError("The answer to the upload names no file", service=SERVICE)
    return file_id


def _created(answer: Response, key: str) -> ImageTask:
    said = object_in(answer, service=SERVICE)
    own_id = text(said.get("id")) or ""
    if answer.status == 404 and not own_id:
        # The path is there, and what else the request names.
        what = f"OpenAI no longer has the file of requests: {refusal_of(answer, said).message}"
        raise ServiceUnavailableError(what, service=SERVICE, code="file_not_found", billed="no")
    if answer.status >= 400 and not own_id:
        raise refusal_of(answer, said)
    require_own_key(said, key)
    return _task(said, own_id if BATCH_ID.fullmatch(own_id) else "")


def _read(answer: Response, batch_id: str) -> ImageTask:
    said = object_in(answer, service=SERVICE)
    if answer.status == 404 and mapping(said.get("error")):
        return ImageTask(id=batch_id, service=SERVICE, state=TaskState.NOT_FOUND, has_record=False, raw=said)
    return _task(_object(answer), batch_id)


def _task(said: Mapping[str, Any], batch_id: str) -> ImageTask:
    """Return what stands for a batch while it is waited for."""
    batch = _batch(said, batch_id)
    done, total = batch.completed, _count(said, "total")
    state, error = TaskState.SUCCEEDED if batch.is_over else TaskState.RUNNING, None
    if batch.was_refused:
        state, error = TaskState.FAILED, batch.errors[0].error
    told = f"{batch.status}, {done:,} of {total:,} made" if done and total else batch.status
    return ImageTask(
        id=batch_id,
        service=SERVICE,
        state=state,
        raw_state=told,
        created_at=batch.created_at,
        error=error,
        rows_ready=done,
        raw=said,
    )


def _batch(said: Mapping[str, Any], batch_id: str) -> ProviderBatch:
    """Return what a record of a batch says; an unknown word means that it goes on.

    :raises ProtocolError: it has no status.
    """
    word = (text(said.get("status")) or "").lower()
    if not word:
        raise ProtocolError("The batch has no status", service=SERVICE, image_task_id=batch_id or None)
    named = (text(said.get(name), most=300) or "" for name in ("output_file_id", "error_file_id"))
    # They become part of an address.
    files = tuple(file for file in named if FILE_ID.fullmatch(file))
    completed = _count(said, "completed")
    # Validation comes before everything that is billed; what failed later has made what it has made.
    may_have_made = completed or text(said.get("output_file_id")) or (completed is None and said.get("in_progress_at"))
    was_refused = word == "failed" and not may_have_made
    return ProviderBatch(
        id=batch_id,
        status=word,
        is_over=word in _OVER,
        was_refused=was_refused,
        is_partial=word in _PARTIAL,
        completed=completed,
        result_files=files,
        picture_file=next((file for file in files if file == text(said.get("output_file_id"), most=300)), None),
        errors=_errors(said, batch_id) if was_refused else (),
        key=key_of(said),
        created_at=moment(said.get("created_at")),
    )


def _count(said: Mapping[str, Any], name: str) -> int | None:
    """Return how many requests of a batch are counted under a name; None for what is no such count."""
    count = whole_number(mapping(said.get("request_counts")).get(name))
    return count if count is not None and 0 <= count <= OpenAIBatches.most_rows else None


def _errors(said: Mapping[str, Any], batch_id: str) -> tuple[LineError, ...]:
    told = map(mapping, sequence(mapping(said.get("errors")).get("data")))
    found = [LineError(line=whole_number(each.get("line")), error=_invalid(each, batch_id)) for each in told]
    if not found:
        what = "OpenAI did not take the batch, and does not say why"
        error = ServiceUnavailableError(what, service=SERVICE, image_task_id=batch_id, billed="no")
        found = [LineError(line=None, error=error)]
    return tuple(found)


def _invalid(told: Mapping[str, Any], batch_id: str) -> ImageTaskError:
    """Return why a batch was not taken: the class by its code, an invalid request where the code is not known."""
    error: ImageTaskError
    if (text(told.get("code")) or "").lower() == QUEUE_IS_FULL:
        error = RateLimitError("", service=SERVICE, code=QUEUE_IS_FULL)
    else:
        error = refusal(400, told)
    parameter = text(told.get("param"))
    said = text(told.get("message")) or text(told.get("code")) or "no reason given"
    error.message = f"OpenAI did not take the batch: {said}" + (f" ({parameter})" if parameter else "")
    error.image_task_id, error.billed = batch_id, "no"
    return error
