from __future__ import annotations

import time

import pytest
import requests

from airflow_provider_imagetasks.local import LocalImageService

NOWHERE = "https://callback.invalid/"


def test_asynchronous_alone_is_ignored_and_the_request_is_held(make_tasks_api):
    with LocalImageService(latency=0.2) as service:
        client = make_tasks_api(f"{service.url}/xhuoapi/v1")
        started = time.monotonic()
        answer = client.submit("a red kite").json()
        assert time.monotonic() - started >= 0.2
        assert requests.get(answer["data"][0]["url"], timeout=10).ok
        assert client.record(answer["task_id"]) == {}
        assert client.batch(ids=[answer["task_id"]])["count"] == 0


def test_a_callback_url_makes_a_task_and_a_stranger_gets_no_callback(service, xhuoapi):
    response = xhuoapi.submit("a red kite", callback_url=NOWHERE)
    assert list(response.json()) == ["task_id"]
    assert xhuoapi.record(response.json()["task_id"])["response"]["success"] is True
    assert service.stats()["callbacks"]["not_sent"] == 1


@pytest.mark.parametrize("prompt", ["a kite", "a kite [never]", "a kite [fail]"])
def test_records_have_the_older_times(xhuoapi, prompt):
    record = xhuoapi.record(xhuoapi.submitted(prompt, callback_url=NOWHERE))
    assert "duration" in record
    assert not {"started_at", "elapsed"} & set(record)
    assert (record["duration"] is None) is ("never" in prompt)


def test_in_a_batch_good_responses_do_not_say_success(xhuoapi):
    good, running, bad = (
        xhuoapi.submitted(prompt, callback_url=NOWHERE) for prompt in ("a kite", "a kite [never]", "a kite [fail]")
    )
    responses = {item["id"]: item["response"] for item in xhuoapi.batch(ids=[good, running, bad])["items"]}
    assert "success" not in responses[good]
    assert responses[good]["data"][0]["url"]
    assert "success" not in responses[running]
    assert responses[bad]["success"] is False


def test_errors_are_those_of_the_family(xhuoapi):
    for prompt, status, code in (("a kite [refuse]", 403, "forbidden"), ("a kite [no-credit]", 403, "used_up")):
        response = xhuoapi.submit(prompt, callback_url=NOWHERE)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert xhuoapi.submit("a kite [refuse-late]").status_code == 403
    assert xhuoapi.submit("a kite [fail]").status_code == 500


def test_the_dialects_do_not_see_each_others_tasks(tasks_api, xhuoapi):
    assert xhuoapi.record(tasks_api.submitted("a red kite")) == {}
