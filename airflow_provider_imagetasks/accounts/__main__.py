"""``python -m airflow_provider_imagetasks.accounts``: prints the rates, places and spending of all accounts."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from airflow_provider_imagetasks.accounts.report import DAYS, in_lines, reports
from airflow_provider_imagetasks.accounts.settings import store_url
from airflow_provider_imagetasks.accounts.store import AccountStore, StoreError

_MOST_DAYS = 10_000


def main(arguments: list[str] | None = None) -> int:
    """Print what the store has, and return the exit code: 1 where it cannot be read, 2 where none is set up.

    :param arguments: those of the command line by default.
    """
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_imagetasks.accounts",
        description="Print rates, running image tasks and spending of all accounts, whether or not Airflow runs.",
    )
    parser.add_argument("--store", help="an SQLAlchemy URL; what [imagetasks] account_store says by default")
    parser.add_argument(
        "--days", type=_days, default=DAYS, help="days with spending that are shown (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, amounts in millionths")
    options = parser.parse_args(arguments)
    url = options.store or store_url()
    if url is None:
        print(
            "No store is set up ([imagetasks] account_store is 'none'): each process counts for itself.",
            file=sys.stderr,
        )
        return 2
    try:
        found = reports(AccountStore(url, only_reads=True), days=options.days)
    except StoreError as error:
        print(f"The account store cannot be read: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps([dataclasses.asdict(report) for report in found], indent=2))
        return 0
    if not found:
        print("Nothing was submitted or asked yet.")
    for report in found:
        print("\n".join(in_lines(report)))
    return 0


def _days(value: str) -> int:
    days = int(value)
    if not 1 <= days <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"must be 1 to {_MOST_DAYS}")
    return days


if __name__ == "__main__":
    sys.exit(main())
