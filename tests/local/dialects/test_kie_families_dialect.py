"""kie's families and the models of its market, in the words of their pages."""

from __future__ import annotations

import queue
from typing import Any

import pytest

from airflow_provider_imagetasks.local import LocalImageService
from tests.local.clients import Client, JobsApiClient, picture_at

PICTURE = "https://example.com/a.png"
ASKED: dict[str, tuple[str, dict[str, Any], int]] = {
    "4o-image": ("gpt4o-image", {"prompt": "a kite", "size": "3:2", "nVariants": 2}, 2),
    "flux-kontext": ("flux/kontext", {"prompt": "a kite", "model": "flux-kontext-pro", "aspectRatio": "16:9"}, 1),
    "mj": ("mj", {"prompt": "a kite", "taskType": "mj_txt2img"}, 4),
}
EACH = pytest.mark.parametrize(
    ("family", "path", "body", "count"), [(family, *asked) for family, asked in ASKED.items()], ids=ASKED
)


@pytest.fixture
def client(service: LocalImageService) -> Client:
    return Client(f"{service.url}/kie/api/v1")


def created(client: Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return dict(client.request("POST", f"/{path}/generate", json=body).json())


def record(client: Client, path: str, task_id: str) -> dict[str, Any]:
    """Return what is found at the second look; new records come late."""
    answers = [client.request("GET", f"/{path}/record-info", params={"taskId": task_id}).json() for _ in range(2)]
    assert answers[0]["code"] == 422
    return dict(answers[1]["data"])


def urls(data: dict[str, Any]) -> list[str]:
    if "resultInfoJson" in data:
        return [result["resultUrl"] for result in data["resultInfoJson"]["resultUrls"]]
    response = data["response"]
    return response["resultUrls"] if "resultUrls" in response else [response["resultImageUrl"]]


@EACH
def test_a_family_s_record_has_a_flag_and_its_pictures(
    service: LocalImageService, client: Client, family: str, path: str, body: dict[str, Any], count: int
) -> None:
    task_id = created(client, path, body)["data"]["taskId"]
    done = record(client, path, task_id)
    failed = record(client, path, created(client, path, {**body, "prompt": "a kite [fail]"})["data"]["taskId"])

    assert (done["successFlag"], done["errorMessage"], len(urls(done))) == (1, "", count)
    assert picture_at(urls(done)[0]).width == 1024
    assert (failed["successFlag"], failed["errorCode"]) == (3, 500)
    assert service.stats()["dialects"][f"kie/{family}"]["created"] == 2
    others = [other for other, _, _ in ASKED.values() if other != path]
    for other in others:
        answer = client.request("GET", f"/{other}/record-info", params={"taskId": task_id})
        assert answer.json() == {"code": 422, "msg": "recordInfo is null", "data": None}


@EACH
def test_a_family_s_callback_has_the_pictures_and_no_record(
    client: Client, receiver: tuple[str, queue.Queue], family: str, path: str, body: dict[str, Any], count: int
) -> None:
    url, received = receiver
    task_id = created(client, path, {**body, "callBackUrl": url})["data"]["taskId"]
    called_back, _headers = received.get(timeout=10)

    assert (called_back["code"], called_back["data"]["taskId"]) == (200, task_id)
    assert len(called_back["data"]["info"]["result_urls"]) == count


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "nothing to draw": ("gpt4o-image", {"size": "1:1"}, "prompt or filesUrl"),
    "three variants": ("gpt4o-image", {"prompt": "a kite", "nVariants": 3}, "nVariants"),
    "too many pictures": ("gpt4o-image", {"prompt": "a kite", "filesUrl": [PICTURE] * 6}, "filesUrl"),
    "no prompt": ("flux/kontext", {"inputImage": PICTURE}, "prompt"),
    "a list of pictures": ("flux/kontext", {"prompt": "a kite", "inputImage": [PICTURE]}, "inputImage"),
    "a ratio that is none": ("flux/kontext", {"prompt": "a kite", "aspectRatio": "7:1"}, "aspectRatio"),
    "no kind of task": ("mj", {"prompt": "a kite"}, "taskType"),
    "no picture to start from": ("mj", {"prompt": "a kite", "taskType": "mj_img2img"}, "fileUrls"),
    "a video": ("mj", {"prompt": "a kite", "taskType": "mj_video", "fileUrls": [PICTURE]}, "taskType"),
}


@pytest.mark.parametrize(("path", "body", "said"), REFUSED.values(), ids=REFUSED)
def test_what_a_page_does_not_allow_is_a_validation_error(client: Client, path: str, body: Any, said: str) -> None:
    answer = created(client, path, body)

    assert answer["code"] == 422
    assert said in answer["msg"]


MODELS: dict[str, tuple[dict[str, Any], int]] = {
    "recraft/remove-background": ({"image": PICTURE}, 200),
    "recraft/crisp-upscale": ({"image_url": PICTURE}, 422),
    "topaz/image-upscale": ({"image_url": PICTURE, "upscale_factor": "2"}, 200),
    "ideogram/v3-reframe": ({"image_url": PICTURE, "prompt": "a kite"}, 422),
    "qwen/image-edit": ({"image_url": PICTURE, "prompt": "a kite"}, 200),
    "google/nano-banana-edit": ({"input_urls": [PICTURE], "prompt": "a kite"}, 422),
    "bytedance/seedream-v4-edit": ({"image_urls": [PICTURE], "prompt": "a kite"}, 200),
    "flux-2/pro-image-to-image": ({"prompt": "a kite"}, 422),
}


@pytest.mark.parametrize(("model", "asked", "code"), [(model, *row) for model, row in MODELS.items()], ids=MODELS)
def test_a_model_of_the_market_wants_what_its_page_names(kie: JobsApiClient, model: str, asked: Any, code: int) -> None:
    answer = kie.request("POST", "/api/v1/jobs/createTask", json={"model": model, "input": asked}).json()

    assert answer["code"] == code, answer
