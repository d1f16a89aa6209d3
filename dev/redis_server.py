"""A Redis of one's own, on loopback and in memory only."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import tempfile
from pathlib import Path

from dev.airflow_settings import inherited_environment
from dev.child_process import ChildProcess
from dev.ports import choose_port
from dev.programs import find_program
from dev.rest_api import wait_until


class RedisStartError(Exception):
    """Redis ended at its start; the message holds its output."""


class RedisServer:
    """``redis-server`` as the broker of Celery."""

    def __init__(self) -> None:
        program = find_program("redis-server", package="redis-server")
        self.port = choose_port()
        self._password = secrets.token_urlsafe(12)
        self._folder = Path(tempfile.mkdtemp(prefix="redis-")).resolve()
        # The password goes in by a file, so that no list of processes shows it.
        configuration = self._folder / "redis.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(
            f'bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\nsave ""\ndir {self._folder}\n'
        )
        self.process = ChildProcess(
            "redis",
            [str(program), str(configuration)],
            environment=inherited_environment(),
            log_path=self._folder / "output.log",
            folder=self._folder,
        )

    @property
    def url(self) -> str:
        """The address of the broker, its password included."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def start(self, *, timeout: float = 20) -> None:
        """Start it, and wait until it answers."""
        self.process.start()
        wait_until(self._answers, timeout=timeout, what="Redis answers", interval=0.1)

    def remove(self) -> None:
        """Stop it and remove its folder."""
        self.process.stop(grace=3)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        if not self.process.is_running:
            raise RedisStartError(f"Redis ended:\n{self.process.log_tail()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
            return b"+" in connection.recv(100)
        return False
