"""Whatever a service answers, a flow returns image tasks or raises an error of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_imagetasks.polling.reads import read_all
from airflow_provider_imagetasks.services import get_service
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.rates import Pace
from airflow_provider_imagetasks.services.wire import Flow, Response
from airflow_provider_imagetasks.tasks import ImageTask, TaskState
from tests.flow_driver import NOW, drive
from tests.services.wire_examples import REQUEST

WITH_CALLBACK = replace(REQUEST, callback_url="https://callback.invalid/")
EDIT = replace(REQUEST, images=["https://pictures.example/a.png"])
EVERYWHERE: list[Callable[[Service], Flow[Any]]] = [
    lambda service: service.submit(WITH_CALLBACK, key="derived"),
    lambda service: service.submit(EDIT),
    lambda service: service.read_one("a"),
    lambda service: service.read_batch(["a", "b"]),
    lambda service: service.check_connection(),
]
SERVICES = [get_service(name) for name in ("acedatacloud", "xhuoapi", "aigptimage", "kie", "openai")]
FAL, REPLICATE = get_service("fal"), get_service("replicate")
FAL_ID, MODEL = "fal-ai.flux.a", "fal-ai/flux"
FLOWS: list[Callable[[], Flow[Any]]] = [
    *(partial(make, service) for service in SERVICES for make in EVERYWHERE),
    *(partial(SERVICES[0].read_one, image_task_id) for image_task_id in ("flux.a", "midjourney.a")),
    *(partial(SERVICES[3].read_one, image_task_id) for image_task_id in ("4o-image.a", "flux-kontext.a", "mj.a")),
    *(lambda make=make: make("resp_a") for make in (SERVICES[4].read_one, SERVICES[4].cancel)),  # type: ignore[misc]
    *(partial(make, FAL_ID) for make in (FAL.read_one, FAL.cancel)),
    *(partial(make, "a") for make in (REPLICATE.read_one, REPLICATE.cancel)),
    *(
        partial(service.submit, replace(request, model=MODEL))
        for service in (FAL, REPLICATE)
        for request in (WITH_CALLBACK, EDIT)
    ),
    *(service.check_connection for service in (FAL, REPLICATE)),
    partial(REPLICATE.read_tasks_once, ["a", "b"]),
    REPLICATE.list_tasks,
    lambda: SERVICES[0].submit(replace(WITH_CALLBACK, model="midjourney/")),
    lambda: SERVICES[3].submit(replace(WITH_CALLBACK, model="mj/")),
    lambda: SERVICES[0].read_by_trace_id("t"),
    lambda: SERVICES[0].list_tasks(type="images"),
    lambda: read_all(SERVICES[3], Pace(None), ["a", "b"]),
]
FIELDS = (
    *("id", "task_id", "trace_id", "created_at", "started_at", "finished_at", "elapsed", "duration", "request"),
    *("response", "items", "data", "error", "success", "code", "message", "msg", "usage", "cost", "url", "b64_json"),
    *("taskId", "state", "param", "input", "prompt", "n", "resultJson", "resultUrls", "failCode", "failMsg"),
    *("costTime", "createTime", "completeTime", "creditsConsumed", "retryAfter"),
    *("image_url", "raw_image_url", "sub_image_urls", "successFlag", "paramJson", "resultImageUrl", "resultInfoJson"),
    *("errorCode", "errorMessage", "result_urls", "resultUrl", "status", "amount", "currency"),
    *("images", "image", "detail", "loc", "error_type", "request_id", "status_url", "has_nsfw_concepts", "metrics"),
    *("results", "next", "data_removed", "title", "content_type", "inference_time", "predict_time"),
    *("output", "type", "result", "content", "incomplete_details", "reason", "metadata", "tools", "tool_usage"),
)
WORDS = (
    "success",
    "fail",
    "waiting",
    "200",
    "404",
    "used_up",
    "a",
    "",
    "data:,",
    "{}",
    "completed",
    "succeeded",
    "canceled",
    "https://pictures.example/a.png",
    '{"resultUrls": [1, "u"]}',
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.sampled_from(WORDS)
    | st.sampled_from((200, 401, 404, 422, 429, 455, 500, 501, 550, 0, -1, 1e300, 10**400))
    | st.floats()
    | st.integers()
    | st.text(max_size=8)
)
NAMES = st.sampled_from(FIELDS) | st.text(max_size=4)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=8
)
# Mostly objects whose fields are the documented ones, so that the parsers are reached at depth.
OBJECTS = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6)
STATUSES = st.sampled_from((200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 408, 429, 500, 502, 504, 600))
HEADERS = st.dictionaries(st.sampled_from(("retry-after", "location")), st.text(max_size=6) | st.just("1"), max_size=2)
RECORD_FIELDS = ("request", "cost", "elapsed", "created_at", "started_at", "trace_id")
RECORDS = st.fixed_dictionaries(
    {"id": st.sampled_from(("a", "b")), "finished_at": SCALARS, "response": OBJECTS | JSON},
    optional=dict.fromkeys(RECORD_FIELDS, JSON),
)
JOB_FIELDS = (
    *("resultJson", "param", "costTime", "createTime", "completeTime", "creditsConsumed", "response"),
    *("successFlag", "paramJson", "resultInfoJson", "errorCode", "errorMessage"),
)
JOBS = st.fixed_dictionaries({"state": st.sampled_from(WORDS)}, optional=dict.fromkeys(JOB_FIELDS, JSON))
CODES = st.sampled_from((200, 200, 400, 401, 402, 404, 408, 422, 429, 433, 451, 455, 500, 501, 505, 531, 550, "501"))
ENVELOPES = st.fixed_dictionaries({"code": CODES, "data": JOBS | SCALARS})
BATCHES = st.fixed_dictionaries({"items": st.lists(RECORDS, max_size=3)})
PREDICTIONS = st.fixed_dictionaries(
    {"id": st.sampled_from(("a", "b")), "status": st.sampled_from(WORDS)},
    optional=dict.fromkeys(
        ("output", "error", "input", "metrics", "data_removed", "images", "has_nsfw_concepts"), JSON
    ),
)
PAGES = st.fixed_dictionaries({"results": st.lists(PREDICTIONS | JSON, max_size=3)}, optional={"next": SCALARS})
BODIES = PREDICTIONS | PAGES | OBJECTS | RECORDS | BATCHES | ENVELOPES | JSON
DEEP = "[" * 50_000


@given(body=BODIES, status=STATUSES, headers=HEADERS)
@settings(max_examples=300, deadline=None, database=None)
@example(body={"id": "a", "finished_at": 1, "response": {"data": [{"url": "u"}]}}, status=200, headers={})
def test_any_json_gives_image_tasks_or_an_error_of_ours(body: Any, status: int, headers: dict[str, str]) -> None:
    check(Response(status=status, headers=headers, content=json.dumps(body).encode(), at=NOW))


@given(content=st.binary(max_size=40) | st.text(max_size=10).map(lambda text: json.dumps(text)[1:].encode()))
@settings(max_examples=200, deadline=None, database=None)
@example(content=b"\xff\xfe{")
@example(content=DEEP.encode())
@example(content=b"9" * 5_000)
@example(content=b'{"code": ' + b"9" * 4_000 + b"}")
@example(content=json.dumps({"code": 200, "data": {"state": "success", "resultJson": DEEP, "param": DEEP}}).encode())
def test_any_bytes_give_image_tasks_or_an_error_of_ours(content: bytes) -> None:
    check(Response(status=200, headers={}, content=content, at=NOW))


def check(answer: Response) -> None:
    """Answer every request of each flow in the same way; anything but an ``ImageTaskError`` fails the test."""
    for make in FLOWS:
        driven = drive(make(), otherwise=answer)
        result, error = driven.result, driven.error
        if error is not None:
            json.dumps([str(error), error.as_xcom()])
            continue
        found = list(result.values()) if isinstance(result, dict) else result if isinstance(result, list) else [result]
        for task in found if not isinstance(result, str) else []:
            assert isinstance(task, ImageTask)
            assert (task.error is not None) is (task.state is TaskState.FAILED)
            assert bool(task.images) is (task.state is TaskState.SUCCEEDED)
            json.dumps(task.as_xcom("c"))
