"""The connection, session and pace that many status requests of one account share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

from airflow_provider_imagetasks.accounts.book import book_of
from airflow_provider_imagetasks.accounts.status_pace import SharedPace
from airflow_provider_imagetasks.polling.status_requests import pace_of_process
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.services.wire import Flow, Result
from airflow_provider_imagetasks.transports import open_async_transport
from airflow_provider_imagetasks.transports.http import AsyncTransport

ACCOUNT_SECONDS = 300.0
"""After so long the connection is read again, for a key that was changed."""

ReadAccount = Callable[[bool], Awaitable[Account]]
"""Reads the connection; True asks for it anew, past any memory of it."""
_paces: dict[tuple[int, Account], SharedPace] = {}


class AccountSession:
    """Opens when it is first needed, and again when the connection has changed, which ``read_account`` reads."""

    def __init__(self, read_account: ReadAccount) -> None:
        self._read_account = read_account
        self._account: Account | None = None
        self._read_again_at = 0.0
        self._refused = False
        self._transport: AsyncTransport | None = None
        self._asking: set[asyncio.Task[object]] = set()
        self.pace = Pace(None)

    def known_service(self, now: float) -> Service | None:
        """Return the account's service where the session is open and the connection need not be read at ``now``."""
        if self._account is None or self._refused or now >= self._read_again_at:
            return None
        return get_service(self._account.service)

    async def service(self, now: float) -> Service:
        """Read the connection and return the account's service, with the session open.

        :param now: Unix seconds.
        :raises Exception: whatever keeps the connection from being read.
        """
        # Once known, only a look-up past every memory of it tells whether it changed.
        account = await self._read_account(self._refused or self._account is not None)
        self._refused, self._read_again_at = False, now + ACCOUNT_SECONDS
        service = get_service(account.service)
        if not account.query_rate:
            account = replace(account, query_rate=service.default_query_rate)
        if account != self._account:
            await self._open(account)
        return service

    def read_anew(self) -> None:
        """Have the connection read again before the next request, since its key was refused."""
        self._refused = True

    async def run(self, flow: Flow[Result]) -> Result:
        """Drive a flow over the session."""
        task = asyncio.current_task()
        if self._transport is None or task is None:
            raise RuntimeError("the session is not open")
        self._asking.add(task)
        try:
            return await self._transport.run(flow)
        finally:
            self._asking.discard(task)

    async def close(self) -> None:
        """Close the session."""
        transport, self._transport, self._account = self._transport, None, None
        if transport is not None:
            await transport.__aexit__()

    async def _open(self, account: Account) -> None:
        # What is under way ends on the session that it began on.
        await asyncio.gather(*self._asking, return_exceptions=True)
        await self.close()
        transport = open_async_transport(account, keeps_pictures=False)
        await transport.__aenter__()
        self._account, self._transport = account, transport
        # What was asked over a session that was closed meanwhile counts on.
        if account.query_rate != self.pace.rate:
            self.pace = new_pace(account, paused_until=self.pace.paused_until)


def pace_of(account: Account, service: Service) -> Pace:
    """Return the pace of status requests of an account, over all processes where they share an account store."""
    book = book_of(account)
    if book is None:
        return pace_of_process(account, service)
    place = (os.getpid(), account)
    if place not in _paces or not _paces[place].is_of(book):
        _paces[place] = SharedPace(account.query_rate or service.default_query_rate, book)
    return _paces[place]


def new_pace(account: Account, *, paused_until: float) -> Pace:
    """Return a pace of its own for a session with an account.

    :param account: with its ``query_rate``.
    :param paused_until: make no request before this Unix time.
    """
    book = book_of(account)
    if book is None:
        return Pace(account.query_rate, paused_until=paused_until)
    return SharedPace(account.query_rate, book, paused_until=paused_until)
