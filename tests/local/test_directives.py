from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path

import pytest
import requests

from airflow_provider_imagetasks.local.directives import DIRECTIVES, Behaviours, Occurrences

USER_PAGE = Path(__file__).parents[2] / "docs" / "local-service.md"


def test_directives_are_taken_out_of_the_text():
    parsed = Behaviours.parse("a red [latency=1.5] kite [429=2,retry-after=3] [never]")
    assert parsed.text == "a red kite"
    assert parsed.number("latency", 0) == 1.5
    assert parsed.times("429") == 2
    assert parsed.option("429", "retry-after", 1) == 3
    assert parsed.times("never") == math.inf
    assert parsed.times("cut") == 0


@pytest.mark.parametrize(
    ("prompt", "name", "address"),
    [
        ("[result-url=http://10.0.0.1/x.png?a=b&c=d]", "result-url", "http://10.0.0.1/x.png?a=b&c=d"),
        ("[result-url=http://[::1]:80/x]", "result-url", "http://[::1]:80/x"),
        ("[result-url=http://[::ffff:10.0.0.1]/]", "result-url", "http://[::ffff:10.0.0.1]/"),
        ("[result-url=file:///etc/hosts]", "result-url", "file:///etc/hosts"),
    ],
)
def test_an_address_is_a_value(prompt, name, address):
    parsed = Behaviours.parse(f"a kite {prompt}")
    assert (parsed.text, parsed.word(name, "")) == ("a kite", address)


@pytest.mark.parametrize(
    "prompt",
    [
        *(
            "a [kite]",
            "[result-url]",
            "[result-url=two words]",
            "[fail=a=b]",
            "[file-404=x]",
            "[file-bomb]",
            "[latency]",
        ),
        *("[latency=soon]", "[never=1]", "[429=x]", "[429=1,speed=2]", "[html=99]", "[ fail ]", "[]"),
    ],
)
def test_what_is_no_directive_stays_in_the_text(prompt):
    parsed = Behaviours.parse(prompt)
    assert (parsed.text, dict(parsed.settings)) == (prompt, {})


def test_occurrences_forget_the_oldest():
    occurrences = Occurrences(maximum=2)
    assert [occurrences.count(key) for key in ("a", "a", "b", "c", "a")] == [0, 1, 0, 0, 0]


def test_the_page_for_users_names_every_directive_and_no_other():
    named = set(re.findall(r"`\[([a-z0-9-]+)(?:=[^\]`]*)?\]`", USER_PAGE.read_text(encoding="utf-8")))
    assert named == set(DIRECTIVES) | {"name"}


REFUSALS = [
    ("[refuse]", (403, "forbidden"), (400, 400)),
    ("[refuse=content_policy_violation]", (403, "content_policy_violation"), (400, 400)),
    ("[refuse=bad_request]", (400, "bad_request"), (400, 400)),
    ("[refuse=451]", (403, "451"), (451, 451)),
    ("[refuse=7]", (403, "7"), (400, 7)),
    ("[no-credit]", (403, "used_up"), (402, 402)),
    ("[expired-key]", (401, "token_expired"), (401, 401)),
    ("[429]", (429, "too_many_requests"), (429, 429)),
    ("[500]", (500, "api_error"), (500, 500)),
    ("[500,status=503]", (503, "api_error"), (503, 503)),
    ("[500=9,status=504]", (504, "timeout"), (504, 504)),
    ("[error-in-200]", (200, "api_error"), (200, 500)),
    ("[error-in-200=used_up]", (200, "used_up"), (200, 500)),
    ("[error-in-200=455]", (200, "455"), (200, 455)),
]


@pytest.mark.parametrize(("directive", "tasks_answer", "jobs_answer"), REFUSALS)
def test_refusals_at_submission_make_nothing(service, tasks_api, jobs_api, directive, tasks_answer, jobs_answer):
    response = tasks_api.submit(f"a kite {directive}")
    assert (response.status_code, response.json()["error"]["code"]) == tasks_answer
    response = jobs_api.submit(f"a kite {directive}")
    assert (response.status_code, response.json()["code"]) == jobs_answer
    assert service.tasks == []
    assert service.stats()["dialects"]["acedatacloud"]["refused"] == {tasks_answer[1]: 1}


def test_a_number_limits_a_directive_to_the_first_times_of_that_exact_prompt(tasks_api, jobs_api):
    prompt = "a kite [429=2,retry-after=7]"
    responses = [tasks_api.submit(prompt) for _ in range(3)]
    assert [response.status_code for response in responses] == [429, 429, 200]
    assert responses[0].headers["Retry-After"] == "7"
    assert tasks_api.submit(f"another {prompt}").status_code == 429
    assert jobs_api.submit(prompt).json()["data"]["retryAfter"] == 7


def test_directives_come_one_after_the_other(tasks_api):
    prompt = "a kite [429=1] [500=1] [html=502,times=1]"
    assert [tasks_api.submit(prompt).status_code for _ in range(4)] == [429, 500, 502, 200]


@pytest.mark.parametrize(("directive", "status"), [("[html]", 200), ("[html=502]", 502)])
def test_a_proxy_can_answer_with_a_page(service, jobs_api, directive, status):
    response = jobs_api.submit(f"a kite {directive}")
    assert (response.status_code, response.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert service.tasks == []


def test_a_connection_can_be_cut_before_and_after_acceptance(service, tasks_api):
    for prompt in ("a kite [cut]", "a kite [cut-after]"):
        with pytest.raises(requests.ConnectionError):
            tasks_api.submit(prompt)
    assert [task.prompt for task in service.tasks] == ["a kite [cut-after]"]


def test_a_task_can_be_made_although_the_answer_is_bad(service, tasks_api, jobs_api):
    for client in (tasks_api, jobs_api):
        assert client.submit("a kite [500-after]").status_code == 500
        assert client.submit("a kite [500-after=1,status=504]").status_code == 504
        assert client.submit("a kite [garbage]").text == '{"task_'
        with pytest.raises(requests.Timeout):
            client.submit("a kite [hang-after]", timeout=0.1)
    assert len(service.tasks) == 8


def test_pictures_can_come_at_once_although_async_was_asked(service, tasks_api):
    answer = tasks_api.submit("a kite [sync]").json()
    assert tasks_api.record(answer["task_id"])["response"] == answer
    answer = tasks_api.submit("a kite [sync=anonymous]").json()
    assert set(answer) == {"created", "data"}
    assert tasks_api.batch()["count"] == 1
    assert requests.get(answer["data"][0]["url"], timeout=10).ok


@pytest.mark.parametrize(
    ("directive", "code"),
    [
        ("[fail]", "api_error"),
        ("[fail=bad_request]", "bad_request"),
        ("[refuse-late]", "forbidden"),
        ("[refuse-late=moderation_blocked]", "moderation_blocked"),
    ],
)
def test_a_task_can_fail(tasks_api, directive, code):
    response = tasks_api.record(tasks_api.submitted(f"a kite {directive}"))["response"]
    assert (response["success"], response["error"]["code"]) == (False, code)


def test_a_task_can_deliver_something_else_than_was_asked(tasks_api, jobs_api):
    def data(prompt, **body):
        return tasks_api.record(tasks_api.submitted(prompt, **body))["response"]["data"]

    assert data("a kite [no-images]") == []
    assert [len(data(f"a kite [n-less{fewer}]", n=4)) for fewer in ("", "=9")] == [3, 1]
    assert "b64_json" in data("a kite [b64]")[0]
    assert len(data("a kite [nested]")["data"]) == 1
    assert jobs_api.record(jobs_api.submitted("a kite [refuse-late]"))["failCode"] == "400"
    assert jobs_api.record(jobs_api.submitted("a kite [refuse-late=422]"))["failCode"] == "422"
    assert jobs_api.record(jobs_api.submitted("a kite [no-images]"))["resultJson"] == json.dumps({"resultUrls": []})


def test_a_task_can_be_in_a_state_nobody_knows(tasks_api, jobs_api):
    assert jobs_api.record(jobs_api.submitted("a kite [never] [unknown-state]"))["state"] == "dreaming"
    assert jobs_api.record(jobs_api.submitted("a kite [never] [unknown-state=queuing]"))["state"] == "queuing"
    assert jobs_api.record(jobs_api.submitted("a kite [unknown-state]"))["state"] == "success"
    assert tasks_api.record(tasks_api.submitted("a kite [never] [unknown-state]"))["response"]["state"] == "dreaming"


def test_a_record_can_come_late(tasks_api, jobs_api):
    started = time.monotonic()
    late = tasks_api.submitted("a kite [late-record=0.2]", trace_id="late")
    later = jobs_api.submitted("a kite [late-record=0.2]")
    assert tasks_api.record(late) == {}
    assert tasks_api.batch(trace_ids=["late"])["items"] == []
    assert jobs_api.query(later).status_code == 404
    while jobs_api.query(later).status_code == 404:
        pass
    assert time.monotonic() - started >= 0.2
    assert tasks_api.record(late)["id"] == late


def test_status_queries_of_one_task_can_go_wrong_the_first_times(service, tasks_api, jobs_api):
    prompt = "a kite [poll-429=1,retry-after=2] [poll-500=1,status=503] [poll-cut=1] [poll-garbage=1] [poll-html=1]"
    made, done = tasks_api.submitted(prompt), jobs_api.submitted(prompt)
    for dialect, query in (
        ("acedatacloud", lambda: tasks_api.query(id=made)),
        ("aigptimage", lambda: jobs_api.query(done)),
    ):
        response = query()
        assert (response.status_code, response.headers["Retry-After"]) == (429, "2")
        assert query().status_code == 503
        with pytest.raises(requests.ConnectionError):
            query()
        assert query().text.startswith("{")
        assert query().text.startswith("<!DOCTYPE")
        assert query().json()
        assert sum(service.stats()["dialects"][dialect]["queries_refused"].values()) == 5


def test_a_batch_query_goes_wrong_with_one_of_its_tasks(tasks_api):
    good, bad = tasks_api.submitted("a kite"), tasks_api.submitted("a kite [poll-500=1]")
    assert "error" in tasks_api.batch(ids=[good, bad])
    assert tasks_api.batch(ids=[good, bad])["count"] == 2


def test_a_status_query_can_hang(jobs_api):
    task_id = jobs_api.submitted("a kite [poll-hang=1]")
    with pytest.raises(requests.Timeout):
        jobs_api.query(task_id, timeout=0.1)
    assert jobs_api.query(task_id).ok
