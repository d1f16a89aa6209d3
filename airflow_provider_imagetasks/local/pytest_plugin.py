"""A pytest fixture for the tests of Dags that make pictures; pytest finds it where this package is installed.

It costs a test run that does not ask for it nothing but the import of this file: no Airflow, no HTTP library.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_imagetasks.local import LocalImageService


@pytest.fixture(scope="session")
def _imagetasks_local_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalImageService]:
    """One local image service for the whole run."""
    from airflow_provider_imagetasks.local import LocalImageService

    folder = tmp_path_factory.mktemp("gpt-image-server")
    with LocalImageService(latency=0, record_delay=0, output_dir=folder) as service:
        yield service


@pytest.fixture
def image_service(_imagetasks_local_service: LocalImageService) -> LocalImageService:
    """A running local image service that knows nothing of earlier tests, and finishes image tasks at once.

    ``image_service.connection("local")``, or with the name of another service, is an Airflow connection to it, as the
    value of an environment variable ``AIRFLOW_CONN_...``; ``image_service.stats()`` counts what it received,
    ``image_service.tasks`` lists what it made.
    """
    _imagetasks_local_service.reset()
    return _imagetasks_local_service
