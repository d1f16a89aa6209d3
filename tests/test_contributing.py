"""The service that CONTRIBUTING.md shows is run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from airflow_provider_imagetasks.exceptions import UnknownOutcomeError
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.tasks import ImageRequest, TaskState
from airflow_provider_imagetasks.transports.http import RequestsTransport
from tests.flow_driver import drive, response

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


def test_the_service_shown_submits_and_reads(requests_mock: Any) -> None:
    service = shown_service()
    account = Account(conn_id="c", service=service.name, base_url=service.default_base_url, key="k")
    requests_mock.post("https://api.easel.example/jobs", json={"id": "7", "status": "queued"})
    requests_mock.get(
        "https://api.easel.example/jobs/7",
        json={"id": "7", "status": "done", "pictures": ["https://cdn.easel.example/7.png"]},
    )
    requests_mock.get("https://api.easel.example/jobs/8", json={"id": "8", "status": "broken", "reason": "no paint"})

    with RequestsTransport(account) as transport:
        request = service.complete(ImageRequest(prompt="a kite"), account)
        assert transport.run(service.submit(request)).id == "7"
        tasks = {image_task_id: transport.run(service.get_task(image_task_id)) for image_task_id in ("7", "8")}

    assert tasks["7"].state is TaskState.SUCCEEDED
    assert tasks["7"].images[0].url == "https://cdn.easel.example/7.png"
    assert "no paint" in str(tasks["8"].error)
