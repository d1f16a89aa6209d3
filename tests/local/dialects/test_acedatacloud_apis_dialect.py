"""AceDataCloud's other image APIs, in the words of their guides."""

from __future__ import annotations

import queue
from typing import Any

import pytest
import requests

from airflow_provider_imagetasks.local import LocalImageService
from tests.local.clients import Client, picture_at

PICTURE = "https://example.com/a.png"
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "flux": ("flux/images", {"action": "generate", "prompt": "a kite", "model": "flux-2-pro", "size": "64x96"}),
    "nano-banana": ("nano-banana/images", {"action": "generate", "prompt": "a kite", "aspect_ratio": "2:3"}),
    "seedream": ("seedream/images", {"model": "doubao-seedream-4-0-250828", "prompt": "a kite", "size": "64x96"}),
    "qwen-image": ("qwen-image/images", {"prompt": "a kite", "size": "64*96"}),
    "midjourney": ("midjourney/imagine", {"prompt": "a kite"}),
}
EACH = pytest.mark.parametrize(("api", "path", "body"), [(api, *asked) for api, asked in ASKED.items()], ids=ASKED)


@pytest.fixture
def client(service: LocalImageService) -> Client:
    return Client(f"{service.url}/acedatacloud")


def post(client: Client, path: str, body: dict[str, Any]) -> requests.Response:
    return client.request("POST", f"/{path}", json=body)


def submitted(client: Client, path: str, body: dict[str, Any]) -> str:
    answer = post(client, path, {**body, "async": True})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["task_id"])


def urls(response: dict[str, Any]) -> list[str]:
    if "data" in response:
        return [picture["image_url"] for picture in response["data"]]
    return [response["raw_image_url"], *response.get("sub_image_urls", [])]


@EACH
def test_an_image_task_is_known_to_its_own_api_alone(
    service: LocalImageService, client: Client, api: str, path: str, body: dict[str, Any]
) -> None:
    task_id = submitted(client, path, {**body, "trace_id": "t-1"})
    record = post(client, f"{api}/tasks", {"action": "retrieve", "id": task_id}).json()
    several = post(client, f"{api}/tasks", {"action": "retrieve_batch", "ids": [task_id, "another"]}).json()

    assert (record["id"], record["trace_id"], record["request"]["prompt"]) == (task_id, "t-1", "a kite")
    assert record["response"]["success"] is True
    assert picture_at(urls(record["response"])[0]).size[1] >= picture_at(urls(record["response"])[0]).size[0]
    assert [item["id"] for item in several["items"]] == [task_id]
    for other in {"openai", *ASKED} - {api}:
        assert post(client, f"{other}/tasks", {"action": "retrieve", "id": task_id}).json() == {}
    counts = service.stats()["dialects"]
    assert (counts[f"acedatacloud/{api}"]["created"], counts["acedatacloud"]["created"]) == (1, 0)


@EACH
def test_the_answer_at_once_and_the_callback_are_the_result(
    client: Client, receiver: tuple[str, queue.Queue], api: str, path: str, body: dict[str, Any]
) -> None:
    at_once = post(client, path, body).json()
    url, received = receiver
    task_id = submitted(client, path, {**body, "callback_url": url})
    called_back, _headers = received.get(timeout=30)

    assert (at_once["success"], len(urls(at_once))) == (True, 1)
    assert (called_back["success"], called_back["task_id"], len(urls(called_back))) == (True, task_id, 1)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "no action": ("flux/images", {"prompt": "a kite"}, "action"),
    "no prompt": ("nano-banana/images", {"action": "generate"}, "prompt"),
    "no model": ("seedream/images", {"prompt": "a kite"}, "model"),
    "a picture without edit": (
        "flux/images",
        {"action": "generate", "prompt": "a kite", "image_url": PICTURE},
        "action edit",
    ),
    "edit without a picture": ("nano-banana/images", {"action": "edit", "prompt": "a kite"}, "action edit"),
    "an edit by a model that does not": (
        "flux/images",
        {"action": "edit", "prompt": "a kite", "model": "flux-dev", "image_url": PICTURE},
        "flux-kontext",
    ),
    "too many": ("qwen-image/images", {"prompt": "a kite", "n": 7}, "from 1 to 6"),
    "too many to edit": ("qwen-image/images", {"prompt": "a kite", "image_urls": [PICTURE] * 4}, "at most 3"),
    "a picture to imagine from": ("midjourney/imagine", {"prompt": "a kite", "image_url": PICTURE}, "edits"),
    "a model of midjourney": ("midjourney/imagine", {"prompt": "a kite", "model": "8.1"}, "no model"),
    "a size that is none": ("seedream/images", {"prompt": "a kite", "model": "m", "size": "huge"}, "size"),
}


@pytest.mark.parametrize(("path", "body", "said"), REFUSED.values(), ids=REFUSED)
def test_what_a_guide_does_not_allow_is_a_bad_request(client: Client, path: str, body: Any, said: str) -> None:
    answer = post(client, path, {**body, "async": True})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")
    assert said in answer.json()["error"]["message"]


def test_midjourney_has_a_thumbnail_beside_the_picture_and_parts_where_they_are_asked_for(client: Client) -> None:
    task_id = submitted(client, "midjourney/imagine", {"prompt": "a kite", "split_images": True})
    response = post(client, "midjourney/tasks", {"action": "retrieve", "id": task_id}).json()["response"]

    assert len(set(urls(response))) == 5
    assert response["image_url"] == f"{response['raw_image_url']}?imageMogr2/thumbnail/!50p"
    assert response["raw_image_width"] == 2 * response["image_width"]


def test_qwen_says_what_it_cost(client: Client) -> None:
    task_id = submitted(client, "qwen-image/images", {"prompt": "a kite", "n": 2, "size": "64*64"})
    response = post(client, "qwen-image/tasks", {"action": "retrieve", "id": task_id}).json()["response"]

    assert response["cost"] == {"amount": 0.644, "currency": "credit", "list_amount": 0.7}
    assert response["usage"]["output_image_count"] == 2
