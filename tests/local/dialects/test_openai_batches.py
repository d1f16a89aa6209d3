from __future__ import annotations

import base64
import io
import json

import pytest
import requests
from PIL import Image

from airflow_provider_imagetasks.local import LocalImageService

DAY = 86_400
GENERATIONS = "/v1/images/generations"


@pytest.fixture
def service(start) -> LocalImageService:
    """A service whose batches are made at once."""
    return start(batch_latency=0)


def asked(service, method, path, **options):
    return requests.request(method, f"{service.url}/openai/v1/{path}", timeout=10, **options)


def lines(*prompts, **body):
    for number, prompt in enumerate(prompts):
        order = {"model": "gpt-image-2", "prompt": prompt, "size": "64x32", **body}
        yield {"custom_id": f"row-{number}", "method": "POST", "url": GENERATIONS, "body": order}


def uploaded(service, requests_):
    content = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in requests_)
    answer = asked(service, "POST", "files", data={"purpose": "batch"}, files={"file": ("b.jsonl", content)})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def created(service, requests_, **fields):
    body = {"input_file_id": uploaded(service, requests_), "endpoint": GENERATIONS, "completion_window": "24h"}
    return asked(service, "POST", "batches", json={**body, **fields})


def read(service, batch):
    return asked(service, "GET", f"batches/{batch['id']}").json()


def results(service, batch, name="output_file_id"):
    content = asked(service, "GET", f"files/{batch[name]}/content").text
    return {each["custom_id"]: each for each in map(json.loads, content.splitlines())}


def test_a_batch_is_made_and_its_results_hold_pictures(service):
    told = created(service, lines("a kite", "a boat [refuse]", "a tree"), metadata={"k": "v"}).json()
    batch = read(service, told)

    assert (told["status"], batch["status"], batch["metadata"]) == ("in_progress", "completed", {"k": "v"})
    assert batch["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    made, failed = results(service, batch), results(service, batch, "error_file_id")
    assert (sorted(made), sorted(failed)) == (["row-0", "row-2"], ["row-1"])
    picture = base64.b64decode(made["row-0"]["response"]["body"]["data"][0]["b64_json"])
    assert Image.open(io.BytesIO(picture)).size == (64, 32)
    assert failed["row-1"]["response"]["body"]["error"]["code"] == "moderation_blocked"
    assert service.stats()["dialects"]["openai/batches"]["created"] == 2


def test_rows_are_made_one_after_the_other_by_a_clock_that_is_put_forward(start):
    service = start(batch_latency=400)
    told = created(service, lines("a", "b", "c", "d")).json()

    assert read(service, told)["status"] == "validating"
    service.skip(150)
    assert (read(service, told)["status"], read(service, told)["request_counts"]["completed"]) == ("in_progress", 1)
    assert requests.post(f"{service.url}/clock/skip/300", timeout=10).status_code == 200
    assert read(service, told)["status"] == "completed"


def test_a_clock_that_goes_faster_has_a_day_last_seconds(start):
    service = start(batch_latency=DAY / 2, clock_rate=DAY * 1000)
    told = created(service, lines("a")).json()

    assert read(service, told)["status"] == "completed"


def test_what_is_not_made_within_its_day_expires_and_is_told_in_the_file_of_errors(start):
    service = start(batch_latency=2 * DAY)
    told = created(service, lines("a", "b")).json()
    service.skip(DAY)
    batch = read(service, told)

    assert (batch["status"], batch["request_counts"]["completed"]) == ("expired", 1)
    assert list(results(service, batch)) == ["row-0"]
    assert results(service, batch, "error_file_id")["row-1"]["error"]["code"] == "batch_expired"
    assert service.stats()["dialects"]["openai/batches"]["created"] == 1


def test_a_batch_can_be_cancelled_until_it_is_over(start):
    service = start(batch_latency=100)
    told = created(service, lines("a", "b")).json()
    service.skip(60)

    assert asked(service, "POST", f"batches/{told['id']}/cancel").json()["status"] == "cancelled"
    assert results(service, read(service, told), "error_file_id")["row-1"]["error"]["code"] == "batch_cancelled"
    done = created(service, lines("a")).json()
    service.skip(200)
    read(service, done)
    assert asked(service, "POST", f"batches/{done['id']}/cancel").status_code == 400


@pytest.mark.parametrize(
    ("odd", "code", "number"),
    [
        (["{"], "invalid_json_line", 1),
        ([*lines("a"), *lines("b")], "duplicate_custom_id", 2),
        ([*lines("a"), *({**each, "custom_id": "x"} for each in lines("b", model="other"))], "mismatched_model", 2),
        ([*lines("a", size="63x64")], "invalid_request", 1),
        ([*lines("a [batch=invalid]")], "invalid_value", 1),
    ],
)
def test_a_file_that_is_wrong_fails_in_validation(service, odd, code, number):
    batch = read(service, created(service, odd).json())

    (error,) = batch["errors"]["data"]
    assert (batch["status"], error["code"], error["line"]) == ("failed", code, number)
    assert service.stats()["dialects"]["openai/batches"]["created"] == 0


def test_batches_are_listed_by_pages_the_newest_first(service):
    ids = [created(service, lines(str(number))).json()["id"] for number in range(3)]
    first = asked(service, "GET", "batches", params={"limit": 2}).json()
    second = asked(service, "GET", "batches", params={"limit": 2, "after": first["last_id"]}).json()

    assert [each["id"] for each in first["data"] + second["data"]] == ids[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=x"]
)
@pytest.mark.parametrize(
    "body", [b"", b"--x\r\n\r\n", b"no form at all", b'--x\r\nContent-Disposition: form-data; name="file']
)
def test_a_file_in_a_form_that_cannot_be_read_is_refused(service, kind, body):
    answer = asked(service, "POST", "files", data=body, headers={"Content-Type": kind})

    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_a_batch_or_a_file_that_is_not_there_is_not_found(service):
    assert asked(service, "GET", "batches/batch_x").status_code == 404
    assert asked(service, "GET", "files/file-x/content").status_code == 404
    assert created(service, lines("a"), input_file_id="file-x").status_code == 404
    assert created(service, lines("a"), endpoint="/v1/embeddings").status_code == 400


def test_without_its_key_nobody_is_let_in(start):
    service = start(api_keys=["right"])

    assert asked(service, "GET", "batches").status_code == 401
    assert asked(service, "GET", "batches", headers={"Authorization": "Bearer right"}).status_code == 200


@pytest.mark.parametrize(
    ("directive", "count"),
    [("twice", 3), ("foreign", 3), ("missing", 1), ("not-json", 2), ("no-picture", 2), ("no-base64", 2)],
)
def test_a_line_is_as_its_prompt_asks(service, directive, count):
    batch = read(service, created(service, lines("a", f"b [line={directive}]")).json())
    content = asked(service, "GET", f"files/{batch['output_file_id']}/content").content

    assert len(content.splitlines()) == count


def test_a_line_is_as_long_as_its_prompt_asks_and_its_picture_whole(service):
    batch = read(service, created(service, lines("a [line-kb=300]")).json())
    (line,) = results(service, batch).values()
    encoded = line["response"]["body"]["data"][0]["b64_json"]

    assert 299 <= len(encoded) / 1024 <= 301
    Image.open(io.BytesIO(base64.b64decode(encoded))).load()


EVENTS = {
    "completed": ("a kite", 0),
    "failed": ("a kite [batch=invalid]", 0),
    "expired": ("a kite [never]", DAY),
    "cancelled": ("a kite [never]", 0),
}


@pytest.mark.parametrize("word", EVENTS)
def test_the_webhook_is_called_once_for_each_batch_that_ends_and_says_how(start, receiver, word):
    url, received = receiver
    prompt, skipped = EVENTS[word]
    service = start(batch_latency=0, webhook_url=url, webhook_secret="whsec_YSBrZXk=")
    batch = created(service, lines(prompt)).json()

    if word == "cancelled":
        asked(service, "POST", f"batches/{batch['id']}/cancel")
    if skipped:
        service.skip(skipped)
    body, headers = received.get(timeout=30)

    assert (body["type"], body["data"]) == (f"batch.{word}", {"id": batch["id"]})
    assert headers["Webhook-Signature"].startswith("v1,")
    assert received.empty()
