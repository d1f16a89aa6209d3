"""The pace of status requests of an account: over all processes where a store is set up, else of this one."""

from __future__ import annotations

import os

from airflow_provider_imagetasks.accounts.book import book_of
from airflow_provider_imagetasks.accounts.status_pace import SharedPace
from airflow_provider_imagetasks.polling import status_requests
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.rates import Pace

_paces: dict[tuple[int, Account], SharedPace] = {}


def pace_of(account: Account, service: Service) -> Pace:
    """Return the pace of status requests that everybody in this process shares who asks with an account."""
    book = book_of(account)
    if book is None:
        return status_requests.pace_of(account, service)
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
