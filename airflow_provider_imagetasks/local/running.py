"""Runs the local service: in a thread of a test process, or until a signal stops it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

from aiohttp import web

from airflow_provider_imagetasks.local.application import LocalApplication
from airflow_provider_imagetasks.local.connections import connection_to
from airflow_provider_imagetasks.local.options import DEFAULT_OUTPUT_DIR, Latency, RateLimit, ServiceOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path
    from types import TracebackType

    from airflow_provider_imagetasks.local.records import TaskSummary

Result = TypeVar("Result")

_BACKLOG = 1_024
_PATIENCE = 10.0


async def _open(runner: web.AppRunner, host: str, port: int) -> str:
    """Start to serve and return the URL."""
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=_BACKLOG).start()
    bound_port = runner.addresses[0][1]
    return f"http://[{host}]:{bound_port}" if ":" in host else f"http://{host}:{bound_port}"


async def serve_until_stopped(
    options: ServiceOptions, *, host: str, port: int, announce: Callable[[str], None]
) -> None:
    """Serve until SIGINT or SIGTERM.

    :param port: 0 takes any free one.
    :param announce: called with the URL as soon as it answers.
    :raises OSError: when the port cannot be had.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, stopped.set)
    runner = LocalApplication(options).runner()
    try:
        announce(await _open(runner, host, port))
        await stopped.wait()
    finally:
        await runner.cleanup()


class LocalImageService:
    """The local service in a thread of this process, on a free port; use it as a context manager.

    :param latency: seconds that an image task takes, or ``"1-4"`` for a range.
    :param create_limit: such as ``"20/10s"``: submissions beyond it are answered with 429.
    :param query_limit: such as ``"2/1s"``: status queries beyond it are answered with 429.
    :param api_keys: the keys that are let in; none lets anyone in.
    :param port: 0 takes any free one.

    The others are those of :class:`~airflow_provider_imagetasks.local.options.ServiceOptions`.
    """

    def __init__(
        self,
        *,
        latency: float | str = 2.0,
        fail_rate: float = 0.0,
        refuse_rate: float = 0.0,
        rate_limit_rate: float = 0.0,
        seed: int = 0,
        create_limit: str | None = None,
        query_limit: str | None = None,
        max_active: int | None = None,
        api_keys: Iterable[str] = (),
        ignore_trace_id: bool = False,
        keep_tasks: int = 100_000,
        record_delay: float = 0.5,
        webhook_secret: str | None = None,
        output_dir: Path = DEFAULT_OUTPUT_DIR,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._options = ServiceOptions(
            latency=Latency.parse(latency),
            fail_rate=fail_rate,
            refuse_rate=refuse_rate,
            rate_limit_rate=rate_limit_rate,
            seed=seed,
            create_limit=RateLimit.parse(create_limit) if create_limit else None,
            query_limit=RateLimit.parse(query_limit) if query_limit else None,
            max_active=max_active,
            api_keys=frozenset(api_keys),
            ignore_trace_id=ignore_trace_id,
            keep_tasks=keep_tasks,
            record_delay=record_delay,
            webhook_secret=webhook_secret,
            output_dir=output_dir,
        )
        self._host = host
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None
        self._application: LocalApplication | None = None
        self._url: str | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Scheme, host and port; a dialect's base URL is this plus its path, such as ``/aigptimage``."""
        if self._url is None:
            raise RuntimeError("the local image service is not running")
        return self._url

    @property
    def server_folder(self) -> Path:
        """Where the GPT-Image MCP server writes its pictures."""
        return self._options.output_dir

    @property
    def tasks(self) -> list[TaskSummary]:
        """Summaries of all image tasks, oldest first."""
        return self._in_loop(lambda application: application.state.tasks.summaries())

    def connection(self, service: str = "local", **extra: Any) -> str:
        """Return an Airflow connection to this service, as the value of an ``AIRFLOW_CONN_...`` environment variable.

        :param service: whose dialect it is to speak: ``"acedatacloud"``, ``"kie"``, ...
        :param extra: further extra fields, such as ``max_active_tasks=2``.
        """
        return connection_to(self.url, service, server_folder=self._options.output_dir, **extra)

    def stats(self) -> dict[str, Any]:
        """Return what ``/stats`` answers."""
        return self._in_loop(lambda application: application.state.stats())

    def reset(self) -> None:
        """Forget every image task, every count, and how often prompts were seen."""
        self._in_loop(lambda application: application.state.reset())

    def finish(self, prompts: Collection[str]) -> None:
        """End the image tasks of these prompts now, however long they were to take, and send their callbacks.

        :param prompts: as they were submitted.
        """

        def end(application: LocalApplication) -> None:
            application.state.tasks.end(prompts)

        self._in_loop(end)
        self._in_loop(lambda application: asyncio.ensure_future(application.state.callbacks.look_again()))

    def start(self) -> None:
        """Start to serve; returns when the service answers.

        :raises RuntimeError: when it is running already.
        :raises OSError: when the port cannot be had.
        """
        if self._thread is not None:
            raise RuntimeError("the local image service is running already")
        opened: concurrent.futures.Future[str] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(opened)), name="local image service", daemon=True
        )
        self._thread.start()
        try:
            self._url = opened.result(_PATIENCE)
        except BaseException:
            self._thread = None
            raise

    def stop(self) -> None:
        """Stop to serve, at once and for requests in progress too; harmless when it is not running."""
        if self._thread is None or self._loop is None or self._stopped is None:
            return
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(_PATIENCE)
        self._thread = self._loop = self._stopped = self._application = self._url = None

    async def _serve(self, opened: concurrent.futures.Future[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._application = LocalApplication(self._options)
        runner = self._application.runner()
        try:
            try:
                url = await _open(runner, self._host, self._port)
            except Exception as error:  # noqa: BLE001 - handed to the thread that waits for it
                opened.set_exception(error)
                return
            opened.set_result(url)
            await self._stopped.wait()
        finally:
            await runner.cleanup()

    def _in_loop(self, read: Callable[[LocalApplication], Result]) -> Result:
        """Run a function in the service's thread, where nothing changes meanwhile."""
        application, loop = self._application, self._loop
        if application is None or loop is None or self._url is None:
            raise RuntimeError("the local image service is not running")

        async def run() -> Result:
            return read(application)

        return asyncio.run_coroutine_threadsafe(run(), loop).result(_PATIENCE)
