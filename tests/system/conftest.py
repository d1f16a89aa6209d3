"""One real Airflow and one local image service for all tests of this folder."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from dev.airflow_deployment import AirflowDeployment
from dev.local_image_service import LocalImageServiceProcess
from tests.system.deployments import QUEUE_SERVICES, RESPONSE_SERVICES, REST_SERVICES, TOOL_SERVICES, connections

CHECKOUT = Path(__file__).resolve().parents[2]
SYSTEM_TEST_TIMEOUT = 300

deployment_key = pytest.StashKey[AirflowDeployment]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(SYSTEM_TEST_TIMEOUT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    deployment = item.config.stash.get(deployment_key, None)
    if report.failed and deployment is not None and item.get_closest_marker("system"):
        report.sections.append(("Airflow's component logs", deployment.component_logs(lines=30)))
    return report


@pytest.fixture(scope="session")
def airflow_database_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the migrated database is kept for every further Airflow of the session."""
    return tmp_path_factory.mktemp("airflow-database") / "template.db"


@pytest.fixture(scope="session")
def pictures_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the example Dags put their pictures."""
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="session")
def orderly_termination() -> Iterator[None]:
    """Let a terminated test run stop what it started, as an interrupted one does."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        pytest.exit("terminated", returncode=128 + signal.SIGTERM)

    previous = signal.signal(signal.SIGTERM, terminate)
    yield
    signal.signal(signal.SIGTERM, previous)


@pytest.fixture(scope="session")
def local_service(orderly_termination: None) -> Iterator[LocalImageServiceProcess]:
    with LocalImageServiceProcess(latency="1-3", folder=CHECKOUT) as service:
        yield service


@pytest.fixture(scope="module")
def image_service(request: pytest.FixtureRequest, orderly_termination: None) -> Iterator[LocalImageServiceProcess]:
    """A service that only one file's Airflow asks, so that both can be counted against each other.

    Its image tasks take the seconds of the file's ``LATENCY``, or 2.
    """
    with LocalImageServiceProcess(latency=getattr(request.module, "LATENCY", "2"), folder=CHECKOUT) as service:
        yield service


@pytest.fixture(scope="session")
def airflow_deployment(
    pytestconfig: pytest.Config,
    local_service: LocalImageServiceProcess,
    airflow_database_template: Path,
    pictures_folder: Path,
) -> Iterator[AirflowDeployment]:
    """A real Airflow with the example Dags, and a connection for each service that the local one speaks for.

    ``imagetasks_default`` has the service ``local``; the others are ``imagetasks_<service>``.
    """
    services = {name: name for name in (*REST_SERVICES, *QUEUE_SERVICES, *RESPONSE_SERVICES, *TOOL_SERVICES)}
    environment = connections(local_service, default="local", **services)
    with AirflowDeployment(
        dag_folders={"examples": CHECKOUT / "example_dags"},
        environment={**environment, "IMAGETASKS_EXAMPLE_OUTPUT": f"file://{pictures_folder}"},
        database_template=airflow_database_template,
    ) as deployment:
        pytestconfig.stash[deployment_key] = deployment
        yield deployment
        del pytestconfig.stash[deployment_key]
