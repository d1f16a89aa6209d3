from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_imagetasks.batch.provider import result_lines, searches
from airflow_provider_imagetasks.local import LocalImageService
from tests.image_batch import ImageBatch
from tests.provider_batch import SMALL, ProviderBatch, with_latency
from tests.scripted_batches import ScriptedBatches
from tests.task_runner import TaskRunner


@pytest.fixture(autouse=True)
def _no_pauses(no_pauses: None) -> None:
    """What these tests are about is not how long is waited."""


@pytest.fixture
def batch(runner: TaskRunner, image_service: LocalImageService, output_folder: str) -> ImageBatch:
    """A batch of small pictures."""
    return ImageBatch(runner, image_service, output_folder)


@pytest.fixture
def limited(connection: dict[str, Any]) -> Any:
    """Writes limits into the connection."""

    def write(**extra: Any) -> None:
        connection["extra"] = {**connection["extra"], **extra}

    return write


@pytest.fixture
def provider_batch(
    runner: TaskRunner, image_service: LocalImageService, output_folder: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ProviderBatch]:
    """A batch of small pictures that goes out as provider batches, which are made at once."""
    monkeypatch.setattr(result_lines, "FIRST_PAUSE", 0)
    monkeypatch.setattr(searches, "LOOK_AGAIN", 0.1)
    undo = with_latency(image_service, 0)
    batch = ProviderBatch(runner, image_service, output_folder, dict(SMALL))
    batch.limited()
    yield batch
    undo()


@pytest.fixture
def service(connection: dict[str, Any], skipped_pauses: None) -> Iterator[ScriptedBatches]:
    """What the connection of the batch reaches, in place of the local image service."""
    service = ScriptedBatches()
    with service.server:
        connection["host"] = f"{service.server.url}/v1"
        yield service
