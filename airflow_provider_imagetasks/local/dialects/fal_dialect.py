"""The dialect of fal's queue: the model is the path, and a request is asked for by its owner and app."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from airflow_provider_imagetasks.local.admission import Reason, RefusedError, note_queried
from airflow_provider_imagetasks.local.dialects.dialect import Dialect, bearer_of, file_url, read_json
from airflow_provider_imagetasks.local.dialects.model_inputs import asked_of_model
from airflow_provider_imagetasks.local.task_table import TaskRecord

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

USER_ID = "local|user"
"""Who everybody here is, in callbacks."""
_LOCKED = "User is locked. Reason: Exhausted balance. Top up your balance at the dashboard."
_MODEL_ERRORS = {Reason.INVALID: "value_error", Reason.UNPROCESSABLE: "value_error"}
_STATUSES = {
    Reason.MISSING_KEY: 401,
    Reason.WRONG_KEY: 401,
    Reason.EXPIRED_KEY: 401,
    Reason.NO_CREDIT: 403,
    Reason.NOT_FOUND: 404,
    Reason.RATE_LIMITED: 429,
    Reason.ERROR_IN_200: 400,
}
_CONTENT_POLICY = "content_policy_violation"
_CANCELLED = "client_cancelled"


class FalDialect(Dialect):
    """Speaks as fal's queue does. Its callbacks are signed by a key that it publishes."""

    name, prefix = "fal", "/fal"
    usual_model = "fal-ai/flux/dev"
    cancelled_code = _CANCELLED
    unknown_id = "no request has this id"

    def routes(self) -> list[web.RouteDef]:
        """Return the dialect's routes."""
        request = f"{self.prefix}/{{app:[^/]+/[^/]+(?:/[^/]+)?}}/requests/{{id}}"
        return [
            web.get(f"{self.prefix}/.well-known/jwks.json", self._keys),
            web.get(f"{request}/status", self.handle_status),
            web.get(request, self._handle_result),
            web.put(f"{request}/cancel", self.handle_cancel),
            web.post(f"{self.prefix}/{{model:[^/]+/.+}}", self.handle_submission),
        ]

    def bearer(self, request: web.Request) -> str | None:
        """Return the request's key, which stands behind ``Key``; tokens stand behind ``Bearer``."""
        return bearer_of(request, "key") or bearer_of(request)

    async def read_submission(self, request: web.Request) -> TaskRecord:
        """Understand a request for pictures."""
        order, model = await read_json(request), request.match_info["model"]
        asked = {**order, "model": model, "headers": _own_headers(request)}
        return await asked_of_model(
            self.state, order, dialect=self.name, model=model, bearer=self.bearer(request), request=asked
        )

    def promise_callback(self, request: web.Request, record: TaskRecord) -> None:
        """Promise the callback of a new image task, if the query asks for one."""
        url, origin = request.query.get("fal_webhook", ""), str(request.url.origin())
        if url:
            self.state.callbacks.promise(record, url, lambda: self.callback(record, origin))

    async def callback(self, record: TaskRecord, origin: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the body of a callback and the headers that sign it."""
        status, payload = await self._outcome(record, origin)
        told = {"status": "OK", "error": None} if status < 300 else {"status": "ERROR", "error": f"status {status}"}
        body = {"request_id": record.id, "gateway_request_id": record.id, **told, "payload": payload}
        timestamp = str(int(time.time()))
        # As the sender of callbacks writes it.
        digest = hashlib.sha256(json.dumps(body).encode()).hexdigest()
        signed = f"{record.id}\n{USER_ID}\n{timestamp}\n{digest}".encode()
        headers = {"Request-Id": record.id, "User-Id": USER_ID, "Timestamp": timestamp}
        headers["Signature"] = self._signer().sign(signed).hex()
        return body, {f"X-Fal-Webhook-{name}": value for name, value in headers.items()}

    async def accepted(self, request: web.Request, record: TaskRecord) -> web.StreamResponse:
        """Answer with the id and where to ask; the endpoint is not part of that."""
        url = self._url(request, record)
        return web.json_response(
            {
                "status": "IN_QUEUE",
                "request_id": record.id,
                "gateway_request_id": record.id,
                "response_url": url,
                "status_url": f"{url}/status",
                "cancel_url": f"{url}/cancel",
                "queue_position": 0,
            }
        )

    async def status(self, request: web.Request) -> web.StreamResponse:
        """Answer how a request stands."""
        self.counts.ids_queried += 1
        record = self.record_of(request)
        note_queried([record])
        url = self._url(request, record)
        told: dict[str, Any] = {"request_id": record.id, "response_url": url, "status_url": f"{url}/status"}
        if not record.finished:
            word = "IN_PROGRESS" if record.status_queries > 1 else "IN_QUEUE"
            told["status"] = (
                record.behaviours.word("unknown-state", "DREAMING").upper()
                if (record.behaviours.asks("unknown-state"))
                else word
            )
            told |= {"logs": None, "cancel_url": f"{url}/cancel"} | (
                {"queue_position": 0} if word == "IN_QUEUE" else {}
            )
            return web.json_response(told, status=202)
        told |= {"status": "COMPLETED", "logs": None, "metrics": {"inference_time": record.latency}}
        if record.failure is not None and not record.failure.content:
            told |= {"error": record.failure.message, "error_type": record.failure.code or "runner_server_error"}
        return web.json_response(told)

    def error(self, refused: RefusedError) -> tuple[web.Response, str]:
        """Word an error, as a model or as fal itself; return the answer and the code to count it under."""
        kind = _MODEL_ERRORS.get(refused.reason) or (_CONTENT_POLICY if refused.reason is Reason.CONTENT else None)
        if kind is not None:
            kind = refused.code or kind
            return web.json_response({"detail": [_entry(kind, refused.message)]}, status=422), kind
        status = refused.status if refused.reason is Reason.SERVER_ERROR else _STATUSES.get(refused.reason, 500)
        detail = _LOCKED if refused.reason is Reason.NO_CREDIT else refused.message
        return web.json_response({"detail": detail}, status=status), str(status)

    async def _handle_result(self, request: web.Request) -> web.StreamResponse:
        """Answer what a request came to, with the status that its model answered with."""
        try:
            return await self.queried(request, self._result)
        except RefusedError as refused:
            return await self.answer_refusal(request, refused)

    async def _result(self, request: web.Request) -> web.StreamResponse:
        record = self.record_of(request)
        if not record.finished:
            return web.json_response({"detail": "Request is still in progress"}, status=400)
        status, payload = await self._outcome(record, str(request.url.origin()))
        headers = {"X-Fal-Error-Type": payload["error_type"]} if "error_type" in payload else {}
        return web.json_response(payload, status=status, headers=headers)

    async def stopped(self, request: web.Request, record: TaskRecord, was_running: bool) -> web.StreamResponse:
        """Answer a cancel."""
        if not was_running:
            return web.json_response({"status": "ALREADY_COMPLETED"}, status=400)
        return web.json_response({"status": "CANCELLATION_REQUESTED"}, status=202)

    def is_asked_for_rightly(self, request: web.Request, record: TaskRecord) -> bool:
        """Whether a request is asked for by its app."""
        return f"{record.model}/".startswith(f"{request.match_info['app']}/")

    async def _keys(self, _request: web.Request) -> web.StreamResponse:
        """Publish the key that callbacks are signed with."""
        public = base64.urlsafe_b64encode(self._signer().public_key().public_bytes_raw()).decode().rstrip("=")
        return web.json_response({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "local", "x": public}]})

    async def _outcome(self, record: TaskRecord, origin: str) -> tuple[int, dict[str, Any]]:
        """Return what a finished request came to: the HTTP status and the body of its result."""
        failure = record.failure
        if failure is not None and failure.content:
            return 422, {"detail": [_entry(failure.code or _CONTENT_POLICY, failure.message)]}
        if failure is not None:
            kind = failure.code or "runner_server_error"
            return 499 if kind == _CANCELLED else 500, {"detail": failure.message, "error_type": kind}
        urls = [file_url(origin, record, index) for index in range(record.image_count)]
        if record.in_base64:
            files = [await self.state.picture(record, index) for index in range(record.image_count)]
            kind = f"data:image/{record.media_format};base64,"
            urls = [kind + base64.b64encode(file).decode("ascii") for file in files]
        width, height = record.size
        facts = {"width": width, "height": height, "content_type": f"image/{record.media_format}"}
        images = [{"url": url, **facts} for url in urls]
        told = {"seed": 42, "prompt": record.prompt, "timings": {}, "has_nsfw_concepts": [False] * len(images)}
        return 200, {"images": images, **told}

    def _url(self, request: web.Request, record: TaskRecord) -> str:
        parts = record.model.split("/")
        app = "/".join(parts[: 3 if parts[0] in ("workflows", "comfy") else 2])
        return f"{request.url.origin()}{self.prefix}/{app}/requests/{record.id}"

    def _signer(self) -> Ed25519PrivateKey:
        # Only who asks for callbacks needs it.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        secret = (self.state.options.webhook_secret or "a key of nobody's").encode()
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(secret).digest())


def _entry(kind: str, message: str) -> dict[str, Any]:
    return {"loc": ["body", "prompt"], "msg": message, "type": kind, "url": f"https://docs.fal.ai/errors#{kind}"}


def _own_headers(request: web.Request) -> dict[str, str]:
    """Return the headers of a request that are fal's."""
    return {name.lower(): value for name, value in request.headers.items() if name.lower().startswith("x-fal-")}
