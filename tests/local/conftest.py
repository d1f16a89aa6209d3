from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from airflow_provider_imagetasks.local import LocalImageService


@dataclass
class TasksApiClient:
    """The shortest way to ask a Tasks API dialect."""

    url: str
    key: str | None = None

    def post(self, path: str, body: Any, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return requests.post(f"{self.url}{path}", json=body, headers=headers, timeout=options.get("timeout", 10))

    def submit(self, prompt: str, *, timeout: float = 10, **body: Any) -> requests.Response:
        whole = {"model": "gpt-image-2", "prompt": prompt, "async": True, "size": "64x64", **body}
        return self.post("/openai/images/generations", whole, timeout=timeout)

    def submitted(self, prompt: str, **body: Any) -> str:
        response = self.submit(prompt, **body)
        assert response.status_code == 200, response.text
        return str(response.json()["task_id"])

    def query(self, **body: Any) -> requests.Response:
        return self.post("/openai/tasks", {"action": "retrieve", **body})

    def record(self, task_id: str) -> dict[str, Any]:
        return dict(self.query(id=task_id).json())

    def batch(self, **body: Any) -> dict[str, Any]:
        return dict(self.post("/openai/tasks", {"action": "retrieve_batch", **body}).json())


@dataclass
class JobsApiClient:
    """The shortest way to ask a createTask dialect."""

    url: str
    key: str | None = None

    def submit(
        self, prompt: str, *, request_id: str | None = None, timeout: float = 10, **order: Any
    ) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        if request_id is not None:
            headers["X-Request-ID"] = request_id
        body = {"model": "gpt-image-2-text-to-image", "input": {"prompt": prompt, **order}}
        return requests.post(f"{self.url}/api/v1/jobs/createTask", json=body, headers=headers, timeout=timeout)

    def submitted(self, prompt: str, **options: Any) -> str:
        response = self.submit(prompt, **options)
        assert response.status_code == 200, response.text
        return str(response.json()["data"]["taskId"])

    def query(self, task_id: str, *, timeout: float = 10) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        url = f"{self.url}/api/v1/jobs/recordInfo"
        return requests.get(url, params={"taskId": task_id}, headers=headers, timeout=timeout)

    def record(self, task_id: str) -> dict[str, Any]:
        return dict(self.query(task_id).json()["data"])


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
def tasks_api(service: LocalImageService) -> TasksApiClient:
    return TasksApiClient(f"{service.url}/acedatacloud")


@pytest.fixture
def jobs_api(service: LocalImageService) -> JobsApiClient:
    return JobsApiClient(f"{service.url}/aigptimage")


@pytest.fixture
def make_tasks_api() -> type[TasksApiClient]:
    return TasksApiClient


@pytest.fixture
def make_jobs_api() -> type[JobsApiClient]:
    return JobsApiClient
