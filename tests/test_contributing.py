"""The service that CONTRIBUTING.md shows is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from airflow_provider_imagetasks.exceptions import UnknownOutcomeError
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.tasks import ImageRequest, TaskState
from tests.flow_driver import drive, response
from tests.services.wire_examples import account

CONTRIBUTING = Path(__file__).parent.parent / "CONTRIBUTING.md"


def shown_service() -> Service:
    (block,) = re.findall(r"```python\n(.*?)```", CONTRIBUTING.read_text(), re.DOTALL)
    assert block.count("\n") < 60
    namespace: dict[str, Any] = {}
    exec(compile(block, str(CONTRIBUTING), "exec"), namespace)
    service: Service = namespace["Easel"]()
    return service


def test_the_service_shown_does_not_take_a_strange_answer_for_a_submission() -> None:
    request = ImageRequest(prompt="a kite", model="easel-1")

    for answer in (response({}, status=404), response({"status": "queued"}), response({"id": "", "status": "queued"})):
        error = drive(shown_service().submit(request), answer).error
        assert type(error) is UnknownOutcomeError


def test_the_service_shown_submits_and_reads() -> None:
    service = shown_service()
    request = service.complete(ImageRequest(prompt="a kite"), account())
    picture = "https://cdn.easel.example/7.png"

    submitted = drive(service.submit(request), response({"id": "7", "status": "queued"}))
    read = drive(service.get_task("7"), response({"id": "7", "status": "done", "pictures": [picture]}))
    failed = drive(service.get_task("8"), response({"id": "8", "status": "broken", "reason": "no paint"})).result

    assert [call.path for call in (*submitted.requests, *read.requests)] == ["/jobs", "/jobs/7"]
    assert submitted.result.id == "7"
    assert (read.result.state, read.result.images[0].url) == (TaskState.SUCCEEDED, picture)
    assert "no paint" in str(failed.error)
