from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import requests

from airflow_provider_imagetasks.local import LocalImageService
from airflow_provider_imagetasks.local.__main__ import main
from airflow_provider_imagetasks.local.options import Latency, RateLimit, ServiceOptions


def test_the_package_does_not_need_airflow():
    code = "import sys, airflow_provider_imagetasks.local.__main__; print('airflow' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"


def test_it_starts_and_stops_quickly_even_while_requests_hang():
    started = time.monotonic()
    service = LocalImageService(latency=0)
    service.start()
    url = service.url
    body = {"model": "m", "input": {"prompt": "a kite [hang-after]"}}
    failed = threading.Event()

    def hang():
        try:
            requests.post(f"{url}/aigptimage/api/v1/jobs/createTask", json=body, timeout=10)
        except requests.ConnectionError:
            failed.set()

    thread = threading.Thread(target=hang)
    thread.start()
    while not service.tasks:
        pass
    service.stop()
    thread.join()
    assert failed.is_set()
    assert time.monotonic() - started < 2
    with pytest.raises(RuntimeError, match="not running"):
        _ = service.url
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/health", timeout=1)
    service.stop()


def test_it_can_be_started_again():
    service = LocalImageService(latency=0)
    for _ in range(2):
        with service:
            assert requests.get(f"{service.url}/health", timeout=10).json()["status"] == "ok"


def test_a_port_in_use_is_an_error_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="address"), LocalImageService(port=taken.getsockname()[1]):
            pass


def test_statistics_count_what_came_in(service, tasks_api):
    first = tasks_api.submitted("a kite", trace_id="t-1")
    tasks_api.submit("a kite [refuse]")
    tasks_api.record(first)
    tasks_api.batch(ids=[first, "unknown"], limit=2)
    stats = requests.get(f"{service.url}/stats", timeout=10).json()
    assert stats == service.stats()
    assert stats["dialects"]["acedatacloud"] == {
        "submissions": 2,
        "created": 1,
        "edits": 0,
        "duplicates": 0,
        "refused": {"forbidden": 1},
        "status_queries": 2,
        "batch_queries": 1,
        "ids_queried": 3,
        "not_found": 1,
        "queries_refused": {},
        "credit_queries": 0,
    }
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


def test_active_tasks_are_counted_and_limited(make_jobs_api):
    with LocalImageService(latency=60, max_active=2) as service:
        client = make_jobs_api(f"{service.url}/aigptimage")
        answers = [client.submit("a kite") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 58 <= int(answers[2].headers["Retry-After"]) <= 60
        assert client.submit("a kite [latency=0]").status_code == 429
        stats = service.stats()
        assert (stats["active_tasks"], stats["peak_active_tasks"]) == (2, 2)


def test_status_queries_can_be_limited(make_tasks_api):
    with LocalImageService(latency=0, query_limit="1/60s") as service:
        client = make_tasks_api(f"{service.url}/acedatacloud")
        assert [client.query(id="x").status_code for _ in range(2)] == [200, 429]
        assert service.stats()["dialects"]["acedatacloud"]["queries_refused"] == {"too_many_requests": 1}


def test_only_so_many_tasks_are_remembered(make_tasks_api, make_jobs_api):
    with LocalImageService(latency=0, keep_tasks=2) as service:
        client = make_tasks_api(f"{service.url}/acedatacloud")
        jobs = make_jobs_api(f"{service.url}/aigptimage")
        oldest = jobs.submitted("a kite [never]", request_id="r-1")
        client.submitted("one", trace_id="t")
        client.submitted("two", trace_id="t")
        assert jobs.query(oldest).status_code == 404
        assert service.stats()["active_tasks"] == 0
        assert jobs.submitted("a kite", request_id="r-1") != oldest
        assert [item["request"]["prompt"] for item in client.batch(trace_ids=["t"])["items"]] == ["two"]


def test_rates_hit_their_share_and_the_same_prompts_every_time(make_tasks_api):
    def outcomes(seed):
        rates = {"fail_rate": 0.3, "refuse_rate": 0.3, "rate_limit_rate": 0.2}
        with LocalImageService(latency=0, seed=seed, **rates) as service:
            client = make_tasks_api(f"{service.url}/acedatacloud")
            codes = [client.submit(f"kite {number}").status_code for number in range(80)]
            return codes, [task.failed for task in service.tasks]

    codes, failed = outcomes(1)
    assert (codes, failed) == outcomes(1)
    assert codes != outcomes(2)[0]
    assert {code: codes.count(code) > 5 for code in (200, 403, 429)} == {200: True, 403: True, 429: True}
    assert 0.1 < sum(failed) / len(failed) < 0.5


def test_a_latency_can_be_a_range():
    options = ServiceOptions(latency=Latency.parse("1-4"))
    drawn = [options.latency_of(f"kite {number}", 0) for number in range(50)]
    assert all(1 <= latency < 4 for latency in drawn)
    assert max(drawn) - min(drawn) > 1
    assert options.latency_of("kite 0", 0) == drawn[0]


@pytest.mark.parametrize("notation", ["", "-1", "4-1", "nan", "inf", "1-2-3", "soon"])
def test_a_latency_that_makes_no_sense_is_refused(notation):
    with pytest.raises(ValueError, match="latency"):
        Latency.parse(notation)


@pytest.mark.parametrize("notation", ["", "20", "0/1s", "20/0s", "a/b", "-1/1s"])
def test_a_rate_limit_that_makes_no_sense_is_refused(notation):
    with pytest.raises(ValueError, match="rate limit"):
        RateLimit.parse(notation)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_command_announces_its_url_and_stops_at_a_signal(stop):
    command = [sys.executable, "-m", "airflow_provider_imagetasks.local", "--port", "0", "--latency", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        url = line.removeprefix("Local image service on ").split()[0]
        assert "double" in line
        assert requests.get(f"{url}/health", timeout=10).ok
        process.send_signal(stop)
        assert process.wait(timeout=5) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--latency", "soon"],
        ["--create-limit", "20"],
        ["--fail-rate", "2"],
        ["--record-delay", "-1"],
        ["--webhook-secret", ""],
    ],
)
def test_the_command_refuses_options_that_make_no_sense(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "imagetasks-local: error:" in capsys.readouterr().err


def test_the_command_says_when_the_port_is_taken(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["--port", str(taken.getsockname()[1])]) == 1
    assert "cannot serve on 127.0.0.1" in capsys.readouterr().err
