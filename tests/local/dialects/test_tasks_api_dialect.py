from __future__ import annotations

import base64
import io
import time

import pytest
import requests
from PIL import Image

from tests.local.clients import TasksApiClient

NOWHERE = "https://callback.invalid/"
KEYS_OF_A_RECORD = (
    "_id id trace_id type application_id user_id credential_id created_at started_at finished_at elapsed request "
    "response"
)


def test_a_submission_is_answered_with_an_id_whose_record_has_the_request_as_sent_and_in_the_end_a_result(tasks_api):
    (answer,) = tasks_api.submit("a red kite", trace_id="trace-1").json().items()
    assert answer[0] == "task_id"
    record = tasks_api.record(answer[1])
    assert set(record) == set(KEYS_OF_A_RECORD.split())
    assert (record["trace_id"], record["type"], record["request"]["prompt"]) == ("trace-1", "images", "a red kite")
    assert (record["response"]["success"], len(record["response"]["data"])) == (True, 1)
    record = tasks_api.record(tasks_api.submitted("a red kite [never]"))
    assert (record["finished_at"], record["elapsed"]) == (None, None)
    assert (record["response"]["success"], "data" in record["response"]) == (True, False)


def test_n_pictures_differ_and_have_the_size_and_format_that_was_asked_for(tasks_api):
    task_id = tasks_api.submitted("a red kite", n=3, size="128x64", output_format="webp")
    files = [requests.get(url, timeout=10) for url in tasks_api.urls(task_id)]
    assert len({file.content for file in files}) == 3
    for file in files:
        assert file.headers["Content-Type"] == "image/webp"
        assert int(file.headers["Content-Length"]) == len(file.content)
        picture = Image.open(io.BytesIO(file.content))
        assert (picture.format, picture.size) == ("WEBP", (128, 64))
    (image,) = tasks_api.record(tasks_api.submitted("a red kite", response_format="b64_json"))["response"]["data"]
    assert Image.open(io.BytesIO(base64.b64decode(image.pop("b64_json")))).format == "PNG"
    assert "url" not in image


@pytest.mark.parametrize(("path", "asynchronous"), [("acedatacloud", False), ("xhuoapi/v1", True)])
def test_a_synchronous_request_is_held_until_the_picture_is_ready_and_leaves_no_record(start, path, asynchronous):
    client = TasksApiClient(f"{start(latency=0.2).url}/{path}")
    started = time.monotonic()
    answer = client.submit("a red kite", **{"async": asynchronous}).json()
    assert time.monotonic() - started >= 0.2
    assert answer["success"] is True
    assert requests.get(answer["data"][0]["url"], timeout=10).ok
    assert client.record(answer["task_id"]) == {}
    assert client.batch(ids=[answer["task_id"]]) == {"items": [], "count": 0}


def test_a_failing_synchronous_request_is_an_http_error(tasks_api, xhuoapi):
    response = tasks_api.submit("a red kite [refuse-late]", **{"async": False})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")
    assert xhuoapi.submit("a kite [refuse-late]").status_code == 403
    assert xhuoapi.submit("a kite [fail]").status_code == 500


def test_an_unknown_id_is_answered_with_an_empty_object(service, tasks_api):
    response = tasks_api.query(id="nobody-knows-it")
    assert (response.status_code, response.json()) == (200, {})
    assert service.stats()["dialects"]["acedatacloud"]["not_found"] == 1


def test_a_trace_id_finds_the_newest_record_and_wins_over_an_id_unless_trace_ids_are_ignored(tasks_api, start):
    other = tasks_api.submitted("a blue kite")
    tasks_api.submitted("a red kite", trace_id="shared")
    newest = tasks_api.submitted("a red kite", trace_id="shared")
    assert tasks_api.query(id=other, trace_id="shared").json()["id"] == newest
    client = TasksApiClient(f"{start(ignore_trace_id=True).url}/acedatacloud")
    assert client.record(client.submitted("a red kite", trace_id="mine"))["trace_id"] not in (None, "", "mine")
    assert client.query(trace_id="mine").json() == {}


def test_a_batch_query_returns_twelve_unless_told_otherwise_and_counts_all(tasks_api):
    ids = [tasks_api.submitted(f"kite {number}") for number in range(15)]
    answer = tasks_api.batch(ids=ids)
    assert (len(answer["items"]), answer["count"]) == (12, 15)
    answer = tasks_api.batch(ids=[*ids, "nobody-knows-it"], limit=16)
    assert [item["id"] for item in answer["items"]] == ids
    assert [item["id"] for item in tasks_api.batch(ids=ids, offset=14)["items"]] == ids[14:]


def test_a_batch_query_filters_by_trace_ids_type_time_and_owner(tasks_api):
    old = tasks_api.submitted("first", trace_id="t-1", model="gpt-image-1")
    new = tasks_api.submitted("second", trace_id="t-2")
    record = tasks_api.record(new)

    def found(**filters):
        return [item["id"] for item in tasks_api.batch(**filters)["items"]]

    assert found(trace_ids=["t-1", "t-3"]) == [old]
    assert found(type="images_generations") == [old]
    assert found(created_at_min=record["created_at"]) == [new]
    assert found(created_at_max=tasks_api.record(old)["created_at"]) == [old]
    assert found(user_id=record["user_id"], application_id=record["application_id"]) == [new, old]
    assert found(user_id="somebody else") == []


@pytest.mark.parametrize(
    "wrong",
    [
        *({"model": None}, {"prompt": " "}, {"size": "big"}, {"n": 11}, {"n": "2"}, {"output_format": "gif"}),
        *({"output_format": ["png"]}, {"response_format": ["url"]}, {"callback_url": 5}, {"trace_id": 7}),
    ],
)
def test_an_invalid_submission_is_a_400_and_makes_nothing(service, tasks_api, wrong):
    response = tasks_api.submit(**{"prompt": "a red kite", **wrong})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_request")
    assert response.json()["trace_id"]
    assert service.tasks == []


@pytest.mark.parametrize("body", [[], "text", {"action": "retrieve"}, {"action": "dance", "id": "x"}])
def test_an_invalid_query_is_a_400(tasks_api, body):
    assert tasks_api.request("POST", "/openai/tasks", json=body).json()["error"]["code"] == "bad_request"


def test_a_size_that_the_model_cannot_draw_fails_the_accepted_task(tasks_api):
    response = tasks_api.record(tasks_api.submitted("a red kite", size="100x100"))["response"]
    assert (response["success"], response["error"]["code"]) == (False, "bad_request")


def test_keys_are_checked_when_there_are_any_and_see_only_their_own_tasks(start):
    url = f"{start(api_keys=['one', 'two']).url}/acedatacloud"
    missing, wrong, one, two = (TasksApiClient(url, key) for key in (None, "three", "one", "two"))
    assert missing.submit("a kite").json()["error"]["code"] == "no_token"
    response = wrong.query(id="x")
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_token")
    task_id = one.submitted("a kite")
    assert one.record(task_id)["id"] == task_id
    assert two.record(task_id) == {}
    assert two.batch()["count"] == 0


@pytest.mark.parametrize(("prompt", "success"), [("a kite", True), ("a kite [never]", True), ("a kite [fail]", False)])
def test_a_callback_url_makes_an_image_task_of_xhuoapi_whose_record_has_the_older_times(xhuoapi, prompt, success):
    response = xhuoapi.submit(prompt, callback_url=NOWHERE)
    assert list(response.json()) == ["task_id"]
    record = xhuoapi.record(response.json()["task_id"])
    assert record["response"]["success"] is success
    assert (record["duration"] is None) is ("never" in prompt)
    assert not {"started_at", "elapsed"} & set(record)
    (item,) = xhuoapi.batch(ids=[record["id"]])["items"]
    # In a batch only the failed say how they ended.
    assert item["response"].get("success") is (None if success else False)
    assert bool(item["response"].get("data")) is (prompt == "a kite")
