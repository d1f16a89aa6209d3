"""The sender of callbacks: tells whoever asked for an image task that it has ended, if that is on this machine.

Several services sign theirs by https://www.standardwebhooks.com; how stands at the end.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import ipaddress
import json
import math
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp

from airflow_provider_imagetasks.local.options import ServiceOptions

Content = Callable[[], Awaitable[tuple[dict[str, Any], dict[str, str]]]]

_TIMEOUT = aiohttp.ClientTimeout(total=5)
_CONNECTIONS = 50
_MARGIN = 0.001


class Awaited(Protocol):
    """What is called back about once it has ended: an image task, or a provider's own batch."""

    @property
    def finished(self) -> bool:
        """Whether it has ended."""

    @property
    def remaining(self) -> float:
        """Seconds until it ends, infinite when it never does."""


def is_loopback(url: str) -> bool:
    """Tell whether a URL names this machine by a loopback address or as ``localhost``.

    Other names are not looked up: what they resolve to could change between the check and the request.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        is_here = host == "localhost" or ipaddress.ip_address(host).is_loopback
        return is_here and parts.scheme in ("http", "https")
    except ValueError:
        return False


class CallbackSender:
    """Posts each callback once, to loopback addresses only.

    A double that posted anywhere would send test prompts to strangers, and would let whoever can reach it make
    requests in its name. Other addresses are accepted, as the services accept them, and counted as not sent.

    :param count: told ``sent``, ``failed`` or ``not_sent`` for each callback.
    """

    def __init__(self, count: Callable[[str], None]) -> None:
        self._count = count
        self._pending: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Condition()
        self._session: aiohttp.ClientSession | None = None

    def promise(self, awaited: Awaited, url: str, content: Content) -> None:
        """Post to a URL what ``content`` makes once something has ended: a JSON body and further headers."""
        if not is_loopback(url):
            self._count("not_sent")
            return
        if math.isinf(awaited.remaining):
            return
        pending = asyncio.create_task(self._post_later(awaited, url, content))
        self._pending.add(pending)
        pending.add_done_callback(self._pending.discard)

    async def look_again(self) -> None:
        """Post what is due by now, after something was ended before its time, or the clock was put forward."""
        async with self._ended:
            self._ended.notify_all()

    def give_up(self) -> list[asyncio.Task[None]]:
        """Give up the callbacks that are still to come, and return them."""
        pending = list(self._pending)
        for task in pending:
            task.cancel()
        return pending

    async def close(self) -> None:
        """Give up the callbacks that are still to come, and wait until they are gone."""
        await asyncio.gather(*self.give_up(), return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _post_later(self, awaited: Awaited, url: str, content: Content) -> None:
        while not awaited.finished:
            with contextlib.suppress(TimeoutError):
                async with self._ended, asyncio.timeout(awaited.remaining):
                    await self._ended.wait()
        # A timeout may come a moment too early, and the body has to tell of the end.
        await asyncio.sleep(_MARGIN)
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
            self._session = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT)
        body, headers = await content()
        try:
            async with self._session.post(url, json=body, headers=headers, allow_redirects=False) as response:
                outcome = "sent" if response.ok else "failed"
        except (aiohttp.ClientError, TimeoutError, ValueError):
            outcome = "failed"
        self._count(outcome)


def webhook_key(options: ServiceOptions) -> str:
    """Return the key of callbacks, ``whsec_`` and base64: the secret that is set, or one made of it."""
    secret = options.webhook_secret or "nobody's secret"
    if secret.startswith("whsec_"):
        return secret
    return f"whsec_{base64.b64encode(hashlib.sha256(secret.encode()).digest()).decode()}"


def signing_headers(body: dict[str, Any], options: ServiceOptions) -> dict[str, str]:
    """Return the headers that sign the body of a callback."""
    message_id, timestamp = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
    # As the sender of callbacks writes it.
    content = f"{message_id}.{timestamp}.".encode() + json.dumps(body).encode()
    key = base64.b64decode(webhook_key(options).removeprefix("whsec_"))
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return {"Webhook-Id": message_id, "Webhook-Timestamp": timestamp, "Webhook-Signature": f"v1,{signature}"}


def signed_event(kind: str, about: str, *, at: float, options: ServiceOptions) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the event that a response or a batch is called back with, and the headers that sign it.

    :param kind: what happened, ``response.completed`` or the like.
    :param about: the id of the response or batch.
    :param at: Unix seconds.
    """
    body = {
        "id": f"evt_{uuid.uuid4().hex}",
        "object": "event",
        "created_at": int(at),
        "type": kind,
        "data": {"id": about},
    }
    return body, signing_headers(body, options)
