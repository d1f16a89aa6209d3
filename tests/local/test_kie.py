from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import pytest
import requests

from airflow_provider_imagetasks.local import LocalImageService

NO_RECORD = {"code": 422, "msg": "recordInfo is null", "data": None}


def finished(client, task_id):
    assert client.query(task_id).json() == NO_RECORD
    return client.record(task_id)


def test_the_first_status_query_finds_nothing_yet(service, kie):
    answer = kie.submit("a red kite").json()
    assert (answer["code"], answer["msg"]) == (200, "success")
    task_id = answer["data"]["taskId"]
    response = kie.query(task_id)
    assert (response.status_code, response.json()) == (200, NO_RECORD)
    assert kie.record(task_id)["state"] == "success"
    counts = service.stats()["dialects"]["kie"]
    assert (counts["status_queries"], counts["not_found"]) == (2, 1)


def test_an_unknown_id_looks_the_same_for_ever(kie):
    assert [kie.query("nobody-knows-it").json() for _ in range(3)] == [NO_RECORD] * 3


def test_a_picture_goes_through_all_states(make_jobs_api):
    with LocalImageService(latency=0.4, record_delay=0.05) as service:
        client = make_jobs_api(f"{service.url}/kie")
        started = time.monotonic()
        task_id = client.submitted("a red kite")
        seen, records = [], []
        while not records or records[-1]["state"] != "success":
            data = client.query(task_id).json()["data"]
            if data is not None:
                records.append(data)
            state = None if data is None else data["state"]
            if [state] != seen[-1:]:
                assert state is None or time.monotonic() - started >= 0.05
                seen.append(state)
    assert seen == [None, "waiting", "queuing", "generating", "success"]
    for record in records[:-1]:
        assert "resultJson" not in record
        assert (record["failCode"], record["failMsg"], record["completeTime"]) == ("", "", None)
    last = records[-1]
    assert (last["failCode"], last["failMsg"], last["costTime"]) == ("", "", 400)
    assert last["createTime"] <= last["updateTime"] == last["completeTime"]
    assert last["creditsConsumed"] == 6
    assert len(json.loads(last["resultJson"])["resultUrls"]) == 1


def test_the_delay_of_records_can_be_switched_off_or_asked_for(make_jobs_api):
    with LocalImageService(latency=0, record_delay=0) as service:
        client = make_jobs_api(f"{service.url}/kie")
        assert client.record(client.submitted("a red kite"))["state"] == "success"
        late = client.submitted("a red kite [late-record=0.1]")
        assert client.query(late).json() == NO_RECORD
        time.sleep(0.1)
        assert client.record(late)["state"] == "success"


def test_a_failure_is_told_in_the_record(kie):
    record = finished(kie, kie.submitted("a kite [fail]"))
    assert (record["state"], record["failCode"], record["costTime"]) == ("fail", "501", None)
    assert record["failMsg"]
    assert record["creditsConsumed"] == 0
    assert "resultJson" not in record
    assert finished(kie, kie.submitted("a kite [refuse-late]"))["failCode"] == "400"
    assert finished(kie, kie.submitted("a kite [refuse-late=550]"))["failCode"] == "550"


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("a kite [expired-key]", 401),
        ("a kite [no-credit]", 402),
        ("a kite [429]", 429),
        ("a kite [refuse]", 400),
        ("a kite [500]", 500),
        *((f"a kite [error-in-200={code}]", code) for code in (422, 433, 451, 501, 505)),
        ("a kite [500,status=455]", 455),
    ],
)
def test_errors_of_submissions_come_in_http_200(service, kie, prompt, code):
    response = kie.submit(prompt)
    assert (response.status_code, response.json()["code"]) == (200, code)
    assert response.json().get("data") is None
    assert "Retry-After" not in response.headers
    assert service.tasks == []
    assert service.stats()["dialects"]["kie"]["refused"] == {str(code): 1}


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
def test_orders_are_checked(kie, order, code):
    order = {"prompt": "a kite", **order}
    assert kie.submit(**order).json()["code"] == code


@pytest.mark.parametrize(
    "agent", [None, "", "Python-urllib/3.13", "python-requests/2.32.5", "Python/3.13 aiohttp/3.14.5"]
)
def test_clients_that_do_not_say_who_they_are_are_turned_away(service, agent):
    headers = {"User-Agent": agent or "", "Authorization": "Bearer key"}
    if agent is None:
        headers["User-Agent"] = requests.utils.default_user_agent()
    for method, path in (
        ("POST", "/api/v1/jobs/createTask"),
        ("GET", "/api/v1/jobs/recordInfo"),
        ("GET", "/api/v1/chat/credit"),
    ):
        response = requests.request(method, f"{service.url}/kie{path}", json={}, headers=headers, timeout=10)
        assert (response.status_code, response.text) == (403, "error code: 1010")
    counts = service.stats()["dialects"]["kie"]
    assert (counts["refused"], counts["queries_refused"]) == ({"1010": 1}, {"1010": 1})


def test_the_balance_can_be_asked_for_with_a_good_key(make_jobs_api):
    with LocalImageService(latency=0, api_keys=["good"]) as service:

        def credit(key):
            headers = {"User-Agent": "tests/1", "Authorization": f"Bearer {key}"}
            return requests.get(f"{service.url}/kie/api/v1/chat/credit", headers=headers, timeout=10)

        assert credit("good").json() == {"code": 200, "msg": "success", "data": 1000}
        response = credit("bad")
        assert response.status_code == 200
        assert response.json() == {"code": 401, "msg": "You do not have access permissions"}
        assert make_jobs_api(f"{service.url}/kie", "bad").submit("a kite").json()["code"] == 401
        assert service.stats()["dialects"]["kie"]["credit_queries"] == 2


def test_a_request_id_is_ignored(service, kie):
    first = kie.submitted("a red kite", request_id="r-1")
    assert kie.submitted("a red kite", request_id="r-1") != first
    counts = service.stats()["dialects"]["kie"]
    assert (counts["created"], counts["duplicates"]) == (2, 0)


def test_submissions_are_limited_only_if_that_is_asked_for(make_jobs_api):
    with LocalImageService(latency=0, create_limit="2/60s") as service:
        client = make_jobs_api(f"{service.url}/kie")
        assert [client.submit("a kite").json()["code"] for _ in range(3)] == [200, 200, 429]


def test_a_callback_carries_the_record_and_a_signature_of_id_and_time(make_jobs_api, receiver):
    url, received = receiver
    with LocalImageService(latency=0, webhook_secret="hush") as service:
        client = make_jobs_api(f"{service.url}/kie")
        task_id = client.submitted("a red kite", callback=url)
        body, headers = received.get(timeout=5)
        assert (body["code"], body["data"]["taskId"], body["data"]["state"]) == (200, task_id, "success")
        assert body["data"]["consumeCredits"] == 6
        timestamp = headers["X-Webhook-Timestamp"]
        assert abs(int(timestamp) - time.time()) < 5
        expected = hmac.new(b"hush", f"{task_id}.{timestamp}".encode(), hashlib.sha256).digest()
        assert base64.b64decode(headers["X-Webhook-Signature"]) == expected


def test_a_callback_about_a_failure_is_not_signed_without_a_secret(service, kie, receiver):
    url, received = receiver
    kie.submitted("a red kite [fail]", callback=url)
    body, headers = received.get(timeout=5)
    assert (body["code"], body["data"]["state"], body["data"]["failCode"]) == (501, "fail", "501")
    assert "X-Webhook-Signature" not in headers
    kie.submitted("a red kite", callback="https://callback.invalid/")
    assert service.stats()["callbacks"]["not_sent"] == 1
