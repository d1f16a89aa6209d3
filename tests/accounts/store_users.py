"""Processes that use one account store at the same time, as workers do."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from airflow_provider_imagetasks.accounts.budgets import Budgets
from airflow_provider_imagetasks.accounts.grants import Grant, PlannedSubmission, Turn
from airflow_provider_imagetasks.accounts.store import AccountStore
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.money import Money
from airflow_provider_imagetasks.services.rates import Rate, Window

FORKS = multiprocessing.get_context("fork")
PRICE = Money(40_000, "USD")


def account(conn_id: str = "shop", key: str | None = "a-key", **fields: Any) -> Account:
    return Account(conn_id=conn_id, service="easel", base_url="https://easel.example/v1", key=key, **fields)


class User:
    """One process, or one task of it, that submits with an account.

    :param limits: of the account: ``rate``, ``most_active``, ``budgets``.
    """

    def __init__(
        self, url: str, *, conn_id: str = "shop", key: str = "a-key", name: str = "user", **limits: Any
    ) -> None:
        self.store = AccountStore(url)
        self.account_id = self.store.account_id(account(conn_id, key), {})
        self.name = name
        self.limits: dict[str, Any] = {
            "rate": None,
            "most_active": None,
            "budgets": Budgets(),
            "look_every": 5.0,
            **limits,
        }

    def leave(self, turn: Turn, key: str) -> bool:
        """Wait for a turn, and let the request of a submission leave; false where it came too late for that."""
        seconds: float | None = turn.seconds
        while turn.id is not None and seconds is not None:
            time.sleep(seconds)
            seconds = self.store.leaves(self.account_id, "submit", self.limits["rate"], turn.id, key)
            if not seconds:
                break
        return seconds is not None

    def take(self, *keys: str, cost: Money | None = PRICE, dag_id: str = "covers") -> Grant:
        wanted = [PlannedSubmission(key=key, cost=cost, model="m", dag_id=dag_id) for key in keys]
        return self.store.take(self.account_id, self.name, wanted, **self.limits)


def in_processes(work: Callable[[int], None], count: int) -> list[int | None]:
    """Run ``work`` in so many processes at the same time, and return their exit codes."""
    processes = [FORKS.Process(target=work, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def killed() -> None:
    """End this process as a crash of its machine would."""
    os.kill(os.getpid(), signal.SIGKILL)


def rate(count: int, seconds: float) -> Rate:
    """Return a ceiling of one window."""
    return Rate((Window(count, seconds),))
