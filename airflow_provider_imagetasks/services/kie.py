"""kie.ai: the models of its market by createTask, and by a model like ``flux-kontext/`` the families beside it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import ClassVar

from airflow_provider_imagetasks.exceptions import AuthenticationError, ProtocolError
from airflow_provider_imagetasks.services import exchange
from airflow_provider_imagetasks.services.account import Account
from airflow_provider_imagetasks.services.account_fields import ConnectionField
from airflow_provider_imagetasks.services.base import Service
from airflow_provider_imagetasks.services.connection_contract import Callback, is_same
from airflow_provider_imagetasks.services.fields import mapping, number
from airflow_provider_imagetasks.services.kie_families import FluxKontext, FourOImage, KieApi, Midjourney
from airflow_provider_imagetasks.services.several_apis import SeveralApis
from airflow_provider_imagetasks.services.wire import Flow, Request, Response
from airflow_provider_imagetasks.tasks import ImageRequest

CREDIT_PATH = "/api/v1/chat/credit"
PRICES = {"1K": 0.03, "2K": 0.05, "4K": 0.08}
"""By the resolution of a GPT Image 2 picture, in US dollars."""


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
