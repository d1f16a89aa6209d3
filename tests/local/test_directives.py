from __future__ import annotations

import math
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from airflow_provider_imagetasks.local import task_table
from airflow_provider_imagetasks.local.directives import DIRECTIVES, Behaviours
from tests.local.clients import seen

USER_PAGE = Path(__file__).parents[2] / "docs" / "local-trouble.md"


def test_directives_are_taken_out_of_the_text():
    parsed = Behaviours.parse("a red [latency=1.5] kite [429=2,retry-after=3] [never]")
    assert (parsed.text, parsed.number("latency", 0)) == ("a red kite", 1.5)
    assert (parsed.times("429"), parsed.option("429", "retry-after", 1)) == (2, 3)
    assert (parsed.times("never"), parsed.times("cut")) == (math.inf, 0)


@pytest.mark.parametrize(
    "address", ["http://10.0.0.1/?a=b&c=d", "http://[::1]:80/x", "http://[::ffff:10.0.0.1]/", "file:///x"]
)
def test_an_address_is_a_value(address):
    parsed = Behaviours.parse(f"a kite [result-url={address}]")
    assert (parsed.text, parsed.word("result-url", "")) == ("a kite", address)


@pytest.mark.parametrize(
    "prompt",
    [
        *("a [kite]", "[result-url]", "[result-url=two words]", "[fail=a=b]", "[file-404=x]", "[file-bomb]", "[]"),
        *("[latency]", "[latency=soon]", "[never=1]", "[429=x]", "[429=1,speed=2]", "[html=99]", "[ fail ]"),
    ],
)
def test_what_is_no_directive_stays_in_the_text(prompt):
    parsed = Behaviours.parse(prompt)
    assert (parsed.text, dict(parsed.settings)) == (prompt, {})


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
    ("[no-credit=insufficient_quota]", (429, "insufficient_quota"), (402, 402)),
    ("[expired-key]", (401, "token_expired"), (401, 401)),
    ("[429]", (429, "too_many_requests"), (429, 429)),
    ("[500]", (500, "api_error"), (500, 500)),
    ("[500,status=503]", (503, "api_error"), (503, 503)),
    ("[500=9,status=504]", (504, "timeout"), (504, 504)),
    ("[error-in-200]", (200, "api_error"), (200, 500)),
    ("[error-in-200=used_up]", (200, "used_up"), (200, 500)),
    ("[error-in-200=455]", (200, "455"), (200, 455)),
    ("[500,status=455]", (455, "api_error"), (455, 455)),
]


@pytest.mark.parametrize(("directive", "tasks_answer", "jobs_answer"), REFUSALS)
def test_refusals_at_submission_make_nothing(
    service, tasks_api, xhuoapi, jobs_api, kie, directive, tasks_answer, jobs_answer
):
    for client in (tasks_api, xhuoapi):
        response = client.submit(f"a kite {directive}", callback_url="https://callback.invalid/")
        assert (response.status_code, response.json()["error"]["code"]) == tasks_answer
    response = jobs_api.submit(f"a kite {directive}")
    assert (response.status_code, response.json()["code"]) == jobs_answer
    # kie says all of it in HTTP 200, and never when to come back.
    response = kie.submit(f"a kite {directive}")
    assert (response.status_code, response.json()["code"], response.json().get("data")) == (200, jobs_answer[1], None)
    assert "Retry-After" not in response.headers
    assert service.tasks == []
    refused = {name: service.stats()["dialects"][name]["refused"] for name in ("acedatacloud", "kie")}
    assert refused == {"acedatacloud": {tasks_answer[1]: 1}, "kie": {str(jobs_answer[1]): 1}}


@pytest.mark.parametrize(
    ("directive", "expected", "is_made"),
    [
        ("[html]", "page 200", False),
        ("[html=502]", "page 502", False),
        ("[cut]", "cut", False),
        ("[cut-after]", "cut", True),
        ("[500-after]", 500, True),
        ("[500-after=1,status=504]", 504, True),
        ("[garbage]", "garbage", True),
        ("[hang-after]", "nothing", True),
    ],
)
def test_an_answer_can_be_bad_before_and_after_an_image_task_is_made(
    service, tasks_api, jobs_api, directive, expected, is_made
):
    # Long enough for a service with much else to do to read the request before it is given up.
    timeout = 2 if expected == "nothing" else 10
    for client in (tasks_api, jobs_api):
        assert seen(lambda client=client: client.submit(f"a kite {directive}", timeout=timeout)) == expected
    # Whoever gave up did so while the service may still have been at work.
    ends_at = time.monotonic() + 10
    while is_made and len(service.tasks) < 2 and time.monotonic() < ends_at:
        time.sleep(0.01)
    assert len(service.tasks) == (2 if is_made else 0)


def test_a_number_limits_a_directive_to_the_first_times_of_that_exact_prompt(tasks_api, jobs_api):
    prompt = "a kite [429=2,retry-after=7] [500=1] [html=502,times=1]"
    responses = [tasks_api.submit(prompt) for _ in range(5)]
    assert [response.status_code for response in responses] == [429, 429, 500, 502, 200]
    assert responses[0].headers["Retry-After"] == "7"
    assert tasks_api.submit(f"another {prompt}").status_code == 429
    assert jobs_api.submit(prompt).json()["data"]["retryAfter"] == 7


def test_pictures_can_come_at_once_although_async_was_asked(tasks_api):
    answer = tasks_api.submit("a kite [sync]").json()
    assert tasks_api.record(answer["task_id"])["response"] == answer
    answer = tasks_api.submit("a kite [sync=anonymous]").json()
    assert set(answer) == {"created", "data"}
    assert tasks_api.batch()["count"] == 1
    assert requests.get(answer["data"][0]["url"], timeout=10).ok


def code(response):
    return None if response["success"] else response["error"]["code"]


@pytest.mark.parametrize(
    ("directive", "told", "expected"),
    [
        ("[fail]", code, "api_error"),
        ("[fail=bad_request]", code, "bad_request"),
        ("[refuse-late]", code, "forbidden"),
        ("[refuse-late=moderation_blocked]", code, "moderation_blocked"),
        ("[no-images]", lambda response: response["data"], []),
        ("[n-less]", lambda response: len(response["data"]), 3),
        ("[n-less=9]", lambda response: len(response["data"]), 1),
        ("[n-more=3]", lambda response: len(response["data"]), 7),
        ("[b64]", lambda response: sorted(response["data"][0]), ["b64_json", "revised_prompt"]),
        ("[nested]", lambda response: len(response["data"]["data"]), 4),
        ("[never] [unknown-state]", lambda response: response["state"], "dreaming"),
    ],
)
def test_a_record_of_the_tasks_api_can_say_something_else_than_was_hoped_for(tasks_api, directive, told, expected):
    assert told(tasks_api.record(tasks_api.submitted(f"a kite {directive}", n=4))["response"]) == expected


@pytest.mark.parametrize(
    ("directive", "field", "expected"),
    [
        ("[fail=501]", "failCode", "501"),
        ("[refuse-late]", "failCode", "400"),
        ("[refuse-late=422]", "failCode", "422"),
        ("[no-images]", "resultJson", '{"resultUrls": []}'),
        ("[never] [unknown-state]", "state", "dreaming"),
        ("[never] [unknown-state=queuing]", "state", "queuing"),
        ("[unknown-state]", "state", "success"),
    ],
)
def test_a_record_of_ai_gpt_image_likewise(jobs_api, directive, field, expected):
    assert jobs_api.record(jobs_api.submitted(f"a kite {directive}"))[field] == expected


def test_a_record_can_come_late(tasks_api, jobs_api, monkeypatch):
    late = tasks_api.submitted("a kite [late-record=90]", trace_id="late")
    later = jobs_api.submitted("a kite [late-record=90]")
    assert tasks_api.record(late) == {}
    assert tasks_api.batch(trace_ids=["late"])["items"] == []
    assert jobs_api.query(later).status_code == 404
    after_it = SimpleNamespace(monotonic=lambda: time.monotonic() + 90, time=time.time)
    monkeypatch.setattr(task_table, "time", after_it)
    assert jobs_api.query(later).status_code == 200
    assert tasks_api.record(late)["id"] == late


def test_status_queries_of_one_image_task_can_go_wrong_the_first_times(service, tasks_api, jobs_api):
    prompt = "a kite [poll-429=1,retry-after=2] [poll-500=1,status=503] [poll-cut=1] [poll-garbage=1] [poll-html=1]"
    made, done = tasks_api.submitted(prompt), jobs_api.submitted(prompt)
    for name, query in ("acedatacloud", lambda: tasks_api.query(id=made)), ("aigptimage", lambda: jobs_api.query(done)):
        response = query()
        assert (response.status_code, response.headers["Retry-After"]) == (429, "2")
        assert [seen(query) for _ in range(5)] == [503, "cut", "garbage", "page 200", 200]
        assert sum(service.stats()["dialects"][name]["queries_refused"].values()) == 5


def test_a_batch_query_goes_wrong_with_one_of_its_image_tasks_and_any_can_hang(tasks_api):
    good, bad = tasks_api.submitted("a kite"), tasks_api.submitted("a kite [poll-500=1] [poll-hang=1]")
    assert "error" in tasks_api.batch(ids=[good, bad])
    assert seen(lambda: tasks_api.query(id=bad, timeout=2)) == "nothing"
    assert tasks_api.batch(ids=[good, bad])["count"] == 2
