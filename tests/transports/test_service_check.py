"""The check of a service finds what breaks the contract, and nothing in what keeps it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ImageTaskFailedError,
    InvalidRequestError,
    QuotaExceededError,
    RateLimitError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from airflow_provider_imagetasks.services import exchange, get_service
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.connection_contract import Callback, is_same
from airflow_provider_imagetasks.services.refusals import unexplained
from airflow_provider_imagetasks.services.wire import Flow, Request, Response, ask, pause
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageFile, ImageRequest, ImageTask, TaskState
from airflow_provider_imagetasks.transports.service_check import ServiceAnswers, check_service
from tests.installed_services import installed
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
    several=(200, {"items": [finished_record({"success": True, "data": [{"url": URL}]})], "count": 1}),
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
NOW = 1_790_000_000
SIGNED = base64.b64encode(hmac.digest(b"hush", f"{ID}.{NOW}".encode(), "sha256")).decode()
OF_KIE = Callback(
    headers={"x-webhook-timestamp": str(NOW), "x-webhook-signature": SIGNED},
    body=json.dumps({"data": {"taskId": ID}}).encode(),
    at=NOW + 5,
)
FAL_ID = f"fal-ai.flux.{ID}"
FAL_KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
FAL_BODY = json.dumps({"request_id": ID, "status": "OK"}).encode()
FAL_SIGNED = (ID, "user", str(NOW), hashlib.sha256(FAL_BODY).hexdigest())
OF_FAL = Callback(
    headers={
        "x-fal-webhook-request-id": ID,
        "x-fal-webhook-user-id": "user",
        "x-fal-webhook-timestamp": str(NOW),
        "x-fal-webhook-signature": FAL_KEY.sign("\n".join(FAL_SIGNED).encode()).hex(),
    },
    body=FAL_BODY,
    at=NOW + 5,
)
FAL_PUBLIC = base64.urlsafe_b64encode(FAL_KEY.public_key().public_bytes_raw()).decode()
FAL = ServiceAnswers(
    image_task_id=FAL_ID,
    accepted=(200, {"request_id": ID, "status_url": f"https://queue.fal.run/fal-ai/flux/requests/{ID}/status"}),
    running=(202, {"status": "IN_QUEUE"}),
    succeeded=[(200, {"status": "COMPLETED"}), (200, {"images": [{"url": URL}]})],
    failed=[(200, {"status": "COMPLETED"}), (500, {"detail": "it broke", "error_type": "runner_server_error"})],
    not_found=(404, {"detail": "Request not found"}),
    picture_urls=(URL,),
    connection=(404, {"detail": "Request not found"}),
    refusals={
        AuthenticationError: (401, {"detail": "who?"}),
        QuotaExceededError: (403, {"detail": "User is locked. Reason: Exhausted balance."}),
        InvalidRequestError: (422, {"detail": [{"loc": ["body"], "msg": "no", "type": "value_error"}]}),
    },
    cancelled=(202, {"status": "CANCELLATION_REQUESTED"}),
    stopped=[(200, {"status": "COMPLETED"}), (499, {"detail": "stopped", "error_type": "client_cancelled"})],
    callback=OF_FAL,
    callback_keys=(200, {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": FAL_PUBLIC}]}),
)
PREDICTION = {"id": ID, "model": "a/b", "input": {}, "output": URL, "status": "succeeded"}
WEBHOOK_KEY = base64.b64encode(b"a key").decode()


def signed_by_webhook_key(told: dict[str, Any]) -> Callback:
    body = json.dumps(told).encode()
    signature = base64.b64encode(hmac.digest(b"a key", f"msg.{NOW}.".encode() + body, "sha256")).decode()
    headers = {"webhook-id": "msg", "webhook-timestamp": str(NOW), "webhook-signature": f"v1,{signature}"}
    return Callback(headers=headers, body=body, at=NOW + 5)


OF_REPLICATE = signed_by_webhook_key(PREDICTION)
REPLICATE = ServiceAnswers(
    image_task_id=ID,
    accepted=(201, {**PREDICTION, "status": "starting", "output": None}),
    running=(200, {**PREDICTION, "status": "processing", "output": None}),
    succeeded=(200, PREDICTION),
    failed=(200, {**PREDICTION, "status": "failed", "output": None, "error": "no paint"}),
    not_found=(404, {"detail": "The requested resource could not be found."}),
    picture_urls=(URL,),
    connection=(200, {"username": "me"}),
    several=(200, {"next": None, "results": [PREDICTION]}),
    refusals={
        AuthenticationError: (401, {"detail": "who?"}),
        QuotaExceededError: (402, {"title": "Insufficient credit", "detail": "pay"}),
    },
    cancelled=(200, {**PREDICTION, "status": "canceled"}),
    stopped=(200, {**PREDICTION, "status": "canceled", "output": None}),
    callback=OF_REPLICATE,
    callback_keys=(200, {"key": f"whsec_{WEBHOOK_KEY}"}),
)
RESPONSE = {
    "id": "resp_1a2b",
    "status": "completed",
    "output": [{"type": "image_generation_call", "result": "UE5H"}],
    "tools": [],
}
OF_OPENAI = signed_by_webhook_key({"type": "response.completed", "data": {"id": "resp_1a2b"}})
OPENAI = ServiceAnswers(
    image_task_id="resp_1a2b",
    accepted=(200, {**RESPONSE, "status": "queued", "output": []}),
    running=(200, {**RESPONSE, "status": "in_progress", "output": []}),
    succeeded=(200, RESPONSE),
    failed=(200, {**RESPONSE, "status": "failed", "output": [], "error": {"code": "server_error", "message": "no"}}),
    not_found=(404, {"error": {"message": "Response with id 'resp_1a2b' not found.", "code": None}}),
    # The record itself holds it.
    picture_urls=(None,),
    connection=(404, {"error": {"message": "not found", "code": None}}),
    refusals={
        AuthenticationError: (401, {"error": {"message": "who?", "code": "invalid_api_key"}}),
        QuotaExceededError: (429, {"error": {"message": "pay", "code": "insufficient_quota"}}),
        InvalidRequestError: (400, {"error": {"message": "no", "code": "unknown_parameter"}}),
    },
    cancelled=(200, {**RESPONSE, "status": "cancelled", "output": []}),
    stopped=(200, {**RESPONSE, "status": "cancelled", "output": []}),
    callback=OF_OPENAI,
    webhook_secret=f"whsec_{WEBHOOK_KEY}",
)
OURS = {
    "acedatacloud": TASKS_API,
    "xhuoapi": TASKS_API,
    "aigptimage": JOBS_API,
    "kie": replace(JOBS_API, connection=(200, envelope(87.5)), callback=OF_KIE, webhook_secret="hush"),
    "fal": FAL,
    "replicate": REPLICATE,
    "openai": OPENAI,
}
MODELS = {"fal": "fal-ai/flux/dev", "replicate": "black-forest-labs/flux-schnell"}
"""Of services that have none of their own."""


@pytest.mark.parametrize("name", OURS)
def test_our_own_services_keep_the_contract(name: str) -> None:
    check_service(get_service(name), OURS[name], model=MODELS.get(name))


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
        request = Request(method="GET", path=f"/jobs/{quote(image_task_id, safe='')}")
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
        error = ImageTaskFailedError("no paint", service=self.name, image_task_id=record["id"])
        error.was_cancelled = bool(record.get("by"))
        return ImageTask(
            id=record["id"],
            service=self.name,
            state=state,
            images=tuple(GeneratedImage(index=n, url=url) for n, url in enumerate(record.get("pictures", ()))),
            error=error if state is TaskState.FAILED else None,
        )


ANSWERS = ServiceAnswers(
    image_task_id="7",
    accepted=(200, {"id": "7", "status": "queued"}),
    running=(200, {"id": "7", "status": "drawing"}),
    succeeded=(200, {"id": "7", "status": "done", "pictures": [URL, f"{URL}?2"]}),
    failed=(200, {"id": "7", "status": "broken"}),
    not_found=(404, {}),
    picture_urls=(URL, f"{URL}?2"),
    connection=(404, {}),
    refusals={QuotaExceededError: (402, {}), InvalidRequestError: (422, {})},
)


def signed(body: bytes) -> Mapping[str, str]:
    said = f"{NOW}.".encode() + body
    return {"x-time": str(NOW), "x-signed": hmac.new(b"hush", said, hashlib.sha256).hexdigest()}


ALL_ANSWERS = replace(
    ANSWERS,
    several=(200, {"jobs": [{"id": "7", "status": "done", "pictures": [URL]}]}),
    cancelled=(204, b""),
    stopped=(200, {"id": "7", "status": "broken", "by": "somebody"}),
    callback=Callback(headers=signed(b'{"id": "7"}'), body=b'{"id": "7"}', at=NOW),
    webhook_secret="hush",
)


def test_somebody_s_service_that_keeps_the_contract_passes() -> None:
    check_service(Easel(), ANSWERS)


class Studio(Easel):
    """One that can do more, and keeps the contract in that too."""

    batch_size = 50
    can_cancel = makes_edits = takes_callback_url = repeats_submit_by_key = True

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        about = {"images": list(request.images), "call": request.callback_url, "key": key}
        return super().submit(replace(request, options={**request.options, **about}), key=key)

    def read_batch(self, image_task_ids: Sequence[str]) -> Flow[dict[str, ImageTask]]:
        request = Request(method="GET", path="/jobs", parameters={"ids": ",".join(image_task_ids)})
        return (yield from exchange.read(request, self.tasks, service=self.name))

    def tasks(self, answer: Response) -> dict[str, ImageTask]:
        if answer.status != 200:
            raise unexplained(answer, service=self.name)
        records = answer.json()["jobs"]
        return {each["id"]: self.task(replace(answer, content=json.dumps(each).encode()), "") for each in records}

    def cancel(self, image_task_id: str) -> Flow[str]:
        request = Request(method="DELETE", path=f"/jobs/{quote(image_task_id, safe='')}")
        return (yield from exchange.read(request, self.stopped, service=self.name))

    def stopped(self, answer: Response) -> str:
        if answer.status != 204:
            raise unexplained(answer, service=self.name)
        return "It was stopped, and is not billed."

    def check_callback(self, callback: Callback, account: Account) -> Flow[str | None]:
        yield from ()
        said = f"{callback.header('x-time')}.".encode() + callback.body
        wanted = hmac.new((account.webhook_secret or "").encode(), said, hashlib.sha256).hexdigest()
        if not (callback.is_of(callback.header("x-time")) and is_same(wanted, callback.header("x-signed"))):
            raise AuthenticationError("somebody else's", service=self.name)
        return str(callback.json()["id"])


def test_somebody_s_service_that_keeps_the_contract_passes_with_all_that_it_can() -> None:
    check_service(Studio(), ALL_ANSWERS)


class LosesOneOfSeveral(Studio):
    def tasks(self, answer: Response) -> dict[str, ImageTask]:
        return {}


class MixesSeveralUp(Studio):
    def tasks(self, answer: Response) -> dict[str, ImageTask]:
        (task,) = super().tasks(answer).values()
        return {"7": replace(task, id="8")}


class AsksOneByOne(Studio):
    def read_batch(self, image_task_ids: Sequence[str]) -> Flow[dict[str, ImageTask]]:
        found: dict[str, ImageTask] = {}
        for each in image_task_ids:
            found |= yield from super().read_batch([each])
        return found


class SaysNothingOfTheBill(Studio):
    def stopped(self, answer: Response) -> str:
        super().stopped(answer)
        return ""


class TakesSilenceForStopped(Studio):
    def cancel(self, image_task_id: str) -> Flow[str]:
        yield from ask(Request(method="PUT", path=f"/jobs/{image_task_id}/cancel"))
        return "It was stopped, and is not billed."


class StopsSomething(Studio):
    def cancel(self, image_task_id: str) -> Flow[str]:
        return (yield from super().cancel("current"))


class BelievesAnybody(Studio):
    def check_callback(self, callback: Callback, account: Account) -> Flow[str | None]:
        yield from ()
        return str(callback.json().get("id"))


class BelievesWhatIsOld(Studio):
    def check_callback(self, callback: Callback, account: Account) -> Flow[str | None]:
        at = int(callback.header("x-time")) if callback.header("x-time").isdecimal() else callback.at
        return (yield from super().check_callback(replace(callback, at=at), account))


class BelievesTheHeadersAlone(Studio):
    def check_callback(self, callback: Callback, account: Account) -> Flow[str | None]:
        yield from super().check_callback(replace(callback, body=b'{"id": "7"}'), account)
        return str(callback.json().get("id"))


class BelievesWithoutASecret(Studio):
    def check_callback(self, callback: Callback, account: Account) -> Flow[str | None]:
        if account.webhook_secret is None:
            return str(callback.json()["id"])
        return (yield from super().check_callback(callback, account))


class ForgetsWhoStoppedIt(Studio):
    def task(self, answer: Response, image_task_id: str) -> ImageTask:
        task = super().task(answer, image_task_id)
        if task.error is not None:
            task.error.was_cancelled = False
        return task


class ForgetsThePictures(Studio):
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        return super().submit(replace(request, images=()), key=key)


class ForgetsTheCallback(Studio):
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        return super().submit(replace(request, callback_url=None), key=key)


class ForgetsTheKeyOfASubmission(Studio):
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        return super().submit(request)


class AsksOnAndOn(Easel):
    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        while True:
            answer = yield from ask(Request(method="GET", path=f"/jobs/{image_task_id}"))
            if isinstance(answer, Response) and answer.status in (200, 404):
                return self.task(answer, image_task_id)


class PausesInAStatusQuestion(Easel):
    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        yield from pause(3_600)
        return (yield from super().read_one(image_task_id))


class TellsTheKeyInAStatusQuestion(Easel):
    def complete(self, request: ImageRequest, account: Account) -> ImageRequest:
        self._key = account.key or ""
        return super().complete(request, account)

    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        request = Request(method="GET", path=f"/jobs/{image_task_id}", parameters={"key": self._key})
        return (yield from exchange.read(request, lambda answer: self.task(answer, image_task_id), service=self.name))


class ReadsWithoutTheKey(Easel):
    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        request = Request(method="GET", path=f"/jobs/{image_task_id}", sends_key=False)
        return (yield from exchange.read(request, lambda answer: self.task(answer, image_task_id), service=self.name))


class ForgetsTheOptions(Easel):
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        return super().submit(replace(request, options={}), key=key)


class ChangesTheOptions(Easel):
    def complete(self, request: ImageRequest, account: Account) -> ImageRequest:
        request.options.clear()  # type: ignore[attr-defined]
        return super().complete(request, account)


class RefusesWhatItDoesNotKnow(Easel):
    def check_options(self, request: ImageRequest) -> None:
        if request.options:
            raise InvalidRequestError("no such option")


class SendsTheKeyToAnybody(Easel):
    key_hosts = (".com",)


class FailsForARetry(Easel):
    def task(self, answer: Response, image_task_id: str) -> ImageTask:
        task = super().task(answer, image_task_id)
        about = {"service": self.name, "image_task_id": "7", "billed": "unknown"}
        return replace(task, error=ServiceUnavailableError("no paint", **about)) if task.error else task


class SaysWhatCannotBe(Easel):
    requests_per_read, results_live_for, poll_interval = 0, -1.0, 0.0


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


class AsksForNone(Easel):
    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        request = Request(method="GET", path="/jobs/latest")
        return (yield from exchange.read(request, lambda answer: self.task(answer, image_task_id), service=self.name))


class ReadsAsAnother(Easel):
    def task(self, answer: Response, image_task_id: str) -> ImageTask:
        return replace(super().task(answer, image_task_id), service="another")


class CompletesItAgain(Easel):
    def complete(self, request: ImageRequest, account: Account) -> ImageRequest:
        return replace(super().complete(request, account), prompt=f"{request.prompt}, in oil")


class AcceptsAnyKey(Easel):
    def check_connection(self) -> Flow[str]:
        yield from ask(Request(method="GET", path="/account"))
        return "Easel accepts the key."


class TakesARefusalForAFailure(Easel):
    def task(self, answer: Response, image_task_id: str) -> ImageTask:
        if answer.status in (401, 429):
            answer = replace(answer, status=200, content=json.dumps({"id": image_task_id, "status": "broken"}).encode())
        return super().task(answer, image_task_id)


class LeadsElsewhere(Easel):
    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        request = Request(method="GET", path=f"/jobs/{image_task_id}")
        return (yield from exchange.read(request, lambda answer: self.task(answer, image_task_id), service=self.name))


class LeavesTheSlashes(Easel):
    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        request = Request(method="GET", path=f"/jobs/{quote(image_task_id)}")
        return (yield from exchange.read(request, lambda answer: self.task(answer, image_task_id), service=self.name))


class StopsAnother(Studio):
    def cancel(self, image_task_id: str) -> Flow[str]:
        request = Request(method="DELETE", path=f"/jobs/{image_task_id}")
        return (yield from exchange.read(request, self.stopped, service=self.name))


class AsksForOthers(Studio):
    def read_batch(self, image_task_ids: Sequence[str]) -> Flow[dict[str, ImageTask]]:
        request = Request(method="GET", path=f"/jobs?ids={','.join(image_task_ids)}")
        return (yield from exchange.read(request, self.tasks, service=self.name))


class Retoucher(Studio):
    """One that takes files and a mask."""

    takes_files = True

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        files = [each for each in (*request.images, request.mask) if isinstance(each, ImageFile)]
        sent = {f"file {n}": base64.b64encode(file.content).decode() for n, file in enumerate(files)}
        urls = [each for each in request.images if isinstance(each, str)]
        options = {**request.options, **sent}
        return super().submit(replace(request, images=urls, mask=None, options=options), key=key)


class ForgetsTheMask(Retoucher):
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        return super().submit(replace(request, mask=None), key=key)


class ForgetsTheMaskByItsAddress(Studio):
    def complete(self, request: ImageRequest, account: Account) -> ImageRequest:
        return replace(super().complete(replace(request, mask=None), account), mask=request.mask)


class ForgetsTheFiles(Retoucher):
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        urls = [each for each in request.images if isinstance(each, str)]
        return super().submit(replace(request, images=urls, mask=None), key=key)


class StoresAllInOnePlace(Easel):
    def task(self, answer: Response, image_task_id: str) -> ImageTask:
        task = super().task(answer, image_task_id)
        return replace(task, images=tuple(replace(image, index=0) for image in task.images))


class CountsFromOne(Easel):
    def task(self, answer: Response, image_task_id: str) -> ImageTask:
        task = super().task(answer, image_task_id)
        return replace(task, images=tuple(replace(image, index=-image.index - 1) for image in task.images))


class KnowsAllWords(Easel):
    def task(self, answer: Response, image_task_id: str) -> ImageTask:
        word = answer.json().get("status") if answer.status == 200 else ""
        return replace(super().task(answer, image_task_id), raw_state=word)


class TakesANewWordForAFailure(KnowsAllWords):
    def task(self, answer: Response, image_task_id: str) -> ImageTask:
        task = super().task(answer, image_task_id)
        if task.raw_state in ("queued", "drawing", "done", "broken", ""):
            return task
        error = ImageTaskFailedError("what?", service=self.name, image_task_id=image_task_id)
        return replace(task, state=TaskState.FAILED, error=error)


class KeepsTheOptions(Easel):
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        request.options.update(model=request.model, prompt=request.prompt)  # type: ignore[attr-defined]
        return super().submit(request, key=key)


class WaitsBeforeItAsks(Easel):
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        yield from pause(600)
        return (yield from super().submit(request, key=key))


class SendsTheFirstPicture(Studio):
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        return super().submit(replace(request, images=request.images[:1]), key=key)


class EditsWithoutAModel(Studio):
    default_edit_model = ""


class TakesALimitForUnknown(Easel):
    def task(self, answer: Response, image_task_id: str) -> ImageTask:
        if answer.status == 429:
            raise ServiceUnavailableError("later", service=self.name)
        return super().task(answer, image_task_id)


class SaysNotWhereToLook(Easel):
    how_to_look = "Look at easel.example."

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        body = {**request.options, "model": request.model, "prompt": request.prompt}
        sent = Request(method="POST", path="/jobs", body=body)
        how = {"service": self.name, "repeatable": False, "how_to_look": ""}
        return (yield from exchange.submit(sent, lambda answer: self.task(answer, ""), **how))


class EstimatesWhatCannotBe(Easel):
    console_url, tiers, connection_fields = "dashboard", {"free": 3}, {"team": "text"}
    images_per_request, has_account_webhook = 0, True

    def price_of(self, request: ImageRequest) -> Any:
        return -0.04

    def results_life(self, request: ImageRequest) -> Any:
        return "an hour"


class SubmitsByAQuestion(Easel):
    def submit(self, request: ImageRequest, *, key: str | None = None) -> Flow[ImageTask]:
        body = {**request.options, "model": request.model, "prompt": request.prompt}
        sent = Request(method="GET", path="/jobs", body=body)
        how = {"service": self.name, "repeatable": False, "how_to_look": self.how_to_look}
        return (yield from exchange.submit(sent, lambda answer: self.task(answer, ""), **how))


class ReadsAndRemoves(Easel):
    def read_one(self, image_task_id: str) -> Flow[ImageTask]:
        request = Request(method="DELETE", path=f"/jobs/{quote(image_task_id, safe='')}")
        return (yield from exchange.read(request, lambda answer: self.task(answer, image_task_id), service=self.name))


class BelievesAnyRecord(Easel):
    def task(self, answer: Response, image_task_id: str) -> ImageTask:
        task = super().task(answer, image_task_id)
        return replace(task, id=image_task_id or task.id)


class HasAnothersName(Easel):
    name = "fal"


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
    LosesOneOfSeveral: ("'7': 'not_found'",),
    MixesSeveralUp: ("gives '7' the id '8'",),
    AsksOneByOne: ("makes 2 requests",),
    SaysNothingOfTheBill: ("no sentence about the bill",),
    TakesSilenceForStopped: ("a cancel with no answer", "a cancel with HTTP 500"),
    StopsSomething: ("does not name the image task",),
    BelievesAnybody: ("without headers", "of an hour ago", "anybody could send it"),
    BelievesWhatIsOld: ("of an hour ago",),
    BelievesWithoutASecret: ("that nothing is there to check with",),
    ForgetsWhoStoppedIt: ("no error that was_cancelled",),
    ForgetsThePictures: ("the picture of an edit is not sent",),
    ForgetsTheCallback: ("the callback URL is not sent",),
    ForgetsTheKeyOfASubmission: ("the key of a submission is not sent",),
    AsksOnAndOn: ("does not end",),
    PausesInAStatusQuestion: ("pauses for 3600 s",),
    TellsTheKeyInAStatusQuestion: ("the key stands in the address or the body",),
    ReadsWithoutTheKey: ("the key does not go out with a status question",),
    ForgetsTheOptions: ("an option that it does not know is not sent",),
    ChangesTheOptions: ("its options are changed",),
    RefusesWhatItDoesNotKnow: ("no such option",),
    SendsTheKeyToAnybody: ("key_hosts holds ['.com']",),
    FailsForARetry: ("ServiceUnavailableError, retryable",),
    SaysWhatCannotBe: ("requests_per_read is 0", "results_live_for is -1.0", "poll_interval is 0.0"),
    AsksForNone: ("a status question does not name the image task",),
    ReadsAsAnother: ("one that is running is read as one of the service 'another'",),
    CompletesItAgain: ("completed again", "it is another request"),
    AcceptsAnyKey: ("check_connection with a key that is refused gives 'Easel accepts the key.'",),
    TakesARefusalForAFailure: ("a status question with a key that is refused", "a status question with HTTP 429"),
    BelievesTheHeadersAlone: ("for another image task", "without a body"),
    LeadsElsewhere: ("a status question for 'a/b?c=d#e%2F' asks for something else",),
    LeavesTheSlashes: ("a status question for 'a/b?c=d#e%2F' asks for something else",),
    StopsAnother: ("a cancel for 'a/b?c=d#e%2F' asks for something else",),
    AsksForOthers: ("a question for several for 'a/b?c=d#e%2F' asks for something else",),
    ForgetsTheMask: ("the mask of an edit is not sent",),
    ForgetsTheMaskByItsAddress: ("the mask of an edit is not sent",),
    ForgetsTheFiles: ("a file as the picture of an edit is not sent",),
    StoresAllInOnePlace: ("with the indexes [0, 0]",),
    TakesANewWordForAFailure: ("in a state that nobody knows yet is read as",),
    KeepsTheOptions: ("a submission changes the options of its request",),
    WaitsBeforeItAsks: ("a submission that is taken pauses for 600 s",),
    SendsTheFirstPicture: ("the second picture of an edit is not sent",),
    EditsWithoutAModel: ("the model is not sent with an edit",),
    TakesALimitForUnknown: ("a refusal that is RateLimitError gives UnknownOutcomeError",),
    SaysNotWhereToLook: ("does not say where to look",),
    EstimatesWhatCannotBe: (
        *("console_url is 'dashboard'", "images_per_request is 0", "check_callback checks nothing", "is no Rate"),
        *("connection_fields holds", "price_of gives -0.04", "results_life gives 'an hour'", "image_count_of gives 0"),
    ),
    SubmitsByAQuestion: ("a submission is a GET",),
    ReadsAndRemoves: ("a status question is a DELETE",),
    BelievesAnyRecord: ("the record of '7' is read as that of '8'",),
    CountsFromOne: ("with the indexes [-1, -2]",),
}


def test_a_service_for_which_a_new_word_means_running_passes() -> None:
    check_service(KnowsAllWords(), ANSWERS)


def test_a_service_that_takes_files_and_a_mask_passes() -> None:
    check_service(Retoucher(), ALL_ANSWERS)


def test_a_name_of_another_service_is_told_also_where_it_differs_in_case_only() -> None:
    with pytest.raises(AssertionError, match="name is 'fal', as of another service"):
        check_service(HasAnothersName(), ANSWERS)
    with installed(EASEL=lambda: Easel), pytest.raises(AssertionError, match="a service is installed as 'EASEL'"):
        check_service(Easel(), ANSWERS)
    with installed(easel=lambda: Studio), pytest.raises(AssertionError, match="name is 'easel', as of another"):
        check_service(Easel(), ANSWERS)
    with installed(easel=lambda: Easel):
        check_service(Easel(), ANSWERS)


@pytest.mark.parametrize("missing", ["several", "cancelled", "stopped", "callback"])
def test_what_a_service_can_do_has_to_be_answered_for(missing: str) -> None:
    with pytest.raises(AssertionError, match=f"ServiceAnswers.{missing}"):
        check_service(Studio(), replace(ALL_ANSWERS, **{missing: None}))


@pytest.mark.parametrize(("broken", "said"), BROKEN.items(), ids=[broken.__name__ for broken in BROKEN])
def test_what_breaks_the_contract_is_told(broken: type[Easel], said: Sequence[str]) -> None:
    with pytest.raises(AssertionError, match="easel breaks the contract") as caught:
        check_service(broken(), ALL_ANSWERS if issubclass(broken, Studio) else ANSWERS)

    for words in said:
        assert words in str(caught.value)
