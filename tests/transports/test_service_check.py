"""The check of a service finds what breaks the contract, and nothing in what keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskFailedError,
    InvalidRequestError,
    QuotaExceededError,
    RateLimitError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services import exchange, get_service
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.refusals import unexplained
from airflow_provider_imagetasks.services.wire import Flow, Request, Response, ask
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageRequest, ImageTask, TaskState
from airflow_provider_imagetasks.transports.service_check import ServiceAnswers, check_service
from tests.services.wire_examples import URL, envelope, finished_record, tasks_api_record

ID = "11111111-2222-4333-8444-555555555555"
FAILED = {"success": False, "error": {"code": "api_error", "message": "no paint"}}
TASKS_API = ServiceAnswers(
    image_task_id=ID,
    accepted=(200, {"task_id": ID}),
    running=(200, tasks_api_record()),
    succeeded=(200, finished_record({"success": True, "data": [{"url": URL}]})),
    failed=(200, finished_record(FAILED)),
    not_found=(200, {}),
    picture_urls=(URL,),
    connection=(200, {"items": [], "count": 0}),
    refusals={
        QuotaExceededError: (403, {"error": {"code": "used_up", "message": "no balance"}}),
        AuthenticationError: (401, {"error": {"code": "invalid_token", "message": "who?"}}),
        RateLimitError: (429, {"error": {"code": "too_many_requests", "message": "slowly"}}),
    },
)
JOB: dict[str, Any] = {"taskId": ID, "model": "m", "param": "{}"}
JOBS_API = ServiceAnswers(
    image_task_id=ID,
    accepted=(200, envelope({"taskId": ID})),
    running=(200, envelope({**JOB, "state": "waiting"})),
    succeeded=(200, envelope({**JOB, "state": "success", "resultJson": f'{{"resultUrls": ["{URL}"]}}'})),
    failed=(200, envelope({**JOB, "state": "fail", "failMsg": "no paint"})),
    not_found=(404, envelope(None, 404, "not found")),
    picture_urls=(URL,),
    connection=(404, envelope(None, 404, "not found")),
    refusals={QuotaExceededError: (402, envelope(None, 402, "no credits")), RateLimitError: (429, envelope(None, 429))},
)
OURS = {
    "acedatacloud": TASKS_API,
    "xhuoapi": TASKS_API,
    "aigptimage": JOBS_API,
    "kie": replace(JOBS_API, connection=(200, envelope(87.5))),
}


@pytest.mark.parametrize("name", OURS)
def test_our_own_services_keep_the_contract(name: str) -> None:
    check_service(get_service(name), OURS[name])


class Easel(Service):
    """Somebody's service, which keeps the contract."""

    name, title = "easel", "Easel"
    default_base_url = "https://api.easel.example"
    default_model = default_edit_model = "easel-1"
    key_header, key_scheme = "X-Key", None

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        body = {**request.options, "model": request.model, "prompt": request.prompt}
        sent = Request(method="PUT", path="/jobs", body=body)
        how = {"service": self.name, "repeatable": False, "how_to_look": self.how_to_look}
        return (yield from exchange.submit(sent, lambda answer: self.task(answer, ""), **how))

    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        request = Request(method="GET", path=f"/jobs/{image_task_id}")
        return (yield from exchange.read(request, lambda answer: self.task(answer, image_task_id), service=self.name))

    def check_connection(self) -> Flow[str]:
        yield from self.get_task("connection-test")
        return "Easel accepts the key."

    def task(self, answer: Response, image_task_id: str) -> ImageTask:
        if answer.status == 404:
            return self.not_found(image_task_id)
        if answer.status != 200:
            raise unexplained(answer, service=self.name)
        record = answer.json()
        state = {"done": TaskState.SUCCEEDED, "broken": TaskState.FAILED}.get(record["status"], TaskState.RUNNING)
        about = {"service": self.name, "image_task_id": record["id"]}
        return ImageTask(
            id=record["id"],
            service=self.name,
            state=state,
            images=tuple(GeneratedImage(index=n, url=url) for n, url in enumerate(record.get("pictures", ()))),
            error=ImageTaskFailedError("no paint", **about) if state is TaskState.FAILED else None,
        )


ANSWERS = ServiceAnswers(
    image_task_id="7",
    accepted=(200, {"id": "7", "status": "queued"}),
    running=(200, {"id": "7", "status": "drawing"}),
    succeeded=(200, {"id": "7", "status": "done", "pictures": [URL]}),
    failed=(200, {"id": "7", "status": "broken"}),
    not_found=(404, {}),
    picture_urls=(URL,),
    connection=(404, {}),
    refusals={QuotaExceededError: (402, {}), InvalidRequestError: (422, {})},
)


def test_somebody_s_service_that_keeps_the_contract_passes() -> None:
    check_service(Easel(), ANSWERS)


class PaysTwice(Easel):
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        try:
            return (yield from Easel.submit(self, request, key=key))
        except UnknownOutcomeError:
            return (yield from Easel.submit(self, request, key=key))


class TakesSilenceForRefusal(Easel):
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        answer = yield from ask(
            Request(method="POST", path="/jobs", body={"model": "easel-1", "prompt": request.prompt})
        )
        if not isinstance(answer, Response) or answer.status != 200:
            raise QuotaExceededError("refused", service=self.name)
        return self.task(answer, "")


class RepeatsWhatMayBePaid(Easel):
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        body = {"model": request.model, "prompt": request.prompt}
        sent = Request(method="POST", path="/jobs", body=body)
        how = {"service": self.name, "repeatable": True, "how_to_look": ""}
        return (yield from exchange.submit(sent, lambda answer: self.task(answer, ""), **how))


class ForgetsThePrompt(Easel):
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        return Easel.submit(self, replace(request, prompt="something"), key=key)


class ForgetsTheModel(Easel):
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        return Easel.submit(self, replace(request, model="another"), key=key)


class TellsTheKey(Easel):
    def complete(self, request: ImageRequest, account: Any) -> ImageRequest:
        return replace(super().complete(request, account), options={"key": account.key})


class SaysThatAReadWasNotBilled(Easel):
    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        answer = yield from ask(Request(method="GET", path=f"/jobs/{image_task_id}"))
        if isinstance(answer, Response) and answer.status in (200, 404):
            return self.task(answer, image_task_id)
        raise RateLimitError("later", service=self.name)


class LosesTheId(Easel):
    def task(self, answer: Response, image_task_id: str) -> ImageTask:
        task = super().task(answer, image_task_id)
        return replace(task, id=f"job-{task.id}") if image_task_id and task.id else task


class FailsWithoutAnError(Easel):
    def task(self, answer: Response, image_task_id: str) -> ImageTask:
        return replace(super().task(answer, image_task_id), error=None)


class TakesAWordForAState(Easel):
    def task(self, answer: Response, image_task_id: str) -> ImageTask:
        task = super().task(answer, image_task_id)
        return replace(task, state=TaskState.SUCCEEDED) if task.state is TaskState.RUNNING and image_task_id else task


class RaisesWhatIsNotFound(Easel):
    def not_found(self, image_task_id: str, raw: Any = None) -> ImageTask:
        raise InvalidRequestError("no such job")


class AsksMoreThanItSays(Easel):
    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        yield from ask(Request(method="GET", path="/limits"))
        return (yield from super().read_one(image_task_id))


class IsOfAnotherService(Easel):
    def task(self, answer: Response, image_task_id: str) -> ImageTask:
        return replace(super().task(answer, image_task_id), service="another")


class HasNoSentence(Easel):
    def check_connection(self) -> Flow[str]:
        yield from self.get_task("connection-test")
        return None  # type: ignore[return-value]


BROKEN: dict[type[Easel], Sequence[str]] = {
    PaysTwice: ("made 2 times", "paid for as often"),
    TakesSilenceForRefusal: ("no answer", "not UnknownOutcomeError"),
    RepeatsWhatMayBePaid: ("made 5 times",),
    ForgetsThePrompt: ("the prompt is not sent",),
    ForgetsTheModel: ("the model is not sent",),
    TellsTheKey: ("the key stands in the address or the body",),
    SaysThatAReadWasNotBilled: ("a read knows nothing of money",),
    LosesTheId: ("with the id 'job-7'",),
    FailsWithoutAnError: ("has the error None",),
    TakesAWordForAState: ("one that is running is read as succeeded",),
    RaisesWhatIsNotFound: ("one that is not_found",),
    AsksMoreThanItSays: ("more than requests_per_read",),
    IsOfAnotherService: ("of the service 'another'",),
    HasNoSentence: ("check_connection gives None",),
}


@pytest.mark.parametrize(("broken", "said"), BROKEN.items(), ids=[broken.__name__ for broken in BROKEN])
def test_what_breaks_the_contract_is_told(broken: type[Easel], said: Sequence[str]) -> None:
    with pytest.raises(AssertionError, match="easel breaks the contract") as caught:
        check_service(broken(), ANSWERS)

    for words in said:
        assert words in str(caught.value)
