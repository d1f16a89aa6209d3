from __future__ import annotations

import pytest

from airflow_provider_imagetasks.local.callback_sender import is_loopback


def test_a_callback_tells_the_result_and_makes_the_request_asynchronous(tasks_api, receiver):
    url, received = receiver
    task_id = tasks_api.submitted("a kite [latency=0.05]", callback_url=url, trace_id="t-1", **{"async": False})
    body, _ = received.get(timeout=5)
    assert (body["success"], body["task_id"], body["trace_id"]) == (True, task_id, "t-1")
    assert body["data"] == tasks_api.record(task_id)["response"]


def test_a_callback_tells_a_failure(tasks_api, receiver):
    url, received = receiver
    tasks_api.submitted("a kite [fail=bad_request]", callback_url=url)
    body, _ = received.get(timeout=5)
    assert body["success"] is False
    assert body["error"]["code"] == "bad_request"


def test_no_callback_leaves_this_machine(service, tasks_api):
    tasks_api.submitted("a kite", callback_url="https://callback.invalid/")
    assert service.stats()["callbacks"] == {"sent": 0, "failed": 0, "not_sent": 1}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8080/x", True),
        ("http://127.9.9.9/", True),
        ("https://[::1]/", True),
        ("http://localhost/", True),
        ("http://localhost.example.com/", False),
        ("http://127.0.0.1@example.com/", False),
        ("http://192.168.0.1/", False),
        ("http://0.0.0.0/", False),
        ("file:///etc/hosts", False),
        ("http://[::1", False),
        ("http://127.0.0.1:99999/", False),
        ("", False),
    ],
)
def test_only_loopback_addresses_count_as_this_machine(url, expected):
    assert is_loopback(url) is expected


def test_an_image_task_that_is_ended_before_its_time_is_called_back_at_once(service, tasks_api, receiver):
    url, received = receiver
    task_id = tasks_api.submitted("a slow kite [latency=3600]", callback_url=url)
    service.finish(["a kite", "a slow kite [latency=3600]"])
    body, _ = received.get(timeout=5)
    assert body["task_id"] == task_id
    assert service.tasks[0].finished
