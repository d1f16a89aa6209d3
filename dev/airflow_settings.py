"""The settings of a scratch Airflow, as environment variables: nothing of the user's own Airflow reaches it."""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class AirflowPorts:
    """The ports a whole Airflow listens on."""

    api: int
    worker_logs: int
    trigger_logs: int


@dataclass(frozen=True)
class AirflowLogin:
    """The one user of a scratch Airflow."""

    user: str = "admin"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(9))


def airflow_settings(
    home: Path,
    ports: AirflowPorts,
    login: AirflowLogin,
    database_url: str,
    dag_folders: Mapping[str, Path],
    parallelism: int,
) -> dict[str, str]:
    """Return the ``AIRFLOW__`` settings of a scratch Airflow whose files all lie under ``home``."""
    url = f"http://127.0.0.1:{ports.api}"
    bundles = [
        {
            "name": name,
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(folder), "refresh_interval": 2},
        }
        for name, folder in dag_folders.items()
    ]
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(parallelism),
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "64",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{login.user}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(password_file(home)),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url,
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(ports.api),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(24),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(ports.worker_logs),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(ports.trigger_logs),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        # How long a worker may take to notice that its task has ended: short, so that its slot is soon free.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        # Runs come when a script asks for one, not because an example has a schedule.
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        # How long a killed triggerer's work waits before the next one takes it over.
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "2",
        # A changed file is parsed at once all the same; this spares the unchanged ones.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        # What suites count and time is about other things, unless whoever runs them names one; empty is the default.
        "AIRFLOW__IMAGETASKS__ACCOUNT_STORE": os.environ.get("ACCOUNT_STORE", "none"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        # Its provider is among the development tools; who wants events turns them on.
        "AIRFLOW__OPENLINEAGE__DISABLED": "True",
    }


def inherited_environment() -> dict[str, str]:
    """Return this process's environment without what would steer a scratch Airflow elsewhere."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "_AIRFLOW_"))}
    # A proxy would take the components' calls to each other.
    environment["NO_PROXY"] = environment["no_proxy"] = "127.0.0.1,localhost"
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def write_password_file(home: Path, login: AirflowLogin) -> None:
    """Give the user a password known beforehand, where Airflow would make one up."""
    path = password_file(home)
    path.touch(mode=0o600)
    path.write_text(json.dumps({login.user: login.password}))


def password_file(home: Path) -> Path:
    """Where the scratch Airflow keeps its passwords."""
    return home / "passwords.json"


def database_file(home: Path) -> Path:
    """Where the scratch Airflow keeps its metadata unless it is given a server."""
    return home / "airflow.db"


def sqlite_url(home: Path) -> str:
    """Return the address of that file."""
    # SQLite lets one process write at a time; a scheduler that waits for its turn for too long ends.
    return f"sqlite:///{database_file(home)}?timeout=60"
