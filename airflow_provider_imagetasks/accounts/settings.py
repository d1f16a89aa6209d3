"""Settings of the account store: where it is, and whose days a budget counts."""

from __future__ import annotations

import os
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from airflow.providers.common.compat.sdk import conf

NO_STORE = "none"
"""What ``[imagetasks] account_store`` is where each process counts for itself."""
FILE_NAME = "imagetasks-accounts.sqlite"


def store_url() -> str | None:
    """Return the SQLAlchemy URL of the store: a file in ``AIRFLOW_HOME`` by default, None where none is wanted."""
    url: str = (conf.get("imagetasks", "account_store", fallback="") or "").strip()
    if url.lower() == NO_STORE:
        return None
    home = Path(os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser()
    return url or f"sqlite:///{home.absolute() / FILE_NAME}"


def budget_zone() -> tzinfo:
    """Return the time zone whose days and months budgets count: ``[core] default_timezone``."""
    name = (conf.get("core", "default_timezone", fallback="utc") or "utc").strip()
    if name.lower() == "utc":
        return UTC
    if name.lower() == "system":
        return datetime.now(UTC).astimezone().tzinfo or UTC
    return ZoneInfo(name)
