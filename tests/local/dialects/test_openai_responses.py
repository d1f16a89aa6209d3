from __future__ import annotations

import base64
import io

import pytest
import requests
from PIL import Image

KEY = {"Authorization": "Bearer right"}


def asked(service, method, path, **options):
    return requests.request(method, f"{service.url}/openai/v1/{path}", timeout=10, **options)


def order(text="a red kite", *, around=None, **tool):
    tools = [{"type": "image_generation", "model": "gpt-image-2", "size": "64x32", **tool}]
    return {"model": "gpt-6-luna", "input": text, "tools": tools, "background": True, "store": True, **(around or {})}


def submitted(service, text="a red kite", **tool):
    answer = asked(service, "POST", "responses", json=order(text, **tool))
    assert answer.status_code == 200, answer.text
    return answer.json()


def read(service, told):
    return asked(service, "GET", f"responses/{told['id']}").json()


def calls(record):
    return [item for item in record["output"] if item["type"] == "image_generation_call"]


def test_a_response_is_queued_and_then_holds_its_picture(service):
    told = submitted(service, quality="low", output_format="webp")
    record = read(service, told)
    (call,) = calls(record)

    assert (told["status"], told["output"], told["id"][:5]) == ("queued", [], "resp_")
    assert (record["status"], call["quality"], call["output_format"]) == ("completed", "low", "webp")
    assert Image.open(io.BytesIO(base64.b64decode(call["result"]))).size == (64, 32)
    assert record["tool_usage"]["image_gen"]["output_tokens"] > 0


def test_a_response_that_runs_says_so(start):
    service = start(latency=60)
    told = submitted(service)

    assert [read(service, told)["status"] for _ in range(2)] == ["in_progress"] * 2


def test_files_and_urls_are_edited(service):
    file = io.BytesIO()
    Image.new("RGB", (32, 16), "orange").save(file, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    for address in (url, "https://pictures.example/a.png"):
        content = [{"type": "input_text", "text": "winter"}, {"type": "input_image", "image_url": address}]
        told = submitted(service, [{"role": "user", "content": content}])
        assert calls(read(service, told))[0]["action"] == "edit"

    assert [len(entry["references"]) for entry in service.stats()["created"]] == [1, 1]


def test_a_response_can_be_cancelled_until_it_is_over(start):
    service = start(latency=60)
    told = submitted(service)

    assert asked(service, "POST", f"responses/{told['id']}/cancel").json()["status"] == "cancelled"
    assert read(service, told)["status"] == "cancelled"
    assert service.stats()["dialects"]["openai"]["cancelled"] == 1


@pytest.mark.parametrize(
    ("directive", "status", "code"),
    [
        ("[fail]", "failed", "server_error"),
        ("[fail=rate_limit_exceeded]", "failed", "rate_limit_exceeded"),
        ("[refuse-late]", "failed", "image_content_policy_violation"),
        ("[fail=max_output_tokens]", "incomplete", None),
        ("[no-images]", "completed", None),
    ],
)
def test_what_came_to_nothing_says_why(service, directive, status, code):
    record = read(service, submitted(service, f"a kite {directive}"))

    assert (record["status"], (record["error"] or {}).get("code"), calls(record)) == (status, code, [])


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("[refuse]", 400, "moderation_blocked"),
        ("[no-credit]", 429, "insufficient_quota"),
        ("[429]", 429, "rate_limit_exceeded"),
        ("[500]", 500, "server_error"),
        ("[expired-key]", 401, "invalid_api_key"),
    ],
)
def test_a_refusal_has_openai_s_words(service, text, status, code):
    answer = asked(service, "POST", "responses", json=order(f"a kite {text}"))

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    "body",
    [
        order(around={"background": False}),
        order(around={"store": False}),
        order(around={"tools": []}),
        order(around={"tools": [{"type": "web_search"}]}),
        order(around={"input": 7}),
        order(around={"input": []}),
        order(around={"model": ""}),
        order(size="63x64"),
        order(quality="best"),
        order(output_format="svg"),
    ],
)
def test_what_openai_would_not_take_is_refused(service, body):
    answer = asked(service, "POST", "responses", json=body)

    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_a_key_sees_its_own_responses_only(start):
    service = start(api_keys=["right", "other"])
    told = asked(service, "POST", "responses", json=order(), headers=KEY).json()
    path = f"responses/{told['id']}"

    assert asked(service, "GET", path, headers=KEY).status_code == 200
    assert asked(service, "GET", path, headers={"Authorization": "Bearer other"}).status_code == 404
    assert asked(service, "GET", path).json()["error"]["code"] is None
