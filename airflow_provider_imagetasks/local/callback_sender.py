"""The sender of callbacks: tells whoever asked for an image task that it has ended, if that is on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import math
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp

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
