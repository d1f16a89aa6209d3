"""The running local service, in a thread of its own; and connections to it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from aiohttp import web

from airflow_provider_imagetasks.local.dialects.known_dialects import DIALECT_PATHS, USUAL_MODELS, WRITERS_OF_FILES
from airflow_provider_imagetasks.local.http_application import LocalApplication
from airflow_provider_imagetasks.local.options import ServiceOptions
from airflow_provider_imagetasks.local.service_state import DownloadAnswer, ServiceState
from airflow_provider_imagetasks.local.task_table import TaskSummary

Result = TypeVar("Result")

_BACKLOG = 1_024
_PATIENCE = 10.0


def connection_to(url: str, service: str, *, server_folder: Path | None = None, **extra: Any) -> str:
    """Return a connection as JSON, the value of an ``AIRFLOW_CONN_...`` environment variable.

    :param url: scheme, host and port of the local service.
    :param service: what the connection's ``service`` is to be.
    :param server_folder: where an MCP server that writes files writes its pictures; for its own service only.
    :param extra: further extra fields of it.
    :raises ValueError: the local service does not speak for that service.
    """
    if service not in DIALECT_PATHS:
        known = ", ".join(DIALECT_PATHS)
        raise ValueError(f"the local image service does not speak for {service!r}; known are {known}")
    if service in WRITERS_OF_FILES and server_folder is not None:
        extra = {"output_dir": str(server_folder), **extra}
    if service in USUAL_MODELS:
        extra = {"default_model": USUAL_MODELS[service], **extra}
    where = {"conn_type": "imagetasks", "host": f"{url}/{DIALECT_PATHS[service]}", "password": "any-key-will-do"}
    return json.dumps({**where, "extra": {"service": service, **extra}})


class _Running(NamedTuple):
    """What is there while it serves."""

    url: str
    state: ServiceState
    loop: asyncio.AbstractEventLoop
    stopped: asyncio.Event
    thread: threading.Thread


@dataclass(kw_only=True, eq=False, repr=False)
class LocalImageService(ServiceOptions):
    """The local service in a thread of this process, on a free port; use it as a context manager.

    :param host: the address to serve on.
    :param port: 0 takes any free one.

    The others are those of :class:`~airflow_provider_imagetasks.local.options.ServiceOptions`.
    """

    host: str = "127.0.0.1"
    port: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._running: _Running | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Scheme, host and port; a dialect's base URL is this plus its path, as the page there lists it."""
        return self._service.url

    @property
    def server_folder(self) -> Path:
        """Where an MCP server that writes files writes its pictures."""
        return self.output_dir

    @property
    def tasks(self) -> list[TaskSummary]:
        """Summaries of all image tasks, oldest first."""
        return self._in_loop(lambda state: state.tasks.summaries())

    def connection(self, service: str = "local", **extra: Any) -> str:
        """Return an Airflow connection to this service, as the value of an ``AIRFLOW_CONN_...`` environment variable.

        :param service: whose dialect it is to speak, by the name that a connection has for it.
        :param extra: further extra fields, such as ``max_active_tasks=2``.
        """
        return connection_to(self.url, service, server_folder=self.output_dir, **extra)

    def stats(self) -> dict[str, Any]:
        """Return what ``/stats`` answers."""
        return self._in_loop(lambda state: state.stats())

    def reset(self) -> None:
        """Forget every image task, every count, how often prompts were seen, and who answers downloads instead."""
        self._in_loop(lambda state: state.reset())

    def answer_downloads(self, answer: DownloadAnswer) -> None:
        """Let something else answer downloads, until the next reset.

        :param answer: a coroutine function, called with the request and the file of the picture; what it returns is
            sent instead of that file, unless it is None.
        """
        self._in_loop(lambda state: setattr(state, "download_answer", answer))

    def skip(self, seconds: float) -> None:
        """Put the clock of providers' own batches forward, until the next reset: 86400 for the day that one has."""
        self._in_loop(lambda state: setattr(state, "skipped", state.skipped + seconds))
        self._in_loop(lambda state: asyncio.ensure_future(state.callbacks.look_again()))

    def finish(self, prompts: Collection[str]) -> None:
        """End the image tasks of these prompts now, however long they were to take, and send their callbacks.

        :param prompts: as they were submitted.
        """
        self._in_loop(lambda state: state.tasks.end(prompts))
        self._in_loop(lambda state: asyncio.ensure_future(state.callbacks.look_again()))

    def start(self) -> None:
        """Start to serve; returns when the service answers.

        :raises RuntimeError: when it is running already.
        :raises OSError: when the port cannot be had.
        """
        if self._running is not None:
            raise RuntimeError("the local image service is running already")
        opened: concurrent.futures.Future[_Running] = concurrent.futures.Future()
        serve = partial(asyncio.run, self._serve(opened))
        threading.Thread(target=serve, name="local image service", daemon=True).start()
        self._running = opened.result(_PATIENCE)

    def stop(self) -> None:
        """Stop to serve, at once and for requests in progress too; harmless when it is not running."""
        if self._running is not None:
            self._running.loop.call_soon_threadsafe(self._running.stopped.set)
            self._running.thread.join(_PATIENCE)
            self._running = None

    async def _serve(self, opened: concurrent.futures.Future[_Running]) -> None:
        application, stopped = LocalApplication(self), asyncio.Event()
        runner = application.runner()
        try:
            await runner.setup()
            await web.TCPSite(runner, self.host, self.port, backlog=_BACKLOG).start()
            host, port = f"[{self.host}]" if ":" in self.host else self.host, runner.addresses[0][1]
            here = asyncio.get_running_loop(), stopped, threading.current_thread()
            opened.set_result(_Running(f"http://{host}:{port}", application.state, *here))
            await stopped.wait()
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits for it
            opened.set_exception(error)
        finally:
            await runner.cleanup()

    @property
    def _service(self) -> _Running:
        if self._running is None:
            raise RuntimeError("the local image service is not running")
        return self._running

    def _in_loop(self, read: Callable[[ServiceState], Result]) -> Result:
        """Run a function in the service's thread, where nothing changes meanwhile."""
        service = self._service

        async def run() -> Result:
            return read(service.state)

        return asyncio.run_coroutine_threadsafe(run(), service.loop).result(_PATIENCE)
