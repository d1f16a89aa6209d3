"""What is asked in the tests of this folder: a server that knows image tasks, or a service that answers as told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from airflow_provider_imagetasks.exceptions import ImageTaskError, ServiceUnavailableError
from airflow_provider_imagetasks.services.aigptimage import AiGptImage
from airflow_provider_imagetasks.services.wire import Flow, Request, ask
from airflow_provider_imagetasks.tasks import ImageTask, TaskState
from tests.polled_accounts import Records
from tests.scripted_server import ScriptedServer


@pytest.fixture
def server(records: Records, no_proxy: None) -> Iterator[ScriptedServer]:
    with ScriptedServer(otherwise=records) as running:
        yield running


class ScriptedService(AiGptImage):
    """A service that can be asked for some image tasks at once; says what each question finds.

    :param readings: a word for all of them, or an error; the last one for ever.
    """

    def __init__(self, size: int, *readings: str | ImageTaskError) -> None:
        self.batch_size = size  # type: ignore[misc]
        self.asked: list[list[str]] = []
        self._readings = list(readings or ["running"])

    def read_batch(self, image_task_ids: Sequence[str]) -> Flow[dict[str, ImageTask]]:
        yield from ask(Request(method="GET", path="/"))
        self.asked.append(list(image_task_ids))
        reading = self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]
        if isinstance(reading, ImageTaskError):
            raise reading
        return {name: ImageTask(id=name, service=self.name, state=TaskState(reading)) for name in image_task_ids}


def down() -> ImageTaskError:
    return ServiceUnavailableError("no luck")
