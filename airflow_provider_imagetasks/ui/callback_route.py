"""The route that services call when an image task is done. A call is a hint: the task that wakes asks the service.

Nothing is looked up before the signature of the URL is checked, and nothing in Airflow's database before the service's
own, where it signs callbacks. The body decides nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache

import anyio
import anyio.to_thread
from fastapi import APIRouter, HTTPException, Request, Response

from airflow_provider_imagetasks.exceptions import AuthenticationError
from airflow_provider_imagetasks.hooks.connection import read_connection
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.bounds import trace_of
from airflow_provider_imagetasks.services.connection_contract import Callback
from airflow_provider_imagetasks.services.wire import Answer, Flow, Step, run_flow_at_once
from airflow_provider_imagetasks.submissions.callback_urls import CallbackPlace, read_token
from airflow_provider_imagetasks.transports import open_transport
from airflow_provider_imagetasks.ui.waking import wake

LARGEST_BODY = 256 * 1024
LONGEST_BODY_SECONDS = 10.0
AT_THE_SAME_TIME = 4
CACHE_SECONDS = 60.0
_TOKEN = re.compile(r"(/callback/)[^\s/?]+")
_log = logging.getLogger(__name__)


class CallbackAccounts:
    """The connections that callbacks are about, each looked up once a minute.

    :param read: reads a connection.
    :param clock: tells the time in seconds.
    """

    def __init__(
        self, read: Callable[[str], Account] = read_connection, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read, self._clock = read, clock
        self._known: dict[str, tuple[float, Account]] = {}

    def __call__(self, conn_id: str) -> Account:
        """Return what a connection says.

        :raises Exception: the connection cannot be looked up, or says what cannot be.
        """
        known = self._known.get(conn_id)
        if known is None or self._clock() - known[0] > CACHE_SECONDS:
            known = self._known[conn_id] = (self._clock(), self._read(conn_id))
        return known[1]


def _mask_tokens(record: logging.LogRecord) -> bool:
    """Mask the tokens of callbacks in uvicorn's access log, which Airflow does itself from 3.2 on; drop no line."""
    if isinstance(record.args, tuple):
        record.args = tuple(_TOKEN.sub(r"\1***", each) if isinstance(each, str) else each for each in record.args)
    return True


def callback_route(
    secret: str,
    *,
    account_of: Callable[[str], Account] | None = None,
    wake: Callable[[CallbackPlace, str | None], int] = wake,
) -> APIRouter:
    """Return the callback route.

    :param secret: what the URLs are signed with.
    :param account_of: returns what a connection says.
    :param wake: resumes the task instances that wait for a submission, and returns how many.
    """
    logging.getLogger("uvicorn.access").addFilter(_mask_tokens)
    router = APIRouter()
    limiter = anyio.CapacityLimiter(AT_THE_SAME_TIME)
    known_account = account_of or CallbackAccounts()

    def check_and_wake(place: CallbackPlace, callback: Callback) -> int:
        try:
            account = known_account(place.conn_id)
            service = get_service(account.service)
        except Exception as error:
            _log.warning("A callback is ignored, and polling goes on: connection %s cannot be read", place.conn_id)
            raise HTTPException(503, "Not now") from error
        try:
            signed_id = _signed_for(service, callback, account)
        except AuthenticationError as error:
            _log.warning("A callback for connection %s is refused: %s", place.conn_id, error.message)
            raise HTTPException(403, "Forbidden") from error
        except Exception as error:
            # What came is not understood, or the keys to check it with could not be had.
            _log.warning("A callback for connection %s cannot be checked: %s", place.conn_id, trace_of(error))
            raise HTTPException(503, "Not now") from error
        woken = wake(place, signed_id)
        if place.is_of_account:
            _log.info("A call of the webhook of connection %s woke %s.", place.conn_id, woken)
            return woken
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
        headers = {name.lower(): value for name, value in request.headers.items()}
        callback = Callback(headers=headers, body=body, at=time.time())
        woken = await anyio.to_thread.run_sync(check_and_wake, place, callback, limiter=limiter)
        if woken:
            response.status_code = 200
        return {"woken": woken}

    return router


def _signed_for(service: Service, callback: Callback, account: Account) -> str | None:
    with ExitStack() as stack:
        # Most ask the service for nothing; then what a transport needs need not be on this machine.
        transport = cache(lambda: stack.enter_context(open_transport(account)))
        return run_flow_at_once(service.check_callback(callback, account), lambda step: transport().run(_alone(step)))


def _alone(step: Step) -> Flow[Answer | float]:
    return (yield step)


async def _body(request: Request) -> bytes:
    said = request.headers.get("content-length", "")
    if said.isdecimal() and (len(said) > 12 or int(said) > LARGEST_BODY):
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
