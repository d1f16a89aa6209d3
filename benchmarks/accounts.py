"""Cost of asking the account store: eight processes that submit with one account, without a service.

``python -m benchmarks.accounts`` prints the milliseconds that a submission waits for the store, and takes of the CPU,
on SQLite or on the database that is named.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from airflow_provider_imagetasks.accounts.budgets import Budgets
from airflow_provider_imagetasks.accounts.grants import EndedImageTask, PlannedSubmission
from airflow_provider_imagetasks.accounts.store import AccountStore
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.money import Money

PROCESSES, SUBMISSIONS, GROUP = 8, 400, 50
PAUSE = 0.02
"""Seconds between two submissions of a process: a service takes longer for one."""
TARGET = 3.0
"""Milliseconds that a submission may wait for the store."""
_ACCOUNT = Account(conn_id="bench", service="local", base_url="http://127.0.0.1:1", key="a-key")
_PRICE = Money(40_000, "USD")
_LIMITS: dict[str, Any] = {
    "rate": None,
    "most_active": 100_000,
    "budgets": Budgets(per_day=Money(10**12, "USD"), per_month=Money(10**12, "USD")),
    "look_every": 5.0,
}


def submit_singly(url: str, number: int) -> tuple[list[float], float]:
    """Submit one after the other, as mapped tasks do; return the seconds of each, and the CPU's of one."""
    store = AccountStore(url)
    account_id = store.account_id(_ACCOUNT, {})
    waited = []
    cpu = time.process_time()
    for each in range(SUBMISSIONS):
        key = f"{number} {each}"
        began = time.perf_counter()
        store.take(account_id, key, [PlannedSubmission(key=key, cost=_PRICE, model="m", dag_id="bench")], **_LIMITS)
        store.taken(account_id, {key: key}, life=3600)
        store.over(account_id, [EndedImageTask(image_task_id=key, pictures=1)])
        waited.append(time.perf_counter() - began)
        time.sleep(PAUSE)
    return waited, (time.process_time() - cpu) / SUBMISSIONS


def submit_in_groups(url: str) -> float:
    """Submit as a batch does, and return the seconds of CPU for a picture."""
    store = AccountStore(url)
    account_id = store.account_id(_ACCOUNT, {})
    cpu, groups = time.process_time(), 40
    for group in range(groups):
        keys = [f"group {group} {each}" for each in range(GROUP)]
        wanted = [PlannedSubmission(key=key, cost=_PRICE, model="m", dag_id="bench") for key in keys]
        store.take(account_id, "batch", wanted, **_LIMITS)
        store.taken(account_id, {key: key for key in keys}, life=3600)
        store.over(account_id, [EndedImageTask(image_task_id=key, pictures=1) for key in keys])
    return (time.process_time() - cpu) / (groups * GROUP)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", help="an SQLAlchemy URL; a scratch SQLite file by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.store or f"sqlite:///{Path(folder) / 'accounts.sqlite'}"
        AccountStore(url).account_id(_ACCOUNT, {})
        with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
            measured = pool.starmap(submit_singly, [(url, number) for number in range(PROCESSES)])
        waited = sorted(1000 * seconds for of_process, _ in measured for seconds in of_process)
        cpu = 1000 * statistics.fmean(seconds for _, seconds in measured)
        print(f"{PROCESSES} processes, {len(waited)} submissions, each with three transactions:")
        mean = statistics.fmean(waited)
        late = waited[len(waited) * 99 // 100]
        print(f"  waited for the store: mean {mean:.2f} ms (target {TARGET:g} ms), p99 {late:.1f} ms")
        print(f"  CPU: {cpu:.2f} ms a submission")
        print(f"a batch, in groups of {GROUP}: {1000 * submit_in_groups(url):.3f} ms of CPU a picture")


if __name__ == "__main__":
    main()
