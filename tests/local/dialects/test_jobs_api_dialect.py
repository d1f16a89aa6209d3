from __future__ import annotations

import json

import pytest

from tests.local.clients import JobsApiClient, picture_at, seen


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
    (url,) = client.urls(task_id)
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
    (url,) = jobs_api.urls(jobs_api.submitted("a red kite", **order))
    assert picture_at(url).size == size


def test_a_failure_is_told_in_the_record_of_a_good_answer_and_an_unknown_id_is_a_404(jobs_api):
    response = jobs_api.query(jobs_api.submitted("a red kite [fail=501]"))
    record = response.json()["data"]
    assert (response.status_code, response.json()["code"]) == (200, 200)
    assert (record["state"], record["failCode"], record["resultJson"]) == ("fail", "501", None)
    assert record["failMsg"]
    response = jobs_api.query("nobody-knows-it")
    assert (response.status_code, response.json()["code"], response.json()["data"]) == (404, 404, None)


def test_the_same_request_id_of_a_key_gets_the_same_image_task_even_after_a_cut(service, jobs_api):
    assert seen(lambda: jobs_api.submit("a red kite [cut-after]", request_id="r-1")) == "cut"
    again = jobs_api.submitted("a red kite [cut-after]", request_id="r-1")
    assert jobs_api.submitted("something else", request_id="r-1") == again
    assert jobs_api.submitted("a red kite", request_id="r-2") != again
    assert JobsApiClient(jobs_api.url, "another key").submitted("a red kite", request_id="r-1") != again
    counts = service.stats()["dialects"]["aigptimage"]
    assert (counts["submissions"], counts["created"], counts["duplicates"]) == (5, 3, 2)
    assert [task.request_id for task in service.tasks] == ["r-1", "r-2", "r-1"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        *((body, 400) for body in ({"input": {"prompt": "x"}}, {"model": "m"}, [])),
        *(({"model": "m", "input": order}, 422) for order in ({}, {"prompt": "x" * 20_001})),
        *(({"model": "m", "input": {"prompt": "x", "resolution": value}}, 422) for value in ("8K", ["1K"])),
        ({"model": "m", "input": {"prompt": "x", "aspect_ratio": "5:1"}}, 422),
    ],
)
def test_an_invalid_submission_is_refused_in_the_envelope(service, jobs_api, body, code):
    response = jobs_api.request("POST", "/api/v1/jobs/createTask", json=body)
    assert (response.status_code, response.json()["code"]) == (code, code)
    assert service.tasks == []


def test_submissions_beyond_the_create_limit_are_told_when_to_come_back(start):
    service = start(create_limit="2/60s", api_keys=["one", "two"])
    client, other = (JobsApiClient(f"{service.url}/aigptimage", key) for key in ("one", "two"))
    assert [client.submit("a kite").status_code for _ in range(3)] == [200, 200, 429]
    response = client.submit("a kite")
    wait = int(response.headers["Retry-After"])
    assert 30 <= wait <= 60
    assert response.json()["data"] == {"retryAfter": wait, "limit": 2, "tier": "local", "windowSeconds": 60}
    assert other.submit("a kite").status_code == 200
    stranger = JobsApiClient(client.url, "three")
    assert [answer.json()["code"] for answer in (stranger.submit("a kite"), stranger.query("x"))] == [401, 401]
    assert service.stats()["dialects"]["aigptimage"]["refused"] == {"429": 2, "401": 1}
