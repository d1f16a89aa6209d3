"""A PostgreSQL of one's own in a scratch folder, on loopback."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy.exc import OperationalError

from dev.airflow_settings import inherited_environment
from dev.child_process import ChildProcess
from dev.metadata_database import MetadataDatabase
from dev.ports import choose_port
from dev.programs import find_program
from dev.rest_api import wait_until

DEBIAN_FOLDER = "/usr/lib/postgresql/*/bin"
DATABASE = "postgres"
USER = "airflow"
# PostgreSQL refuses to run as root.
UNPRIVILEGED_USERS = ("postgres", "nobody")


class PostgresqlStartError(Exception):
    """PostgreSQL could not be set up or started; the message holds its output."""


class PostgresqlServer:
    """PostgreSQL with an empty database; needs psycopg2."""

    def __init__(self) -> None:
        postgres = find_program("postgres", DEBIAN_FOLDER, package="postgresql")
        self.port = choose_port()
        # A link on the PATH may stand alone; beside the program itself is the rest of the same version.
        self._initdb = postgres.resolve().with_name("initdb")
        self._password = secrets.token_urlsafe(12)
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-")).resolve()
        self._user = _unprivileged_user() if os.geteuid() == 0 else None
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
        }
        self.process = ChildProcess(
            "postgresql",
            [
                *(str(postgres), "-D", str(self._folder / "data"), "-p", str(self.port)),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            environment=inherited_environment(),
            log_path=self._folder / "output.log",
            folder=self._folder,
            user=self._user,
        )

    def url(self, scheme: str = "postgresql+psycopg2") -> str:
        """Return the address of the database, its password included."""
        return f"{scheme}://{USER}:{self._password}@127.0.0.1:{self.port}/{DATABASE}"

    def __enter__(self) -> Self:
        try:
            self.create()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def create(self) -> None:
        """Set the database up, and start it."""
        password_file = self._folder / "password"
        password_file.write_text(self._password)
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            for path in (self._folder, password_file):
                os.chown(path, account.pw_uid, account.pw_gid)
        initialised = subprocess.run(
            [
                *(self._initdb, "-D", self._folder / "data", "--username", USER, "--pwfile", password_file),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
            ],
            cwd=self._folder,
            user=self._user,
            extra_groups=None if self._user is None else [],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if initialised.returncode != 0:
            raise PostgresqlStartError(f"initdb failed:\n{initialised.stdout}")
        self.start()

    def start(self, *, timeout: float = 60) -> None:
        """Start it, and wait until it answers."""
        self.process.start()
        wait_until(self._answers, timeout=timeout, what="PostgreSQL answers", interval=0.2)

    def stop(self) -> None:
        """Stop it as a restart does: clients are cut off, what they committed is kept."""
        # Its children are sessions of their own, which end with it.
        if self.process.is_running:
            os.kill(self.process.pid, signal.SIGINT)
            self.process.wait(30)

    def remove(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        if not self.process.is_running:
            raise PostgresqlStartError(f"PostgreSQL ended:\n{self.process.log_tail()}")
        try:
            MetadataDatabase(self.url()).query("SELECT 1")
        except OperationalError:
            return False
        return True


def _unprivileged_user() -> str:
    for name in UNPRIVILEGED_USERS:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise PostgresqlStartError(
        f"PostgreSQL does not run as root, and there is no user {' or '.join(UNPRIVILEGED_USERS)}"
    )
