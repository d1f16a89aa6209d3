from __future__ import annotations

import threading
import time

import pytest
import requests

from airflow_provider_imagetasks.local import LocalImageService
from tests.local.clients import JobsApiClient, TasksApiClient, seen


def test_it_stops_quickly_even_while_requests_hang():
    service = LocalImageService(latency=0)
    service.start()
    url = service.url
    client, found = JobsApiClient(f"{url}/aigptimage"), []

    def hang():
        found.append(seen(lambda: client.submit("a kite [hang-after]", timeout=100)))

    thread = threading.Thread(target=hang)
    thread.start()
    while not service.tasks:
        pass
    stopping = time.monotonic()
    service.stop()
    thread.join()
    assert found == ["cut"]
    assert time.monotonic() - stopping < 30
    with pytest.raises(RuntimeError, match="not running"):
        _ = service.url
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/health", timeout=1)
    service.stop()


def test_statistics_count_what_came_in(service, tasks_api):
    first = tasks_api.submitted("a kite", trace_id="t-1")
    tasks_api.submit("a kite [refuse]")
    tasks_api.record(first)
    tasks_api.batch(ids=[first, "unknown"], limit=2)
    stats = requests.get(f"{service.url}/stats", timeout=10).json()
    assert stats == service.stats()
    counts = {"submissions": 2, "created": 1, "status_queries": 2, "batch_queries": 1, "ids_queried": 3, "not_found": 1}
    nothing = {"edits": 0, "duplicates": 0, "queries_refused": {}, "credit_queries": 0, "cancelled": 0}
    assert stats["dialects"]["acedatacloud"] == {**counts, **nothing, "refused": {"forbidden": 1}}
    (created,) = stats["created"]
    assert (created["id"], created["trace_id"], created["dialect"]) == (first, "t-1", "acedatacloud")
    assert service.tasks[0].status_queries == 2


def test_counts_can_be_reset_without_forgetting_the_tasks(service, tasks_api):
    running = tasks_api.submitted("a kite [never]")
    stats = requests.post(f"{service.url}/stats/reset", timeout=10).json()
    assert stats["dialects"]["acedatacloud"]["created"] == 0
    assert (stats["active_tasks"], stats["peak_active_tasks"]) == (1, 1)
    assert tasks_api.record(running)["id"] == running
    service.reset()
    assert service.tasks == []
    assert service.stats()["active_tasks"] == 0


def test_active_tasks_and_status_queries_can_be_limited(start):
    service = start(latency=60, max_active=2, query_limit="1/60s")
    client = JobsApiClient(f"{service.url}/aigptimage")
    answers = [client.submit(f"a kite{latency}") for latency in ("", "", "", " [latency=0]")]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert 30 <= int(answers[2].headers["Retry-After"]) <= 60
    stats = service.stats()
    assert (stats["active_tasks"], stats["peak_active_tasks"]) == (2, 2)
    assert [client.query("x").status_code for _ in range(2)] == [404, 429]
    assert service.stats()["dialects"]["aigptimage"]["queries_refused"] == {"429": 1}


def test_only_so_many_tasks_are_remembered(start):
    service = start(keep_tasks=2)
    client = TasksApiClient(f"{service.url}/acedatacloud")
    jobs = JobsApiClient(f"{service.url}/aigptimage")
    oldest = jobs.submitted("a kite [never]", request_id="r-1")
    client.submitted("one", trace_id="t")
    client.submitted("two", trace_id="t")
    assert jobs.query(oldest).status_code == 404
    assert service.stats()["active_tasks"] == 0
    assert jobs.submitted("a kite", request_id="r-1") != oldest
    assert [item["request"]["prompt"] for item in client.batch(trace_ids=["t"])["items"]] == ["two"]
