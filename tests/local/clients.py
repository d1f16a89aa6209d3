"""The shortest ways to ask the dialects of a local image service."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests
from PIL import Image


def picture_file(colour: tuple[int, ...] = (200, 30, 160), *, size=(64, 64), media_format="PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour).save(file, media_format)
    return file.getvalue()


def picture_at(url: str) -> Image.Image:
    return Image.open(io.BytesIO(requests.get(url, timeout=10).content))


def seen(ask: Callable[[], requests.Response]) -> int | str:
    """Return what a client sees: the HTTP status of a good answer, or a word for what is none."""
    try:
        answer = ask()
    except requests.exceptions.ChunkedEncodingError:
        return "half"
    except requests.ConnectionError:
        return "cut"
    except requests.Timeout:
        return "nothing"
    if answer.headers["Content-Type"].startswith("text/html"):
        return f"page {answer.status_code}"
    return "garbage" if answer.text == '{"task_' else answer.status_code


@dataclass
class Client:
    """A client of the dialect at a URL, with a key or without one."""

    url: str
    key: str | None = None

    def request(self, method: str, path: str, *, headers=None, timeout=10, **options: Any) -> requests.Response:
        # kie turns away the default user agent of requests.
        headers = {"User-Agent": "imagetasks-tests/1", **(headers or {})}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        return requests.request(method, f"{self.url}{path}", headers=headers, timeout=timeout, **options)

    def submit(self, prompt: str, **body: Any) -> requests.Response:
        raise NotImplementedError

    def submitted(self, prompt: str, **body: Any) -> str:
        response = self.submit(prompt, **body)
        assert response.status_code == 200, response.text
        answer = response.json()
        return str(answer["task_id"] if "task_id" in answer else answer["data"]["taskId"])


@dataclass
class TasksApiClient(Client):
    """Asks AceDataCloud or XHuoAPI."""

    def submit(self, prompt: str, *, timeout: float = 10, **body: Any) -> requests.Response:
        whole = {"model": "gpt-image-2", "prompt": prompt, "async": True, "size": "64x64", **body}
        return self.request("POST", "/openai/images/generations", json=whole, timeout=timeout)

    def edit(self, prompt: str, image: Any, **body: Any) -> requests.Response:
        whole = {"model": "gpt-image-2", "prompt": prompt, "async": True, "image": image, "size": "64x64", **body}
        return self.request("POST", "/openai/images/edits", json=whole)

    def edit_files(self, prompt: str, images: list[bytes], *, mask: bytes | None = None, **fields: str):
        parts = [("image", (f"image-{number}.png", image)) for number, image in enumerate(images)]
        parts += [] if mask is None else [("mask", ("mask.png", mask))]
        data = {"model": "gpt-image-2", "prompt": prompt, "async": "true", "size": "64x64", **fields}
        return self.request("POST", "/openai/images/edits", data=data, files=parts)

    def query(self, *, timeout: float = 10, **body: Any) -> requests.Response:
        return self.request("POST", "/openai/tasks", json={"action": "retrieve", **body}, timeout=timeout)

    def record(self, task_id: str) -> dict[str, Any]:
        return dict(self.query(id=task_id).json())

    def batch(self, **body: Any) -> dict[str, Any]:
        return dict(self.query(action="retrieve_batch", **body).json())

    def urls(self, task_id: str) -> list[str]:
        return [image["url"] for image in self.record(task_id)["response"]["data"]]

    def pictures(self, task_id: str) -> list[Image.Image]:
        return [picture_at(url).convert("RGB") for url in self.urls(task_id)]


@dataclass
class JobsApiClient(Client):
    """Asks AI GPT Image or kie."""

    def submit(
        self, prompt: str, *, request_id=None, timeout=10, model="gpt-image-2-text-to-image", callback=None, **order
    ) -> requests.Response:
        headers = {} if request_id is None else {"X-Request-ID": request_id}
        body: dict[str, Any] = {"model": model, "input": {"prompt": prompt, **order}}
        body |= {} if callback is None else {"callBackUrl": callback}
        return self.request("POST", "/api/v1/jobs/createTask", json=body, headers=headers, timeout=timeout)

    def query(self, task_id: str) -> requests.Response:
        return self.request("GET", "/api/v1/jobs/recordInfo", params={"taskId": task_id})

    def record(self, task_id: str) -> dict[str, Any]:
        return dict(self.query(task_id).json()["data"])

    def urls(self, task_id: str) -> list[str]:
        return list(json.loads(self.record(task_id)["resultJson"])["resultUrls"])
