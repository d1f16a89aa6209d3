"""kie.ai: the models of its market by createTask, and by a model like ``flux-kontext/`` the families beside it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, ClassVar

from airflow_provider_imagetasks.exceptions import (
    AuthenticationError,
    ContentPolicyError,
    ImageTaskError,
    ImageTaskFailedError,
    InvalidRequestError,
    ProtocolError,
    QuotaExceededError,
    ServiceUnavailableError,
)
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.account_fields import ConnectionField
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.connection_contract import Callback, is_same
from airflow_provider_imagetasks.services.fields import (
    LONGEST_PROMPT,
    mapping,
    moment,
    number,
    text,
    whole_number,
)
from airflow_provider_imagetasks.services.hosted_models import addresses_named
from airflow_provider_imagetasks.services.jobs_api import RESULT_FIELDS, JobsApiService, fields_of, object_of
from airflow_provider_imagetasks.services.rates import Rate, Tier, Window
from airflow_provider_imagetasks.services.refusals import CONTENT_POLICY_CODES, STATUSES, perhaps_billed
from airflow_provider_imagetasks.services.several_apis import SeveralApis
from airflow_provider_imagetasks.services.wire import Flow, Request, Response
from airflow_provider_imagetasks.tasks import GeneratedImage, ImageRequest, ImageTask, TaskState

LIMITS = Tier(submit=Rate((Window(20, 10),)), query=Rate((Window(8, 1),)), active=100)
"""As the start page gives them, status requests a little below its ten a second."""
CREDIT_PATH = "/api/v1/chat/credit"
PRICES = {"1K": 0.03, "2K": 0.05, "4K": 0.08}
"""By the resolution of a GPT Image 2 picture, in US dollars."""


class KieApi(JobsApiService):
    """kie.ai. A record is not there for a moment after its creation: code 422 on a status query means that."""

    name = "kie"
    title = "kie.ai"
    default_base_url = "https://api.kie.ai"
    console_url = "https://kie.ai/logs"
    tiers: ClassVar[Mapping[str, Tier]] = {"default": LIMITS}
    default_query_rate = LIMITS.query
    takes_callback_url = True
    # Of its pages, which disagree, the one that says the least.
    results_live_for = 24 * 3600.0
    not_found_codes = frozenset({404, 422})
    error_codes: ClassVar[Mapping[int, type[ImageTaskError]]] = {
        **STATUSES,
        433: QuotaExceededError,
        455: ServiceUnavailableError,
        **dict.fromkeys((451, 505), InvalidRequestError),
        # 408 is the service's word that nothing came of it in ten minutes, which may have been charged.
        **dict.fromkeys((408, 501, 531, 550), ImageTaskFailedError),
    }
    refusing_codes = frozenset({455, 501, 531, 550})


class Family(KieApi):
    """A family with routes of its own, whose requests have their fields without ``input`` around them."""

    model_field: ClassVar[str | None] = None
    """The field that names the model."""
    images_field: ClassVar[str]
    """Where a request has the pictures to edit: a list, or a single one where ``most_edit_images`` is 1."""
    result_field: ClassVar[str] = "response"
    """Where a record has what was made."""

    def _body(self, request: ImageRequest) -> dict[str, Any]:
        model = {self.model_field: request.model} if self.model_field and request.model else {}
        return {**model, **fields_of(request, self.images_field, takes_one=self.most_edit_images == 1)}

    def _task_in(self, record: Mapping[str, Any], image_task_id: str) -> ImageTask:
        """Return the image task of a record: 0 is running, 1 done, 2 and 3 failed; another flag means running."""
        flag, word = whole_number(record.get("successFlag")), text(record.get("status"))
        if flag is None:
            raise ProtocolError("The record has no successFlag", service=self.name, image_task_id=image_task_id)
        state = {1: TaskState.SUCCEEDED, 2: TaskState.FAILED, 3: TaskState.FAILED}.get(flag, TaskState.RUNNING)
        images: tuple[GeneratedImage, ...] = ()
        error: ImageTaskError | None = None
        if state is TaskState.FAILED:
            error = self._failure(record, image_task_id)
            named = addresses_named(RESULT_FIELDS, object_of(record.get(self.result_field)), are_fields=True)
            error = perhaps_billed(error, pictures=named)
        elif state is TaskState.SUCCEEDED:
            urls = addresses_named(RESULT_FIELDS, object_of(record.get(self.result_field)), are_fields=True)
            images = tuple(GeneratedImage(index=index, url=url) for index, url in enumerate(urls))
            if not images:
                what, state = "The image task finished without a picture", TaskState.FAILED
                error = ImageTaskFailedError(what, service=self.name, image_task_id=image_task_id, code="no_images")
        asked, times = object_of(record.get("paramJson")), (record.get("createTime"), record.get("completeTime"))
        created_at, finished_at = map(moment, times)
        return ImageTask(
            id=text(record.get("taskId")) or image_task_id,
            service=self.name,
            state=state,
            raw_state=word or str(flag),
            model=text(asked.get(self.model_field)) if self.model_field else None,
            prompt=text(asked.get("prompt"), most=LONGEST_PROMPT),
            images=images,
            image_count_requested=self.image_count(asked),
            created_at=created_at,
            finished_at=finished_at if state.is_final else None,
            duration=finished_at - created_at if state.is_final and created_at and finished_at else None,
            error=error,
            raw=record,
        )

    def _failure(self, record: Mapping[str, Any], image_task_id: str) -> ImageTaskError:
        reason, code = text(record.get("errorMessage")) or "no reason given", text(record.get("errorCode"))
        facts: dict[str, Any] = {"service": self.name, "image_task_id": image_task_id, "code": code}
        if code and code.lower() in CONTENT_POLICY_CODES:
            return ContentPolicyError(f"The service refused it because of its content policy: {reason}", **facts)
        return ImageTaskFailedError(f"The service reports that the image task failed: {reason}", **facts)


class FourOImage(Family):
    """4o Image: one model, which is not named; ``nVariants`` pictures (1, 2 or 4) from a prompt, pictures or both."""

    create_path, record_path = "/api/v1/gpt4o-image/generate", "/api/v1/gpt4o-image/record-info"
    default_model = default_edit_model = ""
    images_field, most_edit_images = "filesUrl", 5

    def needs_prompt(self, model: str) -> bool:
        """Whether a model wants a text beside pictures."""
        return False


class FluxKontext(Family):
    """Flux Kontext: ``flux-kontext-pro`` or ``flux-kontext-max``."""

    create_path, record_path = "/api/v1/flux/kontext/generate", "/api/v1/flux/kontext/record-info"
    model_field, default_model, default_edit_model = "model", "flux-kontext-pro", "flux-kontext-pro"
    images_field, most_edit_images = "inputImage", 1


class Midjourney(Family):
    """Midjourney: four pictures for each request. The model is its version, as in ``mj/7``."""

    create_path, record_path = "/api/v1/mj/generate", "/api/v1/mj/record-info"
    model_field, default_model, default_edit_model = "version", "", ""
    images_field, images_per_request = "fileUrls", 4
    result_field = "resultInfoJson"

    def _body(self, request: ImageRequest) -> dict[str, Any]:
        return {"taskType": "mj_img2img" if request.is_edit else "mj_txt2img", **super()._body(request)}


class Market(KieApi):
    """The models of kie.ai's market (its "Market" pages): each takes ``model`` and ``input``."""

    default_model = "gpt-image-2-text-to-image"
    default_edit_model = "gpt-image-2-image-to-image"
    images_fields: ClassVar[Mapping[str, str]] = {
        "nano-banana": "image_input",
        **dict.fromkeys(("google/", "bytedance/", "seedream/", "grok-imagine/"), "image_urls"),
        **dict.fromkeys(("qwen", "ideogram/", "topaz/"), "image_url"),
        "recraft/": "image",
    }

    def needs_prompt(self, model: str) -> bool:
        """Whether a model is known to want a text beside pictures; many only scale, cut out or reframe them."""
        return model.startswith("gpt-image")

    def price_of(self, request: ImageRequest) -> float | None:
        """Return the published price of one picture in US dollars."""
        is_known = (request.model or "").startswith("gpt-image-2-")
        return PRICES.get(str(request.options.get("resolution", "1K"))) if is_known else None

    def check_connection(self) -> Flow[str]:
        """Ask for the account's credits."""
        request = Request(method="GET", path=CREDIT_PATH)
        balance = yield from exchange.patiently(lambda: exchange.read(request, self._credits, service=self.name))
        return f"{self.title} accepts the key. The account has {balance:g} credits."

    def _credits(self, response: Response) -> float:
        envelope, code = self._envelope(response)
        if code != 200:
            raise self._refusal(response, envelope, code)
        balance = number(envelope.get("data"))
        if balance is None:
            raise ProtocolError("The answer to the credit query has no number in 'data'", service=self.name)
        return balance


class Kie(SeveralApis, Market):
    """kie.ai: the market, 4o Image, Flux Kontext and Midjourney. All of them sign their callbacks in the same way."""

    connection_fields: ClassVar[Mapping[str, ConnectionField]] = {
        "webhook_secret": ConnectionField(
            label="Webhook secret",
            description="the key by which it signs callbacks, if one is enabled in its settings.",
            is_secret=True,
        ),
    }
    further_apis: ClassVar[Mapping[str, type[Service]]] = {
        "4o-image": FourOImage,
        "flux-kontext": FluxKontext,
        "mj": Midjourney,
    }

    def check_callback(self, callback: Callback, account: Account) -> Flow[str | None]:
        """Return the image task that a callback is signed for, where the connection has the key.

        Follows "Webhook Verification": base64 of HMAC-SHA256 over the id, a dot and the timestamp. The body is not
        signed, and a good pair of headers could be sent again; so the timestamp has to be recent.
        """
        yield from ()
        if account.webhook_secret is None:
            return None
        timestamp, body = callback.header("x-webhook-timestamp"), callback.json()
        ids = (holder.get(name) for holder in (mapping(body.get("data")), body) for name in ("taskId", "task_id"))
        image_task_id = next((each for each in ids if isinstance(each, str) and each), "")
        signed = f"{image_task_id}.{timestamp}".encode("utf-8", "replace")
        digest = hmac.new(account.webhook_secret.encode(), signed, hashlib.sha256).digest()
        is_good = is_same(base64.b64encode(digest).decode(), callback.header("x-webhook-signature"))
        if not (image_task_id and callback.is_of(timestamp) and is_good):
            raise AuthenticationError("The signature of the callback is wrong or too old", service=self.name)
        return image_task_id
