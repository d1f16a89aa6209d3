from __future__ import annotations

import json

import pytest
import requests

from tests.local.clients import JobsApiClient, picture_at


def result_urls(record):
    return json.loads(record["resultJson"])["resultUrls"]


def test_a_picture_goes_from_waiting_to_success(start):
    client = JobsApiClient(f"{start(latency=0.15).url}/aigptimage")
    answer = client.submit("a red kite").json()
    assert (answer["code"], answer["msg"], list(answer["data"])) == (200, "success", ["taskId"])
    task_id = answer["data"]["taskId"]
    record = client.record(task_id)
    assert record["state"] == "waiting"
    assert [record[key] for key in ("resultJson", "failCode", "failMsg", "costTime", "completeTime")] == [None] * 5
    while (record := client.record(task_id))["state"] == "waiting":
        pass
    assert (record["state"], record["costTime"]) == ("success", 150)
    assert record["completeTime"] - record["createTime"] in (150, 151)
    assert json.loads(record["param"])["input"] == {"prompt": "a red kite"}
    (url,) = result_urls(record)
    assert picture_at(url).format == "PNG"


@pytest.mark.parametrize(
    ("order", "size"),
    [
        ({}, (1024, 1024)),
        ({"aspect_ratio": "16:9"}, (1024, 576)),
        ({"aspect_ratio": "2:3", "resolution": "1K"}, (688, 1024)),
        ({"aspect_ratio": "21:9", "resolution": "2K"}, (2048, 880)),
    ],
)
def test_aspect_ratio_and_resolution_decide_the_size(jobs_api, order, size):
    (url,) = result_urls(jobs_api.record(jobs_api.submitted("a red kite", **order)))
    assert picture_at(url).size == size


def test_a_failure_is_told_in_the_record_of_a_good_answer(jobs_api):
    response = jobs_api.query(jobs_api.submitted("a red kite [fail=501]"))
    assert (response.status_code, response.json()["code"]) == (200, 200)
    record = response.json()["data"]
    assert (record["state"], record["failCode"], record["resultJson"]) == ("fail", "501", None)
    assert record["failMsg"]


def test_an_unknown_id_is_a_404(jobs_api):
    response = jobs_api.query("nobody-knows-it")
    assert (response.status_code, response.json()["code"], response.json()["data"]) == (404, 404, None)


def test_the_same_request_id_gets_the_same_task_even_after_a_cut(service, jobs_api):
    with pytest.raises(requests.ConnectionError):
        jobs_api.submit("a red kite [cut-after]", request_id="r-1")
    again = jobs_api.submitted("a red kite [cut-after]", request_id="r-1")
    assert jobs_api.submitted("something else", request_id="r-1") == again
    assert jobs_api.submitted("a red kite", request_id="r-2") != again
    counts = service.stats()["dialects"]["aigptimage"]
    assert (counts["submissions"], counts["created"], counts["duplicates"]) == (4, 2, 2)
    assert [task.request_id for task in service.tasks] == ["r-1", "r-2"]


def test_the_same_request_id_of_another_key_is_another_task(service):
    first, second = (JobsApiClient(f"{service.url}/aigptimage", key) for key in ("one", "two"))
    assert first.submitted("a red kite", request_id="r-1") != second.submitted("a red kite", request_id="r-1")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"input": {"prompt": "x"}}, 400),
        ({"model": "m"}, 400),
        ([], 400),
        ({"model": "m", "input": {}}, 422),
        ({"model": "m", "input": {"prompt": "x" * 20_001}}, 422),
        ({"model": "m", "input": {"prompt": "x", "aspect_ratio": "5:1"}}, 422),
        ({"model": "m", "input": {"prompt": "x", "resolution": "8K"}}, 422),
        ({"model": "m", "input": {"prompt": "x", "resolution": ["1K"]}}, 422),
    ],
)
def test_an_invalid_submission_is_refused_in_the_envelope(service, jobs_api, body, code):
    response = jobs_api.request("POST", "/api/v1/jobs/createTask", json=body)
    assert (response.status_code, response.json()["code"]) == (code, code)
    assert service.tasks == []


def test_a_wrong_key_is_a_401(start):
    url = f"{start(api_keys=['one']).url}/aigptimage"
    for client in (JobsApiClient(url), JobsApiClient(url, "two")):
        assert client.submit("a kite").status_code == 401
        assert client.query("x").json()["code"] == 401
    assert JobsApiClient(url, "one").submit("a kite").status_code == 200


def test_submissions_beyond_the_create_limit_are_told_when_to_come_back(start):
    service = start(create_limit="2/60s")
    client, other = (JobsApiClient(f"{service.url}/aigptimage", key) for key in ("one", "two"))
    assert [client.submit("a kite").status_code for _ in range(3)] == [200, 200, 429]
    response = client.submit("a kite")
    wait = int(response.headers["Retry-After"])
    assert 55 <= wait <= 60
    assert response.json()["data"] == {"retryAfter": wait, "limit": 2, "tier": "local", "windowSeconds": 60}
    assert other.submit("a kite").status_code == 200
    assert service.stats()["dialects"]["aigptimage"]["refused"] == {"429": 2}
