from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from airflow_provider_imagetasks.local import LocalImageService
from tests.local.clients import Client, JobsApiClient, TasksApiClient
from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer


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


def client_fixture(client: type[Client], path: str) -> Any:
    """Return a fixture: a client of the dialect at this path."""
    return pytest.fixture(lambda service: client(f"{service.url}/{path}"))


tasks_api = client_fixture(TasksApiClient, "acedatacloud")
xhuoapi = client_fixture(TasksApiClient, "xhuoapi/v1")
jobs_api = client_fixture(JobsApiClient, "aigptimage")
kie = client_fixture(JobsApiClient, "kie")


@pytest.fixture
def receiver() -> Iterator[tuple[str, queue.Queue]]:
    """The URL of a server for callbacks, and the bodies and headers that it received."""
    received: queue.Queue = queue.Queue()

    def receive(request: ReceivedRequest) -> Reply:
        received.put((request.body, request.headers))
        return Reply()

    with ScriptedServer(otherwise=receive) as server:
        yield f"{server.url}/done", received
