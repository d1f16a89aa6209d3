"""How the Tasks API family words an image task: its record, and the result in it."""

from __future__ import annotations

import base64
import hashlib
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_imagetasks.local.dialects.dialect import file_url

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local.records import TaskRecord
    from airflow_provider_imagetasks.local.state import ServiceState

APPLICATION_ID = str(uuid.uuid5(uuid.NAMESPACE_DNS, "application.local.invalid"))
"""The one application that everybody here belongs to."""


@dataclass(frozen=True, slots=True)
class TasksApiVariant:
    """One service of the family.

    :param honours_async: whether ``async`` alone makes an image task, without a callback URL.
    :param newer_times: whether records have ``started_at`` and ``elapsed`` instead of ``duration``.
    :param says_success_in_batch: whether good responses have their ``success`` in a batch too.
    """

    name: str
    prefix: str
    honours_async: bool = True
    newer_times: bool = True
    says_success_in_batch: bool = True


class TaskWording:
    """Words the image tasks of one variant."""

    def __init__(self, state: ServiceState, variant: TasksApiVariant) -> None:
        self._state = state
        self._variant = variant

    async def record(self, record: TaskRecord, origin: str, *, in_batch: bool = False) -> dict[str, Any]:
        """Return the record that a status query finds.

        :param origin: scheme, host and port that the sender used.
        """
        finished = record.finished
        times: dict[str, Any] = {"created_at": record.created_at}
        if self._variant.newer_times:
            times["started_at"] = record.created_at
        times["finished_at"] = record.finished_at if finished else None
        elapsed = record.latency if finished else None
        times["elapsed" if self._variant.newer_times else "duration"] = elapsed
        response: dict[str, Any] = {"success": True, "task_id": record.id}
        if finished:
            response = await self.response(record, origin)
        elif record.behaviours.asks("unknown-state"):
            response["state"] = record.behaviours.word("unknown-state", "dreaming")
        if in_batch and not self._variant.says_success_in_batch and response["success"]:
            del response["success"]
        return {
            "_id": record.id.replace("-", "")[:24],
            "id": record.id,
            "trace_id": record.trace_id,
            "type": record.kind,
            "application_id": APPLICATION_ID,
            "user_id": account_id(record.bearer, "user"),
            "credential_id": account_id(record.bearer, "credential"),
            **times,
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
            image["b64_json"] = base64.b64encode(await self._state.picture(record, index)).decode("ascii")
        else:
            image["url"] = file_url(origin, record, index)
        return image


def account_id(bearer: str | None, purpose: str) -> str:
    """Return an id that belongs to a key, another one for each purpose."""
    digest = hashlib.blake2b(f"{purpose}:{bearer or ''}".encode("utf-8", "surrogatepass"), digest_size=16)
    return str(uuid.UUID(bytes=digest.digest(), version=4))
