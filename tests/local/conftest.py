from __future__ import annotations

import io
import json
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import requests
from PIL import Image

from airflow_provider_imagetasks.local import LocalImageService

# kie turns away the default one of requests.
USER_AGENT = "imagetasks-tests/1"


def headers_of(key: str | None) -> dict[str, str]:
    return {"User-Agent": USER_AGENT} | ({"Authorization": f"Bearer {key}"} if key else {})


def picture_file(
    colour: tuple[int, ...] = (200, 30, 160), *, size: tuple[int, int] = (64, 64), media_format: str = "PNG"
) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour).save(file, media_format)
    return file.getvalue()


@dataclass
class TasksApiClient:
    """The shortest way to ask a Tasks API dialect."""

    url: str
    key: str | None = None

    def post(self, path: str, body: Any, **options: Any) -> requests.Response:
        url, timeout = f"{self.url}{path}", options.get("timeout", 10)
        return requests.post(url, json=body, headers=headers_of(self.key), timeout=timeout)

    def submit(self, prompt: str, *, timeout: float = 10, **body: Any) -> requests.Response:
        whole = {"model": "gpt-image-2", "prompt": prompt, "async": True, "size": "64x64", **body}
        return self.post("/openai/images/generations", whole, timeout=timeout)

    def submitted(self, prompt: str, **body: Any) -> str:
        response = self.submit(prompt, **body)
        assert response.status_code == 200, response.text
        return str(response.json()["task_id"])

    def edit(self, prompt: str, image: Any, **body: Any) -> requests.Response:
        whole = {"model": "gpt-image-2", "prompt": prompt, "async": True, "image": image, "size": "64x64", **body}
        return self.post("/openai/images/edits", whole)

    def edit_files(
        self, prompt: str, images: list[bytes], *, mask: bytes | None = None, **fields: str
    ) -> requests.Response:
        parts = [("image", (f"image-{number}.png", image)) for number, image in enumerate(images)]
        if mask is not None:
            parts.append(("mask", ("mask.png", mask)))
        data = {"model": "gpt-image-2", "prompt": prompt, "async": "true", "size": "64x64", **fields}
        url = f"{self.url}/openai/images/edits"
        return requests.post(url, data=data, files=parts, headers=headers_of(self.key), timeout=10)

    def pictures(self, task_id: str) -> list[Image.Image]:
        urls = [image["url"] for image in self.record(task_id)["response"]["data"]]
        return [Image.open(io.BytesIO(requests.get(url, timeout=10).content)).convert("RGB") for url in urls]

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
        self,
        prompt: str,
        *,
        request_id: str | None = None,
        timeout: float = 10,
        model: str = "gpt-image-2-text-to-image",
        callback: str | None = None,
        **order: Any,
    ) -> requests.Response:
        headers = headers_of(self.key)
        if request_id is not None:
            headers["X-Request-ID"] = request_id
        body: dict[str, Any] = {"model": model, "input": {"prompt": prompt, **order}}
        if callback is not None:
            body["callBackUrl"] = callback
        return requests.post(f"{self.url}/api/v1/jobs/createTask", json=body, headers=headers, timeout=timeout)

    def submitted(self, prompt: str, **options: Any) -> str:
        response = self.submit(prompt, **options)
        assert response.status_code == 200, response.text
        return str(response.json()["data"]["taskId"])

    def query(self, task_id: str, *, timeout: float = 10) -> requests.Response:
        headers = headers_of(self.key)
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
def xhuoapi(service: LocalImageService) -> TasksApiClient:
    return TasksApiClient(f"{service.url}/xhuoapi/v1")


@pytest.fixture
def kie(service: LocalImageService) -> JobsApiClient:
    return JobsApiClient(f"{service.url}/kie")


@pytest.fixture
def make_picture() -> Callable[..., bytes]:
    return picture_file


@pytest.fixture
def make_tasks_api() -> type[TasksApiClient]:
    return TasksApiClient


@pytest.fixture
def make_jobs_api() -> type[JobsApiClient]:
    return JobsApiClient


@pytest.fixture
def receiver() -> Iterator[tuple[str, queue.Queue]]:
    received: queue.Queue = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.put((body, self.headers))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/done", received
    server.shutdown()
    thread.join()
    server.server_close()
