from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from airflow_provider_imagetasks.local import LocalImageService
from tests.local.clients import JobsApiClient, TasksApiClient


@pytest.fixture(scope="session")
def running_service() -> Iterator[LocalImageService]:
    with LocalImageService(latency=0) as service:
        yield service


@pytest.fixture
def service(running_service: LocalImageService) -> LocalImageService:
    """A service whose image tasks are ready at once, with nothing in it."""
    running_service.reset()
    return running_service


@pytest.fixture
def start() -> Iterator[Callable[..., LocalImageService]]:
    """Starts a service of the test's own, whose image tasks are ready at once unless the test says otherwise."""
    with ExitStack() as running:
        yield lambda **options: running.enter_context(LocalImageService(**{"latency": 0, **options}))


@pytest.fixture
def tasks_api(service: LocalImageService) -> TasksApiClient:
    return TasksApiClient(f"{service.url}/acedatacloud")


@pytest.fixture
def xhuoapi(service: LocalImageService) -> TasksApiClient:
    return TasksApiClient(f"{service.url}/xhuoapi/v1")


@pytest.fixture
def jobs_api(service: LocalImageService) -> JobsApiClient:
    return JobsApiClient(f"{service.url}/aigptimage")


@pytest.fixture
def kie(service: LocalImageService) -> JobsApiClient:
    return JobsApiClient(f"{service.url}/kie")


@pytest.fixture
def receiver() -> Iterator[tuple[str, queue.Queue]]:
    """The URL of a server for callbacks, and the bodies and headers that it received."""
    received: queue.Queue = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.put((json.loads(self.rfile.read(int(self.headers["Content-Length"]))), self.headers))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/done", received
    server.shutdown()
    thread.join()
    server.server_close()
