"""What all tests share: an Airflow without a database, and the local image service."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

# Before anything imports Airflow, which reads its settings once and would write into the home folder.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-unit-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
# One that tests shared would let one test wait for another.
os.environ["AIRFLOW__IMAGETASKS__ACCOUNT_STORE"] = "none"

import pytest

from airflow_provider_imagetasks.local import pytest_plugin
from airflow_provider_imagetasks.local.dialects.known_dialects import DIALECT_PATHS
from airflow_provider_imagetasks.polling import status_requests

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local import LocalImageService
    from tests.image_dag import ImageDag
    from tests.polled_accounts import Records
    from tests.statsd_receiver import StatsdReceiver
    from tests.status_route import StatusRoute
    from tests.task_runner import TaskRunner

# The checks that it holds explain themselves when they fail.
pytest.register_assert_rewrite("tests.services.wire_examples")

# The tests use the fixture that is shipped, whether or not their environment knows its entry point.
_imagetasks_local_service = pytest_plugin._imagetasks_local_service
image_service = pytest_plugin.image_service

SERVICES = [name for name in DIALECT_PATHS if name != "local"]
BY_HTTP = pytest.mark.parametrize("service_name", [name for name in SERVICES if name != "gpt_image_mcp"], indirect=True)
"""For tests of services that are asked over HTTP, or an MCP server that passes that on."""
BY_URL = pytest.mark.parametrize(
    "service_name", [name for name in SERVICES if name not in ("gpt_image_mcp", "openai")], indirect=True
)
"""For tests of services whose pictures are fetched by URL."""


@pytest.fixture(autouse=True)
def _paces_end_with_a_test() -> Iterator[None]:
    """Let no test wait for what another one asked, perhaps by a clock of its own."""
    yield
    status_requests._paces.clear()


@pytest.fixture(params=SERVICES)
def service_name(request: pytest.FixtureRequest) -> str:
    """The name of each service in turn."""
    return str(request.param)


@pytest.fixture
def connection(image_service: LocalImageService, service_name: str) -> dict[str, Any]:
    """The fields of a connection to the local image service, in the dialect of ``service_name``."""
    return {**json.loads(image_service.connection(service_name)), "password": "key-of-the-tests"}


@pytest.fixture
def output_folder(tmp_path: Path) -> str:
    """A folder for pictures, as a URL."""
    return f"file://{tmp_path}/pictures"


@pytest.fixture
def runner(connection: dict[str, Any]) -> TaskRunner:
    """Airflow's task runner, with a connection to the local image service as the default one."""
    from tests.task_runner import TaskRunner

    return TaskRunner(connections={"imagetasks_default": connection})


@pytest.fixture
def dag(runner: TaskRunner, image_service: LocalImageService, output_folder: str) -> ImageDag:
    """The three tasks of an image task, run by ``runner``."""
    from tests.image_dag import ImageDag

    return ImageDag(runner, image_service, output_folder)


@pytest.fixture
def route(image_service: LocalImageService, connection: dict[str, Any], service_name: str) -> Iterator[StatusRoute]:
    """What stands between the connection and the service, and can answer status questions itself."""
    from tests.status_route import StatusRoute

    route = StatusRoute(f"{image_service.url}/{DIALECT_PATHS[service_name]}")
    with route.server:
        connection["host"] = route.server.url
        connection["extra"] |= {"allow_private_hosts": True, "query_rate": "50/s"}
        yield route


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for, submitted or fetched again is that at once, unless the account is asked to slow down."""
    from airflow_provider_imagetasks.exceptions import RateLimitError
    from airflow_provider_imagetasks.files import fetching
    from airflow_provider_imagetasks.services import exchange

    pause_before_next = exchange._pause_before_next

    def at_once(error: Any, *attempt: int) -> float | None:
        seconds = pause_before_next(error, *attempt)
        return seconds if seconds is None or isinstance(error, RateLimitError) else 0.0

    monkeypatch.setattr(exchange, "_pause_before_next", at_once)
    monkeypatch.setattr(fetching, "FIRST_PAUSE", 0)


@pytest.fixture
def skipped_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's pauses pass at once, also those that a service asks for: its transport's clock moves on by them."""
    from airflow_provider_imagetasks.transports import http

    skipped = 0.0

    def sleep(seconds: float) -> None:
        nonlocal skipped
        skipped += seconds

    clock = SimpleNamespace(sleep=sleep, time=lambda: time.time() + skipped, monotonic=time.monotonic)
    monkeypatch.setattr(http, "time", clock)


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the environment stands between a test and its server on loopback."""
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def records() -> Records:
    """Image tasks that a scripted server answers for."""
    from tests.polled_accounts import Records

    return Records()


@pytest.fixture
def account_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an account store, which is set up."""
    url = f"sqlite:///{tmp_path}/accounts.sqlite"
    monkeypatch.setenv("AIRFLOW__IMAGETASKS__ACCOUNT_STORE", url)
    return url


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsdReceiver]:
    """A statsd server that is sent the metrics of this process."""
    from tests.statsd_receiver import StatsdReceiver, initialize_metrics

    with StatsdReceiver() as receiver:
        with monkeypatch.context() as patch:
            for name, value in receiver.environment().items():
                patch.setenv(name, value)
            initialize_metrics()
            yield receiver
        initialize_metrics()


@pytest.fixture
def of_service(service_name: str) -> tuple[tuple[str, str], ...]:
    """The tag of the service whose turn it is."""
    return (("service", service_name),)
