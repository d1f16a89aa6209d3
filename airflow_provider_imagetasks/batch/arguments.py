"""Reads what the batch operator is given: rows, and limits that come on top of the connection's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_imagetasks.batch.requests_file import RequestsSource
from airflow_provider_imagetasks.exceptions import InvalidRequestError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.rates import active_limit, parse_rate


def rows_of(value: Any) -> RequestsSource:
    """Return the rows that an argument or a function's result holds.

    :raises InvalidRequestError: it is no text, dict or sequence of them.
    """
    if isinstance(value, str | Mapping):
        return RequestsSource([value], None)
    if isinstance(value, bytes | bytearray) or not isinstance(value, Iterable):
        raise InvalidRequestError(
            f"The batch's rows are {type(value).__name__}; give a prompt, or a sequence of prompts or of requests"
        )
    return RequestsSource(value, None)


def file_of(value: Any) -> RequestsSource:
    """Return the rows of a file.

    :raises InvalidRequestError: no path is left of the template.
    """
    path = str(value).strip()
    if not path or path == "None":
        raise InvalidRequestError(f"requests_path is {value!r}; did its template render nothing?")
    return RequestsSource(None, path)


def with_limits(account: Account, *, submit_rate: Any, max_active_tasks: Any) -> Account:
    """Return the account with limits that were given as arguments; None leaves the connection's.

    :raises InvalidRequestError: a limit is none, or zero.
    """
    if submit_rate is not None:
        rate = parse_rate(str(submit_rate), field="submit_rate", kind="submit")
        active = active_limit(str(submit_rate)) or account.max_active_tasks
        account = replace(account, submit_rate=rate, max_active_tasks=active)
    if max_active_tasks is not None:
        text = str(max_active_tasks).strip()
        if isinstance(max_active_tasks, bool) or not text.isdigit() or int(text) < 1:
            raise InvalidRequestError(
                f"max_active_tasks is {max_active_tasks!r}; it must be a whole number, at least 1"
            )
        account = replace(account, max_active_tasks=int(text))
    return account


def texts_in(value: Any) -> set[int]:
    """Return the identities of all texts in rows, by which Airflow passes over what was rendered."""
    if isinstance(value, str):
        return {id(value)}
    entries = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return {identity for entry in entries for identity in texts_in(entry)}
