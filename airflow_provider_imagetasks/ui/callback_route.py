"""The route that services call when an image task is done. A call is a hint: the task that wakes asks the service.

Nothing is looked up before the signature of the URL is checked, and the body decides nothing; it is read, within
bounds, only where the connection has a ``webhook_secret`` by which kie.ai signs it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, HTTPException, Request, Response

from airflow_provider_imagetasks.hooks.connection import read_connection
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.fields import mapping
from airflow_provider_imagetasks.submissions.callback_urls import CallbackPlace, read_token
from airflow_provider_imagetasks.ui.waking import wake

LARGEST_BODY = 256 * 1024
LONGEST_BODY_SECONDS = 10.0
OLDEST_SIGNATURE = 300.0
"""Seconds by which kie.ai's timestamp may be off."""
AT_THE_SAME_TIME = 4
CACHE_SECONDS = 60.0
_TOKEN = re.compile(r"(/callback/)[^\s/?]+")
_log = logging.getLogger(__name__)


class WebhookSecrets:
    """The ``webhook_secret`` of connections, each looked up once a minute.

    :param read: reads a connection.
    :param clock: tells the time in seconds.
    """

    def __init__(
        self, read: Callable[[str], Account] = read_connection, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read, self._clock = read, clock
        self._known: dict[str, tuple[float, str | None]] = {}

    def __call__(self, conn_id: str) -> str | None:
        """Return a connection's secret; None where it has none.

        :raises Exception: the connection cannot be looked up, or says what cannot be.
        """
        known = self._known.get(conn_id)
        if known is None or self._clock() - known[0] > CACHE_SECONDS:
            known = self._known[conn_id] = (self._clock(), self._read(conn_id).webhook_secret)
        return known[1]


def _mask_tokens(record: logging.LogRecord) -> bool:
    """Mask the tokens of callbacks in uvicorn's access log, which Airflow does itself from 3.2 on; drop no line."""
    if isinstance(record.args, tuple):
        record.args = tuple(_TOKEN.sub(r"\1***", each) if isinstance(each, str) else each for each in record.args)
    return True


def callback_route(
    secret: str,
    *,
    webhook_secret_of: Callable[[str], str | None] | None = None,
    wake: Callable[[CallbackPlace, str | None], int] = wake,
) -> APIRouter:
    """Return the callback route.

    :param secret: what the URLs are signed with.
    :param webhook_secret_of: returns what the callbacks of a connection are signed with.
    :param wake: resumes the task instances that wait for a submission, and returns how many.
    """
    logging.getLogger("uvicorn.access").addFilter(_mask_tokens)
    router = APIRouter()
    limiter = anyio.CapacityLimiter(AT_THE_SAME_TIME)
    secret_of = webhook_secret_of or WebhookSecrets()

    def check_and_wake(place: CallbackPlace, headers: Mapping[str, str], body: bytes) -> int:
        try:
            webhook_secret = secret_of(place.conn_id)
        except Exception as error:
            _log.warning("A callback is left to polling: connection %s cannot be read", place.conn_id)
            raise HTTPException(503, "Not now") from error
        signed_id = None
        if webhook_secret:
            signed_id = signed_task_id(webhook_secret, headers, body, now=time.time())
            if signed_id is None:
                _log.warning(
                    "A callback for connection %s is refused: its signature is wrong or too old", place.conn_id
                )
                raise HTTPException(403, "Forbidden")
        woken = wake(place, signed_id)
        submission = (place.dag_id, place.run_id, place.task_id, place.map_index)
        _log.info("A callback for %s %s %s[%s] woke %s.", *submission, woken)
        return woken

    @router.post("/callback/{token}", status_code=202)
    async def callback(token: str, request: Request, response: Response) -> dict[str, int]:
        """Wake the tasks that wait for a submission: 200 if one was woken, 202 if none waits (any more)."""
        place = read_token(token, secret)
        if place is None:
            raise HTTPException(404, "Not Found")
        body = await _body(request)
        woken = await anyio.to_thread.run_sync(check_and_wake, place, request.headers, body, limiter=limiter)
        if woken:
            response.status_code = 200
        return {"woken": woken}

    return router


async def _body(request: Request) -> bytes:
    if int(request.headers.get("content-length") or 0) > LARGEST_BODY:
        raise HTTPException(413, "Too large")
    body = bytearray()
    try:
        async with asyncio.timeout(LONGEST_BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > LARGEST_BODY:
                    raise HTTPException(413, "Too large")
    except TimeoutError as error:
        raise HTTPException(408, "Too slow") from error
    return bytes(body)


def signed_task_id(secret: str, headers: Mapping[str, str], body: bytes, *, now: float) -> str | None:
    """Return the image task id that a callback of kie.ai is signed for; None where the signature is not good.

    Follows kie.ai's "Webhook Verification": base64 of HMAC-SHA256 over the id, a dot and the timestamp. The body is
    not signed, and a good pair of headers could be sent again; so the timestamp has to be recent.

    :param headers: with names in lower case.
    :param now: Unix seconds.
    """
    timestamp, given = headers.get("x-webhook-timestamp", ""), headers.get("x-webhook-signature", "")
    image_task_id = _id_in(body)
    if not image_task_id or not timestamp.isdecimal() or len(timestamp) > 12:
        return None
    if abs(now - int(timestamp)) > OLDEST_SIGNATURE:
        return None
    digest = hmac.new(secret.encode(), f"{image_task_id}.{timestamp}".encode(), hashlib.sha256).digest()
    is_good = hmac.compare_digest(base64.b64encode(digest), given.encode("latin-1", "replace"))
    return image_task_id if is_good else None


def _id_in(body: bytes) -> str | None:
    try:
        content: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    holders = (mapping(mapping(content).get("data")), mapping(content))
    ids = (holder.get(name) for holder in holders for name in ("taskId", "task_id"))
    return next((each for each in ids if isinstance(each, str) and each), None)
