from __future__ import annotations

import pytest

from airflow_provider_imagetasks.local import LocalImageService
from tests.image_batch import ImageBatch
from tests.task_runner import TaskRunner


@pytest.fixture(autouse=True)
def _no_pauses(no_pauses: None) -> None:
    """What these tests are about is not how long is waited."""


@pytest.fixture
def batch(runner: TaskRunner, image_service: LocalImageService, output_folder: str) -> ImageBatch:
    """A batch of small pictures."""
    return ImageBatch(runner, image_service, output_folder)
