from __future__ import annotations

import pytest

from airflow_provider_imagetasks.local.callback_sender import is_loopback


def test_a_callback_tells_the_result_or_failure_and_makes_the_request_asynchronous(tasks_api, receiver):
    url, received = receiver
    task_id = tasks_api.submitted("a kite [latency=0.05]", callback_url=url, trace_id="t-1", **{"async": False})
    body, _ = received.get(timeout=30)
    assert (body["success"], body["task_id"], body["trace_id"]) == (True, task_id, "t-1")
    assert body["data"] == tasks_api.record(task_id)["response"]
    tasks_api.submitted("a kite [fail=bad_request]", callback_url=url)
    body, _ = received.get(timeout=30)
    assert (body["success"], body["error"]["code"]) == (False, "bad_request")


def test_no_callback_leaves_this_machine(service, tasks_api):
    tasks_api.submitted("a kite", callback_url="https://callback.invalid/")
    assert service.stats()["callbacks"] == {"sent": 0, "failed": 0, "not_sent": 1}


HERE = ["http://127.0.0.1:8080/x", "http://127.9.9.9/", "https://[::1]/", "http://localhost/"]
ELSEWHERE = ["http://localhost.example.com/", "http://127.0.0.1@example.com/", "http://192.168.0.1/"]
NOWHERE = ["http://0.0.0.0/", "file:///etc/hosts", "http://[::1", "http://127.0.0.1:99999/", ""]


@pytest.mark.parametrize("url", HERE + ELSEWHERE + NOWHERE)
def test_only_loopback_addresses_count_as_this_machine(url):
    assert is_loopback(url) is (url in HERE)


def test_an_image_task_that_is_ended_before_its_time_is_called_back_at_once(service, tasks_api, receiver):
    url, received = receiver
    task_id = tasks_api.submitted("a slow kite [latency=3600]", callback_url=url)
    service.finish(["a kite", "a slow kite [latency=3600]"])
    assert received.get(timeout=30)[0]["task_id"] == task_id
    assert service.tasks[0].finished
