"""The local image service as a child process, for the demo and for tests."""

from __future__ import annotations

import atexit
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from airflow_provider_imagetasks.local.image_service import connection_to
from dev.airflow_settings import inherited_environment
from dev.child_process import ChildProcess
from dev.rest_api import wait_until

ANNOUNCED_URL = re.compile(r"^Local image service on (http://\S+)", re.MULTILINE)


class LocalServiceStartError(Exception):
    """The local image service ended at its start."""


class LocalImageServiceProcess:
    """``python -m airflow_provider_imagetasks.local``; ``url`` is known once it is started.

    ``server_folder`` is where its GPT-Image MCP server writes pictures.
    """

    def __init__(
        self,
        *,
        latency: str = "2",
        port: int = 0,
        arguments: Sequence[str] = (),
        python: str = sys.executable,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.url = ""
        self._scratch = Path(tempfile.mkdtemp(prefix="image-service-"))
        self.server_folder = self._scratch / "pictures"
        command = [python, "-m", "airflow_provider_imagetasks.local", "--port", str(port), "--latency", latency]
        command += ["--output-dir", str(self.server_folder)]
        self._process = ChildProcess(
            "local image service",
            [*command, *arguments],
            environment=inherited_environment() if environment is None else {**environment, "PYTHONUNBUFFERED": "1"},
            log_path=self._scratch / "output.log",
            folder=folder or Path.cwd(),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *, timeout: float = 30) -> None:
        """Start the service and wait until it says where it listens."""
        atexit.register(self.stop)
        try:
            self._process.start()
            self.url = wait_until(self._announced_url, timeout=timeout, what="the local image service", interval=0.1)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the service; no process is left."""
        self._process.stop(grace=3)
        shutil.rmtree(self._scratch, ignore_errors=True)
        atexit.unregister(self.stop)

    def stats(self) -> dict[str, Any]:
        """Return what the service counted: its ``/stats``."""
        with requests.Session() as session:
            session.trust_env = False
            response = session.get(f"{self.url}/stats", timeout=10)
            response.raise_for_status()
            return dict(response.json())

    def connection(self, service: str, **extra: Any) -> str:
        """Return an Airflow connection to this process, as the value of an ``AIRFLOW_CONN_`` variable."""
        return connection_to(self.url, service, server_folder=self.server_folder, **extra)

    @property
    def process(self) -> ChildProcess:
        """The child process."""
        return self._process

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of the service's output."""
        return self._process.log_tail(lines)

    def _announced_url(self) -> str | None:
        announced = ANNOUNCED_URL.search(self._process.log_tail(lines=1000))
        if announced is None and not self._process.is_running:
            raise LocalServiceStartError(f"the local image service ended:\n{self._process.log_tail()}")
        return announced[1] if announced else None
