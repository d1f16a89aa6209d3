"""What was spent, as the account store has it, of the Dags that the user may read."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow_provider_imagetasks.accounts.settings import budget_zone, store_url
from airflow_provider_imagetasks.accounts.spending_report import MOST_LINES, SpendingLine, spending_lines
from airflow_provider_imagetasks.accounts.store import AccountStore, StoreError
from airflow_provider_imagetasks.services.money import MILLION
from airflow_provider_imagetasks.ui.airflow_records import Scope

TRIED_AGAIN_AFTER = 30.0
"""Seconds for which a store that could not be read is not asked."""
_MOST_GROUPS = 31
GROUPS = ("day", "dag_id", "model")

_log = logging.getLogger(__name__)


class AccountSpending:
    """The account store as the api-server reads it. One that is away costs a request some seconds, and no more."""

    def __init__(self) -> None:
        self._store: AccountStore | None = None
        self._lock = threading.Lock()
        self._not_before = 0.0

    def totals(self, scope: Scope, readable: Callable[[Collection[str]], Collection[str]]) -> dict[str, Any] | None:
        """Return ``{all, day, dag_id, model, zone, is_complete}``; None where no store can be read.

        Each group is a list of ``{name, spent, submissions}``, days in their order and the rest by number of
        submissions; ``spent`` is by currency, ``""`` for what had no known price.

        :param scope: what is asked for, whose Dags do not count here. A single run cannot be told apart.
        :param readable: which of some Dags the user may read; nothing of others is returned, nor what no Dag spent.
        """
        lines = self._lines(scope) if scope.run_id is None else None
        if lines is None:
            return None
        allowed = set(readable({line.dag_id for line in lines if line.dag_id}))
        mine = [line for line in lines[:MOST_LINES] if line.dag_id in allowed]
        (everything,) = _added_up(mine, None) or [_nothing("")]
        groups = {name: _added_up(mine, name) for name in GROUPS}
        return {"all": everything, **groups, "zone": str(budget_zone()), "is_complete": len(lines) <= MOST_LINES}

    def _lines(self, scope: Scope) -> Sequence[SpendingLine] | None:
        url = store_url()
        if url is None:
            return None
        zone, now = budget_zone(), datetime.now(UTC)
        since = min(scope.since, now)
        first, last = (each.astimezone(zone).date() for each in (since, max(since, min(scope.until or now, now))))
        with self._lock:
            if time.monotonic() < self._not_before:
                return None
            self._store = self._store or AccountStore(url, only_reads=True)
            try:
                return spending_lines(self._store, first.isoformat(), last.isoformat())
            except StoreError as error:
                self._not_before = time.monotonic() + TRIED_AGAIN_AFTER
                _log.info("The totals are shown without the spending in the account store: %s.", error)
                return None


def _added_up(lines: Iterable[SpendingLine], name: str | None) -> list[dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for line in lines:
        key = getattr(line, name) if name else ""
        group = groups.setdefault(key, _nothing(key))
        group["submissions"] += line.submissions
        group["spent"][line.currency] = group["spent"].get(line.currency, 0) + line.amount
    for group in groups.values():
        group["spent"] = {currency: amount / MILLION for currency, amount in group["spent"].items()}
    found = sorted(groups.values(), key=lambda group: (-group["submissions"], group["name"]))
    return sorted(found, key=lambda group: group["name"])[-_MOST_GROUPS:] if name == "day" else found[:_MOST_GROUPS]


def _nothing(name: str) -> dict[str, Any]:
    return {"name": name, "spent": {}, "submissions": 0}
