from __future__ import annotations

import base64
import hashlib
import hmac
import math
import queue
import time
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from airflow_provider_imagetasks.local import LocalImageService, task_table
from airflow_provider_imagetasks.local.dialects import kie_dialect
from airflow_provider_imagetasks.local.dialects.kie_dialect import KieDialect
from airflow_provider_imagetasks.local.options import ServiceOptions
from airflow_provider_imagetasks.local.service_state import ServiceState
from airflow_provider_imagetasks.local.task_table import TaskRecord
from tests.local.clients import Client, JobsApiClient, picture_at

NO_RECORD = {"code": 422, "msg": "recordInfo is null", "data": None}
PICTURE = "https://example.com/a.png"
ASKED: dict[str, tuple[str, dict[str, Any], int]] = {
    "4o-image": ("gpt4o-image", {"prompt": "a kite", "size": "3:2", "nVariants": 2}, 2),
    "flux-kontext": ("flux/kontext", {"prompt": "a kite", "model": "flux-kontext-pro", "aspectRatio": "16:9"}, 1),
    "mj": ("mj", {"prompt": "a kite", "taskType": "mj_txt2img"}, 4),
}
EACH = pytest.mark.parametrize(
    ("family", "path", "body", "count"), [(family, *asked) for family, asked in ASKED.items()], ids=ASKED
)


def test_the_first_status_query_finds_nothing_yet_and_an_unknown_id_looks_the_same_for_ever(service, kie):
    answer = kie.submit("a red kite").json()
    assert (answer["code"], answer["msg"]) == (200, "success")
    task_id = answer["data"]["taskId"]
    assert kie.query(task_id).json() == NO_RECORD
    record = kie.record(task_id)
    assert (record["state"], record["failCode"], record["failMsg"], record["creditsConsumed"]) == ("success", "", "", 6)
    assert record["createTime"] <= record["updateTime"] == record["completeTime"]
    assert len(kie.urls(task_id)) == 1
    assert [kie.query("nobody-knows-it").json() for _ in range(3)] == [NO_RECORD] * 3
    counts = service.stats()["dialects"]["kie"]
    assert (counts["status_queries"], counts["not_found"]) == (6, 4)


def test_the_delay_of_records_can_be_set_switched_off_and_asked_for(start):
    client = JobsApiClient(f"{start(record_delay=0).url}/kie")
    assert client.record(client.submitted("a red kite"))["state"] == "success"
    delayed = JobsApiClient(f"{start(latency=60, record_delay=0.2).url}/kie")
    for late in (client, "a red kite [late-record=0.2]"), (delayed, "a red kite"):
        started = time.monotonic()
        task_id = late[0].submitted(late[1])
        while late[0].query(task_id).json() == NO_RECORD:
            pass
        assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize(
    ("latency", "age", "state"),
    [
        *((8, 0, "waiting"), (8, 3, "queuing"), (8, 6, "generating")),
        *((3600, 3, "queuing"), (3600, 60, "generating"), (math.inf, 0, "waiting")),
    ],
)
def test_a_running_picture_goes_through_all_states(latency, age, state, monkeypatch):
    asked = {"dialect": "kie", "prompt": "a kite", "model": "m", "kind": "generation", "request": {"input": {}}}
    accepted = time.monotonic()
    for module in (kie_dialect, task_table):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: accepted + age, time=time.time))
    task = TaskRecord(**asked, bearer=None, size=(16, 16), latency=latency, accepted=accepted)
    record = KieDialect(ServiceState(ServiceOptions())).record(task, "http://127.0.0.1:1")
    assert (record["state"], record["failCode"], record["failMsg"], record["completeTime"]) == (state, "", "", None)
    assert "resultJson" not in record


@pytest.mark.parametrize(
    ("directive", "code"), [("[fail]", "501"), ("[refuse-late]", "400"), ("[refuse-late=550]", "550")]
)
def test_a_failure_is_told_in_the_record(kie, directive, code):
    task_id = kie.submitted(f"a kite {directive}")
    kie.query(task_id)
    record = kie.record(task_id)
    assert (record["state"], record["failCode"], record["costTime"]) == ("fail", code, None)
    assert (bool(record["failMsg"]), record["creditsConsumed"], "resultJson" in record) == (True, 0, False)


def test_errors_of_status_queries_come_in_http_200(kie):
    task_id = kie.submitted("a kite [poll-429=1] [poll-500=1,status=455] [poll-html=1,status=502]")
    assert kie.query(task_id).json() == NO_RECORD
    responses = [kie.query(task_id) for _ in range(4)]
    assert [response.status_code for response in responses] == [200, 200, 502, 200]
    assert [responses[number].json()["code"] for number in (0, 1, 3)] == [429, 455, 200]


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"aspect_ratio": "1:1", "resolution": "4K"}, 422),
        ({"aspect_ratio": "auto", "resolution": "2K"}, 422),
        ({"aspect_ratio": "4:3", "resolution": "4K"}, 200),
        ({"prompt": ""}, 422),
        ({"callback": 5}, 400),
    ],
)
def test_what_a_request_asks_for_is_checked_as_at_kie(kie, order, code):
    assert kie.submit(**{"prompt": "a kite", **order}).json()["code"] == code


@pytest.mark.parametrize(
    "agent", [None, "", "Python-urllib/3.13", "python-requests/2.32.5", "Python/3.13 aiohttp/3.14.5"]
)
def test_clients_that_do_not_say_who_they_are_are_turned_away(service, agent):
    headers = {"User-Agent": requests.utils.default_user_agent() if agent is None else agent}
    for method, path in (("POST", "jobs/createTask"), ("GET", "jobs/recordInfo"), ("GET", "chat/credit")):
        response = requests.request(method, f"{service.url}/kie/api/v1/{path}", json={}, headers=headers, timeout=10)
        assert (response.status_code, response.text) == (403, "error code: 1010")
    counts = service.stats()["dialects"]["kie"]
    assert (counts["refused"], counts["queries_refused"]) == ({"1010": 1}, {"1010": 1})


def test_the_balance_can_be_asked_for_with_a_good_key(start):
    service = start(api_keys=["good"])
    good, bad = (JobsApiClient(f"{service.url}/kie", key) for key in ("good", "bad"))
    assert good.request("GET", "/api/v1/chat/credit").json() == {"code": 200, "msg": "success", "data": 1000}
    response = bad.request("GET", "/api/v1/chat/credit")
    assert (response.status_code, response.json()["code"], bad.submit("a kite").json()["code"]) == (200, 401, 401)
    assert service.stats()["dialects"]["kie"]["credit_queries"] == 2


def test_a_callback_carries_the_record_and_a_signature_of_id_and_time(start, receiver):
    url, received = receiver
    task_id = JobsApiClient(f"{start(webhook_secret='hush').url}/kie").submitted("a red kite", callback=url)
    body, headers = received.get(timeout=30)
    assert (body["code"], body["data"]["taskId"], body["data"]["state"]) == (200, task_id, "success")
    assert body["data"]["consumeCredits"] == 6
    timestamp = headers["X-Webhook-Timestamp"]
    assert abs(int(timestamp) - time.time()) < 60
    expected = hmac.new(b"hush", f"{task_id}.{timestamp}".encode(), hashlib.sha256).digest()
    assert base64.b64decode(headers["X-Webhook-Signature"]) == expected


def test_a_callback_about_a_failure_is_not_signed_without_a_secret(kie, receiver):
    url, received = receiver
    kie.submitted("a red kite [fail]", callback=url)
    body, headers = received.get(timeout=30)
    assert (body["code"], body["data"]["state"], body["data"]["failCode"]) == (501, "fail", "501")
    assert "X-Webhook-Signature" not in headers


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
    called_back, _headers = received.get(timeout=30)

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
