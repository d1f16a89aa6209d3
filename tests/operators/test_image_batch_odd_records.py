"""Records that say "failed" and show that money was spent: no row is paid for again by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_imagetasks.accounts.report import reports
from airflow_provider_imagetasks.accounts.store import AccountStore
from tests.image_batch import ImageBatch
from tests.scripted_batches import RED
from tests.scripted_server import ReceivedRequest, Reply, ScriptedServer

PICTURE = f"data:image/png;base64,{RED}"
URL = "https://cdn.example/a.png"
REQUEST_ID = "11111111-2222-4333-8444-555555555555"


@dataclass
class Studio:
    """A service that takes every request, and tells of each image task the same.

    :param accepted: its answer to a submission.
    :param told: its answer to a question.
    """

    accepted: Any
    told: Callable[[ReceivedRequest], Reply]

    def __post_init__(self) -> None:
        self.submissions = 0
        self.server = ScriptedServer(otherwise=self._answer)

    def _answer(self, request: ReceivedRequest) -> Reply:
        if request.method != "POST" or "action" in (request.body or {}):
            return self.told(request)
        self.submissions += 1
        return Reply(self.accepted)


@pytest.fixture
def studio(connection: dict[str, Any]) -> Iterator[Callable[..., Studio]]:
    servers = []

    def begin(accepted: Any, told: Callable[[ReceivedRequest], Reply]) -> Studio:
        studio = Studio(accepted, told)
        studio.server.__enter__()
        servers.append(studio.server)
        connection["host"] = studio.server.url
        connection["extra"] = {**connection["extra"], "query_rate": "50/s"}
        return studio

    yield begin
    for server in servers:
        server.__exit__()


def of_fal(status: dict[str, Any], code: int, result: Any) -> Callable[[ReceivedRequest], Reply]:
    completed = Reply({"status": "COMPLETED", **status})
    return lambda request: completed if request.path.endswith("/status") else Reply(result, status=code)


FAL = {"request_id": REQUEST_ID, "status_url": f"https://queue.fal.run/fal-ai/flux/requests/{REQUEST_ID}/status"}
PREDICTION = {"id": "p7", "status": "starting"}
TOLD: dict[str, tuple[str, str, Any, Callable[[ReceivedRequest], Reply]]] = {
    "fal: a model's error, and an error of the question for it": (
        "fal", "fal-ai/flux/dev", FAL,
        of_fal({"error": "x", "error_type": "image_load_error"}, 500, {"detail": "Internal Server Error"}),
    ),
    "fal: an error beside pictures": (
        "fal", "fal-ai/flux/dev", FAL, of_fal({}, 503, {"error_type": "runner_disconnected", "images": [{"url": URL}]}),
    ),
    "Replicate: stopped before it ran, and an output": (
        "replicate", "a/b", PREDICTION, lambda _r: Reply({"id": "p7", "status": "aborted", "output": [URL]}),
    ),
    "Replicate: stopped before it ran, and a time for which it ran": (
        "replicate", "a/b", PREDICTION,
        lambda _r: Reply({"id": "p7", "status": "aborted", "metrics": {"predict_time": 3.5}}),
    ),
    "AceDataCloud: a price": (
        "acedatacloud", "qwen-image/", {"task_id": "t7"},
        lambda _r: Reply({"id": "t7", "finished_at": 1790000000, "cost": {"amount": 0.3, "currency": "credit"},
                          "response": {"success": False, "error": {"code": "api_error"}}}),
    ),
    "AceDataCloud: what it used": (
        "acedatacloud", "gpt-image-2", {"task_id": "t7"},
        lambda _r: Reply({"id": "t7", "finished_at": 1790000000,
                          "response": {"error": {"code": "timeout"}, "usage": {"total_tokens": 700}}}),
    ),
    "AceDataCloud: a price beside an account of nothing": (
        "acedatacloud", "seedream/", {"task_id": "t7"},
        lambda _r: Reply({"id": "t7", "finished_at": 1790000000, "cost": {"amount": "0.3", "currency": "credit"},
                          "response": {"error": "late", "usage": {"total_tokens": 0}}}),
    ),
    "kie.ai: credits": (
        "kie", "gpt-image-2-text-to-image", {"code": 200, "data": {"taskId": "t7"}},
        lambda _r: Reply({"code": 200, "data": {"taskId": "t7", "state": "fail", "creditsConsumed": 6,
                                                "failCode": "content_policy_violation"}}),
    ),
    "OpenAI: what it used": (
        "openai", "gpt-image-2", {"id": "resp_7", "status": "queued"},
        lambda _r: Reply({"id": "resp_7", "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "x"},
                          "tool_usage": {"image_gen": {"output_tokens": 272, "total_tokens": 290}}}),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("service_name", "model", "accepted", "told"), TOLD.values(), ids=TOLD, indirect=["service_name"]
)
def test_what_failed_and_was_worked_on_all_the_same_is_not_submitted_again_as_unbilled(
    batch: ImageBatch,
    studio: Callable[..., Studio],
    model: str,
    accepted: Any,
    told: Callable[[ReceivedRequest], Reply],
) -> None:
    service = studio(accepted, told)

    batch.start("a kite", model=model, options={}, retries=0, poll_interval=1)

    assert (batch.rows[0]["error"]["billed"], service.submissions) == ("unknown", 1)


@pytest.mark.parametrize("service_name", ["fal"], indirect=True)
@pytest.mark.parametrize(
    "meanwhile",
    [Reply({"detail": "Too many requests"}, status=429), Reply({"message": "Bad gateway"}, status=502)],
)
def test_a_picture_is_delivered_whose_result_could_not_be_had_for_a_moment(
    batch: ImageBatch, studio: Callable[..., Studio], meanwhile: Reply
) -> None:
    answers = [meanwhile]

    def told(request: ReceivedRequest) -> Reply:
        if request.path.endswith("/status"):
            return Reply({"status": "COMPLETED", "error": "late", "error_type": "startup_timeout"})
        return answers.pop() if answers else Reply({"images": [{"url": PICTURE}]})

    service = studio(FAL, told)

    assert batch.start("a kite", model="fal-ai/flux/dev", options={}, poll_interval=1).state == "success"
    assert service.submissions == 1


@pytest.mark.parametrize("service_name", ["fal"], indirect=True)
def test_a_picture_that_was_blacked_out_is_paid_for_like_the_others(
    batch: ImageBatch, studio: Callable[..., Studio], limited: Any, account_store: str
) -> None:
    studio(FAL, of_fal({}, 200, {"images": [{"url": PICTURE}, {"url": PICTURE}], "has_nsfw_concepts": [True, False]}))
    limited(budget_per_day="1 USD", prices={"fal-ai/flux/dev": "0.04 USD"})

    batch.start("a kite", model="fal-ai/flux/dev", options={"num_images": 2}, poll_interval=1, max_cost=1)

    assert len(batch.rows[0]["files"]) == 1
    assert batch.pushed()["cost"] == 0.08
    (report,) = reports(AccountStore(account_store, only_reads=True))
    assert sum(line["amount"] for line in report.spending) == 80_000
